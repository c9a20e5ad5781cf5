"""A course over training as a page and as a drawing: everything drawn where it belongs, nothing fetched."""

import copy
import itertools
import json
import math

import pytest

from adversaries.evidence import Value
from adversaries.statistics.training_course import QUANTITIES
from reports.studies.over_training.findings import correlations, layers_over, with_membership
from reports.studies.over_training.page import DOF, NAMES, RANK, render_html, render_svg
from reports.studies.over_training.svg import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Line, Panel, apart, panel, scale
from tests.reports.pages import Page

STEPS = (0, 1, 9, 99)


def number(value, half=0.5, **more):
    return Value(value=value, low=value - half, high=value + half, **{"unit": "difference", **more}).model_dump(
        mode="json"
    )


def data(name="body", membership=True):
    def layer(i):
        metrics = {
            key: number(value, unit="dimensions")
            for key, value in zip((*DOF, *RANK), (9, 7, 12, 20, 8, 5), strict=True)
        }
        metrics["leakage.dof.effective"] = number((9, 4, 3, 6)[i], unit="dimensions")
        return {"name": name, "kind": "Sequential", "shape": [2, 3], "method": "exact", "notes": [], "metrics": metrics}

    layers = layers_over(STEPS, [[layer(i)] for i in range(4)])
    row = {
        "chosen": "lira norm", "advantage": number(0.3, 0.1, unit="difference"), "health": [],
        "shuffled": number(0.0, 0.1), "planted": number(0.5, 0.1), "tried": {},
    }  # fmt: skip
    whole = with_membership(layers, [{name: row, "": row}] * 4, "") if membership else None
    about = {
        "reason": None, "members": 50, "non_members": 50, "shadows": 4, "trained_on": 480, "shadows_trained_on": 398,
    }  # fmt: skip
    return {
        "schema": 1, "title": "target cnn on digits", "part": "target", "steps": list(STEPS), "images": 60,
        "samples": 3, "image_shape": [1, 8, 8], "notes": ["a note"], "layers": layers, "model": whole,
        "membership": about if membership else {"reason": "members are unknown"},
        "correlations": correlations(layers) if membership else [],
    }  # fmt: skip


def test_points_lie_at_the_logarithm_of_the_step_and_on_their_scale():
    values = [Value(value=x, low=x - 1, high=x + 1, unit="dimensions") for x in (10, 5, 0, 10)]
    drawn = Page(str(panel(STEPS, Panel(title="DoF", lines=[Line(name="x", kind="a", values=values)]))))
    dots = [(float(each["cx"]), float(each["cy"])) for each in drawn.every("circle")]
    width, height = WIDTH - RIGHT - LEFT, HEIGHT - BOTTOM - TOP
    # log(1 + step) / log(100) of the steps 0, 1, 9, 99; the scale reaches from -5 to 15.
    assert [x for x, _ in dots] == pytest.approx([LEFT + width * f for f in (0, math.log10(2) / 2, 0.5, 1)], abs=0.1)
    assert [y for _, y in dots] == pytest.approx([TOP + height * (15 - v) / 20 for v in (10, 5, 0, 10)], abs=0.1)
    (band,) = drawn.every("polygon")
    corners = [tuple(map(float, pair.split(","))) for pair in band["points"].split()]
    assert corners[0][1] == pytest.approx(TOP + height * 4 / 20, abs=0.1)
    assert corners[-1][1] == pytest.approx(TOP + height * 6 / 20, abs=0.1)
    assert "x: from 10 at step 0 to 10 at step 99" in drawn.every("svg")[0]["aria-label"]


def test_scales_hold_every_bound_and_zero():
    for low, high in ((0.2, 0.31), (-0.4, 0.02), (100, 3072), (0, 0), (1e-9, 2e-9)):
        for signed in (False, True):
            line = Line(name="x", kind="a", values=[Value(value=high, low=low, high=high, unit="dimensions"), None])
            ticks = scale(Panel(title="t", lines=[line], signed=signed))
            assert ticks[0] <= min(low, 0)
            assert ticks[-1] >= high
            assert 3 <= len(ticks) <= 7
            assert 0 in ticks


def test_labels_are_moved_apart_and_stay_inside():
    for heights in ([100, 100, 100, 100], [0, 0, 200, 201], [180, 180, 179]):
        moved = apart(heights, 30, 180)
        ordered = sorted(moved)
        assert all(b - a >= 13.9 for a, b in itertools.pairwise(ordered))
        assert ordered[0] >= 30
        assert ordered[-1] <= 180
    assert apart([50, 100], 30, 180) == [50, 100]


def test_the_page_has_three_panels_for_each_layer_and_says_what_was_found():
    page = Page(render_html(data()))
    assert len(page.every("svg")) == 4
    assert page.headings == ["body", "Whole model", "Does it predict who is found?"]
    assert "first fell and then rose, beyond its intervals, in 1 of 1 layers" in page.text
    assert "at least 4 are needed" in page.text
    assert "a note" in page.text
    assert not page.every("script", "link", "img", "iframe")
    assert not page.open
    for attrs in page.every("polyline", "polygon", "circle", "line"):
        assert "nan" not in str(attrs)


def test_without_membership_there_are_two_panels_and_the_reason():
    page = Page(render_html(data(membership=False)))
    assert len(page.every("svg")) == 2
    assert "members are unknown" in page.text
    assert "Whole model" not in page.headings


def test_the_drawing_stands_alone():
    text = render_svg(data())
    assert text.startswith('<svg xmlns="http://www.w3.org/2000/svg"')
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    page = Page(text)
    assert len(page.every("polyline")) == 4 + 2 + 2 + 2
    assert "prefers-color-scheme: dark" in text


def test_names_from_outside_are_harmless():
    name = "<script>alert(1)</script>\x1b[31m"
    for text in (render_html(data(name)), render_svg(data(name))):
        assert "<script" not in text
        assert "\x1b" not in text


def test_unknown_numbers_are_dashes():
    found = data()
    unknown = Value.unknown("a sketch does not see it", unit="dimensions").model_dump(mode="json")
    layer = copy.deepcopy(found["layers"][0])
    names = [*DOF, *RANK]
    layer["courses"] = layers_over(STEPS, [[{**layer, "method": "", "metrics": dict.fromkeys(names, unknown)}]] * 4)[0][
        "courses"
    ]
    layer["membership"] = [{"reason": "no tensor"}] * 4
    found["layers"] = [json.loads(json.dumps(layer))]
    page = Page(render_html(found))
    assert "not known" in page.text
    assert "could not be followed" in page.text
    assert render_svg(found)


def test_an_unknown_advantage_is_said_with_its_reason():
    found = data()
    unknown = Value.unknown("nobody is honest", unit="difference").model_dump(mode="json")
    for rows in (found["layers"][0]["membership"], found["model"]):
        rows[-1] = {**rows[-1], "advantage": unknown}
    page = Page(render_html(found))
    assert page.text.count("not known (nobody is honest)") == 2
    assert render_svg(found)


def test_every_quantity_is_drawn_and_named_once():
    assert [*DOF, *RANK] == list(NAMES) == list(QUANTITIES)
    assert [look for _, look in (*DOF.values(), *RANK.values())] == list("abcdab")
