"""Spectra of the Jacobians of a map at several images, and of their mean E[J'J]; exact or sketched.

Axes: n images, q vectors, m outputs, d inputs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from adversaries.diagnostics.jacobian import (
    MEMORY,
    Function,
    Linearization,
    Plan,
    check_rows,
    images_that_fit,
    jacobians,
    plan,
)
from adversaries.diagnostics.sketch import PROBES, Sketch, sketch
from adversaries.diagnostics.spectrum import Spectrum, gram, roots, spectrum_of
from vfc.errors import NotApplicableError, UserError

METHODS = ("auto", "exact", "sketch")
LIMIT = 4096
"""Exact spectra are computed up to this smaller side of the Jacobian, unless said otherwise."""


@dataclass(frozen=True, kw_only=True)
class Spectra:
    """Spectra of a map at several images.

    Args:
        each: one for every image.
        mean: of the square root of E[J'J], the mean over the images.
        gram: E[J'J] itself, shape (d, d) in float64; None where it was not formed.
        shape: (m, d) of one Jacobian.
    """

    each: tuple[Spectrum, ...]
    mean: Spectrum
    gram: Float[Tensor, "d d"] | None
    shape: tuple[int, int]

    @property
    def method(self) -> str:
        """How they were computed, in words."""
        one, mean = self.each[0].method, self.mean.method
        return one if one == mean else f"{one}; E[J'J]: {mean}"


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much may be spent on spectra.

    Args:
        method: `exact`, `sketch`, or `auto`: exact while the smaller side is at most `limit` and the Jacobian fits.
        limit: see `method`.
        memory: bytes that may be used.
    """

    method: str = "auto"
    limit: int = LIMIT
    memory: int = MEMORY

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UserError(f"expected a method among {', '.join(METHODS)}, got {self.method!r}", "choose one of those")
        if self.limit < 1 or self.memory < 2**20:
            raise UserError(
                f"expected a limit from 1 and a mebibyte or more, got {self.limit} and {self.memory} bytes",
                "raise the smaller one",
            )

    def exact(self, shape: tuple[int, int], element_bytes: int) -> bool:
        """Whether Jacobians of a shape are to be computed whole."""
        fits = shape[0] * shape[1] * element_bytes <= self.memory // 2
        return self.method == "exact" or (self.method == "auto" and min(shape) <= self.limit and fits)


def spectra(
    function: Function,
    images: Float[Tensor, "n ..."],
    *,
    generator: torch.Generator,
    effort: Effort | None = None,
    repeatable: bool = True,
) -> Spectra:
    """Spectra of the Jacobian of a map at every image, and of E[J'J] over them.

    Args:
        function: the map, in eval mode.
        images: where.
        generator: draws the probes of sketches.
        effort: how much may be spent.
        repeatable: False for a map that draws random numbers, so that copies of an image get different ones.

    Raises:
        NotApplicableError: the map has no derivative, with the step that has none.
    """
    effort = effort or Effort()
    if len(images) == 0:
        raise NotApplicableError("no images")
    probe = Linearization(function, images[:1])
    shape, size = (probe.outputs, probe.inputs), torch.finfo(probe.dtype).bits // 8
    del probe
    check_rows(function, images)
    if not effort.exact(shape, size):
        each = tuple(
            _sketched(function, image, generator, effort.memory, repeatable) for image in torch.split(images, 1)
        )
        mean = _mean_sketched(function, images, generator, effort.memory, repeatable, shape)
        return Spectra(each=each, mean=mean, gram=None, shape=shape)
    how = plan(function, images, shape[0], memory=effort.memory, repeatable=repeatable)
    try:
        return _exact(function, images, how, generator, effort, repeatable)
    except NotApplicableError:
        if how.side == "outputs":
            raise
        # Without a second derivative there are no products with J; rows need none.
        return _exact(function, images, replace(how, side="outputs"), generator, effort, repeatable)


def _exact(
    function: Function,
    images: Float[Tensor, "n ..."],
    how: Plan,
    generator: torch.Generator,
    effort: Effort,
    repeatable: bool,
) -> Spectra:
    method, count = f"exact: {how.words}", len(images)
    each: list[Spectrum] = []
    rows: list[Tensor] = []
    square: Tensor | None = None
    for matrix in jacobians(function, images, how):
        each.append(spectrum_of(matrix, method))
        m, d = matrix.shape
        if d <= effort.limit:
            wide = matrix.double()
            square = wide.T @ wide if square is None else square.addmm_(wide.T, wide)
        elif count * m <= effort.limit and count * matrix.numel() * matrix.element_size() <= effort.memory // 2:
            rows.append(matrix)
    if square is not None:
        square = square / count
        values = roots(square)[: min(d, count * m)]
    elif rows:
        values = roots(gram(torch.cat(rows))) / math.sqrt(count)
    else:
        mean = _mean_sketched(function, images, generator, effort.memory, repeatable, (m, d))
        return Spectra(each=tuple(each), mean=mean, gram=None, shape=(m, d))
    mean = replace(each[0], values=values, weights=torch.ones_like(values), shape=(count * m, d))
    return Spectra(each=tuple(each), mean=mean, gram=square, shape=(m, d))


def _sketched(
    function: Function, image: Float[Tensor, "1 ..."], generator: torch.Generator, memory: int, repeatable: bool
) -> Spectrum:
    # Products with J keep the graph of the backward pass too.
    copies = min(PROBES, images_that_fit(function, image, memory // 2)) if repeatable else 1
    line = Linearization(function, image, copies=copies, batched=not repeatable and image.device.type != "cpu")
    wide = line.outputs < line.inputs
    first, second = (line.pull, line.push) if wide else (line.push, line.pull)
    found = sketch(
        lambda vectors: second(first(vectors[None]))[0], min(line.outputs, line.inputs), generator, device=image.device
    )
    return _spectrum(found, (line.outputs, line.inputs), line.dtype)


def _mean_sketched(
    function: Function,
    images: Float[Tensor, "n ..."],
    generator: torch.Generator,
    memory: int,
    repeatable: bool,
    shape: tuple[int, int],
) -> Spectrum:
    fits, count = images_that_fit(function, images[:1], memory // 2), len(images)
    copies = max(1, min(PROBES, fits // count)) if repeatable else 1
    groups = torch.split(images, max(1, min(count, fits // copies)))
    batched = not repeatable and images.device.type != "cpu"

    def linearized(some: Tensor) -> Linearization:
        return Linearization(function, some, copies=copies, batched=batched)

    kept = [linearized(groups[0])] if len(groups) == 1 else None

    def product(vectors: Tensor) -> Tensor:
        total = torch.zeros_like(vectors)
        for position, some in enumerate(groups):
            line = kept[position] if kept else linearized(some)
            total += line.pull(line.push(vectors.expand(len(some), *vectors.shape))).sum(0)
        return total / count

    found = sketch(product, shape[1], generator, device=images.device)
    return _spectrum(found, (count * shape[0], shape[1]), images.dtype)


def _spectrum(found: Sketch, shape: tuple[int, int], dtype: torch.dtype) -> Spectrum:
    method = (
        f"sketch: block Lanczos, {found.products} products with J and J', {found.settled} singular values resolved, "
        "the others as a density seen by random probes; errors by jackknife over the probes"
    )
    return Spectrum(
        values=found.values.sqrt(),
        weights=found.weights,
        shape=shape,
        eps=torch.finfo(dtype).eps,
        method=method,
        replicates=found.replicates,
    )
