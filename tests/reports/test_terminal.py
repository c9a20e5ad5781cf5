import io
import re
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from adversaries.evidence import Arms, AttackBudget, Evidence, Threat, Value
from adversaries.health import MEANINGS
from reports import curve, words
from reports.lineup import Lineup
from reports.report import (
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
from reports.terminal import render
from tests.reports.builder import build, number

SGR = re.compile(r"\x1b\[[0-9;]*m")


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
            batch_dependent=False,
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


def shown(report, width=160, **options):
    file = io.StringIO()
    render(report, Console(file=file, width=width, **options), {})
    return file.getvalue()


def one_line(text):
    return " ".join(text.replace("│", " ").split())


def fits(text, width):
    return max(cell_len(line) for line in text.splitlines()) <= width


def line_of(text, start):
    return next(line for line in text.splitlines() if line.startswith(start))


@pytest.mark.parametrize("width", [24, 44, 80, 120, 160])
def test_every_section_in_order_and_no_line_too_long(width):
    text = shown(full(), width)
    assert fits(text, width)
    titles = (
        "INCONCLUSIVE",
        "Gates",
        "Who reads",
        "What repurposing",
        "Where the",
        "Controls",
        "The release",
        "Not mea",
    )
    places = [text.index(title) for title in (*titles, "The same again")]
    assert places == sorted(places)
    assert "\x1b" not in text


def test_verdict_panel_says_what_was_measured_on_what():
    panel = one_line(shown(full(), 80).split("Gates")[0])
    for fact in (
        "no gate is broken, but 1 of 1 gate cannot be decided; exit code 3",
        "budget smoke data digits task digit (10 classes) release vfc targets 450",
        "target on the release 0.956 [0.936, 0.976] on images 0.984 [0.964, 1.000]",
        "adaptive suppression 0.991 [0.952, 1.032] at most 9.560 (target / floor)",
        "labels to go 90 % 59.7 [1, 59.7] labelled releases per class",
        "The best model that never saw a release reads 0.213, above the floor of 0.100; adapting without a single",
        "is to be expected of every defense without a secret",
        "What ranks defenses is what repurposing costs",
    ):
        assert fact in panel


def test_bounds_that_meet_a_gate_round_toward_failure():
    panel = one_line(shown(full(), 160).split("Gates")[0])
    assert "transfer suppression 4.479 [2.999, 5.515] at most 9.348" in panel
    free = one_line(shown(full(gates=(), verdict="measured"), 160).split("Gates")[0])
    assert "transfer suppression 4.480 [3.000, 5.515]" in free


@pytest.mark.parametrize(
    ("toward", "expected"),
    [
        (frozenset({">="}), "0.999 [0.499, 1.000]"),
        (frozenset({"<"}), "1.000 [0.500, 1.001]"),
        (frozenset({">=", "<="}), "1.000 [0.499, 1.001]"),
        (frozenset(), "1.000 [0.500, 1.001]"),
    ],
)
def test_figures_round_toward_failure_in_the_gates_direction(toward, expected):
    assert words.figure(number(0.9996, 0.4998, 1.0006), toward) == expected


def test_figures_of_counts_and_of_the_unknown():
    assert words.figure(number(50, 50, 50, unit="count", censored=True)) == "> 50"
    assert words.figure(Value.unknown("no")) == "unknown"
    assert words.figure(None) == "unknown"
    assert words.number(-0.0001) == "0.000"


def test_verdict_words_of_every_outcome():
    assert "HELD  the gate holds; exit code 0" in shown(full(verdict="held"))
    assert "BROKEN" in shown(full(verdict="broken"))
    assert "MEASURED  everything asked for was measured" in shown(full(gates=(), verdict="measured"))
    failed = attack("mlp", 0, labels=1, status="failed", reason="out of memory")
    text = shown(full(gates=(), evidence=(*evidence(), failed), verdict="inconclusive"))
    assert "required adversaries were not measured: mlp" in text
    assert "failed: out of memory.\n  mlp (K = 1)" in text


def test_each_gate_with_outcome_expression_and_reason():
    part = shown(full(), 80).split("Who reads")[0].split("Gates")[1]
    assert "? inconclusive" in part
    assert GATE in part
    assert "the 95 % lower bound 2.9996 is under 3, the upper is not" in one_line(part)


def test_suppression_table_takes_the_best_by_validation_and_says_which():
    text = shown(full(), 80)
    assert line_of(text, "vgg11").split() == ["vgg11", "0.971", "0.213", "0.171", "clip", "0.256", "histogram"]
    assert line_of(text, "mlp").split() == ["mlp", "0.971", "0.178", "0.171", "clip", "0.442", "batchnorm"]
    assert line_of(text, "target").split()[:4] == ["target", "0.984", "0.956", "0.246"]
    assert line_of(text, "floor").split()[:3] == ["floor", "0.100", "0.100"]
    assert "0.304" not in text  # better on the targets, worse on validation
    assert line_of(text, "linear probe").split() == ["linear", "probe", "0.666", "0.666"]
    assert line_of(text, "feature probe").split() == ["feature", "probe", "0.777", "signs", "0.777", "signs"]
    assert "near twin" in text
    assert "The near twin has the target's architecture and is in no headline number." in one_line(text)


def test_wide_table_holds_labels_and_intervals():
    text = shown(full(), 160)
    cells = line_of(text, "mlp").split()
    assert cells == ["mlp", "0.971", "0.178", "0.171", "clip", "0.442", "batchnorm", "0.869", "whole", "0.962", "whole"]
    assert ".849–.889" in text


def test_dishonest_adversaries_are_dropped_and_named():
    rows = tuple(
        row.model_copy(update={"health": ("SHUFFLED_ABOVE_CHANCE",)}) if row.adversary == "linear" else row
        for row in evidence()
    )
    text = shown(full(evidence=rows), 80)
    assert line_of(text, "linear probe").split() == ["linear", "probe", "dropped", "dropped"]
    assert "All controls that ran are clean" not in text
    assert "SHUFFLED_ABOVE_CHANCE (drops the adversary and forbids that a gate holds)" in one_line(text)
    assert MEANINGS["SHUFFLED_ABOVE_CHANCE"] in one_line(text)
    assert "1 adversary: linear; none of them chosen." in text


def test_flags_are_grouped_and_chosen_carriers_named():
    text = one_line(shown(full(), 160))
    assert "All controls that ran are clean: no flag forbids that a gate holds." in text
    assert "1 adversary: cnn; chosen: cnn (K = all)." in text
    flagged = {**metrics(), "adaptive.accuracy": rate(0.964, flags=("SELECTION_MISSED",))}
    text = one_line(shown(full(metrics=flagged), 160))
    assert "All controls that ran are clean" not in text
    assert "Numbers: adaptive.accuracy." in text


def test_where_headline_numbers_come_from():
    text = shown(full(), 160)
    part = text.split("Where the headline")[1].split("Controls and flags")[0]
    assert re.search(r"transfer +frozen vgg11 +0\.213 +0\.100 +0\.971 +- +-", part)
    assert re.search(r"K = 0 +batchnorm mlp +0\.442", part)
    assert re.search(r"K = 1 +fine-tune mlp all +0\.869", part)
    assert re.search(r"K = all +cnn +0\.964 +0\.100 +0\.984 +0\.110 +0\.975\s+headline +L2 labelled +\.944–\.984", part)


def test_a_number_nobody_reached_is_not_pinned_on_anybody():
    report = full(metrics={**metrics(), "transfer.accuracy": rate(0.5)})
    assert Lineup(report).source("transfer.accuracy") is None
    assert "the report does not tell" in shown(report)


def test_attempts_of_several_seeds_are_one_and_never_pooled():
    rows = (attack("linear", 0.6, labels=1), attack("linear", 0.8, labels=1, seed=1))
    (one,) = Lineup(full(evidence=rows)).attempts
    value = one.arm("attack")
    assert (value.value, value.low, value.high) == pytest.approx((0.7, 0.58, 0.82))
    assert one.validation == pytest.approx(0.7)


def test_release_facts_in_words():
    text = one_line(shown(full(), 80))
    assert "It ranges over [-17.9, 12.6], so it is not an image; it declares no bounds." in text
    assert "Clipped or rescaled to [0, 1] and 8 bit, the target falls from 0.956 to 0.246." in text
    assert "Two releases of one image differ, but it declares that they do not." in text
    assert "first in the release of target 17 (counted from 0)" in text
    assert "does not depend on the images beside it" in text
    assert "“all” is 59.7 labelled releases per class" in text


def test_what_was_not_measured_and_why():
    text = one_line(shown(full(), 80))
    assert "not applicable: the values lie on no grid. integer-codes (K = 1, all)" in text
    assert "says nothing about inversion, mask-aware, leakage, attribute, membership, linkage, evasion" in text


def test_missing_parts_say_why():
    reason = "the arrays hold no `prediction`"
    bare = build(
        target=TargetFacts(accuracy=Value.unknown(reason), clean_accuracy=Value.unknown(reason)),
        release=ReleaseFacts(kind="arrays", name="a.npz", digest="r", shape=(), dtype="int64"),
        evidence=(attack("linear", 0.6, labels="all"),),
        metrics={
            "target.accuracy": Value.unknown(reason),
            "adaptive.suppression_ratio": Value.unknown(reason, unit="ratio"),
            "adaptive.accuracy@all": rate(0.6),
        },
    )
    for width in (80, 160):
        text = one_line(shown(bare, width))
        assert f"target on the release unknown {reason}" in text
        assert f"adaptive suppression unknown {reason}" in text
        assert "transfer suppression unknown its protocol was not run" in text
        assert "No unintended model attacked: without the originals none can be trained." in text
        assert f"no number: {reason}. target.accuracy, adaptive.suppression_ratio" in text
        assert "No finite number of it was seen" in text
        assert "was not observed" in text


def test_transfer_alone_has_no_curve_and_shows_no_privacy():
    rows = tuple(r.model_copy(update={"protocol": "transfer"}) for r in evidence() if r.threat.level == "L0")
    kept = {name: value for name, value in metrics().items() if not name.startswith("adaptive")}
    text = one_line(shown(full(evidence=rows, metrics=kept), 80))
    assert "No curve: no adversary was granted labelled releases." in text
    assert "a low transfer accuracy alone does not show privacy" in text
    assert "says nothing about adaptive-probe, inversion" in text


def test_an_empty_report():
    text = shown(build(evidence=(), metrics={}, verdict="inconclusive", command=Command()), 80)
    assert "nothing was measured" in text
    assert "No gate was set." in text
    assert "No headline number was measured." in text
    assert "does not say which command" in text


def test_curve_puts_points_levels_and_intervals_where_they_belong():
    points = [
        curve.Point(labels="0", value=0.5, low=0.25, high=0.75),
        curve.Point(labels="all", value=1.0, low=1.0, high=1.0),
    ]
    lines = [line.plain for line in curve.draw(points, width=60, floor=0.125, target=0.875, plain=True)]
    column = lines[8].index("o")
    assert [row for row, line in enumerate(lines) if line[column : column + 1] == "o"] == [8]
    assert [row for row in range(17) if lines[row].ljust(60)[column] == "|"] == [4, 5, 6, 7, 9, 10, 11, 12]
    assert lines[0].count("o") == 1
    assert lines[2].endswith("= target 0.875")
    assert lines[14].endswith("- floor 0.125")
    assert lines[8].startswith("   0.50")
    assert lines[-1].split() == ["K", "0", "all"]
    assert "".join(lines).isascii()


def test_curve_labels_never_collide_and_narrow_consoles_get_a_list():
    points = [curve.Point(labels="0", value=0.5, low=0.4, high=0.6)]
    for level in (0.0, 0.5, 1.0):
        text = "\n".join(line.plain for line in curve.draw(points, width=60, floor=level, target=level))
        assert f"target {level:.3f}" in text
        assert f"floor {level:.3f}" in text
    assert curve.draw(points, width=20) == []
    assert "K    accuracy" in shown(full(), 40)


def test_ascii_consoles_get_ascii():
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii", newline="\n")
    report = full(dataset=full().dataset.model_copy(update={"name": "zürich"}))
    render(report, Console(file=file, width=80))
    file.flush()
    text = raw.getvalue().decode("ascii")
    assert "data z\\u00fcrich" in text
    assert "? INCONCLUSIVE" in text
    assert '"all' in text
    assert text.splitlines()[0].startswith("+-")
    assert re.search(r"1\.00 \|.*\n.*\|=+.*o=* target 0\.956", text)
    assert fits(text, 80)


def test_color_adds_no_information():
    plain = shown(full(), 80)
    colored = shown(full(), 80, force_terminal=True, color_system="truecolor")
    assert SGR.search(colored)
    assert SGR.sub("", colored) == plain


def test_command_is_rebuilt_from_what_was_passed():
    assert words.command_words(full()) == [
        *("vfc-attack", "--budget", "smoke", "--gate", GATE, "--out", "my out", "--fresh", "--set", "cnn.a=1"),
    ]
    command = Command(argv=("/opt/bin/vfc", "attack"), settings=Settings(passed={"download": True, "release": "-x"}))
    assert words.command_words(full(command=command)) == ["vfc", "attack", "--download", "--release=-x"]
    assert words.command_words(full(command=Command(argv=("pytest", "--vfc")))) == ["pytest", "--vfc"]


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@given(st.lists(TEXT, min_size=1, max_size=3), st.sampled_from([24, 80]), st.booleans())
@settings(max_examples=30, deadline=None, derandomize=True)
def test_command_survives_the_shell(arguments, width, plain):
    lines = words.command_lines(["printf", "%s\\0", *arguments], width, plain=plain)
    assert all(cell_len(line) <= width and line.isprintable() for line in lines)
    run = subprocess.run(
        ["bash", "-c", "\n".join(lines)],
        capture_output=True,
        check=True,
        env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
    )
    assert run.stdout.decode().split("\0")[:-1] == arguments


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


def check_harmless(text, width):
    output = shown(hostile_report(text), width)
    assert all(line.isprintable() for line in output.split("\n"))
    assert all(cell_len(line) <= width for line in output.split("\n"))
    output.encode()
    colored = shown(hostile_report(text), width, force_terminal=True, color_system="standard")
    assert SGR.sub("", colored) == output


@pytest.mark.parametrize("width", [30, 80, 160])
@pytest.mark.parametrize("text", [*HOSTILE, "long" * 500, "", " "])
def test_hostile_texts_are_shown_harmlessly(text, width):
    check_harmless(text, width)


@given(st.text(st.characters(), max_size=40), st.sampled_from([40, 80, 160]))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_any_text_is_shown_harmlessly(text, width):
    check_harmless(text, width)


def test_markup_and_escapes_are_shown_as_they_are():
    assert "[red]x[/red]" in shown(hostile_report("[red]x[/red]"))
    output = shown(hostile_report("\x1b[2Jboo"))
    assert "\\x1b[2Jboo" in output
    assert words.clean("\u202e") == "\\u202e"
    assert words.clean("x" * 401).endswith("... (401 characters)")
