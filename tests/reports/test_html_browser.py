"""The HTML report in Chromium: accessible, nothing cut off, nothing fetched. Skips where its tools are absent."""

import importlib.util
import shutil
from pathlib import Path

import pytest

from reports.formats.html import render_html
from reports.model.report import Waiver
from reports.studies.bench.data import bench_of
from reports.studies.bench.page import render_bench_html
from tests.reports.hostile import gate
from tests.reports.pages import everything, rows
from tests.reports.sample import full, hostile_report
from tests.reports.test_bench import entry
from vfc.registries import DEFENSES

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
AXE = importlib.util.find_spec("axe_playwright_python")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PHONE, DESKTOP = {"width": 360, "height": 780}, {"width": 1280, "height": 900}
OPEN = "document.querySelectorAll('details').forEach(part => part.open = true)"

GATES = (
    gate("target.retention >= 0.9", "held"),
    gate("transfer.suppression_ratio >= 2", "held"),
    gate("adaptive.labels_to_90 >= 10", "broken", level="warn"),
    gate("adaptive.accuracy@1 <= 0.5", "broken", waiver=Waiver(until="2027-01-31", reason="soon", active=True)),
    gate("adaptive.accuracy <= 0.5", "broken"),
)

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("playwright") is None, reason="playwright is not installed"),
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        started = play.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield started
        started.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Pages with everything, without sidecar and gates, and with hostile texts of great length."""
    folder = tmp_path_factory.mktemp("pages")
    texts = {
        "everything": render_html(everything(), rows()),
        "gated": render_html(everything().model_copy(update={"gates": GATES, "verdict": "broken"}), rows()),
        "bare": render_html(full(gates=(), verdict="measured")),
        "hostile": render_html(hostile_report("<script>document.title='owned'</script>" + "wide" * 60), rows()),
    }
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def show(browser, files):
    """Opens a page with all its details; everything it asks for is noted."""
    contexts = []

    def opened(name, viewport, scheme, script=True):
        context = browser.new_context(viewport=viewport, color_scheme=scheme, java_script_enabled=script)
        contexts.append(context)
        tab = context.new_page()
        asked, said = [], []
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("console", lambda message: said.append(message.text))
        tab.goto((files / f"{name}.html").as_uri())
        if script:
            tab.evaluate(OPEN)
        return tab, asked, said

    yield opened
    for context in contexts:
        context.close()


@pytest.mark.skipif(AXE is None, reason="axe-core is not installed (pip install axe-playwright-python)")
@pytest.mark.parametrize(
    ("name", "viewport", "scheme"),
    [
        ("everything", PHONE, "light"),
        ("everything", PHONE, "dark"),
        ("everything", DESKTOP, "light"),
        ("everything", DESKTOP, "dark"),
        ("bare", PHONE, "dark"),
        ("hostile", DESKTOP, "light"),
    ],
)
def test_axe_finds_no_violation(show, name, viewport, scheme):
    tab, _, _ = show(name, viewport, scheme)
    tab.evaluate((Path(AXE.submodule_search_locations[0]) / "axe.min.js").read_text(encoding="utf-8"))
    found = tab.evaluate("axe.run(document)")
    assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == []
    passed = {one["id"] for one in found["passes"]}
    assert {"color-contrast", "document-title", "html-has-lang", "svg-img-alt", "heading-order"} <= passed


@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
@pytest.mark.parametrize("name", ["everything", "bare", "hostile"])
def test_the_page_never_scrolls_sideways(show, name, viewport):
    tab, _, _ = show(name, viewport, "light")
    assert tab.evaluate("document.documentElement.scrollWidth") == viewport["width"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "viewport", [{"width": 390, "height": 844}, {"width": 1280, "height": 800}], ids=["390", "1280"]
)
def test_the_first_screen_holds_the_sentence_the_gates_and_the_curve(show, viewport, scheme):
    tab, _, _ = show("gated", viewport, scheme, script=False)
    for part in (".plain-verdict", ".gate-lines", ".first figure svg"):
        box = tab.locator(part).first.bounding_box()
        assert box["y"] >= 0, part
        assert box["y"] + box["height"] <= viewport["height"], part


@pytest.mark.parametrize("name", ["everything", "hostile"])
def test_nothing_is_fetched_and_no_script_runs(show, name):
    tab, asked, said = show(name, DESKTOP, "light")
    assert [url for url in asked if not url.startswith("data:")] == [tab.url]
    assert said == []
    assert tab.title() != "owned"
    assert tab.evaluate("document.images.length") > 0
    assert tab.evaluate("[...document.images].every(image => image.naturalWidth > 0)")


def test_the_page_works_without_script(show):
    tab, _, _ = show("everything", PHONE, "light", script=False)
    assert tab.locator("h1").is_visible()
    assert tab.locator("#adaptive-probe svg").is_visible()


def test_schemes_differ_and_print_is_light(show):
    seen = {}
    for scheme in ("light", "dark"):
        tab, _, _ = show("everything", DESKTOP, scheme)
        seen[scheme] = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        tab.emulate_media(media="print", color_scheme=scheme)
        seen[f"{scheme} print"] = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert seen["light"] != seen["dark"]
    assert seen["light print"] == seen["dark print"] == "rgb(255, 255, 255)"


def test_tables_fit_a_printed_page(show):
    tab, _, _ = show("bare", {"width": 718, "height": 1000}, "light")  # A4 less its margins, in pixels
    tab.emulate_media(media="print")
    widths = tab.evaluate(
        "[...document.querySelectorAll('main table')].map(table => table.getBoundingClientRect().right)"
    )
    assert widths
    assert max(widths) <= 718


def test_the_bench_needs_no_sideways_scroll_and_breaks_no_name(browser):
    shares = dict.fromkeys(("at_0", "at_1", "at_10", "at_all", "exposed", "identification", "linked", "ink"), 0.5)
    ratios = {"retention": 0.981, "transfer_ratio": 9.81, "compression": 0.25, "labels_to_90": 60, "psnr": 21.3}
    entries = [entry(name, secret="symmetric", censored=True, **shares, **ratios) for name in DEFENSES.cards]
    for each in entries:
        for name, value in each.report.metrics.items():
            if value.unit not in ("count", "dB"):
                low, high = value.value * 0.94, value.value * 1.06
                each.report.metrics[name] = value.model_copy(update={"low": low, "high": high})
    text = render_bench_html(
        bench_of(entries, dataset="digits", task="digit", targets=450, budget="smoke", threat=None)
    )
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    try:
        page.set_content(text)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate("[...document.querySelectorAll('.box')].every(box => box.scrollWidth <= box.clientWidth)")
        names = page.locator(".rows .whole")
        assert names.count() == len(DEFENSES.cards)
        assert page.evaluate(
            "[...document.querySelectorAll('.whole')].every(name => name.getClientRects().length === 1)"
        )
    finally:
        page.close()
