"""The in-place power control: a label planted in a copy of the release must be found."""

import json

import pytest
import torch

from adversaries.attacks.label.frozen.majority import Majority
from adversaries.attacks.label.probes.linear import Linear
from adversaries.calibration import shipped
from adversaries.calibration.digest import digest_of
from adversaries.evaluation_data import EvaluationData, Part
from adversaries.evidence import Evidence, Threat, Value
from adversaries.goals.assess import PLANTED, assess
from adversaries.goals.label import TaskLabel
from adversaries.health import FOUND, MISSED, NO_ROOM
from adversaries.threat import ThreatModel
from protocols.engine.task import Outcome
from protocols.evaluation.checks.hard_plants import with_missed_plants
from protocols.evaluation.evidence import EvidenceMaker
from protocols.evaluation.results import Attempt
from reports.gate.gate import Gate, judge
from reports.model.attempt_index import AttemptIndex
from reports.text.caveats import controls
from tests.protocols.builders import board, enter, fill, flags_of, outcome
from tests.reports.sample import full


@pytest.mark.parametrize(
    ("planted", "attack", "flagged"),
    [
        (0.52, 0.50, True),  # blind
        (0.75, 0.50, False),  # finds it
        (0.70, 0.80, False),  # the release itself leaks
        (0.985, 0.985, False),  # no room
    ],
)
def test_missing_a_planted_label_is_flagged(planted, attack, flagged):
    b = board("a")
    attempt = fill(b, 0, attack=attack, shuffled=0.5)
    enter(b, attempt, "planted", outcome(planted))
    assert ("PLANTED_MISSED" in flags_of(b, attempt)) == flagged


def test_what_beats_its_own_attack_on_a_high_floor_has_found_it():
    b = board("a", floor=0.9)
    attempt = fill(b, 0, attack=0.6, shuffled=0.5)
    enter(b, attempt, "planted", outcome(0.8))
    assert "PLANTED_MISSED" not in flags_of(b, attempt)


def test_without_the_control_nothing_is_said():
    b = board("a")
    assert "PLANTED_MISSED" not in flags_of(b, fill(b, 0, attack=0.5, shuffled=0.5))


@pytest.mark.parametrize(
    ("planted", "attack", "said"),
    [(0.75, 0.5, FOUND), (0.5, 0.5, MISSED), (0.3, 0.6, MISSED), (0.985, 0.985, NO_ROOM), (0.8, 0.6, FOUND)],
)
def test_of_a_hard_plant_it_is_said_whether_it_was_found_and_the_attack_has_no_flag_for_it(planted, attack, said):
    b = board("a")
    attempt = fill(b, 0, attack=attack, shuffled=0.5)
    before = flags_of(b, attempt)
    enter(b, attempt, "planted:signs", outcome(planted))
    (row,) = EvidenceMaker(board=b, protocol="p", sidecar={}).rows([], {})
    assert row.metrics["planted.signs"].value == planted
    assert row.metrics["planted.signs"].reason == said
    assert flags_of(b, attempt) == before
    # Who crashes on it has not crashed on the release.
    enter(b, attempt, "planted:signs", Outcome.empty("failed", "odd"))
    assert not b.results.crashed([attempt])
    enter(b, attempt, "planted", Outcome.empty("failed", "odd"))
    assert b.results.crashed([attempt])


@pytest.mark.parametrize(("status", "said"), [("failed", "failed: odd"), ("not_applicable", "not applicable: odd")])
def test_of_a_hard_plant_on_which_a_reader_dies_it_is_said_why(status, said):
    b = board("a")
    enter(b, fill(b, 0, attack=0.5, shuffled=0.5), "planted:signs", Outcome.empty(status, "odd"))
    (row,) = EvidenceMaker(board=b, protocol="p", sidecar={}).rows([], {})
    assert row.metrics["planted.signs"].value is None
    assert row.metrics["planted.signs"].reason == said
    text = " ".join(controls(AttemptIndex(full(evidence=(row,)))))
    assert f"nobody could look for it; without a number: a ({said})." in text
    assert "controls that ran are clean" not in text


def looked(goal, said, *, health=(), seed=0, kind="signs"):
    value = Value.unknown("failed: odd") if said is None else Value(value=0.5, low=0.4, high=0.6, n=400, reason=said)
    return Evidence(
        protocol="p", adversary="a", goal=goal, threat=Threat(level="L2", knows=()), seed=seed, status="measured",
        health=health, metrics={f"planted.{kind}": value, "validation": value},
    )  # fmt: skip


NUMBERS = (
    "attribute.a.b.accuracy",
    "attribute.a.accuracy",
    "membership.tpr@0.01",
    "adaptive.accuracy",
    "mdl.attribute.a",
)


@pytest.mark.parametrize(
    ("rows", "flagged"),
    [
        ([], ()),
        ([looked("attribute:a", MISSED)], ("attribute.a.accuracy",)),
        ([looked("attribute:a.b", MISSED)], ("attribute.a.b.accuracy",)),
        ([looked("membership", MISSED)], ("membership.tpr@0.01",)),
        ([looked("membership", None)], ("membership.tpr@0.01",)),  # nobody could look
        ([looked("membership", MISSED), looked("membership", FOUND)], ()),
        ([looked("membership", None), looked("membership", FOUND)], ()),
        ([looked("membership", MISSED), looked("membership", FOUND, seed=1, kind="scale")], ("membership.tpr@0.01",)),
        ([looked("membership", NO_ROOM)], ()),
        ([looked("membership", NO_ROOM), looked("membership", MISSED)], ("membership.tpr@0.01",)),
        ([looked("membership", FOUND, health=("SHUFFLED_ABOVE_CHANCE",))], ("membership.tpr@0.01",)),
        ([looked("membership", FOUND, health=("AT_FLOOR",))], ()),
        ([looked("task:y", MISSED)], ()),  # the target model is its control
    ],
)
def test_where_nobody_finds_the_hard_plant_no_gate_on_attributes_and_membership_holds(rows, flagged):
    before = dict.fromkeys(NUMBERS, Value(value=0.5, low=0.4, high=0.6, n=400, flags=("AT_FLOOR",)))
    after = with_missed_plants(before, rows)
    assert {name for name, value in after.items() if "PLANTED_MISSED" in value.flags} == set(flagged)
    assert all("AT_FLOOR" in value.flags for value in after.values())
    for name in {*flagged} - {"attribute.a.b.accuracy"}:
        (result,) = judge(full(metrics=after), [Gate.parse(f"{name} <= 0.9")])
        assert result.outcome == "inconclusive"
        assert "PLANTED_MISSED" in result.reason


def test_what_a_dishonest_reader_finds_is_not_called_found():
    row = looked("attribute:a", FOUND, health=("SHUFFLED_ABOVE_CHANCE",))
    row = row.model_copy(update={"arms": row.arms.model_copy(update={"attack": row.metrics["validation"]})})
    assert "found by" not in " ".join(controls(AttemptIndex(full(evidence=(row,)))))


def noise_world(dtype):
    generator = torch.Generator().manual_seed(0)
    parts = []
    for n in (300, 60, 400):
        release = (torch.randn(n, 20, generator=generator) * 40).to(dtype)
        parts.append(Part(images=None, release=release, labels={"y": torch.arange(n) % 4}))
    return EvaluationData(train=parts[0], validation=parts[1], targets=parts[2], classes={"y": 4})


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.uint8])
def test_a_reader_finds_it_in_noise_and_a_blind_one_does_not(dtype):
    def rate(adversary, arm):
        threat = ThreatModel(level=adversary.level, labels_per_class="all" if adversary.level >= "L2" else None)
        graded = assess(adversary, noise_world(dtype), TaskLabel(label="y"), threat, arm=arm, seed=0, fit_seed=0)
        return float(graded.targets.double().mean())

    expected = PLANTED + (1 - PLANTED) / 4
    assert rate(Linear(), "planted") == pytest.approx(expected, abs=0.1)
    assert rate(Linear(), "attack") < 0.35
    assert rate(Majority(), "planted") == pytest.approx(0.25)


def test_a_run_plants_it_for_whom_it_chose_and_quotes_calibration(vfc, monkeypatch):
    known = {"adversary": "linear", "settings": {}, "leaks": {"pixel": {"1": [30, 30]}}, "nulls": [0, 60]}
    # Every option that the command line sets is part of the digest.
    results = {
        "schema": 1,
        "datasets": {
            "digits": {
                "n": 100,
                "adversaries": {digest_of("linear", {"iterations": 20}): known},
                "protocols": {"attribute": {"leaks": {"pixel": {"1": [30, 30]}}}},
            },
        },
    }
    monkeypatch.setattr(shipped, "load", lambda: results)
    code, _, err = vfc("attack", "--protocol", "adaptive-probe", "--release", "pixel-permutation", "--out", "out")
    assert code == 0, err
    with open("out/report.json", encoding="utf-8") as file:
        report = json.load(file)
    hard = [name for row in report["evidence"] for name in row["metrics"] if name.startswith("planted.")]
    assert len(hard) == 1  # at this budget the strongest alone looks for it
    planted = [row for row in report["evidence"] if "planted" in row["metrics"]]
    assert planted
    assert all(row["threat"]["level"] == "L2" for row in planted)
    assert all(row["threat"]["budget"]["labels_per_class"] == "all" for row in planted)
    blocks = report["calibration"]
    assert blocks["linear"]["status"] == "calibrated"
    assert blocks["linear"]["finds"]["leaks"] == known["leaks"]
    assert blocks["linear"]["false_alarms"] == {"alarms": 0, "runs": 60}
    assert blocks["knn"]["status"] == "uncalibrated"
    for row in report["evidence"]:
        if row["status"] == "measured" and row["adversary"] in ("linear", "knn"):
            largest = row["threat"]["budget"]["labels_per_class"] == "all"
            assert ("UNCALIBRATED" in row["health"]) != (row["adversary"] == "linear" and largest)


def test_calibration_counts_at_the_largest_number_of_labels_only():
    b = board("a", common=("UNCALIBRATED",), calibrated=True)
    few, every = fill(b, 0, 1, attack=0.8), fill(b, 0, "all", attack=0.8)
    assert "UNCALIBRATED" in flags_of(b, few)
    assert "UNCALIBRATED" not in flags_of(b, every)
    other = board("a", common=("UNCALIBRATED",))
    assert "UNCALIBRATED" in flags_of(other, fill(other, 0, attack=0.8))
    assert Attempt(0, "all") == every
