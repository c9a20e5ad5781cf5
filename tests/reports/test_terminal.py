"""The report on a terminal."""

import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from adversaries.evidence import Arms, Value
from adversaries.health import MEANINGS
from reports.formats.html import render_html
from reports.formats.markdown import render_markdown
from reports.formats.terminal import render
from reports.model.attempt_index import AttemptIndex
from reports.model.harmless import clean
from reports.model.report import Command, DeclaredSecret, ReleaseFacts, TargetFacts, Waiver
from reports.sections.transfer import transfer
from tests.reports.builder import build
from tests.reports.sample import GATE, HOSTILE, attack, evidence, full, hostile_report, metrics, rate

SGR = re.compile(r"\x1b\[[0-9;]*m")


def shown(report, width=160, rows=None, **options):
    file = io.StringIO()
    render(report, Console(file=file, width=width, **options), rows)
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
        "The numbers",
        "Accuracy on",
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
        "budget smoke data digits task digit (10 classes) release vfc target images 450",
        "target model 0.956 [0.936, 0.976] on images 0.984 [0.964, 1.000]",
        "adaptive suppression 0.991 [0.952, 1.032] at most 9.560, given the floor",
        "labels to go 90 % 59.7 [1, 59.7] labelled releases per class",
        "The best model that never saw a release has an accuracy of 0.213, above the floor of 0.100; adapting without",
        "is to be expected of every defense without a secret",
        "What ranks defenses is what repurposing costs",
    ):
        assert fact in panel


def test_bounds_that_meet_a_gate_round_toward_failure():
    panel = one_line(shown(full(), 160).split("Gates")[0])
    assert "transfer suppression 4.479 [2.999, 5.515] at most 9.348" in panel
    free = one_line(shown(full(gates=(), verdict="measured"), 160).split("Gates")[0])
    assert "transfer suppression 4.480 [3.000, 5.515]" in free


def test_verdict_words_of_every_outcome():
    assert "HELD  the gate on transfer holds; exit code 0" in shown(full(verdict="held"))
    assert "BROKEN" in shown(full(verdict="broken"))
    assert "MEASURED  everything asked for was measured" in shown(full(gates=(), verdict="measured"))
    failed = attack("mlp", 0, labels=1, status="failed", reason="out of memory")
    text = shown(full(gates=(), evidence=(*evidence(), failed), verdict="inconclusive"))
    assert "required adversaries were not measured: mlp" in text
    assert "failed: out of memory.\n  mlp (K = 1)" in text


def test_each_gate_with_outcome_expression_and_reason():
    part = shown(full(), 80).split("The numbers")[0]
    assert "? inconclusive" in part
    assert GATE in part
    assert "the 95 % lower bound 2.9996 is under 3, the upper is not" in one_line(part)


def test_the_first_screen_has_the_sentence_the_gates_and_the_curve():
    first = "\n".join(shown(full(), 80).splitlines()[:24])
    said = one_line(first)
    assert "Does not hide the task: one labelled release per class brings an attacker to 87 %." in said
    assert "Other models without labels: 44 %, 10 % by chance." in said
    assert f"? inconclusive {GATE}" in said
    for labels, accuracy in (("0", "0.442"), ("1", "0.869"), ("all", "0.964")):
        assert re.search(rf"│ +{labels} █+░+ {accuracy}", first)


def test_many_gates_leave_room_for_the_curve_and_say_why_below():
    gates = tuple(full().gates[0].model_copy(update={"expr": f"adaptive.accuracy@{k} <= 0.5"}) for k in range(5))
    text = shown(full(gates=gates), 80)
    first = "\n".join(text.splitlines()[:24])
    assert "░" in first
    assert first.count("? inconclusive") == 5
    assert "2.9996" not in first
    assert text.split("Gates, and why")[1].count("2.9996") == 5


def test_a_waived_gate_says_broken_until_when_and_why():
    waiver = Waiver(until="2030-01-01", reason="soon", active=True)
    gate = full().gates[0].model_copy(update={"outcome": "broken", "waiver": waiver})
    assert "✗ BROKEN" in shown(full(gates=(gate,), verdict="measured"), 80)
    assert "WAIVED until 2030-01-01: soon" in one_line(shown(full(gates=(gate,), verdict="measured"), 80))


def test_suppression_table_takes_the_best_by_validation_and_says_which():
    text = shown(full(), 80).split("Accuracy on the release")[1]
    assert line_of(text, "vgg11").split() == ["vgg11", "0.971", "0.213", "0.171", "clip", "0.256", "histogram"]
    assert line_of(text, "mlp").split() == ["mlp", "0.971", "0.178", "0.171", "clip", "0.442", "batchnorm"]
    assert line_of(text, "target model").split()[:5] == ["target", "model", "0.984", "0.956", "0.246"]
    assert line_of(text, "floor").split()[:3] == ["floor", "0.100", "0.100"]
    assert "0.304" not in text  # better on the targets, worse on validation
    assert line_of(text, "linear probe").split() == ["linear", "probe", "0.666", "0.666"]
    assert line_of(text, "feature probe").split() == ["feature", "probe", "0.777", "signs", "0.777", "signs"]
    assert "near twin" in text
    assert "The near twin has the target model's architecture and is in no headline number." in one_line(text)


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
    flagged = {**metrics(), "adaptive.accuracy": rate(0.964, flags=("NOT_CONVERGED",))}
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
    assert transfer().source(AttemptIndex(report), "transfer.accuracy") is None
    assert "the report does not tell" in shown(report)


def test_release_facts_in_words():
    text = one_line(shown(full(), 80))
    assert "It ranges over [-17.9, 12.6], so it is not an image; it declares no bounds." in text
    assert "Clipped or rescaled to [0, 1] and 8 bit, the target model falls from 0.956 to 0.246." in text
    assert "Two releases of one image differ, but it declares that they do not." in text
    assert "first in the release of target image 17 (counted from 0)" in text
    assert "does not depend on the call in which it is published" in text
    assert "“all” is 59.7 labelled releases per class" in text


@pytest.mark.parametrize("written", [shown, render_markdown, render_html])
@pytest.mark.parametrize(("isolated", "said"), [(False, True), (True, False), (None, False)])
def test_code_without_processes_of_its_own_is_said_in_every_format(written, isolated, said):
    report = full()
    report = report.model_copy(update={"provenance": report.provenance.model_copy(update={"isolated": isolated})})
    assert ("rest on its word" in one_line(written(report))) is said


@pytest.mark.parametrize("written", [shown, render_markdown, render_html])
@pytest.mark.parametrize(("kind", "said"), [("symmetric", True), ("target_weights", True), ("none", False)])
def test_beside_a_declared_secret_it_is_said_that_a_public_target_has_none(written, kind, said):
    report, secret = full(), DeclaredSecret(kind=kind, what="the key", bits=128)
    report = report.model_copy(update={"release": report.release.model_copy(update={"secret": secret})})
    assert ("A target model that is public has no secret" in one_line(written(report))) is said


def test_what_was_not_measured_and_why():
    text = one_line(shown(full(), 80))
    assert "not applicable: the values lie on no grid. integer-codes (K = 1, all)" in text
    assert "says nothing about attribute, inversion, mask-aware, membership, linkage, leakage, evasion" in text


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
        assert f"target model unknown {reason}" in text
        assert f"adaptive suppression unknown {reason}" in text
        assert "transfer suppression" not in text  # nobody asked for it
        assert "No unintended model attacked: without the originals none can be trained." in text
        assert f"no number: {reason}. target.accuracy, adaptive.suppression_ratio" in text
        assert "No finite number of it was seen" in text
        assert "was not observed" in text


def test_transfer_alone_has_no_curve_and_shows_no_privacy():
    rows = tuple(r.model_copy(update={"protocol": "transfer"}) for r in evidence() if r.threat.level == "L0")
    kept = {name: value for name, value in metrics().items() if not name.startswith("adaptive")}
    text = one_line(shown(full(evidence=rows, metrics=kept), 80))
    assert "No curve: no attack was granted labelled releases." in text
    assert "a low transfer accuracy alone does not show privacy" in text
    assert "says nothing about adaptive-probe, attribute" in text


def test_diagnostics_alone_are_no_attack_and_have_no_controls():
    row = attack("diagnostics", 0.5, protocol="leakage", goal="release")
    alone = full(evidence=(row.model_copy(update={"arms": Arms()}),), metrics={"leakage.mse_bound": rate(0.1)})
    text = one_line(shown(alone))
    assert "No attack was measured, so there are no controls." in text
    assert "controls that ran are clean" not in text
    assert "No adversary was chosen, so there is nothing to say of any." in text


def test_an_empty_report():
    text = shown(build(evidence=(), metrics={}, verdict="inconclusive", command=Command()), 80)
    assert "nothing was measured" in text
    assert "No gate was set." in text
    assert "No headline number was measured." in text
    assert "does not say which command" in text


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
    assert re.search(r"1\.00 \|.*\n.*\|=+.*o=* target model 0\.956", text)
    assert fits(text, 80)


def test_color_adds_no_information():
    plain = shown(full(), 80)
    colored = shown(full(), 80, force_terminal=True, color_system="truecolor")
    assert SGR.search(colored)
    assert SGR.sub("", colored) == plain


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
    assert clean("\u202e") == "\\u202e"
    assert clean("x" * 401).endswith("... (401 characters)")
