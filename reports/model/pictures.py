"""What a section may draw, as data. A closed set of kinds: every format knows how to show each of them.

Sections make pictures from the attempts and from the arrays of the sidecar, all of which are optional.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from adversaries.evidence import Value
from reports.model.pixels import Pixels

MOST = 16
"""Images of a gallery, and channels of a mask, that are shown at most."""

Part = Literal["original", "release", "reconstruction"]
PARTS: tuple[Part, ...] = ("original", "release", "reconstruction")


@dataclass(frozen=True, kw_only=True)
class Leak:
    """One image beside its release and what an attacker makes of that.

    Args:
        pictures: uint8 pixels, (h, w) or (h, w, 3), of the parts at hand.
        psnr, ssim, rank: how good the reconstruction is; None if unknown.
        exposed: whether a clean model picks out the reconstruction itself and names its label right.
        sure: how sure that model is, in [0, 1]; None if unknown.
    """

    pictures: Mapping[Part, Pixels]
    psnr: float | None
    ssim: float | None
    rank: int | None
    exposed: bool = False
    sure: float | None = None

    @property
    def quality(self) -> str:
        """How good the reconstruction is; empty if nothing is known."""
        parts = []
        if self.exposed:
            parts.append("exposed" if self.sure is None else f"exposed (read right, {100 * self.sure:.0f} % sure)")
        parts += [] if self.psnr is None else [f"{self.psnr:.1f} dB"]
        parts += [] if self.ssim is None else [f"SSIM {self.ssim:.3f}"]
        if self.rank is not None:
            found = "found: nearest to its own original"
            parts.append(found if self.rank <= 1 else f"its original is number {self.rank}")
        return ", ".join(parts)


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Reconstructions beside their originals, the worst leaks first.

    Args:
        leaks: in that order.
        judged: whether it is known who is exposed.
    """

    kind: ClassVar[Literal["gallery"]] = "gallery"
    leaks: tuple[Leak, ...]
    judged: bool = False

    @property
    def order(self) -> str:
        """In which order they stand, in words."""
        best = "then those found in a gallery, then by PSNR"
        if not self.judged:
            return "Order: reconstructions that are found in a gallery first, then by PSNR."
        exposed = sum(leak.exposed for leak in self.leaks)
        who = f"{exposed} of these {len(self.leaks)} are" if exposed else "nobody here is"
        return (
            "Order: first the exposed, whose reconstruction a clean model picks out itself and names right, the surest "
            f"first; {best}. {who[0].upper()}{who[1:]} exposed."
        )


@dataclass(frozen=True, kw_only=True)
class Mask:
    """Which latent numbers are kept.

    Args:
        channels: uint8 pixels of each channel, 255 for kept.
        kept: share that is kept, in [0, 1].
        size: how many numbers the latent has.
    """

    kind: ClassVar[Literal["mask"]] = "mask"
    channels: tuple[Pixels, ...]
    kept: float
    size: int


@dataclass(frozen=True, kw_only=True)
class Spectra:
    """Singular values, descending, by name of the layer."""

    kind: ClassVar[Literal["spectra"]] = "spectra"
    layers: Mapping[str, list[float]]


@dataclass(frozen=True, kw_only=True)
class RocCurves:
    """False positive rates, ascending, and the true positive rates there, by name of the adversary."""

    kind: ClassVar[Literal["roc"]] = "roc"
    curves: Mapping[str, tuple[list[float], list[float]]]


@dataclass(frozen=True, kw_only=True)
class Point:
    """The strongest attack at one K.

    Args:
        labels: K as text.
        value, low, high: accuracy and its interval, in [0, 1].
        ratio: accuracy of the target model / that, as text; `-` if unknown.
        reached: name of the adversary; empty if the report does not tell.
    """

    labels: str
    value: float
    low: float
    high: float
    ratio: str = "-"
    reached: str = ""

    @property
    def notes(self) -> tuple[str, str, str, str]:
        """What stands under the axis, by `NOTES`."""
        return f"{self.value:.3f}", f"{self.high:.3f}", f"{self.low:.3f}", self.ratio


NOTES = ("accuracy", "high", "low", "ratio")
"""Names of a point's notes."""


@dataclass(frozen=True, kw_only=True)
class CostCurve:
    """Accuracy against labelled releases per class.

    Args:
        points: in order of K.
        floor: accuracy without the release.
        target: accuracy of the target model on the release.
        absence: why there is no point; empty if there is one.
        metrics: names of the numbers that it shows.
        chosen_by: the labels that chose among the attacks at each K, in words; empty if none did.
    """

    kind: ClassVar[Literal["curve"]] = "curve"
    points: tuple[Point, ...]
    floor: float | None
    target: float | None
    absence: str = ""
    metrics: tuple[str, ...] = ()
    chosen_by: str = ""

    @property
    def granted(self) -> str:
        """What attacks were granted at each K, and what chose among them."""
        chosen = f", {self.chosen_by}" if self.chosen_by else ""
        return f"K labelled releases per class (0: adapted without labels{chosen})"


RowKind = Literal["model", "twin", "target", "floor", "probe"]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One number of an accuracy table.

    Args:
        value: what was measured; None without a number.
        mark: what tells its attempt from the others of the cell; empty where nothing is to be told.
        word: what stands in the number's place.
    """

    value: Value | None = None
    mark: str = ""
    word: str = "-"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of an accuracy table; a part that cannot apply is empty.

    Args:
        kind: of whom it tells.
        name: of the model or probe.
        without: cells of attacks without labels.
        labelled: cells under each K.
    """

    kind: RowKind
    name: str
    without: tuple[Cell, ...] = ()
    labelled: tuple[Cell, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AccuracyTable:
    """Accuracy on the release, by model or probe and by number of labels.

    Args:
        without: heads of the columns without labels.
        grid: K of the columns with labels.
        rows: models, the target model, the floor, and probes, in that order.
        notes: sentences under the table.
    """

    kind: ClassVar[Literal["accuracies"]] = "accuracies"
    without: tuple[str, ...]
    grid: tuple[int | str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


Picture = Gallery | Mask | Spectra | RocCurves | CostCurve | AccuracyTable


def finite_numbers(array: Any) -> list[float]:
    """The finite numbers of an array, whatever its shape."""
    import numpy as np

    return [float(entry) for entry in np.asarray(array, dtype=np.float64).reshape(-1) if math.isfinite(entry)]
