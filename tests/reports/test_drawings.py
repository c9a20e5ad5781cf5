import io

import numpy as np
import pytest

from adversaries.evidence import Value
from reports.formats import svg
from reports.formats.html import render_html
from reports.model import pixels as pixel
from reports.model.pictures import Point
from reports.sections.inversion import gallery
from reports.sections.mask_aware import mask as mask_of
from tests.reports.builder import number
from tests.reports.pages import Page, rows
from tests.reports.sample import full


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
    with image.open(io.BytesIO(pixel.png(pixels))) as read:
        read.load()
        assert np.array_equal(np.asarray(read), pixels)


def test_worst_leaks_come_first():
    leaks = gallery(rows())
    assert [leak.psnr for leak in leaks] == [21.5, None, 14.0, 12.0, 9.0, 8.0]
    assert (leaks[0].ssim, leaks[0].rank) == (0.75, 1)
    assert np.array_equal(leaks[0].pictures["original"], np.rint(255 * rows()["gallery/original"][2, 0]))
    text = page(full(), rows()).text
    assert "1 21.5 dB, SSIM 0.750, found: nearest to its own original" in text
    assert "2 SSIM 0.100, its original is number 2" in text


def test_the_exposed_come_before_the_best_rebuilt_and_the_order_is_told():
    more = {"gallery/exposed": np.array([0, 0, 0, 1, 1, 0]), "gallery/sure": np.array([0.9, 0.1, 0.2, 0.7, 0.95, 0.2])}
    leaks = gallery({**rows(), **more})
    assert [leak.psnr for leak in leaks] == [None, 8.0, 21.5, 14.0, 12.0, 9.0]
    assert [leak.exposed for leak in leaks] == [True, True, False, False, False, False]
    text = page(full(), {**rows(), **more}).text
    assert "1 exposed (read right, 95 % sure), SSIM 0.100, its original is number 2" in text
    assert "Order: first the exposed" in text
    assert "2 of these 6 are exposed." in text
    none = {**rows(), "gallery/exposed": np.zeros(6), "gallery/sure": np.ones(6)}
    assert "Nobody here is exposed." in page(full(), none).text
    assert "exposed" not in page(full(), rows()).text.split("The worst leaks first")[1].split("dB: peak")[0]


def test_resizing_averages_down_and_repeats_up():
    pixels = np.array([[0, 100, 200, 100], [100, 200, 0, 100]], dtype=np.uint8)
    assert pixel.resized(pixels, 1, 2).tolist() == [[100, 100]]
    assert pixel.resized(pixels, 2, 3).tolist() == [[0, 100, 150], [100, 200, 50]]
    assert pixel.resized(pixels, 4, 4).tolist() == np.repeat(pixels, 2, axis=0).tolist()
    color = np.random.default_rng(0).integers(0, 256, (7, 5, 3)).astype(np.uint8)
    assert pixel.resized(color, 7, 5).tolist() == color.tolist()
    assert pixel.resized(color, 1, 1)[0, 0] == pytest.approx(color.mean(axis=(0, 1)), abs=1)


@pytest.mark.parametrize(
    "arrays",
    [
        {"gallery/reconstruction": np.zeros((0, 1, 8, 8))},
        {"gallery/reconstruction": np.zeros((2, 8, 8))},
        {"gallery/reconstruction": np.full((2, 5, 8, 8), np.nan), "gallery/original": np.zeros((3, 1, 8, 8))},
        {"gallery/reconstruction": np.zeros((1, 1, 3, 900), np.uint8), "gallery/release": np.full((1, 7), np.inf)},
        {"mask/bits": np.zeros((2, 2, 2, 2)), "spectra/<b>": np.zeros((2, 2))},
        {"mask/bits": np.array([np.nan, 2.0, -1.0]), "spectra/x": np.array([])},
        {"roc/x/fpr": np.array([0.0, np.nan]), "roc/x/tpr": np.array([0.0, 1.0])},
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
    mask = mask_of(rows())
    assert (mask.kept, mask.size, len(mask.channels)) == (0.25, 8, 1)
    assert mask.channels[0].tolist() == [[255, 0, 0, 0], [0, 255, 0, 0]]
    assert "25.0 % of 8 latent numbers are kept" in page(full(), rows()).text
    (vector,) = mask_of({"mask/bits": np.array([1, 0, 1, 1, 1])}).channels
    assert vector.tolist() == [[255, 0, 255], [255, 255, 0]]


def test_every_roc_curve_has_its_name_and_logarithmic_axes():
    curves = {f"roc/{name}/{rate}": np.array([0.0, 0.01, 1.0]) for name in ("a", "b") for rate in ("fpr", "tpr")}
    drawn = page(full(), curves)
    assert [attrs["aria-label"] for attrs in drawn.every("svg") if "false positive" in attrs["aria-label"]] == [
        "True against false positive rate of a; the dashed line is guessing",
        "True against false positive rate of b; the dashed line is guessing",
    ]
    places = Page(str(svg.roc("a", [1e-3, 1e-2, 1.0], [1e-3, 1e-2, 1.0]))).every("polyline")[0]["points"].split()
    first, second, last = (tuple(map(float, place.split(","))) for place in places)
    assert second[0] - first[0] == pytest.approx((last[0] - first[0]) / 3, abs=0.1)
    assert first[1] - second[1] == pytest.approx((first[1] - last[1]) / 3, abs=0.1)
