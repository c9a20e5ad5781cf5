"""The policy: what it says, what it refuses, and what it does to gates."""

import tomllib
from datetime import date

import pytest

from reports.gate.policy import Policy, parse_policy, read_policy
from reports.gate.presets import PRESETS, preset_gates
from reports.gate.verdict import verdict
from reports.model.report import Calibration, Source
from tests.reports.builder import build, number, row
from vfc.errors import UserError

TODAY = date(2026, 6, 15)
TEXT = """\
gate = ["target.accuracy >= 0.5"]
[policy]
gates = [
  "adaptive.suppression_ratio >= 1.5",
  { gate = "adaptive.suppression_ratio <= 1.9", level = "warn" },
]
required = ["linear"]
minimum_targets = 400
confidence = 0.9

[[policy.waivers]]
gate = "adaptive.suppression_ratio >= 1.5"
until = 2026-06-15
reason = "under way"
"""


def parsed(text: str) -> Policy:
    return parse_policy(tomllib.loads(text).get("policy", {}), text)


def test_a_policy_is_read_with_its_lines():
    policy = parsed(TEXT)
    first, second = policy.rules
    assert (first.gate.text, first.level, first.until, first.why) == (
        "adaptive.suppression_ratio >= 1.5", "error", date(2026, 6, 15), "under way",
    )  # fmt: skip
    assert (second.gate.operator, second.level, second.until) == ("<=", "warn", None)
    assert [rule.source for rule in policy.rules] == [Source(file="vfc.toml", line=4), Source(file="vfc.toml", line=5)]
    assert (policy.required, policy.minimum_targets, policy.confidence) == (("linear",), 400, 0.9)
    assert policy.level() == pytest.approx(0.05)
    assert policy.level(3) == pytest.approx(0.02)


@pytest.mark.parametrize("name", ["vfc.toml", "pyproject.toml"])
def test_it_is_found_in_the_working_folder(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert read_policy() == Policy()
    assert read_policy(preset="paper") == Policy(preset="paper")
    text = TEXT if name == "vfc.toml" else TEXT.replace("[policy]", "[tool.vfc.policy]").replace(
        "[[policy", "[[tool.vfc.policy").replace("gate = [", "[tool.vfc]\ngate = [", 1)  # fmt: skip
    (tmp_path / name).write_text(text)
    found = read_policy()
    assert len(found.rules) == 2
    assert found.rules[0].source.file == name
    # A gate that the file lists as an option keeps its line when it comes from the command line's options.
    added = found.adding(["target.accuracy >= 0.5", "adaptive.suppression_ratio>=1.5"])
    assert [rule.gate.metric for rule in added.rules[2:]] == ["target.accuracy"]
    assert added.rules[2].source.line == (1 if name == "vfc.toml" else 2)
    assert read_policy(str(tmp_path / name)).rules[0].source.file == name
    with pytest.raises(UserError, match="cannot read"):
        read_policy("nowhere.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("policy = 3", "expected a table"),
        ("[policy]\ngate = []", "did you mean 'gates'"),
        ("[policy]\ngates = 'x >= 1'", "expected a list"),
        ("[policy]\ngates = ['x']", "METRIC OP NUMBER"),
        ("[policy]\ngates = [3]", "expected a gate"),
        ("[policy]\ngates = [{ gate = 'x >= 1', lvl = 'warn' }]", "did you mean 'level'"),
        ("[policy]\ngates = [{ gate = 'x >= 1', level = 'info' }]", "error or warn"),
        ("[policy]\nrequired = 'linear'", "expected a list"),
        ("[policy]\nrequired = [1]", "names of adversaries"),
        ("[policy]\nminimum_targets = -1", "count"),
        ("[policy]\nminimum_targets = true", "count"),
        ("[policy]\nconfidence = 1.0", "in \\(0.5, 1\\)"),
        ("[policy]\nconfidence = 95", "in \\(0.5, 1\\)"),
        ("[policy]\npreset = 'stric'", "did you mean 'strict'"),
        ("[policy]\nwaivers = [{ gate = 'x >= 1', until = 2030-01-01, reason = 'y' }]", "list that gate"),
        ("[policy]\ngates = ['x >= 1']\nwaivers = [{ gate = 'x >= 1', until = 2030-01-01 }]", "until and reason"),
        ("[policy]\ngates = ['x >= 1']\nwaivers = [{ gate = 'x >= 1', until = 'soon', reason = 'y' }]", "a day"),
        ("[policy]\ngates = ['x >= 1']\nwaivers = [{ gate = 'x >= 1', until = 2030-01-01, reason = ' ' }]", "a reason"),
        ("[policy]\ngates = ['x >= 1']\nwaivers = [{ gate = 'x >= 1', until = 3, reason = 'y' }]", "a day"),
    ],
)
def test_what_means_nothing_is_refused(text, message):
    with pytest.raises(UserError, match=message):
        parsed(text)


@pytest.mark.parametrize(("day", "active"), [(date(2026, 6, 14), True), (TODAY, True), (date(2026, 6, 16), False)])
@pytest.mark.parametrize(
    ("value", "outcome"), [((2.0, 1.8, 2.2), "held"), ((1.0, 0.9, 1.1), "broken"), ((1.5, 1.4, 1.6), "inconclusive")]
)
def test_waivers_excuse_until_their_day_and_stay_visible(day, active, value, outcome):
    report = build(metrics={"adaptive.suppression_ratio": number(*value)})
    policy = parsed(
        TEXT.replace("confidence = 0.9", "confidence = 0.95").replace(
            '  { gate = "adaptive.suppression_ratio <= 1.9", level = "warn" },\n', ""
        )
    )
    (result,) = policy.judge(report, today=day)
    assert result.outcome == outcome
    assert (result.waiver.until, result.waiver.reason, result.waiver.active) == ("2026-06-15", "under way", active)
    assert result.decides is not active
    word = verdict([result], report.evidence, policy.required)
    assert word == ("measured" if active else outcome)


def test_warnings_never_decide():
    policy = parsed(
        "[policy]\ngates = [{ gate = 'adaptive.suppression_ratio >= 9', level = 'warn' },"
        " 'adaptive.suppression_ratio >= 1']"
    )
    exact = build(metrics={"adaptive.suppression_ratio": number(2.0, 2.0, 2.0)})
    results = policy.judge(exact, today=TODAY)
    assert [(result.outcome, result.decides) for result in results] == [("broken", False), ("held", True)]
    assert verdict(results, exact.evidence) == "held"


@pytest.mark.parametrize(("size", "outcome"), [(399, "inconclusive"), (400, "held")])
def test_minimum_targets(size, outcome):
    base = build()
    part = base.dataset.parts["targets"].model_copy(update={"size": size})
    report = build(dataset=base.dataset.model_copy(update={"parts": {"targets": part}}))
    policy = parsed("[policy]\ngates = ['adaptive.suppression_ratio >= 1.5']\nminimum_targets = 400")
    (result,) = policy.judge(report, today=TODAY)
    assert result.outcome == outcome
    assert ("asks for 400" in result.reason) == (outcome != "held")


def test_confidence_moves_the_bounds():
    from adversaries.statistics import estimates

    report = build(metrics={"target.accuracy": estimates.rate(400, 450)})
    for confidence in (0.9, 0.95, 0.99):
        policy = parsed(f"[policy]\ngates = ['target.accuracy >= 0.5']\nconfidence = {confidence}")
        (result,) = policy.judge(report, today=TODAY)
        assert result.observed.low == pytest.approx(estimates.rate(400, 450, 1 - confidence).low)


@pytest.mark.parametrize(
    ("status", "outcome"), [("uncalibrated", "inconclusive"), ("calibrated", "held"), (None, "inconclusive")]
)
def test_strict_asks_for_calibration(status, outcome):
    chosen = row("mlp").model_copy(update={"chosen": True})
    known = {} if status is None else {"mlp": Calibration(digest="", status=status)}
    metrics = {
        "transfer.suppression_ratio": number(3, 3, 3), "target.retention": number(1, 1, 1),
        "adaptive.suppression_ratio@1": number(3, 3, 3), "adaptive.labels_to_90": number(50, 50, 50),
    }  # fmt: skip
    report = build(evidence=(chosen, row("linear")), calibration=known, metrics=metrics)
    results = Policy(preset="strict").with_preset((), 0.1).judge(report, today=TODAY)
    assert {result.outcome for result in results} == {outcome}
    results = Policy(preset="standard").with_preset((), 0.1).judge(report, today=TODAY)
    assert {result.outcome for result in results} == {"held"}


def test_presets_grow():
    gates = {name: preset_gates(name, ("ink", "large"), 0.1) for name in PRESETS}
    assert gates["paper"] == ["transfer.suppression_ratio >= 2"]
    assert set(gates["paper"]) < set(gates["standard"]) == set(gates["strict"])
    assert [text for text in gates["standard"] if "attribute" in text] == [
        "attribute.ink.leakage <= 0.2", "attribute.large.leakage <= 0.2",
    ]  # fmt: skip
    assert preset_gates("paper", (), 0.5) == ["transfer.suppression_ratio >= 1.6"]
    assert "adaptive.suppression_ratio@1 >= 0.88" in preset_gates("standard", (), 0.9)
    # No useful release without a secret can hold a gate about all labels.
    assert not [text for text in gates["strict"] if text.startswith(("adaptive.leakage", "adaptive.accuracy"))]
    with pytest.raises(UserError, match="did you mean 'paper'"):
        preset_gates("papre", (), None)


@pytest.mark.parametrize(
    ("frozen", "asked"),
    [(("not_applicable",), False), (("not_applicable", "failed"), True), (("measured",), True), ((), True)],
)
def test_presets_ask_nothing_of_models_that_cannot_read_the_release(frozen, asked):
    rows = [row("frozen").model_copy(update={"status": status}) for status in frozen]
    report = build(evidence=(row("mlp"), *rows))
    for preset in ("standard", "strict"):
        gates = Policy(preset=preset).with_preset(("ink",), 0.1, report).gates
        assert any(gate.metric.startswith("transfer.") for gate in gates) is asked
        assert {"target.retention", "adaptive.labels_to_90", "attribute.ink.leakage"} <= {gate.metric for gate in gates}
    # A picture in whole numbers is a picture: whoever divides by 255 reads it.
    codes = report.release.model_copy(update={"dtype": "uint8"})
    gates = Policy(preset="standard").with_preset((), 0.1, report.model_copy(update={"release": codes})).gates
    assert any(gate.metric.startswith("transfer.") for gate in gates)
    # Who asks for the published setting alone hears that it does not apply.
    assert [gate.metric for gate in Policy(preset="paper").with_preset((), 0.1, report).gates] == [
        "transfer.suppression_ratio"
    ]


def test_a_gate_of_the_policy_wins_over_the_preset():
    policy = parsed("[policy]\npreset = 'paper'\ngates = ['transfer.suppression_ratio >= 5']").with_preset((), 0.1)
    assert [rule.gate.text for rule in policy.rules] == ["transfer.suppression_ratio >= 5"]


@pytest.mark.parametrize(
    ("required", "word"), [(("linear",), "held"), (("linear", "mlp"), "inconclusive"), (None, "held")]
)
def test_required_adversaries_count_beside_gates(required, word):
    report = build(evidence=(row("linear"), row("mlp", "failed")))
    policy = Policy(required=required).adding(["adaptive.suppression_ratio >= 1.5"])
    assert verdict(policy.judge(report, today=TODAY), report.evidence, policy.required) == word
    broken = Policy(required=("nobody",)).adding(["adaptive.suppression_ratio >= 5"])
    assert verdict(broken.judge(report, today=TODAY), report.evidence, broken.required) == "broken"
