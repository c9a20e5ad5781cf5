"""A report on the task with every kind of adversary, and the same one with a hostile text wherever one can stand."""

from adversaries.evidence import Arms, AttackBudget, Evidence, Threat, Value
from reports.model.report import (
    Bounds,
    Command,
    Dataset,
    GateResult,
    PartOfData,
    ReleaseFacts,
    Settings,
    Stochastic,
    TargetFacts,
)
from tests.reports.builder import build, number


def rate(value, **facts):
    return number(value, max(0.0, value - 0.02), min(1.0, value + 0.02), unit="rate", **facts)


def attack(
    adversary, value, *, level="L2", labels=None, validation=None, chosen=False, health=(), arms=None, **options
):
    status = options.pop("status", "measured")
    measured = status == "measured"
    return Evidence(
        protocol=options.pop("protocol", "adaptive-probe"),
        adversary=adversary,
        goal=options.pop("goal", "task:digit"),
        threat=Threat(level=level, knows=(), budget=AttackBudget(labels_per_class=labels)),
        seed=options.pop("seed", 0),
        status=status,
        reason=options.pop("reason", None),
        arms=Arms(attack=rate(value), floor=rate(0.1), **(arms or {})) if measured else Arms(),
        metrics={"validation": rate(value if validation is None else validation)} if measured else {},
        health=health,
        chosen=chosen,
        settings=options,
    )


def evidence():
    rows = []
    for model, value in (("vgg11", 0.213), ("mlp", 0.178), ("cnn-twin", 0.104)):
        rows.append(
            attack("frozen", value, level="L0", model=model, chosen=model == "vgg11", arms={"ceiling": rate(0.971)})
        )
        rows.append(attack("frozen-picture", 0.171, level="L0", model=model, form="clip"))
        rows.append(attack("frozen-picture", 0.304, level="L0", model=model, form="rescale", validation=0.1))
    rows.append(attack("batchnorm", 0.442, level="L1", model="mlp", chosen=True))
    rows.append(attack("moments", 0.256, level="L1", model="vgg11", match="histogram"))
    for labels, value in ((1, 0.869), ("all", 0.962)):
        rows.append(attack("fine-tune", value, labels=labels, model="mlp", scope="all", chosen=labels == 1))
        rows.append(attack("adapter", 0.731, labels=labels, model="mlp"))
        rows.append(attack("linear", 0.666, labels=labels))
        rows.append(attack("signs", 0.777, labels=labels))
        rows.append(attack("second-order", 0.888, labels=labels, validation=0.7))
        reason = "the values lie on no grid"
        rows.append(attack("integer-codes", 0, labels=labels, status="not_applicable", reason=reason))
    shuffled = {"shuffled": rate(0.11), "ceiling": rate(0.984), "undefended": rate(0.975)}
    rows.append(attack("cnn", 0.964, labels="all", chosen=True, health=("CONVERGENCE_UNCHECKED",), arms=shuffled))
    return tuple(rows)


def metrics():
    counts = {"floor": 46, "n11": 95, "n10": 335, "n01": 1, "n00": 19}
    return {
        "target.accuracy": rate(0.956),
        "target.clean_accuracy": rate(0.984),
        "target.picture.accuracy": rate(0.246),
        "transfer.accuracy": rate(0.213),
        "transfer.suppression_ratio": number(4.4796, 2.9996, 5.515, counts=counts),
        "transfer.twin.accuracy": rate(0.104),
        "adaptive.accuracy": rate(0.964),
        "adaptive.accuracy@0": rate(0.442),
        "adaptive.accuracy@1": rate(0.869),
        "adaptive.accuracy@all": rate(0.964),
        "adaptive.suppression_ratio": number(0.991, 0.952, 1.032),
        "adaptive.suppression_ratio@1": number(1.1, 1.037, 1.166),
        "adaptive.labels_to_90": number(59.7, 1, 59.7, unit="count"),
        "adaptive.labels_to_half": number(1, 1, 1, unit="count"),
        "adaptive.leakage": number(0.977, 0.936, 1.017, unit="leakage"),
        "release.psnr": number(1.04, 0.85, 1.24, unit="dB"),
    }


GATE = "transfer.suppression_ratio >= 3"


def full(**changes):
    passed = {
        "budget": "smoke",
        "gate": [GATE],
        "out": "my out",
        "quiet": None,
        "resume": False,
        "overrides": ["cnn.a=1"],
    }
    facts = {
        "command": Command(
            argv=("/somewhere/bin/vfc-attack", "--out", "my out"),
            settings=Settings(passed=passed, with_defaults={"budget": "smoke", "target": "cnn"}),
        ),
        "dataset": Dataset(
            name="digits",
            digest="d",
            task="digit",
            classes={"digit": 10},
            split="halves",
            parts={"pool_train": PartOfData(size=597, digest="p"), "targets": PartOfData(size=450, digest="t")},
        ),
        "release": ReleaseFacts(
            kind="registered",
            name="vfc",
            digest="r",
            shape=(1, 16, 16),
            dtype="float32",
            bounds=Bounds(observed=(-17.9, 12.6)),
            stochastic=Stochastic(declared=False, observed=True),
            call_dependent=False,
            first_nonfinite=17,
            health=("OUT_OF_BOUNDS", "RANDOM_RELEASE"),
        ),
        "target": TargetFacts(accuracy=rate(0.956), clean_accuracy=rate(0.984)),
        "evidence": evidence(),
        "metrics": metrics(),
        "gates": (
            GateResult(
                expr=GATE,
                outcome="inconclusive",
                observed=number(4.4796, 2.9996, 5.515),
                reason="the 95 % lower bound 2.9996 is under 3, the upper is not",
            ),
        ),
        "verdict": "inconclusive",
    }
    return build(**{**facts, **changes})


HOSTILE = (
    "[red]x[/red]",
    "[/]",
    "\x1b[2J\x1b]0;owned\x07",
    "a\nb\r\tc",
    "\u202eevil",
    "\ud800",
    "界" * 30,
    "e\u0301\u0301",
)


def hostile_report(text):
    rows = (
        attack(text, 0.6, labels=1, model=text, chosen=True, health=(text,)),
        attack(text, 0.7, labels="all", scope=text),
        attack("frozen", 0.2, level="L0", model=text),
        attack("linear", 0, labels=1, status="failed", reason=text),
        attack(text, 0.7, goal=text, chosen=True),
    )
    return full(
        command=Command(
            argv=("vfc", text), settings=Settings(passed={"release": text}, with_defaults={"budget": text})
        ),
        dataset=full().dataset.model_copy(update={"name": text, "task": "digit", "split": text}),
        release=full().release.model_copy(update={"name": text, "kind": text, "dtype": text, "health": (text,)}),
        evidence=rows,
        metrics={**metrics(), text: rate(0.5, flags=(text,)), f"{text} ": Value.unknown(text)},
        gates=(GateResult(expr=text, outcome="broken", observed=rate(0.5), reason=text),),
        verdict="broken",
    )
