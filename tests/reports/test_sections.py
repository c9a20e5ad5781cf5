"""One section per protocol, and the worst case of each."""

import numpy as np
import pytest

from adversaries.evidence import Value
from adversaries.health import FOUND, MISSED, NO_ROOM
from reports.formats.html import render_html
from reports.model.attempt_index import AttemptIndex
from reports.model.catalog import metrics as catalog
from reports.model.catalog import protocols, sections
from reports.model.report import PartOfData
from reports.sections.accuracy_table import accuracy_table
from reports.text import headline
from reports.text.caveats import controls
from reports.text.sections import contents, home, worst_cases
from tests.reports.builder import number
from tests.reports.pages import everything
from tests.reports.sample import attack, evidence, full, metrics, rate
from tests.reports.test_terminal import line_of, one_line, shown


def named(name):
    for placeholder, text in (("<a>", "ink"), ("<label>", "ink"), ("@K", "@10"), ("@EPS", "@8/255")):
        name = name.replace(placeholder, text)
    return name


ON_TASK = ("transfer", "adaptive-probe")
SECTIONS = {section.protocol: section for section in sections()}


def test_every_metric_of_a_protocol_beyond_the_task_has_its_section():
    for metric in catalog():
        only = [protocol for protocol in metric.protocols if protocol not in ON_TASK]
        expected = only[0] if len(metric.protocols) == 1 and only else None
        found = home(named(metric.name), "digit")
        assert (found and found.protocol) == ("attribute" if metric.name.startswith("mdl.<") else expected)
    assert home("mdl.digit.bits", "digit") is None
    assert home("their.number", "digit") is None


def test_every_protocol_has_a_headline_of_its_own():
    assert {section.protocol for section in sections() if section.on_task} == set(ON_TASK)
    for section in sections():
        assert section.headlines
        for name in section.headlines:
            assert [section.protocol in metric.protocols for metric in catalog() if metric.name == name] == [True]


def test_sections_hold_their_numbers_and_who_reached_them():
    found = {content.section.protocol: content for content in contents(AttemptIndex(everything()), {})}
    assert [*found] == [*protocols()]
    assert [name for name, _ in found["inversion"].numbers] == ["inversion.identification", "inversion.psnr"]
    assert [attempt.name for attempt in found["evasion"].chosen] == ["pgd linf"]
    assert [content.section.protocol for content in contents(AttemptIndex(full()), {})] == [*ON_TASK]
    spectra = {"spectra/release": np.array([2.0, 1.0])}
    assert [content.section.protocol for content in contents(AttemptIndex(full()), spectra)] == [*ON_TASK, "leakage"]


def test_a_number_without_labels_says_which_labels_chose_the_attack():
    data = full().dataset
    parts = {**data.parts, "pool_validation": PartOfData(size=1150, digest="v")}
    reports = (full(dataset=data.model_copy(update={"parts": parts})), full())
    known, unknown = (headline.summary(AttemptIndex(report)) for report in reports)
    assert "without a label (chosen by 1,150 further labelled releases) reaches" in known
    assert "without a label (chosen by further labelled releases) reaches" in unknown
    assert "Chosen by 1,150 further labelled releases." in headline.plain_verdict(AttemptIndex(reports[0]))
    for written in (render_html(reports[0]), shown(reports[0])):
        said = "(0: adapted without labels, chosen by 1,150 further labelled releases)"
        assert said in " ".join(written.split())


@pytest.mark.parametrize(
    ("values", "protocol", "expected"),
    [
        ({"attribute.a.leakage": 0.1, "attribute.b.leakage": 0.3}, "attribute", "attribute.b.leakage"),
        ({"attribute.a.accuracy": 0.9, "attribute.b.leakage": 0.3}, "attribute", "attribute.b.leakage"),
        ({"attribute.a.accuracy": 0.9, "attribute.b.accuracy": 0.3}, "attribute", "attribute.a.accuracy"),
        ({"evasion.accuracy@0.1": 0.2, "evasion.accuracy@0.01": 0.9}, "evasion", "evasion.accuracy@0.1"),
        ({"adaptive.accuracy@1": 0.2}, "adaptive-probe", None),
        ({}, "linkage", None),
    ],
)
def test_the_worst_of_several_numbers_stands_for_a_protocol(values, protocol, expected):
    report = full(metrics={name: rate(value) for name, value in values.items()})
    assert SECTIONS[protocol].worst(report) == expected
    unknown = {name: Value.unknown("no") for name in values}
    assert SECTIONS[protocol].worst(full(metrics=unknown)) is None


def test_worst_cases_have_a_row_for_every_protocol_that_ran():
    found = {worst.protocol: worst for worst in worst_cases(AttemptIndex(everything()))}
    assert [*found] == [name for name in protocols() if name not in ("transfer", "leakage")]
    assert found["attribute"].attempt.name == "mlp"
    assert found["attribute"].flags == ("AT_FLOOR",)
    assert found["adaptive-probe"].attempt.name == "cnn"
    assert (found["membership"].value, found["membership"].reason) == (None, "too few non-members")
    assert worst_cases(AttemptIndex(full())) == []


def test_numbers_without_an_attack_name_no_attempt():
    leakage = attack("diagnostics", 0.5, protocol="leakage", goal="release")
    both = full(evidence=(*evidence(), leakage), metrics={**metrics(), "leakage.mse_bound": rate(0.1)})
    (found,) = (worst for worst in worst_cases(AttemptIndex(both)) if worst.protocol == "leakage")
    assert found.attempt is None
    assert found.no_attempt == "nothing attacks here"
    assert "nothing attacks here" in shown(both, 120)


def test_a_number_that_several_may_have_reached_is_pinned_on_nobody():
    both = [attack(name, 0.5, protocol="linkage", goal="match", chosen=True) for name in ("one", "two")]
    for value, expected in ((0.4, None), (0.5, "one")):
        report = full(evidence=(*evidence(), *both), metrics={**metrics(), "linkage.image.top1": rate(value)})
        attempt = worst_cases(AttemptIndex(report))[-1].attempt
        assert (attempt and attempt.name) == expected


def test_a_share_and_a_difference_are_pinned_on_who_reached_them():
    rows = (
        attack("mlp", 0.72, labels="all", protocol="attribute", goal="attribute:ink", chosen=True),
        attack("frozen", 0.61, protocol="attribute", goal="attribute:ink", chosen=True),
        attack("mask-latent", 0.80, labels="all", protocol="mask-aware", goal="task:digit", chosen=True),
        attack("mlp", 0.79, labels="all", protocol="mask-aware", goal="task:digit", chosen=True),
    )
    known = {
        "attribute.ink.accuracy": rate(0.72),
        "attribute.ink.leakage": number(0.44, 0.35, 0.52, unit="leakage"),
        "mask.gain": number(0.01, -0.01, 0.03, unit="difference"),
    }
    found = {worst.protocol: worst for worst in worst_cases(AttemptIndex(full(evidence=rows, metrics=known)))}
    assert found["attribute"].attempt.name == "mlp"
    assert found["mask-aware"].attempt.name == "mask-latent"


def test_an_attack_of_another_protocol_is_not_who_reached_the_adaptive_number():
    other = attack("mask-latent", 0.5, labels="all", protocol="mask-aware", goal="task:digit", chosen=True)
    own = attack("cnn", 0.5, labels="all", protocol="adaptive-probe", goal="task:digit")
    report = full(evidence=(other, own), metrics={"adaptive.accuracy": rate(0.5)})
    assert SECTIONS["adaptive-probe"].source(AttemptIndex(report), "adaptive.accuracy").name == "cnn"


def test_the_best_of_a_row_says_whether_it_was_stopped_early():
    rows = (
        attack("fine-tune", 0.6, labels="all", model="mlp", scope="all", dropped=1),
        attack("fine-tune", 0.7, labels="all", model="vgg11", scope="all"),
    )
    drawn = accuracy_table(AttemptIndex(full(evidence=rows)))
    marks = {row.name: [cell.mark for cell in row.labelled] for row in drawn.rows}
    assert (marks["mlp"], marks["vgg11"]) == (["whole cut"], ["whole"])


def test_who_knows_more_than_labels_stands_in_rows_of_its_own():
    rows = (
        attack("fine-tune", 0.6, labels="all", level="L2", model="mlp", scope="all"),
        attack("mask-replay", 0.9, labels="all", level="L4", protocol="mask-aware", model="mlp"),
    )
    drawn = accuracy_table(AttemptIndex(full(evidence=rows)))
    found = {row.name: [cell.value.value for cell in row.labelled] for row in drawn.rows}
    assert found["mlp"] == [0.6]
    assert found["mask-replay (L4)"] == [0.9]


def test_the_terminal_shows_sections_and_the_worst_cases():
    text = shown(everything(), 80)
    assert "evasion.accuracy@8/255  0.410 [0.370, 0.450]" in text
    assert "membership.tpr@0.01  unknown: too few non-members" in text
    assert line_of(text, "reconstruction decoder").split() == [
        *("reconstruction", "decoder", "all", "17.200", "dB", "11.000", "dB", "-", "-", "-")
    ]
    assert "L3 queries, 597 pairs, 2,000 steps" in one_line(shown(everything(), 160))
    worst = text[text.index("The worst case of every protocol") :]
    assert line_of(worst, "inversion").split() == [*("inversion", "0.310", "decoder", "all", "11.000", "dB", "-", "-")]
    assert line_of(worst, "membership").split()[:4] == ["membership", "-", "too", "few"]


def test_a_run_without_the_task_says_what_it_found_first():
    rows = (attack("mlp", 0.72, labels="all", protocol="attribute", goal="attribute:ink", chosen=True),)
    known = {"attribute.ink.leakage": number(0.44, 0.35, 0.52, unit="leakage")}
    report = full(evidence=rows, metrics=known, gates=(), verdict="measured")
    assert [entry.metric for entry in headline.numbers(AttemptIndex(report))] == [
        "target.accuracy",
        "attribute.ink.leakage",
    ]
    assert headline.summary(AttemptIndex(report)) == (
        "What repurposing costs was not measured; the release tells 44 % of what the images tell about “ink”."
    )
    panel = one_line(shown(report, 160).split("Gates")[0])
    assert "private attributes 0.440 [0.350, 0.520] attribute.ink.leakage: the strongest attack" in panel


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            (FOUND, MISSED),
            "A leak of task:digit planted in a copy of the release, as products of three signs: found by cnn.",
        ),
        ((MISSED, MISSED), "found by none of 2 that were tried"),
        ((NO_ROOM, NO_ROOM), "no room to tell"),
    ],
)
def test_a_hard_plant_is_told_among_the_controls(said, words):
    rows = [
        attack(name, 0.5, labels="all").model_copy(
            update={"metrics": {"planted.signs": rate(0.5).model_copy(update={"reason": reason})}}
        )
        for name, reason in zip(("cnn", "knn"), said, strict=True)
    ]
    text = " ".join(controls(AttemptIndex(full(evidence=tuple(rows)))))
    assert words in text
    overlooked = said == (MISSED, MISSED)
    assert ("All controls that ran are clean: no flag forbids that a gate holds." in text) is not overlooked
    assert ("holds, but a planted leak of a hard kind was not found." in text) is overlooked


def test_of_a_hard_plant_it_is_told_who_could_not_look():
    values = (rate(0.5).model_copy(update={"reason": MISSED}), Value.unknown("failed: out of memory"))
    rows = [
        attack(name, 0.5, labels="all").model_copy(update={"metrics": {"planted.signs": value}})
        for name, value in zip(("cnn", "products"), values, strict=True)
    ]
    text = " ".join(controls(AttemptIndex(full(evidence=tuple(rows)))))
    assert "found by none of 1 that were tried" in text
    assert "; without a number: products (failed: out of memory)." in text
