"""Small reports for tests."""

from typing import Any

from adversaries.evidence import Arms, Cost, Evidence, Threat, Value
from reports.model.report import (
    Command,
    Dataset,
    PartOfData,
    Provenance,
    ReleaseFacts,
    Report,
    Settings,
    TargetFacts,
    Tool,
)


def number(value: float, low: float, high: float, **facts: Any) -> Value:
    return Value(value=value, low=low, high=high, **{"n": 450, "unit": "ratio", **facts})


def row(adversary: str = "linear", status: str = "measured", seconds: float = 1.0) -> Evidence:
    return Evidence(
        protocol="adaptive-probe",
        adversary=adversary,
        goal="task:digit",
        threat=Threat(level="L2", knows=("labelled",)),
        seed=0,
        status=status,
        arms=Arms(attack=number(0.5, 0.4, 0.6, unit="rate")),
        cost=Cost(seconds=seconds),
    )


def build(**changes: Any) -> Report:
    facts = {
        "tool": Tool(name="vfc", version="0.1.0"),
        "command": Command(
            argv=("vfc", "attack"),
            settings=Settings(passed={"out": "a"}, with_defaults={"out": "a", "no-cache": True, "seed": 0}),
        ),
        "provenance": Provenance(python="3.11", duration_s=2.0),
        "dataset": Dataset(
            name="digits",
            digest="d",
            task="digit",
            classes={"digit": 10, "ink": 2},
            split="halved",
            parts={"targets": PartOfData(size=450, digest="t")},
        ),
        "release": ReleaseFacts(kind="registered", name="vfc", digest="r", shape=(1, 16, 16), dtype="float32"),
        "target": TargetFacts(
            accuracy=number(0.97, 0.95, 0.98, unit="rate"), clean_accuracy=number(0.98, 0.96, 0.99, unit="rate")
        ),
        "evidence": (row(),),
        "metrics": {"adaptive.suppression_ratio": number(2.0, 1.8, 2.2)},
        "verdict": "measured",
    }
    return Report(**{**facts, **changes})
