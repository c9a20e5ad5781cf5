import io

import numpy as np
import pytest

from adversaries.evidence import Value
from reports import pictures, svg
from reports.curve import Point
from reports.html import render_html
from tests.reports.builder import number
from tests.reports.pages import Page, rows
from tests.reports.test_terminal import full


def page(report, arrays=None):
    return Page(render_html(report, arrays))


def test_curve_points_and_levels_lie_where_they_belong():
    points = [Point(labels="0", value=0.5, low=0.25, high=0.75), Point(labels="all", value=1.0, low=1.0, high=1.0)]
    drawn = Page(str(svg.curve(points, floor=0.0, target=0.75)))
    height = svg.HEIGHT - svg.TOP - svg.BOTTOM
    dots = [(float(d["cx"]), float(d["cy"])) for d in drawn.every("circle")]
    slot = (svg.WIDTH - svg.LEFT - svg.RIGHT) / 2
    assert dots == [(svg.LEFT + slot / 2, svg.TOP + height / 2), (svg.LEFT + 1.5 * slot, svg.TOP)]
    levels = {d["class"]: float(d["y1"]) for d in drawn.every("line") if d["class"] in ("floor", "target")}
    assert levels == {"floor": svg.TOP + height, "target": svg.TOP + height / 4}
    whiskers = [(float(d["y1"]), float(d["y2"])) for d in drawn.every("line") if d["class"] == "whisker"]
    assert whiskers[0] == (svg.TOP + height / 4, svg.TOP + height * 3 / 4)
    assert "Floor 0.000." in drawn.text


def test_labels_of_levels_never_collide():
    points = [Point(labels="0", value=0.5, low=0.4, high=0.6)]
    for level in (0.0, 0.5, 1.0):
        drawn = Page(str(svg.curve(points, floor=level, target=level)))
        heights = [float(d["y"]) for d in drawn.every("text") if d["class"].startswith("label")]
        assert abs(heights[0] - heights[1]) >= 15


def test_the_wanted_side_of_a_limit_is_shaded():
    above = Page(str(svg.limit(number(2, 1, 3), 2.5, True))).every("rect")[0]
    below = Page(str(svg.limit(number(2, 1, 3), 2.5, False))).every("rect")[0]
    assert float(above["x"]) == pytest.approx(float(below["x"]) + float(below["width"]), abs=0.2)
    assert svg.limit(Value.unknown("no"), 1.0, True) == ""
    for extreme in (number(1e308, -1e308, 1e308), number(0, 0, 0)):
        assert "nan" not in svg.limit(extreme, 0.0, True)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (1, 1)])
def test_png_is_read_back_by_pillow(shape):
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    with image.open(io.BytesIO(pictures.png(pixels))) as read:
        read.load()
        assert np.array_equal(np.asarray(read), pixels)


def test_worst_leaks_come_first():
    leaks = pictures.gallery(rows())
    assert [leak.target for leak in leaks] == [12, 14, 15, 11, 10, 13]
    assert (leaks[0].psnr, leaks[0].ssim, leaks[0].rank) == (21.5, 0.75, 1)
    assert leaks[1].psnr is None
    text = page(full(), rows()).text
    assert "Target 12 · 21.5 dB · SSIM 0.750 · found: nearest to its own original" in text
    assert "Target 14 · SSIM 0.100 · its original is number 2" in text


@pytest.mark.parametrize(
    "arrays",
    [
        {"gallery/reconstruction": np.zeros((0, 1, 8, 8))},
        {"gallery/reconstruction": np.zeros((2, 8, 8))},
        {"gallery/reconstruction": np.full((2, 5, 8, 8), np.nan), "gallery/original": np.zeros((3, 1, 8, 8))},
        {"gallery/reconstruction": np.zeros((1, 1, 3, 900), np.uint8), "gallery/release": np.full((1, 7), np.inf)},
        {"mask/kept": np.zeros((2, 2, 2, 2)), "leakage/spectrum/<b>": np.zeros((2, 2))},
        {"mask/kept": np.array([np.nan, 2.0, -1.0]), "leakage/spectrum/x": np.array([])},
        {"membership/roc/fpr": np.array([0.0, np.nan]), "membership/roc/tpr": np.array([0.0, 1.0])},
        {"unknown": np.zeros(3)},
    ],
)
def test_odd_arrays_are_left_out_or_drawn_as_far_as_they_go(arrays):
    drawn = page(full(), arrays)
    assert not drawn.open
    assert not drawn.every("b2", "script")
    for attrs in drawn.every("polyline", "circle"):
        assert "nan" not in str(attrs)


def test_mask_map_counts_what_is_kept():
    uris, share, size = pictures.mask(rows())
    assert (len(uris), share, size) == (1, 0.25, 8)
    assert "25.0 % of 8 latent numbers are kept" in page(full(), rows()).text
