"""What adversaries are known to find, in the words of every format."""

from html import unescape

import pytest

from reports.formats.markdown import render_markdown
from reports.model.attempt_index import AttemptIndex
from reports.model.report import Calibration
from reports.text.power import powers
from tests.reports.sample import attack, full

LEAKS = {
    "identity": {"1": [30, 30], "0.5": [10, 10], "0.25": [10, 10], "0.1": [9, 10]},
    "pixel": {"1": [29, 30]},
    "zeros": {"1": [29, 30]},
    "signs": {"1": [12, 30]},
    "norm": {"1": [0, 30], "0.5": [0, 10]},
}


def known(**facts):
    calibrated = Calibration(
        digest="a",
        finds={"dataset": "digits", "n": 450, "leaks": LEAKS},
        false_alarms={"alarms": 1, "runs": 90},
        status="calibrated",
    )
    rows = (attack("linear", 0.7, labels="all", chosen=True), attack("knn", 0.6, labels="all"))
    return full(evidence=rows, calibration={"knn": calibrated, "linear": calibrated.model_copy(update=facts)})


def test_what_is_found_down_to_which_share_and_what_is_missed():
    first, second = powers(AttemptIndex(known()))
    assert (first.name, first.chosen, second.name, second.chosen) == ("linear", True, "knn", False)
    assert first.finds == ("identity in 30 of 30, down to 25% of images", "pixel, zeros in 29 of 30")
    assert first.misses == ("norm", "signs (12 of 30)")
    assert (first.alarms, first.measured_on) == ("1 in 90 runs", "digits, 450 target images")
    assert first.sentence.startswith(
        "linear (digits, 450 target images): finds identity in 30 of 30, down to 25% of images; "
    )


def test_an_unknown_power_is_said_to_be_unknown():
    first, _ = powers(AttemptIndex(known(finds=None, false_alarms=None, status="uncalibrated")))
    assert first.sentence == "linear: uncalibrated; what it would find is not known."


def test_markdown_quotes_the_chosen():
    text = render_markdown(known())
    assert "## Calibration of the chosen" in text
    assert "pixel, zeros in 29 of 30 | norm, signs (12 of 30) | 1 in 90 runs" in unescape(text)
    unknown = render_markdown(known(finds=None, false_alarms=None, status="uncalibrated"))
    assert "| linear (uncalibrated) | - | - | - |" in unescape(unknown)


def test_what_was_found_out_in_too_few_runs_is_quoted_as_that():
    first, _ = powers(AttemptIndex(known(status="uncalibrated")))
    assert first.sentence.startswith("linear (digits, 450 target images): uncalibrated; finds identity")


@pytest.mark.parametrize(
    "finds",
    ["29 of 30", 3, [1], {"dataset": 4}, {"dataset": "d", "leaks": [1]}, {"dataset": "d", "leaks": {"a": {"1": "x"}}},
     {"dataset": "d", "leaks": {"a": {"most": [1, 2], "1": [1]}}}, {"leaks": {"a": {"1": [True, 2]}}}],
)  # fmt: skip
def test_what_is_shaped_otherwise_is_left_out(finds):
    first, _ = powers(AttemptIndex(known(finds=finds, false_alarms={"alarms": "many"})))
    assert first.finds == first.misses == ()
    assert first.alarms == ""
