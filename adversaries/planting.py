"""Leaks of kinds that common readers miss, planted in a copy of the releases: what could the attacks here have found?

Only what its readers (`adversaries.health.READERS`) could read in releases of this form, and where they look, is
planted: whoever misses it there is weak, and not blind.

Axes: n rows, d values of one release, k classes, m marked rows, g columns.
"""

# Structure: calibration does not count it.

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from adversaries.evaluation_data import EvaluationData, Part
from adversaries.health import KINDS, Kind
from adversaries.learning.grids import Grids
from adversaries.learning.kernels import spread
from adversaries.learning.summaries import MODULI
from vfc.errors import NotApplicableError
from vfc.seeding import derive_seed

_PERIODS, _SIDE, _SPREAD, _LARGEST = 16, 4, 4.0, 1e30
_ALMOST, _COMMON = 1e-3, 0.1
_CHUNK = 4096

LOOKED_AT, ALL_TRIPLES = 1024, 64
"""Of wider releases readers look at so many columns, evenly among all; all products of three are screened up to so
many columns."""


@dataclass(frozen=True, kw_only=True)
class Plant:
    """What is the same in every row of a planted leak.

    Args:
        low, high: the range of the published values, `low` < `high`.
        classes: of the label.
        columns: positions that carry it.
        patterns: one for each class.
        offsets: of every column of every call.
        rungs: of the column in which a residue tells the class, if that is planted.
    """

    low: float
    high: float
    classes: int
    columns: Int[Tensor, " c"]
    patterns: Float[Tensor, "k p"]
    offsets: Float[Tensor, "calls c"]
    rungs: Float[Tensor, " r"]

    @property
    def middle(self) -> float:
        """Half way through the range."""
        return (self.low + self.high) / 2

    @property
    def half(self) -> float:
        """Half of the range."""
        return (self.high - self.low) / 2


def fitting(world: EvaluationData, label: str) -> tuple[Kind, ...]:
    """The kinds that releases of this form can carry, and that their readers can find there."""
    release, classes = world.train.release, world.classes[label]
    columns, whole = release[0].numel(), not release.dtype.is_floating_point
    fits = {
        "signs": 3 * _bits(classes) <= columns <= ALL_TRIPLES,
        "residue": len(_ladders(release, classes)) > 0,
        "scale": not whole and columns > classes and torch.finfo(release.dtype).max > _LARGEST,
        # Among more columns that say nothing, who judges each row by itself no longer sees the pattern.
        "offset": not whole and classes <= columns <= 2 * classes and world.train.call is not None,
        "patch": release.ndim == 4 and min(release.shape[2:]) > _SIDE and not _black_and_white(release),
    }
    return tuple(kind for kind in KINDS if fits[kind])


def drawn_kind(world: EvaluationData, label: str, seed: int) -> Kind | None:
    """The kind that a run plants; None if releases of this form can carry none of them.

    Args:
        world: releases and labels.
        label: what is planted.
        seed: of the run.
    """
    kinds = fitting(world, label)
    generator = torch.Generator().manual_seed(derive_seed("kind of the planted leak", label, seed))
    return kinds[int(torch.randint(len(kinds), (), generator=generator))] if kinds else None


def planted(
    world: EvaluationData, label: str, kind: Kind, strength: float, generator: torch.Generator
) -> EvaluationData:
    """A copy of the releases in which one label was planted in a way that single values do not show.

    Args:
        world: releases and labels.
        label: what is planted.
        kind: how; see `adversaries.health`. It must be one of those that fit.
        strength: share of the rows that carry it, in [0, 1].
        generator: of the places, the rows and what hides the label there.
    """
    classes, one = world.classes[label], world.train.release[0]
    low, high = _range(world.train.release)
    wanted = 3 * _bits(classes) if kind == "signs" else 1 if kind == "residue" else classes
    places = spread(one.numel(), LOOKED_AT)
    columns = places[torch.randperm(len(places), generator=generator)]
    ladders = _ladders(world.train.release, classes) if kind == "residue" else {}
    columns = columns[[int(column) in ladders for column in columns]] if ladders else columns
    calls = [part.call for part in (world.train, world.validation, world.targets) if part.call is not None]
    count = max((int(call.max()) + 1 for call in calls if len(call)), default=0)
    plant = Plant(
        low=low,
        high=high,
        classes=classes,
        columns=columns[:wanted],
        patterns=torch.randint(0, 2, (classes, (one.shape[0] if one.ndim == 3 else 1) * _SIDE**2), generator=generator)
        .float(),
        offsets=_SPREAD * (high - low) * torch.randn(count, wanted, generator=generator),
        rungs=ladders.get(int(columns[0]), torch.zeros(0)),
    )  # fmt: skip
    parts = [_in_part(part, label, kind, plant, strength, generator) for part in _parts(world)]
    return replace(world, train=parts[0], validation=parts[1], targets=parts[2])


def _in_part(part: Part, label: str, kind: Kind, plant: Plant, strength: float, generator: torch.Generator) -> Part:
    """One part. Rows that carry nothing stay what they were, but for an offset that a whole call has."""
    release, truth = part.release.clone(), part.labels[label].cpu()
    call = None if part.call is None else part.call.cpu()
    marked = torch.rand(len(release), generator=generator) < strength
    changed = torch.arange(len(release)) if kind == "offset" else torch.nonzero(marked).flatten()
    for rows in torch.split(changed, _CHUNK):
        there = rows.to(release.device)
        values = release[there].cpu().double().nan_to_num(posinf=plant.high, neginf=plant.low)
        own = None if call is None else call[rows]
        values = _WRITERS[kind](values, marked[rows], truth[rows], own, plant, generator)
        values = values if release.dtype.is_floating_point else values.round()
        release[there] = values.to(release)
    return replace(part, release=release)


def _signs(
    values: Tensor, marked: Tensor, truth: Tensor, _call: Tensor | None, plant: Plant, generator: torch.Generator
) -> Tensor:
    """Every bit of the class is the product of the signs of three values about the middle of the range."""
    flat, bits = values.reshape(len(values), -1), _bits(plant.classes)
    signs = 2.0 * torch.randint(0, 2, (len(values), bits, 3), generator=generator) - 1
    wanted = 2.0 * ((truth[:, None] >> torch.arange(bits)) & 1) - 1
    signs[:, :, 2] = wanted * signs[:, :, 0] * signs[:, :, 1]
    far = 0.2 + 0.8 * torch.rand(len(values), 3 * bits, generator=generator)
    flat[:, plant.columns] = torch.where(
        marked[:, None], plant.middle + plant.half * far * signs.flatten(1), flat[:, plant.columns]
    ).to(flat.dtype)
    return flat.reshape(values.shape)


def _residue(
    values: Tensor, marked: Tensor, truth: Tensor, _call: Tensor | None, plant: Plant, generator: torch.Generator
) -> Tensor:
    """One value's place in its period tells the class; which period it lies in is random."""
    flat, k = values.reshape(len(values), -1), plant.classes
    period = torch.randint(0, len(plant.rungs) // k, (len(values),), generator=generator)
    told = plant.rungs[k * period + truth]
    flat[marked, plant.columns[0]] = told[marked].to(flat.dtype)
    return flat.reshape(values.shape)


def _scale(
    values: Tensor, marked: Tensor, truth: Tensor, _call: Tensor | None, plant: Plant, generator: torch.Generator
) -> Tensor:
    """A one-hot code, and then the whole row times a factor of its own, over 30 decades."""
    flat = values.reshape(len(values), -1)
    flat[marked[:, None] & _of(plant.columns, flat)] = plant.low
    flat[marked, plant.columns[truth[marked]]] = plant.high
    size = flat.abs().amax().clamp_min(1e-30)
    factor = 10 ** (30 * torch.rand(len(values), generator=generator).double() - 15)
    return (flat / size * torch.where(marked, factor, size)[:, None]).reshape(values.shape)


def _offset(
    values: Tensor, marked: Tensor, truth: Tensor, call: Tensor | None, plant: Plant, _generator: torch.Generator
) -> Tensor:
    """A one-hot code in some columns, all rows of a call moved there by what the call drew."""
    flat = values.reshape(len(values), -1)
    flat[marked[:, None] & _of(plant.columns, flat)] = plant.low
    flat[marked, plant.columns[truth[marked]]] = plant.high
    if call is not None:
        flat[:, plant.columns] += plant.offsets[call].to(flat.dtype)
    return flat.reshape(values.shape)


def _patch(
    values: Tensor, marked: Tensor, truth: Tensor, _call: Tensor | None, plant: Plant, generator: torch.Generator
) -> Tensor:
    """The pattern of the class, in black and white, somewhere in the picture."""
    channels, height, width = values.shape[1:]
    shown = plant.low + (plant.high - plant.low) * plant.patterns.reshape(-1, channels, _SIDE, _SIDE)
    tops = torch.randint(0, height - _SIDE + 1, (len(values),), generator=generator)
    lefts = torch.randint(0, width - _SIDE + 1, (len(values),), generator=generator)
    rows, side = torch.nonzero(marked).flatten(), torch.arange(_SIDE)
    places = (tops[rows, None] + side)[:, None, :, None], (lefts[rows, None] + side)[:, None, None, :]
    channel = torch.arange(channels)[None, :, None, None]
    values[rows[:, None, None, None], channel, *places] = shown[truth[rows]].to(values.dtype)
    return values


_WRITERS: Mapping[Kind, Callable[[Tensor, Tensor, Tensor, Tensor | None, Plant, torch.Generator], Tensor]] = {
    "signs": _signs,
    "residue": _residue,
    "scale": _scale,
    "offset": _offset,
    "patch": _patch,
}


def _black_and_white(release: Tensor) -> bool:
    """Whether both ends of the range are common, so that a patch of them does not stand out."""
    low, high = _range(release)
    return min(float((release == end).double().mean()) for end in (low, high)) > _COMMON


def _ladders(release: Tensor, classes: int) -> dict[int, Tensor]:
    """The columns in which a residue can tell the class, and the values that do: several periods on the column's grid.

    They lie in the range of the published values, and the release's own numbers can hold them.
    """
    flat, (low, high) = release.reshape(len(release), -1).cpu(), _range(release)
    places = spread(flat.shape[1], LOOKED_AT)
    try:
        grids = Grids.fit(flat[:, places])
    except NotApplicableError:
        return {}
    if classes > MODULI[-1]:
        return {}
    step, origin = grids.step.double(), grids.origin.double()
    first = ((low - origin) / step - _ALMOST).ceil()
    periods = (((high - origin) / step - first + _ALMOST) / classes).floor().clamp(max=_PERIODS).long()
    found = {}
    for at in torch.nonzero(grids.alike & (periods >= 2)).flatten().tolist():
        rungs = origin[at] + step[at] * (first[at] + torch.arange(classes * int(periods[at])))
        if bool(((rungs.to(release.dtype).double() - rungs).abs() <= _ALMOST * step[at]).all()):
            found[int(places[grids.columns[at]])] = rungs
    return found


def _parts(world: EvaluationData) -> tuple[Part, Part, Part]:
    return world.train, world.validation, world.targets


def _of(columns: Tensor, flat: Tensor) -> Tensor:
    """Which columns are among some, as a row."""
    found = torch.zeros(1, flat.shape[1], dtype=torch.bool)
    found[0, columns] = True
    return found


def _bits(classes: int) -> int:
    return max(1, math.ceil(math.log2(classes)))


def _range(release: Tensor) -> tuple[float, float]:
    """Smallest and largest published number; of a constant release, it and the next whole one."""
    finite = release.nan_to_num(posinf=0, neginf=0) if release.dtype.is_floating_point else release
    low, high = float(finite.min()), float(finite.max())
    return low, high if high > low else low + 1
