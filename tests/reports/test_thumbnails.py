"""Pictures with characters: what is bright looks bright, in colors and without, at every width."""

import re

import numpy as np
import pytest
from rich.cells import cell_len

from reports.formats import thumbnails
from reports.model.pictures import PARTS, Leak
from reports.sections.inversion import gallery
from reports.sections.mask_aware import mask as mask_of
from tests.reports.pages import everything, rows
from tests.reports.test_terminal import SGR, fits, one_line, shown

HALVES = np.zeros((1, 1, 4, 4))
HALVES[:, :, :2] = 1


def leak(**changes):
    arrays = {f"gallery/{part}": changes.get(part, HALVES) for part in PARTS}
    return gallery({key: array for key, array in arrays.items() if array is not None})


def lines(*args, **options):
    return [line.plain.rstrip() for line in thumbnails.draw(*args, **options)]


def test_brightness_becomes_characters():
    drawn = lines(leak(release=None), width=40, color=False)
    white, black = thumbnails.RAMP[-1] * 16, thumbnails.RAMP[0] * 16
    assert drawn[0] == "1  quality unknown"
    assert drawn[1] == "original          reconstruction"
    assert drawn[2:-1] == [f"{white}  {white}"] * 4 + [f"{black}  {black}"] * 4


def test_colors_hold_two_pixels_above_each_other():
    picture = np.zeros((1, 3, 2, 1))
    picture[0, 0, 0], picture[0, 2, 1] = 1, 1
    (_, _, line, *_) = thumbnails.draw(
        leak(original=picture, release=picture, reconstruction=picture), width=48, color=True
    )
    styles = {(span.style.color.triplet.hex, span.style.bgcolor.triplet.hex) for span in line.spans}
    assert styles <= {("#ff0000", "#ff0000"), ("#ff0000", "#0000ff"), ("#0000ff", "#0000ff")}


@pytest.mark.parametrize("color", [False, True])
@pytest.mark.parametrize("width", [1, 20, 44, 48, 80, 160, 300])
@pytest.mark.parametrize("size", [(1, 1, 1), (1, 8, 8), (3, 32, 32), (3, 20, 64), (2, 64, 5)])
def test_no_line_is_too_long(size, width, color):
    pictured = np.random.default_rng(0).random((5, *size))
    leaks = leak(original=pictured, release=pictured, reconstruction=pictured)
    drawn = thumbnails.draw(leaks, width=width, color=color)
    assert max(line.cell_len for line in drawn) <= width
    assert ("original" in "".join(line.plain for line in drawn)) == (width >= 46)


def test_missing_numbers_and_pictures_are_left_out():
    known = Leak(pictures={}, psnr=20.04, ssim=None, rank=1)
    assert known.quality == "20.0 dB, found: nearest to its own original"
    assert Leak(pictures={}, psnr=None, ssim=None, rank=None).quality == ""
    assert thumbnails.draw([], width=80, color=False) == []


def test_mask_maps():
    mask = mask_of({"mask/bits": np.array([[1, 0, 1], [0, 0, 1]])})
    assert [line.plain for line in thumbnails.mask_map(mask, width=10, plain=False)] == ["█·█", "··█"]
    assert [line.plain for line in thumbnails.mask_map(mask, width=10, plain=True)] == ["#.#", "..#"]
    wide = mask_of({"mask/bits": np.repeat([[1, 0]], 50, axis=1)})
    assert [line.plain for line in thumbnails.mask_map(wide, width=4, plain=True)] == ["##.."]


@pytest.mark.parametrize("width", [24, 44, 80, 120, 160])
def test_the_report_draws_them(width):
    text = shown(everything(), width, rows=rows())
    assert fits(text, width)
    assert "1  21.5 dB, SSIM 0.750" in text or width < 30
    assert bool(re.search("original +release +reconstruction", text)) == (width >= 46)
    assert "25.0 % of 8 latent numbers are kept." in one_line(text)
    colored = shown(everything(), width, rows=rows(), force_terminal=True, color_system="truecolor")
    assert ("▀" in colored) == (width >= 46)
    assert "▀" not in text
    assert all(cell_len(line) <= width for line in SGR.sub("", colored).splitlines())
    silent = shown(everything(), width, rows=rows(), force_terminal=True, color_system="truecolor", no_color=True)
    assert "▀" not in silent
