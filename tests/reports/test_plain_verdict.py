"""The one plain sentence: what it says at every outcome, and that it never calls weak attacks a defense."""

import re

import pytest

from adversaries.evidence import Arms, Value
from reports.formats.html import render_html
from reports.model.attempt_index import AttemptIndex
from reports.model.numbers import percent
from reports.model.report import TargetFacts, Waiver
from reports.text.headline import plain_verdict
from tests.reports.builder import build, number
from tests.reports.hostile import gate
from tests.reports.sample import attack, full, rate

CHOSEN = "Chosen by further labelled releases."


def said(metrics, *, target=0.9, floor=0.1, flags=()):
    """The sentence of a report with accuracies by K."""
    accuracy = Value.unknown("no target") if target is None else rate(target)
    rows = [
        attack("linear", value, labels=labels, arms={"floor": rate(floor)} if floor != 0.1 else None)
        for labels, value in metrics.items()
        if labels != 0
    ]
    numbers = {f"adaptive.accuracy@{labels}": rate(value, flags=flags) for labels, value in metrics.items()}
    if target is not None:
        numbers["target.retention"] = number(target, target - 0.01, min(1.5, target + 0.01))
    return plain_verdict(
        AttemptIndex(
            build(evidence=tuple(rows), metrics=numbers, target=TargetFacts(accuracy=accuracy, clean_accuracy=accuracy))
        )
    )


def test_labels_that_bring_half_of_the_way_decide_what_is_said():
    # Half of the way from .1 to .9 is .5.
    assert said({1: 0.88, "all": 0.9}) == (
        "Keeps 90 % of the target model's accuracy. "
        "Does not hide the task: one labelled release per class brings an attacker to 88 %."
        f" {CHOSEN}"
    )
    few = said({1: 0.3, 10: 0.51, "all": 0.9})
    assert "Hides the task only while labels are few: 10 labelled releases per class bring an attacker to 51 %." in few
    assert "labels on all its releases bring an attacker to 50 %." in said({1: 0.3, "all": 0.5})
    part = said({1: 0.3, "all": 0.49})
    assert "Hides a part of the task: labels on all its releases bring an attacker to 49 %, 10 % by chance." in part
    assert "No attack tried here reads the task:" in said({1: 0.1, "all": 0.11})


def test_others_without_labels_stand_beside_chance():
    assert said({0: 0.22, 1: 0.88}).endswith(f"Other models without labels: 22 %, 10 % by chance. {CHOSEN}")


@pytest.mark.parametrize("metrics", [{"all": 0.11}, {1: 0.2, "all": 0.4}])
def test_weak_attacks_show_nothing(metrics):
    text = said(metrics, flags=("TARGET_UNMATCHED", "UNCALIBRATED"))
    assert text.endswith(f"These attacks are too weak to show that nobody does better (TARGET_UNMATCHED). {CHOSEN}")
    assert "too weak" not in said(metrics, flags=("UNCALIBRATED",))


def test_without_a_target_nobody_knows_the_way():
    text = said({1: 0.88, "all": 0.9}, target=None)
    assert text.startswith("Without a target model nobody knows what use it keeps.")
    assert text.endswith(f"Labels on all its releases bring an attacker to 90 %, 10 % by chance. {CHOSEN}")
    assert "hide" not in text


def test_retention_is_rounded_down_and_never_more_than_all():
    assert said({1: 0.1}, target=0.899).startswith("Keeps 89 %")
    assert said({1: 0.1}, target=0.96).startswith("Keeps 96 %")
    # As the tables show it: .9599 is 0.960 there, and 0.959 beside a gate that it has to reach.
    assert said({1: 0.1}, target=0.9599).startswith("Keeps 96 %")
    report = build(
        metrics={"target.retention": number(0.9599, 0.95, 0.97)}, gates=(gate("target.retention >= 0.9", "held"),)
    )
    assert plain_verdict(AttemptIndex(report)).startswith("Keeps 95 %")
    assert said({1: 0.1}, target=0.9996).startswith("Keeps 99 %")
    every = {"target.retention": number(1.02, 1.0, 1.05), "adaptive.accuracy@1": rate(0.1)}
    assert plain_verdict(AttemptIndex(build(metrics=every))).startswith("Keeps all of the target model's accuracy.")


def test_other_protocols_add_a_sentence_each():
    arms = Arms(attack=rate(0.81), floor=rate(0.52))
    row = attack("linear", 0.81, labels="all", goal="attribute:ink", chosen=True, protocol="attribute")
    report = build(
        evidence=(row.model_copy(update={"arms": arms}),),
        metrics={
            "attribute.ink.leakage": number(0.6, 0.5, 0.7, unit="leakage"),
            "attribute.ink.accuracy": rate(0.81),
            "inversion.identification": rate(0.25),
        },
    )
    text = plain_verdict(AttemptIndex(report))
    assert "Gives away “ink”: 81 %, 52 % without the release." in text
    assert "Reconstructions lead back to their own image in 25 % of the cases." in text


def test_what_is_not_all_is_never_called_so():
    shown = [percent(share) for share in (0.0, 0.001, 0.012, 0.5, 0.99, 0.999, 1.0)]
    assert shown == ["0 %", "under 1 %", "1 %", "50 %", "99 %", "over 99 %", "100 %"]


def test_the_first_screen_says_why_a_gate_is_waived():
    waiver = Waiver(until="2030-01-01", reason="a new: decoder", active=True)
    page = render_html(full(gates=(gate("adaptive.leakage <= 0.5", "broken", waiver=waiver),), verdict="measured"))
    line, *_ = re.findall(r"<li class=.broken.>(.*?)</li>", page, re.DOTALL)
    words = " ".join(re.sub(r"<[^>]+>", "", line).split())
    assert words.endswith("BROKEN, WAIVED until 2030-01-01 adaptive.leakage &lt;= 0.5 a new: decoder")
