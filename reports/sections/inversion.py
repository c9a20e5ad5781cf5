"""The section of reconstruction.

Keys of the sidecar that are looked for, all of them optional:

| key | shape | holds |
|---|---|---|
| `gallery/original` | (m, c, h, w) | images in [0, 1], or uint8 |
| `gallery/release` | (m, c, h, w) | their releases, rescaled to [0, 1]; none where a release is no image |
| `gallery/reconstruction` | (m, c, h, w) | the best reconstructions |
| `gallery/psnr`, `gallery/ssim` | (m,) | of each reconstruction; dB, and in [-1, 1] |
| `gallery/exposed` | (m,) | 1 if a clean model picks out the reconstruction itself and names its label right |
| `gallery/sure` | (m,) | how sure that model is, in [0, 1] |
| `gallery/rank` | (m,) | place of the own original among a gallery's, nearest first; 1 is found |

Images have 1 or 3 channels; of others the mean is drawn. Numbers that are not finite are drawn black.
"""

from __future__ import annotations

import math
from typing import Any

from reports.model.attempt_index import AttemptIndex
from reports.model.metric import Metric
from reports.model.numbers import percent
from reports.model.pictures import MOST, PARTS, Gallery, Leak
from reports.model.pixels import pixels_of
from reports.model.section import SECTIONS, Arrays, Section

_METRICS = (
    Metric(
        name="inversion.psnr",
        better="down",
        unit="dB",
        meaning="peak signal-to-noise ratio of the best reconstruction",
        predicted=True,
    ),
    Metric(
        name="inversion.ssim",
        better="down",
        unit="ssim",
        meaning="structural similarity of the best reconstruction",
        predicted=True,
    ),
    Metric(
        name="inversion.identification",
        better="down",
        unit="rate",
        meaning="how often a reconstruction is nearest to its own original in a gallery",
        predicted=True,
    ),
    Metric(
        name="inversion.reader_accuracy",
        better="down",
        unit="rate",
        meaning="a clean classifier on the reconstructions",
        predicted=True,
    ),
)


@SECTIONS.register("inversion")
def inversion() -> Section:
    """How close an attacker comes to the original images."""
    return Section(
        protocol="inversion",
        title="Reconstruction",
        about="How close an attacker comes to the original images.",
        order=40,
        metrics=_METRICS,
        headlines=("inversion.identification", "inversion.psnr"),
        identifiers=("OWASP AISVS 8.4.1", "MITRE ATLAS AML.T0024.001"),
        pictures=_pictures,
        sentences=_sentences,
        verdict=_verdict,
    )


def _sentences(index: AttemptIndex) -> list[str]:
    found = index.report.metrics.get("inversion.identification")
    if found is None or found.value is None:
        return []
    return [f"{100 * found.value:.0f} % of the reconstructions are nearest to their own original"]


def _verdict(index: AttemptIndex) -> list[str]:
    found = index.known("inversion.identification")
    if found is None or found.value is None:
        return []
    return [f"Reconstructions lead back to their own image in {percent(found.value)} of the cases."]


def _pictures(index: AttemptIndex, rows: Arrays) -> list[Gallery]:  # noqa: ARG001  (a section's shape)
    leaks = gallery(rows)
    return [Gallery(leaks=tuple(leaks), judged="gallery/exposed" in rows)] if leaks else []


def gallery(rows: Arrays) -> list[Leak]:
    """The worst leaks first: the exposed by how sure their reader is, then by rank and PSNR; else as they are stored.

    Args:
        rows: the sidecar's arrays. Those whose length differs from the reconstructions' are not used.
    """
    best = rows.get("gallery/reconstruction")
    if best is None or best.ndim != 4 or 0 in best.shape:
        return []
    count = len(best)
    arrays = {part: rows[f"gallery/{part}"] for part in PARTS if _fits(rows.get(f"gallery/{part}"), count, 4)}
    numbers: dict[str, list[float | None]] = {}
    for name in ("psnr", "ssim", "rank", "exposed", "sure"):
        fits = _fits(rows.get(f"gallery/{name}"), count, 1)
        numbers[name] = [_finite(entry) for entry in rows[f"gallery/{name}"]] if fits else [None] * count
    ranks, quality = numbers["rank"], numbers["psnr"]

    def worst(place: int) -> tuple[float, float, float, int]:
        rank, psnr = ranks[place], quality[place]
        sure = -(numbers["sure"][place] or 0.0) - 1 if numbers["exposed"][place] else 0.0
        return sure, math.inf if rank is None else rank, math.inf if psnr is None else -psnr, place

    return [
        Leak(
            pictures={part: pixels_of(array[place]) for part, array in arrays.items()},
            psnr=quality[place],
            ssim=numbers["ssim"][place],
            rank=None if (rank := ranks[place]) is None else int(rank),
            exposed=bool(numbers["exposed"][place]),
            sure=numbers["sure"][place],
        )
        for place in sorted(range(count), key=worst)[:MOST]
    ]


def _fits(array: Any, count: int, axes: int) -> bool:
    return array is not None and array.ndim == axes and len(array) == count and 0 not in array.shape


def _finite(entry: Any) -> float | None:
    number = float(entry)
    return number if math.isfinite(number) else None
