"""The ratchet: no metric may get worse, and who accepted what."""

import json
from datetime import date

import numpy as np
import pytest

from adversaries.statistics import estimates
from reports.gate.baseline import HISTORY, accept, against, directed, read_history
from reports.model.storage import load, load_rows, write
from tests.reports.builder import build, number
from tests.reports.test_compare import flipped, hits, run
from vfc.errors import UserError

DAY = date(2026, 6, 15)


def outcomes(old, new, tolerance=0.0, alpha=0.05):
    return {one.metric: one for one in against(*new, *old, tolerance=tolerance, alpha=alpha)}


def test_only_metrics_with_a_direction_and_a_number_are_compared():
    report, rows = run(hits(0, 0.5))
    metrics = {**report.metrics, "target.clean_accuracy": estimates.rate(1, 2), "no.such.metric": estimates.rate(1, 2)}
    found = outcomes((report.model_copy(update={"metrics": metrics}), rows), (report, rows))
    assert sorted(found) == directed(report) == [
        "adaptive.accuracy", "adaptive.leakage", "adaptive.suppression_ratio", "target.accuracy",
    ]  # fmt: skip
    assert {one.outcome for one in found.values()} == {"held"}


@pytest.mark.parametrize(
    ("lost", "tolerance", "outcome"),
    [
        (-60, 0.0, "held"),
        (-5, 0.0, "held"),
        (-4, 0.0, "inconclusive"),
        (0, 0.0, "held"),
        (4, 0.0, "inconclusive"),
        (4, 0.05, "held"),
        (5, 0.0, "broken"),
        (60, 0.0, "broken"),
        (60, 0.05, "broken"),
        (60, 0.12, "inconclusive"),
        (60, 0.25, "held"),
    ],
)
def test_rates_against_the_baseline(lost, tolerance, outcome):
    """`lost` targets are read by the new attack and were not by the old one."""
    strong = hits(0, 0.5)
    weak = flipped(strong, abs(lost))
    old, new = (run(weak), run(strong)) if lost > 0 else (run(strong), run(weak))
    found = outcomes(old, new, tolerance)["adaptive.accuracy"]
    assert (found.outcome, found.paired) == (outcome, True)


def test_the_reason_names_a_tolerance_that_holds():
    strong = hits(0, 0.5)
    old, new = run(flipped(strong, 4)), run(strong)
    reason = outcomes(old, new)["adaptive.accuracy"].reason
    tolerance = float(reason.split("--tolerance ")[1].split()[0])
    assert outcomes(old, new, tolerance)["adaptive.accuracy"].outcome == "held"
    assert outcomes(old, new, tolerance - 0.002)["adaptive.accuracy"].outcome == "inconclusive"


def test_tolerance_is_a_share_for_numbers_that_are_no_rates():
    rng = np.random.default_rng(0)
    psnr = rng.normal(20, 1, 450)
    worse = psnr + 1 + rng.normal(0, 0.1, 450)  # 5 % more
    old, new = run(hits(0, 0.5), psnr=psnr), run(hits(0, 0.5), psnr=worse)
    for tolerance, outcome in ((0.0, "broken"), (0.04, "broken"), (0.06, "held")):
        assert outcomes(old, new, tolerance)["inversion.psnr"].outcome == outcome


@pytest.mark.parametrize(
    ("old", "new", "outcome"),
    [
        (estimates.exact(10), estimates.exact(10), "held"),
        (estimates.exact(10), estimates.exact(50), "held"),
        (estimates.exact(50), estimates.exact(10), "broken"),
        (estimates.exact(10), estimates.exact(50, censored=True), "held"),
        (estimates.exact(50, censored=True), estimates.exact(50, censored=True), "held"),
        (estimates.exact(50, censored=True), estimates.exact(10), "broken"),
        (estimates.exact(50, censored=True), estimates.exact(10, censored=True), "inconclusive"),
        (estimates.exact(50), estimates.exact(10, censored=True), "inconclusive"),
        (number(10, 5, 50, unit="count"), number(5, 1, 10, unit="count"), "inconclusive"),
    ],
)
def test_labels_against_the_baseline(old, new, outcome):
    reports = [build(metrics={"adaptive.labels_to_90": value}) for value in (old, new)]
    (found,) = against(reports[1], {}, reports[0], {}, alpha=0.05)
    assert found.outcome == outcome


def test_a_stronger_rival_breaks_it_and_an_accepted_one_does_not():
    weak, rival = hits(0, 0.2), estimates.rate(400, 450)
    report, rows = run(weak)
    value = report.metrics["adaptive.accuracy"].model_copy(update={"also": (rival,), "flags": ("SELECTION_MISSED",)})
    doubted = report.model_copy(update={"metrics": {**report.metrics, "adaptive.accuracy": value}})
    assert outcomes((report, rows), (doubted, rows))["adaptive.accuracy"].outcome == "broken"
    assert outcomes((doubted, rows), (doubted, rows))["adaptive.accuracy"].outcome == "held"


def test_a_baseline_without_clean_controls_decides_nothing():
    report, rows = run(hits(0, 0.5))
    value = report.metrics["adaptive.accuracy"].model_copy(update={"flags": ("SPLIT_OVERLAP",)})
    doubted = report.model_copy(update={"metrics": {**report.metrics, "adaptive.accuracy": value}})
    assert outcomes((doubted, rows), (report, rows))["adaptive.accuracy"].outcome == "inconclusive"


def test_what_cannot_be_compared_is_refused():
    report, rows = run(hits(0, 0.5))
    for wrong in (-0.1, float("nan"), float("inf")):
        with pytest.raises(UserError, match="tolerance"):
            against(report, rows, report, rows, tolerance=wrong, alpha=0.05)
    other = report.model_copy(update={"dataset": report.dataset.model_copy(update={"task": "ink"})})
    with pytest.raises(UserError, match="of task"):
        against(report, rows, other, rows, alpha=0.05)


def test_accepting_keeps_the_files_and_the_reasons(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    write(*run(hits(0, 0.5)), old)
    write(*run(hits(1, 0.4)), new)
    folder = tmp_path / "deep" / "baseline"
    assert accept(old, folder, "first", DAY) == []
    assert (folder / "report.json").read_bytes() == (old / "report.json").read_bytes()
    changed = accept(new / "report.json", folder, " second ", date(2026, 7, 1))
    assert any(line.startswith("adaptive.accuracy: 0.") for line in changed)
    first, second = read_history(folder)
    assert (first["date"], first["reason"], first["replaces"]) == ("2026-06-15", "first", None)
    assert (second["reason"], second["replaces"], second["digest"]) == ("second", first["digest"], load(new).digest)
    report = load(folder)
    assert set(load_rows(folder, report)) == set(load_rows(new, load(new)))


def test_bad_input_is_refused_and_changes_nothing(tmp_path):
    run_folder, folder = tmp_path / "run", tmp_path / "baseline"
    write(*run(hits(0, 0.5)), run_folder)
    with pytest.raises(UserError, match="reason"):
        accept(run_folder, folder, "  ", DAY)
    (run_folder / "report.safetensors").rename(tmp_path / "away")
    with pytest.raises(UserError, match="rows"):
        accept(run_folder, folder, "why", DAY)
    assert not folder.exists()
    (tmp_path / "away").rename(run_folder / "report.safetensors")
    folder.mkdir()
    for wrong in ("", "{}", "[3]", json.dumps([{"digest": 1, "metrics": {}}])):
        (folder / HISTORY).write_text(wrong)
        with pytest.raises(UserError, match="history"):
            accept(run_folder, folder, "why", DAY)
        assert sorted(file.name for file in folder.iterdir()) == [HISTORY]


def test_a_report_that_nobody_accepted_is_not_overwritten(tmp_path):
    run_folder, theirs = tmp_path / "run", tmp_path / "theirs"
    write(*run(hits(0, 0.5)), run_folder)
    theirs.mkdir()
    (theirs / "report.json").write_text("of another run")
    with pytest.raises(UserError, match="nothing is overwritten"):
        accept(run_folder, theirs, "why", DAY)
    assert (theirs / "report.json").read_text() == "of another run"
    assert not (theirs / "history.json").exists()
