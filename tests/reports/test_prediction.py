"""The prediction table: what it correlates, what it leaves out, and that it says so in every format."""

import csv
import io
import json
import subprocess
import sys

import numpy as np
import pytest
import scipy.stats
from rich.console import Console

from adversaries.evidence import Value
from reports.studies.prediction.correlate import predict
from reports.studies.prediction.data import ALL, CONTROLS, LEVEL, WITHOUT, diagnostics
from reports.studies.prediction.formats import csv_prediction, json_prediction, markdown_prediction, render_prediction
from tests.reports.builder import build, number
from tests.reports.hostile import TEXTS
from vfc.defense import DEFENSES
from vfc.errors import UserError

RANK, BOUND, PSNR, INK = "leakage.dof.effective", "leakage.mse_bound", "inversion.psnr", "attribute.ink.leakage"


def release(position, metrics, *, name="mine", kind="registered", **changes):
    """A report of a release of its own."""
    facts = build().release.model_copy(
        update={"name": name, "kind": kind, "digest": f"d{position}", "settings": {"strength": position}}
    )
    values = {
        metric: Value.unknown(value) if isinstance(value, str) else number(value, value, value)
        for metric, value in metrics.items()
    }
    return build(**{"release": facts, "metrics": values, **changes})


def increasing(count=12, **changes):
    """Releases whose reconstructions get better with the diagnostic, and worse with the bound."""
    return [release(i, {RANK: i, BOUND: -i, PSNR: 10 + i**2, INK: 0.5}, **changes) for i in range(count)]


def cell(found, diagnostic, measured, title=ALL):
    (block,) = (block for block in found.blocks if block.title == title)
    (one,) = (one for one in block.cells if (one.diagnostic, one.measured) == (diagnostic, measured))
    return one


def test_a_monotone_diagnostic_predicts_on_the_expected_side():
    found = predict(increasing())
    dimensions, bound = cell(found, RANK, PSNR), cell(found, BOUND, PSNR)
    assert (dimensions.correlation.value, dimensions.expected, dimensions.mark) == (1, 1, "*")
    assert (bound.correlation.value, bound.expected, bound.mark) == (-1, -1, "*")
    assert dimensions.correlation.n == 12
    assert cell(predict([*reversed(increasing())]), RANK, PSNR).correlation == dimensions.correlation


def test_the_other_side_has_another_mark():
    found = predict([release(i, {RANK: -i, PSNR: i}) for i in range(12)])
    assert (cell(found, RANK, PSNR).correlation.value, cell(found, RANK, PSNR).mark) == (-1, "!")


def test_independent_numbers_are_not_marked_and_agree_with_scipy():
    rng = np.random.default_rng(3)
    rank, psnr = rng.normal(size=20), rng.normal(size=20)
    found = predict([release(i, {RANK: float(rank[i]), PSNR: float(psnr[i])}) for i in range(20)])
    one = cell(found, RANK, PSNR)
    assert one.correlation.value == pytest.approx(scipy.stats.spearmanr(rank, psnr).statistic)
    assert one.correlation.low < 0 < one.correlation.high
    assert one.mark == ""


def test_marks_are_corrected_for_the_number_of_cells():
    # 9 releases, r = 0.75: its own 90 % interval excludes 0, and that of one test among ten does not.
    psnr = [0, 1, 2, 3, 4, 5, 8, 7, 6]
    psnr[0], psnr[3] = psnr[3], psnr[0]
    few = [release(i, {RANK: i, PSNR: psnr[i]}) for i in range(9)]
    many = [release(i, {**dict.fromkeys(diagnostics(), i), PSNR: psnr[i]}) for i in range(9)]
    assert cell(predict(few), RANK, PSNR).mark == "*"
    assert predict(few).tests == 1
    assert predict(many).tests == len(diagnostics())
    assert cell(predict(many), RANK, PSNR).correlation.excludes_zero
    weaker = [*psnr[:4], *reversed(psnr[4:])]
    alone = predict([release(i, {RANK: i, PSNR: weaker[i]}) for i in range(9)])
    assert cell(alone, RANK, PSNR).mark == ""


def test_no_false_mark_beyond_the_level():
    rng, marked = np.random.default_rng(0), 0
    for _ in range(40):
        numbers = rng.normal(size=(15, 5))
        rows = [
            {RANK: a, BOUND: b, "leakage.dof.ridge": c, PSNR: d, INK: e}
            for a, b, c, d, e in map(list, numbers.tolist())
        ]
        found = predict([release(i, row) for i, row in enumerate(rows)])
        marked += any(one.mark for block in found.blocks for one in block.cells)
    # 40 tables at 5 %: more than 6 marked ones happen once in 300 times.
    assert scipy.stats.binom.sf(6, 40, LEVEL) < 0.005
    assert marked <= 6


def test_rounding_makes_no_ranks():
    noise = [1e-13 * ((7 * i) % 5) for i in range(12)]
    found = predict([release(i, {RANK: 256 - noise[i], BOUND: (i % 3) - noise[i], PSNR: i}) for i in range(12)])
    assert cell(found, RANK, PSNR).correlation.reason == "one side is the same everywhere"
    exact = scipy.stats.spearmanr([i % 3 for i in range(12)], range(12)).statistic
    assert cell(found, BOUND, PSNR).correlation.value == pytest.approx(exact)


def test_missing_numbers_are_dropped_in_pairs_and_explained():
    reports = increasing()
    reports[2] = release(2, {RANK: "rounds", PSNR: 14})
    reports[5] = release(5, {RANK: 5, PSNR: "crashed", INK: 0.5})
    reports[7] = release(7, {RANK: 7, BOUND: -7, INK: 0.5})
    found = predict(reports)
    assert cell(found, RANK, PSNR).correlation.n == 9
    assert cell(found, RANK, PSNR).correlation.value == 1
    assert cell(found, RANK, INK).correlation.reason == "one side is the same everywhere"
    text = "\n".join(found.missing)
    assert f"{RANK}: missing for 1 of 12 releases (mine strength=2): rounds." in text
    assert "inversion.psnr: missing for 1 of 12 releases (mine strength=5): crashed." in text
    assert "inversion.psnr: missing for 1 of 12 releases (mine strength=7): inversion was not run." in text
    (silent,) = (note for note in found.notes if "No report speaks of" in note)
    assert "membership.advantage" in silent
    assert PSNR not in silent
    assert "attribute.<a>.leakage" not in silent
    assert found.measured == (INK, PSNR)
    assert f"{INK} is 0.5 at 11 of 11 releases, so its ranks are mostly ties." in found.notes


def test_a_bound_that_an_attack_refuted_still_counts():
    reports = increasing()
    row = build().evidence[0].model_copy(update={"metrics": {"bound.void": number(0, 0, 0)}})
    void = release(0, {RANK: 0, BOUND: "an attack is below it", PSNR: 10, INK: 0.5}, evidence=(row,))
    found = predict([void, *reports[1:]])
    assert cell(found, BOUND, PSNR).correlation == cell(predict(reports), BOUND, PSNR).correlation
    assert any("refuted by a measured attack at 1 of 12 releases (mine strength=0)" in note for note in found.notes)
    assert not any("refuted" in note for note in predict(reports).notes)


def test_a_block_without_controls():
    extreme = [
        release(100, {RANK: 0, PSNR: 0}, name="constant"),
        release(101, {RANK: 900, PSNR: 900}, name="pixel-permutation"),
        release(102, {RANK: 901, PSNR: 901}, name="identity", kind="factory"),
    ]
    middle = [release(i, {RANK: r, PSNR: p}) for i, (r, p) in enumerate([(5, 6), (6, 5), (7, 8), (8, 7)])]
    found = predict([*extreme, *middle])
    assert [(block.title, len(block.points)) for block in found.blocks] == [(ALL, 7), (WITHOUT, 5)]
    assert [point.control for point in found.points][:3] == ["known null", "strawman", None]
    assert cell(found, RANK, PSNR, WITHOUT).correlation.value < cell(found, RANK, PSNR).correlation.value
    assert [block.title for block in predict(middle).blocks] == [ALL]
    few = predict([*extreme[:2], *middle[:2]])
    for text in (shown(few), markdown_prediction(few)):
        assert text.count("No correlations: at least 4 releases are needed") == 1


def test_names_tell_what_is_unusual():
    base = release(0, {}).release
    settings = [{"beta": 1, "keep": 0.5}, {"beta": 2, "keep": 0.5}, {"beta": 1, "keep": 0.1}, {"beta": 1, "keep": 0.5}]
    reports = [
        release(i, {RANK: i, PSNR: i}).model_copy(
            update={"release": base.model_copy(update={"settings": one, "digest": f"{i}{'x' * 9}"})}
        )
        for i, one in enumerate(settings)
    ]
    names = [point.name for point in predict(reports).points]
    assert names == ["mine (0xxxxx)", "mine beta=2", "mine keep=0.1", "mine (3xxxxx)"]


def test_controls_are_registered_defenses():
    assert set(CONTROLS) <= set(DEFENSES.cards)


def test_several_reports_of_one_release_are_one_point():
    reports = increasing()
    more = release(3, {"membership.advantage": 0.2, PSNR: 99}).model_copy(update={"digest": "other"})
    found = predict([*reports, more, reports[4]])
    assert len(found.points) == 12
    point = next(point for point in found.points if point.name == "mine strength=3")
    assert point.values["membership.advantage"] == 0.2
    assert point.values[PSNR] == 19  # of the first report
    assert "of a release that another report is of too: 2;" in "\n".join(found.notes)
    with pytest.raises(UserError, match="at least 4 different releases, got 1"):
        predict([reports[0]] * 5)


def test_efforts_and_flags_are_named():
    reports = increasing()
    settings = reports[0].command.settings.model_copy(update={"with_defaults": {"budget": "full"}})
    reports[0] = release(0, {RANK: 0, PSNR: 10}, command=reports[0].command.model_copy(update={"settings": settings}))
    flagged = number(11, 10, 12, flags=("CRASHED", "UNCALIBRATED"))
    reports[1] = reports[1].model_copy(update={"metrics": {RANK: number(1, 1, 1), PSNR: flagged}})
    notes = "\n".join(predict(reports).notes)
    assert f"Measured with different efforts: {PSNR}: budget full; budget not recorded." in notes
    assert f"{PSNR} carries flags that forbid 'holds' at some of its 12 releases: CRASHED (1)." in notes


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"name": "gaussian"}, "dataset 'digits', got 'gaussian'"),
        ({"digest": "other"}, "dataset digest 'd', got 'other'"),
        ({"task": "ink"}, "task 'digit', got 'ink'"),
        ({"split": "paper"}, "split 'halved', got 'paper'"),
        ({"parts": {}}, "the same target images"),
    ],
)
def test_reports_of_other_data_are_refused(change, match):
    reports = increasing()
    reports[3] = release(3, {}, dataset=build().dataset.model_copy(update=change))
    with pytest.raises(UserError, match=match):
        predict(reports)


def test_reports_without_numbers_are_refused():
    for metrics, kind in (({PSNR: 1.0}, "diagnostics"), ({RANK: 1.0}, "attacks")):
        with pytest.raises(UserError, match=f"numbers of {kind}, got none"):
            predict([release(i, metrics) for i in range(5)])
    with pytest.raises(UserError, match="at least 4 reports, got 3"):
        predict(increasing(3))


def shown(found, width=120, **options):
    console = Console(file=io.StringIO(), width=width, **options)
    render_prediction(found, console)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_terminal_shows_every_cell_at_every_width(width):
    found = predict(increasing())
    text = shown(found, width)
    assert text.count("+1.00*") == 1
    assert text.count("-1.00*") == 1
    assert max(map(len, text.splitlines())) <= width
    assert "corrected for 2 correlations" in " ".join(text.split())


def test_every_format_holds_every_number():
    found = predict([*increasing(), release(50, {RANK: 3, PSNR: 3}, name="constant")])
    one = cell(found, RANK, PSNR)
    rows = list(csv.DictReader(io.StringIO(csv_prediction(found))))
    cells = [row for row in rows if row["kind"] == "correlation"]
    assert len(cells) == 2 * len(diagnostics()) * len(found.measured)
    (row,) = (r for r in cells if (r["block"], r["name"], r["measured"]) == (ALL, RANK, PSNR))
    assert (float(row["value"]), float(row["low"]), int(row["n"])) == (one.correlation.value, one.correlation.low, 13)
    numbers = [row for row in rows if row["kind"] == "number"]
    assert len(numbers) == 13 * (len(diagnostics()) + len(found.measured))
    data = json.loads(json_prediction(found))
    (said,) = (c for c in data["blocks"][0]["cells"] if (c["diagnostic"], c["measured"]) == (RANK, PSNR))
    assert (said["value"], said["high"], said["mark"]) == (one.correlation.value, one.correlation.high, "*")
    assert {row["name"] for row in data["releases"]} == {point.name for point in found.points}
    assert data["releases"][3]["values"][PSNR] == 19
    text = markdown_prediction(found)
    assert f"{one.correlation.value:+.2f}" in text
    assert len([line for line in text.splitlines() if line.startswith("| leakage")]) == 2 * len(diagnostics())
    assert markdown_prediction(found) == text


@pytest.mark.parametrize("text", TEXTS)
def test_hostile_names_stay_text(text):
    base = build().dataset.model_copy(update={"name": text, "task": text})
    reports = [release(i, {RANK: i, PSNR: i, INK: text}, name=text, dataset=base) for i in range(5)]
    found = predict(reports)
    page = markdown_prediction(found)
    assert "<script" not in page
    assert "](http" not in page
    assert len([line for line in page.splitlines() if line.startswith("|")]) == len(diagnostics()) + 2
    table = csv_prediction(found)
    table.encode()
    assert all(not c.lstrip().startswith(("=", "@", "|")) for row in csv.reader(io.StringIO(table)) for c in row)
    json.loads(json_prediction(found))
    for options in ({}, {"force_terminal": True, "color_system": None}):
        printed = shown(found, **options)
        assert "\x1b]0" not in printed
        assert "\x1b[2J" not in printed
        assert "\u202e" not in printed


def test_needs_no_torch():
    code = "import sys\nimport protocols.commands.predict\nassert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
