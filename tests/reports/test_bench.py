"""The table of all defenses: its order, what it says in words, and its formats; all from small reports."""

import csv
import io
from dataclasses import replace

import pytest
from rich.console import Console

from adversaries.evidence import Arms, Value
from adversaries.health import TRUE_LABELS
from reports.gate.verdict import unmeasured
from reports.model.catalog import lookup
from reports.model.report import (
    Dataset,
    DeclaredSecret,
    LadderControl,
    PartOfData,
    Provenance,
    ReleaseFacts,
    TargetFacts,
)
from reports.studies.bench.columns import COLUMNS
from reports.studies.bench.data import ORACLE, Entry, bench_of
from reports.studies.bench.drawing import dots, draw, front
from reports.studies.bench.notes import ORDER, answer, leaders, leading, notes
from reports.studies.bench.page import render_bench_html
from reports.studies.bench.published import published
from reports.studies.bench.tables import csv_bench, render_bench
from tests.reports.builder import build, number, row
from tests.reports.pages import Page

NAMES = {column.key: column.metric for column in COLUMNS} | {
    "ink": "attribute.ink.leakage",
    "size": "attribute.size.leakage",
}
UNITS = {
    "transfer_ratio": "ratio",
    "retention": "ratio",
    "labels_to_90": "count",
    "psnr": "dB",
    "ink": "leakage",
    "size": "leakage",
}


def entry(name, *, control="matched", secret=None, censored=False, status="measured", **values):
    """A row with numbers by column; attributes by their own names."""
    metrics = {}
    for key, value in values.items():
        unit = UNITS.get(key, "rate")
        known = Value.unknown("no reason", unit=unit) if value is None else number(value, value, value, unit=unit)
        metrics[NAMES[key]] = known.model_copy(update={"censored": censored and key == "labels_to_90"})
    release = ReleaseFacts(
        kind="registered", name=name, digest="r", shape=(1, 16, 16), dtype="float32",
        secret=DeclaredSecret(kind=secret, what="the key", bits=128) if secret else DeclaredSecret(),
    )  # fmt: skip
    rate = number(0.9, 0.8, 0.95, unit="rate")
    target = TargetFacts(accuracy=rate, clean_accuracy=rate, control=LadderControl(status=control))
    report = build(metrics=metrics, release=release, target=target, evidence=(row(status=status),),
                   verdict="measured" if status == "measured" else "inconclusive")  # fmt: skip
    return Entry(name=name, defense=name, folder=name, report=report)


def failed(name, reason="it raised"):
    return Entry(name=name, defense=name, reason=reason)


def bench(*entries, budget="standard"):
    return bench_of(entries, dataset="digits", task="digit", targets=450, budget=budget, threat=None)


def names(found):
    return [each.name for each in found.rows]


def test_rows_are_ordered_by_cost_then_leakage_then_identification_and_never_by_transfer():
    found = bench(
        failed("broken"),
        entry("useless", labels_to_90=None, ink=0.0, transfer_ratio=9.0),
        entry("cheap", labels_to_90=1, ink=0.1, transfer_ratio=8.0),
        entry("leaky", labels_to_90=10, ink=0.9, identification=0.0, transfer_ratio=7.0),
        entry("seen", labels_to_90=10, ink=0.2, identification=0.8, transfer_ratio=6.0),
        entry("close", labels_to_90=10, ink=0.2, identification=0.1, psnr=20.0, transfer_ratio=1.0),
        entry("dear", labels_to_90=10, ink=0.2, identification=0.1, psnr=10.0, transfer_ratio=1.0),
        entry("never", labels_to_90=60, censored=True, ink=0.9, transfer_ratio=1.0),
        entry("late", labels_to_90=60, ink=0.0, transfer_ratio=1.0),
    )
    assert "PSNR" in ORDER
    assert names(found) == ["never", "late", "dear", "close", "seen", "leaky", "cheap", "useless", "broken"]


def test_the_attribute_column_is_about_the_attribute_that_leaks_most():
    (row,) = bench(entry("a", ink=0.2, size=0.6)).rows
    assert (row.number("worst_leakage"), row.worst) == (0.6, "size")
    (row,) = bench(entry("a", ink=None, size=-0.1)).rows
    assert (row.number("worst_leakage"), row.worst) == (-0.1, "size")
    (row,) = bench(entry("a", ink=None)).rows
    assert row.number("worst_leakage") is None
    assert row.values["worst_leakage"].reason == "no reason"


def test_an_attack_that_is_evidence_of_several_goals_took_its_time_once():
    one, other = row("ridge-decoder", seconds=2.0), row("decoder", seconds=2.0)
    goals = tuple(one.model_copy(update={"goal": goal}) for goal in ("psnr", "ssim", "identification"))
    found = Entry(name="a", defense="a", folder="a", report=build(evidence=(*goals, other)))
    assert bench(found).rows[0].seconds == 4.0


def test_the_cost_of_the_defense_itself_is_told():
    own = Provenance(fit_s=12.25, publish_s=90.5)
    report = entry("fmd", labels_to_90=1).report.model_copy(update={"provenance": own})
    known = Entry(name="fmd", defense="fmd", report=report)
    found = bench(known, Entry(name="ran", defense="ran", report=build()), failed("ci"))
    lines = {line["row"]: line for line in csv.DictReader(io.StringIO(csv_bench(found)))}
    assert (lines["fmd"]["fit_seconds"], lines["fmd"]["publish_seconds"]) == ("12.25", "90.5")
    assert (lines["ran"]["fit_seconds"], lines["ran"]["publish_seconds"]) == ("", "")
    page = Page(render_bench_html(found))
    assert page.open == []
    assert "90.5" in page.text
    stream = io.StringIO()
    render_bench(found, Console(file=stream, width=120, color_system=None))
    assert "12.2" in stream.getvalue()


def test_every_column_is_in_the_catalog():
    # One is measured by newer protocols only, and stays empty until then.
    for column in COLUMNS:
        if column.key != "exposed":
            assert lookup(column.metric.replace("<a>", "a")).meaning


def test_the_leaders_of_the_transfer_column_are_told_with_what_else_they_show():
    found = bench(
        entry("label-release", transfer_ratio=9.2, labels_to_90=1, at_10=0.98, ink=0.03, linked=0.02),
        entry("pixel-permutation", transfer_ratio=8.0, labels_to_90=10, at_10=0.9, ink=0.97, identification=0.99),
        entry("vfc", transfer_ratio=5.0, labels_to_90=5, at_10=0.95, ink=0.5),
        entry("nopeek", transfer_ratio=1.2, labels_to_90=100, at_10=0.5, ink=0.2),
    )  # fmt: skip
    first, label, permutation, vfc = leaders(found)
    assert first == (
        "The transfer ratio alone would put label-release, pixel-permutation and vfc first, "
        "2 of them extreme by design."
    )
    assert "label-release (strawman): a transfer ratio of 9.200" in label
    assert "1 labelled release per class brings" in label
    assert "place 4 of 4" in label
    assert "leakage about ink is 0.97" in permutation
    assert "99 % of its images are identified" in permutation
    assert "vfc: a transfer ratio of 5.000" in vfc
    # Other numbers, other sentences.
    swapped = bench(
        entry("nopeek", transfer_ratio=1.5),
        entry("cem", transfer_ratio=3.0),
        entry("identity", transfer_ratio=1.0),
        failed("ci"),
    )
    assert [row.name for row in leading(swapped)] == ["cem", "nopeek"]
    assert "label-release" not in " ".join(leaders(swapped))
    assert leaders(bench(failed("vfc"))) == []


def test_the_first_sentence_says_whom_repurposing_costs_most():
    first, order = answer(bench(
        entry("sealed", secret="symmetric", control="unmatched", labels_to_90=60, censored=True),
        entry("label-release", labels_to_90=60),
        entry("weakly-attacked", control="unmatched", labels_to_90=60, censored=True),
        entry("cem", labels_to_90=10, ink=0.1),
        entry("disco", labels_to_90=10, ink=0.2),
        entry("vfc", labels_to_90=1),
        entry("ran", status="failed", labels_to_90=60, censored=True),
        entry("pan", labels_to_90=None),
    ))  # fmt: skip
    assert first.endswith("Of 3 further ones it is not known.")
    assert order == ORDER
    assert first.startswith("Of 3 rows that keep no secret, are not extreme by design")
    assert "are cem and disco: 10 labelled releases per class bring an attacker 90 %" in first
    (first, _) = answer(bench(entry("vfc", labels_to_90=50, censored=True), entry("cem", labels_to_90=50)))
    assert "is vfc: more than 50 labelled releases per class bring" in first
    assert answer(bench(entry("vfc", labels_to_90=1))) == answer(bench()) == [ORDER]


def test_a_row_that_was_told_the_true_labels_is_marked_and_no_answer():
    told = entry("fmd", labels_to_90=50.0, retention=1.0, ink=0.1)
    flagged = row().model_copy(update={"health": (TRUE_LABELS,)})
    told = replace(told, report=told.report.model_copy(update={"evidence": (flagged,)}))
    found = bench(told, entry("vfc", labels_to_90=1.0, ink=0.3), entry("disco", labels_to_90=2.0, ink=0.2))
    assert [(each.name, each.mark) for each in found.rows] == [("fmd", ORACLE), ("disco", ""), ("vfc", "")]
    assert "dearest to repurpose is disco" in answer(found)[0]
    assert "told the true labels" in csv_bench(found)


def test_secrets_unmatched_controls_and_failures_are_said():
    said = " ".join(notes(bench(
        entry("sealed", secret="symmetric", control="unmatched", labels_to_90=60, censored=True),
        entry("pixel-permutation", secret="symmetric", labels_to_90=1),
        entry("cem", control="unmatched", labels_to_90=60),
        entry("pure-noise", control="unknown"),
        entry("ran", status="failed", labels_to_90=1),
        failed("ci"),
        budget="smoke",
    )))  # fmt: skip
    assert "What sealed keeps, it keeps as long as its declared secret does: the key (128 bits, per dataset)" in said
    assert "pixel-permutation declares a secret (symmetric), yet attackers read it" in said
    assert "† Attackers with all labels stay clearly short of the target model of sealed and cem" in said
    assert "? No target model above the floor vouches for the attacks on pure-noise" in said
    assert "Nothing could be measured of ci" in said
    assert "incomplete rows" in said
    assert "Budget smoke" in said
    calm = " ".join(notes(bench(entry("vfc", labels_to_90=1))))
    assert not any(word in calm for word in ("†", "?", "secret", "Nothing could", "incomplete", "smoke"))


def test_a_row_whose_adversary_failed_is_incomplete():
    found = bench(entry("ran", status="failed", labels_to_90=1))
    assert [(each.status, each.reason) for each in found.rows] == [("incomplete", "not measured: linear")]
    assert not found.complete
    assert bench(entry("ran", labels_to_90=1)).complete
    aside = Entry(name="nte", defense="nte", reason="no null space", applicable=False)
    found = bench(failed("ci"), aside, entry("ran"))
    assert [(each.name, each.status) for each in found.rows] == [
        ("ran", "measured"), ("nte", "not applicable"), ("ci", "failed"),
    ]  # fmt: skip
    assert not found.complete
    assert bench(aside, entry("ran")).complete
    assert not bench(aside).complete
    assert "no null space" in Page(render_bench_html(found)).text
    assert unmeasured((row(status="failed"),)) == ["linear"]


def test_the_front_holds_who_is_beaten_by_nobody_and_leaves_out_what_is_extreme():
    found = bench(
        entry("nopeek", retention=0.9, at_10=0.5),
        entry("cem", retention=0.8, at_10=0.6),
        entry("ran", retention=0.7, at_10=0.2),
        entry("pca", retention=1.0, at_10=0.9),
        entry("label-release", retention=1.0, at_10=0.1),
        entry("shufflebits", retention=1.0, at_10=0.1, secret="symmetric"),
        entry("pan", retention=1.0, at_10=0.1, control="unmatched"),
        entry("cfb", retention=1.0, at_10=0.1, control="unknown"),
        entry("vfc", retention=None, at_10=0.1),
    )
    points = dots(found, "at_10")
    assert len(points) == 8
    assert [dot.row.name for dot in front(points)] == ["ran", "nopeek", "pca"]
    drawn = Page(str(draw(found, "at_10", "accuracy")))
    assert drawn.open == []
    assert len(drawn.every("circle")) == 8
    assert sum(each["class"] == "best" for each in drawn.every("circle")) == 3
    assert sum(each["class"] == "hollow" for each in drawn.every("circle")) == 4
    assert "On the front: ran, nopeek, pca." in drawn.text
    assert str(draw(found, "worst_leakage", "leakage")) == ""


def test_points_of_one_defense_are_joined_in_the_order_of_their_weight():
    weights = [Entry(name=f"nopeek weight={w}", defense="nopeek", report=entry("nopeek", retention=r, at_10=a).report,
                     point={"weight": w}) for w, r, a in ((0.9, 0.5, 0.2), (0.1, 0.9, 0.8))]  # fmt: skip
    (chain,) = [
        each for each in Page(str(draw(bench(*weights), "at_10", "x"))).every("polyline") if each["class"] == "chain"
    ]
    (first, _), (last, _) = (map(float, place.split(",")) for place in chain["points"].split())
    assert first > last


def test_the_page_is_well_formed_and_shows_hostile_texts_as_text():
    found = bench(
        entry("vfc", labels_to_90=5, transfer_ratio=2.0, retention=0.9, at_10=0.5, ink=0.2),
        failed("<script>alert(1)</script>", "boom <b>\x1b[31m \u202e"),
    )
    text = render_bench_html(found)
    page = Page(text)
    assert page.open == []
    assert not page.every("script", "b[31m")
    assert "<script>" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "vfc" in page.text
    assert "boom" in page.text
    assert len(page.every("svg")) == 2
    assert render_bench_html(found) == text


def test_the_csv_reads_back_row_by_row():
    found = bench(
        entry("vfc", labels_to_90=50, censored=True, transfer_ratio=2.0, ink=0.2),
        failed("=cmd()", "a, reason"),
        entry("ran"),
    )
    vfc, ran, broken = csv.DictReader(io.StringIO(csv_bench(found)))
    assert (vfc["place"], vfc["labels_to_90"], vfc["labels_to_90_censored"], vfc["worst_leakage"]) == (
        "1",
        "50.0",
        "true",
        "0.2",
    )
    assert (vfc["worst_attribute"], vfc["control"], vfc["exposed"]) == ("ink", "matched", "")
    assert ran["transfer_ratio"] == ""
    assert (broken["row"], broken["status"], broken["reason"], broken["secret"]) == (
        "'=cmd()",
        "failed",
        "a, reason",
        "",
    )


@pytest.mark.parametrize("width", [80, 200])
def test_the_terminal_shows_every_row_with_its_marks(width):
    stream = io.StringIO()
    found = bench(
        entry("label-release", labels_to_90=1, transfer_ratio=9.0),
        entry("cem", control="unmatched", labels_to_90=1, ink=0.2),
        entry("sealed", secret="symmetric", labels_to_90=60, censored=True), failed("ci", "no attribute"),
    )  # fmt: skip
    render_bench(found, Console(file=stream, width=width, color_system=None))
    text = stream.getvalue()
    for words in ("label-release", "strawman", "cem †", "> 60", "ci: failed: no attribute", "ink"):
        assert words in text
    assert max(map(len, text.splitlines())) <= width


def test_what_papers_print_is_shown_where_the_data_fit_and_nowhere_else():
    part = {"targets": PartOfData(size=10, digest="t")}
    facts = {"digest": "d", "split": "halves", "parts": part}
    living = Dataset(name="npz:cifar10.npz", task="living", classes={"living": 2, "label": 10}, **facts)
    ours = number(0.31, 0.29, 0.33, unit="rate")
    arms = Arms(
        attack=ours,
        floor=number(0.2, 0.19, 0.21, unit="rate"),
        undefended=number(0.5125, 0.5, 0.52, unit="rate"),
        ceiling=number(0.6375, 0.6, 0.65, unit="rate"),
    )
    attack = row().model_copy(update={"goal": "attribute:label", "chosen": True, "arms": arms})
    fewer = attack.model_copy(update={"arms": Arms(attack=ours)})
    report = build(dataset=living, metrics={"attribute.label.accuracy": ours}, evidence=(fewer, attack))
    found = {each.metric: each for each in published("nopeek", report)}
    assert found["attribute.label.accuracy"].theirs == 0.3353
    assert found["attribute.label.accuracy"].ours == ours
    assert found["attribute.label.accuracy"].controls == arms
    assert found["inversion.psnr"].ours is None
    assert found["target.accuracy"].controls.ceiling == report.target.clean_accuracy
    assert {each.metric: each.theirs for each in published("identity", report)}["attribute.label.accuracy"] == 0.5139
    assert published("gaussian-noise", report) == ()
    assert published("nopeek", build()) == ()
    ten = living.model_copy(update={"task": "label"})
    assert published("nopeek", build(dataset=ten)) == ()
    table = bench(Entry(name="nopeek", defense="nopeek", report=report))
    page = Page(render_bench_html(table)).text
    assert "0.3353" in page
    for shown in ("0.200", "0.512", "0.637", "undefended"):
        assert shown in page.replace("0.513", "0.512").replace("0.638", "0.637")
    assert "Table 5" in page
    assert "Table 5" in csv_bench(table)
    for name in found:
        assert lookup(name)
