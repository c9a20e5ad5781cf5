import os
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adversaries.evidence import Value
from reports.formats.html import MOST_ATTEMPTS, render_html
from reports.model import harmless
from reports.model.catalog import protocols, sections
from reports.model.harmless import clean
from reports.model.report import Calibration, Command, ReleaseFacts, TargetFacts
from reports.model.storage import dump
from reports.text import phrases
from tests.reports.builder import build
from tests.reports.hostile import gate
from tests.reports.pages import Page, everything, rows
from tests.reports.sample import HOSTILE, attack, evidence, full, hostile_report, metrics, rate

ROOT = Path(__file__).resolve().parents[2]


def page(report, arrays=None):
    return Page(render_html(report, arrays))


@pytest.fixture(scope="module")
def whole():
    return page(everything(), rows())


def test_the_verdict_comes_first_and_every_section_follows_in_order(whole):
    said = f"✗ Broken {phrases.verdict_sentence(everything())}; exit code 1"
    assert whole.text.index(said) < whole.text.index("What would change")
    assert whole.headings == [
        "Gates",
        "What would change this verdict",
        "What attackers know",
        *(section.title for section in sections()),
        "Where the headline numbers come from",
        "The worst case of every protocol",
        "Controls and flags",
        "Calibration",
        "The release and the data",
        "What was not measured, and why",
        "Every attempt",
        "Settings",
        "The same again",
    ]
    assert not whole.open
    assert len(whole.every("h1")) == 1


def test_headline_facts_and_gates_are_in_words(whole):
    for fact in (
        "Target model 0.956 [0.936, 0.976] on images 0.984 [0.964, 1.000]",
        "Adaptive suppression 0.991 [0.952, 1.032] at most 9.560, given the floor",
        "The best model that never saw a release has an accuracy of 0.213, above the floor of 0.100",
        "is to be expected of every defense without a secret",
        "? inconclusive transfer.suppression_ratio >= 3 the 95 % lower bound 2.9996 is under 3",
        "✗ BROKEN, WAIVED until 2027-01-31 the decoder is being replaced inversion.psnr <= 17",
    ):
        assert fact in whole.text


def test_bounds_that_meet_a_gate_round_toward_failure(whole):
    assert "Transfer suppression 4.479 [2.999, 5.515]" in whole.text
    free = page(full(gates=(), verdict="measured"))
    assert "Transfer suppression 4.480 [3.000, 5.515]" in free.text
    assert "No gate was set." in free.text


def test_threats_table_and_sources(whole):
    assert "L0 transfer" in whole.text
    assert "mlp 0.971" in whole.text
    assert "K = all, headline cnn L2 labelled" in whole.text
    assert "CONVERGENCE_UNCHECKED (informs)" in whole.text
    assert "This report says nothing about leakage: those protocols were not run." in whole.text


def test_sections_without_data_are_absent(whole):
    assert all(f'id="{key}"' in render_html(everything(), rows()) for key in protocols())
    bare = render_html(full(), None)
    beyond = [section.protocol for section in sections() if not section.on_task]
    assert not [key for key in beyond if f'id="{key}"' in bare]
    assert "<img" not in bare
    assert "Reconstruction" not in Page(bare).text
    pictures_alone = page(full(), rows())
    assert "Reconstruction" in pictures_alone.text
    assert len(pictures_alone.every("img")) == 6 * 3 + 1


def test_links_resolve_and_nothing_is_fetched(whole):
    ids = [attrs["id"] for _, attrs in whole.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = [attrs["href"] for attrs in whole.every("a")]
    assert {link.removeprefix("#") for link in links} <= set(ids)
    assert all(attrs["src"].startswith("data:image/png;base64,") for attrs in whole.every("img"))
    assert not whole.every("script", "link", "iframe", "object", "embed", "form", "base")
    text = re.sub(r"data:image/png;base64,[\w+/=]+", "", render_html(everything(), rows()))
    assert not re.search(r"https?:|//\w|@import|url\(", text)


def test_tables_pictures_and_drawings_can_be_read_aloud(whole):
    assert all(attrs.get("scope") in ("row", "col") for attrs in whole.every("th"))
    assert all(attrs["alt"] for attrs in whole.every("img"))
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in whole.every("svg"))
    regions = [attrs for attrs in whole.every("div", "pre") if attrs.get("role") == "region"]
    assert all(attrs["tabindex"] == "0" for attrs in regions)
    labels = [attrs["aria-label"] for attrs in regions]
    assert len(labels) == len(set(labels))
    assert whole.every("html") == [{"lang": "en"}]


def luminance(color):
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_contrast_formula_against_known_pairs():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.005)


def test_text_contrast_is_aa_in_both_schemes_and_in_print():
    style = (files("reports.formats") / "templates" / "style.css.j2").read_text(encoding="utf-8")
    blocks = [
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block)) for block in re.findall(r":root {(.*?)}", style, re.S)
    ]
    schemes = [block for block in blocks if "ink" in block]
    assert len(schemes) == 3
    for colors in schemes:
        tints = [f"{word}-tint" for word in ("held", "broken", "inconclusive", "measured")]
        for text in ("ink", "quiet"):
            assert all(contrast(colors[text], colors[back]) >= 4.5 for back in ("ground", "paper", "raised", *tints))
        for word in ("held", "broken", "inconclusive", "measured", "accent"):
            backs = ["ground", "paper", *([f"{word}-tint"] if f"{word}-tint" in colors else [])]
            assert all(contrast(colors[word], colors[back]) >= 4.5 for back in backs), (word, colors)


def test_same_report_same_bytes_without_torch(tmp_path):
    (tmp_path / "report.json").write_bytes(dump(everything()))
    program = (
        "import sys\nfrom reports.model.storage import load\nfrom reports.formats.html import render_html\n"
        f"sys.stdout.buffer.write(render_html(load({str(tmp_path)!r})).encode())\n"
        "assert 'torch' not in sys.modules\n"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            check=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]
    assert runs[0].count(b"<section") == 12 + len(sections())


def test_the_short_way_for_harmless_reports_changes_nothing(monkeypatch):
    short = render_html(everything())
    monkeypatch.setattr(harmless, "LONGEST", 10**6)
    monkeypatch.setattr(type(everything()), "model_dump_json", lambda *_, **__: "\\")
    assert render_html(everything()) == short


def test_a_standard_run_stays_under_one_mebibyte():
    many = [attack("linear", 0.5, labels=1, copy=f"number {index}") for index in range(200)]
    rng = np.random.default_rng(0)
    noise = {f"gallery/{part}": rng.random((64, 3, 64, 64)) for part in ("original", "release", "reconstruction")}
    layers = {f"spectra/{layer}": rng.random(5000) for layer in range(30)}
    text = render_html(full(evidence=(*evidence(), *many)), {**rows(), **noise, **layers})
    assert len(text.encode()) < 2**20


def test_very_many_attempts_are_counted_where_they_are_not_listed():
    many = tuple(attack("linear", 0.5, labels=1, copy=f"{index}") for index in range(MOST_ATTEMPTS + 7))
    text = page(full(evidence=many)).text
    assert "7 more are in report.json." in text


def test_missing_parts_say_why():
    reason = "the arrays hold no `prediction`"
    bare = build(
        target=TargetFacts(accuracy=Value.unknown(reason), clean_accuracy=Value.unknown(reason)),
        release=ReleaseFacts(kind="arrays", name="a.npz", digest="r", shape=(), dtype="int64"),
        evidence=(attack("linear", 0.6, labels="all"), attack("mlp", 0, labels=1, status="failed", reason="no memory")),
        metrics={"adaptive.suppression_ratio": Value.unknown(reason, unit="ratio"), "adaptive.accuracy@all": rate(0.6)},
        verdict="inconclusive",
    )
    text = page(bare).text
    assert f"Adaptive suppression unknown {reason}" in text
    assert "Transfer suppression" not in text  # nobody asked for it
    assert "No unintended model attacked: without the originals none can be trained." in text
    assert "failed : no memory. mlp (K = 1)" in text
    empty = page(build(evidence=(), metrics={}, verdict="inconclusive", command=Command())).text
    for sentence in (
        "Nothing was measured",
        "No attack was made.",
        "No curve: no attack was granted labelled releases.",
        "No headline number was measured.",
        "The report does not say which command made it.",
    ):
        assert sentence in empty


def test_calibration_says_what_each_adversary_finds():
    leaks = {"pixel": {"1": [30, 30], "0.5": [10, 10], "0.1": [8, 10]}, "norm": {"1": [0, 30]}}
    known = {
        "linear": Calibration(
            digest="a",
            finds={"dataset": "digits", "n": 450, "leaks": leaks},
            false_alarms={"alarms": 1, "runs": 90},
            status="calibrated",
        ),
        "knn": Calibration(digest="", status="uncalibrated"),
    }
    text = page(full(calibration=known)).text
    row = "linear calibrated pixel in 30 of 30, down to 50% of images norm 1 in 90 runs digits, 450 target images"
    assert row in text
    assert "knn uncalibrated – – – –" in text


def check_harmless(text):
    plain = page(hostile_report("x"), rows())
    output = render_html(hostile_report(text), rows())
    found = Page(output)
    output.encode()
    assert not found.open
    # Nothing of the text became a tag or an attribute.
    assert {tag for tag, _ in found.tags} <= {tag for tag, _ in plain.tags} | {"small"}
    allowed = {name for _, attrs in plain.tags for name in attrs}
    assert {name for _, attrs in found.tags for name in attrs} <= allowed
    assert {attrs["href"][0] for attrs in found.every("a")} == {"#"}
    assert all(character.isprintable() or character == "\n" for character in output)
    assert clean(text) == "" or clean(text).split() == [] or found.text.count(" ".join(clean(text).split())) >= 5


@pytest.mark.parametrize(
    "text",
    [
        *HOSTILE,
        "<script>alert(1)</script>",
        "</style><script>x</script>",
        '" onmouseover="x',
        "' autofocus onfocus='x",
        "<!--",
        "]]>",
        "&lt;b&gt;",
        "javascript:x",
        "{{ 7 * 7 }}{% raw %}",
        "long" * 500,
        "",
    ],
)
def test_hostile_texts_are_shown_harmlessly(text):
    check_harmless(text)


@given(st.text(st.characters(), max_size=40))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_any_text_is_shown_harmlessly(text):
    check_harmless(text)


@given(st.text(st.sampled_from("<>&\"'/= -!{}%#\x1b\0abonscript"), max_size=40))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_any_markup_is_shown_harmlessly(text):
    check_harmless(text)


def test_layer_names_are_escaped():
    drawn = page(full(), {"spectra/<script>\x1b[2J": np.array([1.0])})
    assert not drawn.every("script")
    assert "<script>\\x1b[2J" in drawn.text


def test_metrics_of_other_tools_are_shown_too():
    text = page(full(metrics={**metrics(), "their.number": rate(0.5)})).text
    assert "their. number 0.500 [0.480, 0.520] n = 450 this version does not know it" in text


def test_the_first_screen_names_the_gates_that_decided():
    """Of many gates the one that broke comes first, however many held or were only warnings before it."""
    held = [gate(f"target.accuracy >= 0.{n}", "held") for n in range(1, 5)]
    warned = gate("adaptive.accuracy@1 <= 0.3", "broken", level="warn")
    many = (*held, warned, gate("adaptive.accuracy <= 0.5", "broken"))
    text = render_html(full(gates=many, verdict="broken"))
    first = text.split('class="gate-lines"')[1].split("</ul>")[0]
    named = re.findall(r'class="mono">([^<]+)<', first)
    assert [name.split()[0] for name in named] == [
        "adaptive.accuracy", "adaptive.accuracy@1", "target.accuracy", "target.accuracy",
    ]  # fmt: skip
    assert "and 2 more below" in first
