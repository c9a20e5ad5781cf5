"""Lower bounds on the error of every reconstruction, from what a defense declares and what its Jacobians show.

Axes: n images, m values of a release, d values of an image, k noisy values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from adversaries.diagnostics import fisher
from adversaries.diagnostics.jacobian import Function, check_rows, jacobians, plan
from adversaries.diagnostics.score import ScorePrior
from adversaries.diagnostics.spectra import Effort
from adversaries.evidence import Value
from adversaries.statistics import estimates
from vfc.core.noise import NoiseLaw
from vfc.errors import NotApplicableError

_MOST_ENTRIES = 2**28
"""All Jacobians that the null space is taken from have at most this many entries."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Bounds on the mean squared error per value.

    Args:
        best: the largest one that holds for any attacker under the declared noise law; its `method` names it.
        each: all that could be had, and `dfil`, by name.
    """

    best: Value
    each: Mapping[str, Value]


def fisher_map(law: NoiseLaw, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n twice"]:
    """A map whose Jacobian F gives I = F'F at x for noise whose variance may depend on the image.

    For r ~ N(mean(x), diag(variance(x))): I = Jm' diag(1 / variance) Jm + Jl' Jl / 2 with l = log variance.
    Source: Kay, Fundamentals of statistical signal processing: estimation theory, 1993, section 3.9.
    """
    mean, log_variance = law.statistics(x)
    return torch.cat([mean * torch.exp(-0.5 * log_variance.detach()), log_variance / math.sqrt(2)], 1)


def noise_bounds(
    law: NoiseLaw, images: Float[Tensor, "n c h w"], prior: ScorePrior, *, effort: Effort | None = None
) -> Bounds:
    """Bounds under a declared noise law of full rank.

    Args:
        law: what the defense declares.
        images: over which E[I] is averaged, drawn like those that are to be protected; at least two.
        prior: S of such images.
        effort: how much memory may be used.

    Raises:
        NotApplicableError: the law's statistics have no derivative, or images are too large for matrices.
    """
    inputs = images[0].numel()
    _check(images, prior)
    function: Function = lambda x: _connected(fisher_map(law, x), x)  # noqa: E731
    check_rows(function, images)
    with torch.no_grad():
        outputs = function(images[:1]).shape[1]
    how = plan(function, images, outputs, memory=(effort or Effort()).memory)
    halves = [torch.zeros(inputs, inputs, dtype=torch.float64, device=images.device) for _ in range(2)]
    traces = []
    for i, matrix in enumerate(jacobians(function, images, how)):
        wide = matrix.double()
        halves[i % 2].addmm_(wide.T, wide)
        traces.append(float(wide.square().sum()))
    leak = estimates.mean([trace / inputs for trace in traces], "information per value")
    each = {"dfil": leak}
    if leak.value is not None and leak.value > 0 and leak.high is not None:
        low = fisher.unbiased_bound(leak.high)
        high = fisher.unbiased_bound(leak.low) if leak.low is not None and leak.low > 0 else None
        each["bound.unbiased"] = Value(
            value=fisher.unbiased_bound(leak.value), low=low, high=high, n=leak.n, unit="mse",
            method=f"1 / dFIL, for unbiased attackers only, {law.where} noise",
            reason=None if high is not None else "the information's lower bound is zero",
        )  # fmt: skip
    else:
        each["bound.unbiased"] = Value.unknown("the release holds no information: nobody is unbiased", unit="mse")
    words = f"Gaussian noise declared on the {law.where}, E[I] over {len(images)} images; prior: {prior.method}"
    trace = sum(traces) / len(traces)
    whole = fisher.any_attacker_bound(trace, prior.trace, inputs)
    # By the delta method: the bound's derivative in tr E[I] is -d / (tr E[I] + tr S)^2.
    slopes = [-(whole**2) / inputs * (each_trace - trace) for each_trace in traces]
    each["bound.any_attacker"] = _value(whole, slopes, f"d / (E tr I + tr S), any attacker; {words}")
    score, count = prior.matrix.to(images.device), len(images)
    total = (halves[0] + halves[1]) / count
    # A mean over few images looks less informative than it is, in a bound that is convex in it: half as many images
    # show twice the bias, which is taken off.
    plain = fisher.spectrum_bound(total, score)
    split = [fisher.spectrum_bound(half / part, score) for half, part in zip(halves, _sizes(count), strict=True)]
    tight = max(2 * plain - sum(split) / 2, whole)
    inverse = torch.linalg.inv(total + score)
    center = float((inverse @ total @ inverse).trace())
    moved = [float((matrix.double() @ inverse).square().sum()) for matrix in jacobians(function, images, how)]
    slopes = [-(each_moved - center) / inputs for each_moved in moved]
    best = _value(tight, slopes, f"tr((E[I] + S)^-1) / d, bias halved out, any attacker; {words}")
    each["bound.spectrum"] = best
    return Bounds(best=best, each=each)


def silent_bounds(
    function: Function | None,
    images: Float[Tensor, "n c h w"],
    prior: ScorePrior,
    samples: int,
    most_samples: int,
    effort: Effort,
) -> Bounds:
    """The null-space bound: what an attacker cannot see even without noise. The only one of a deterministic release.

    Images are added until the null space of E[J'J] stops shrinking, because too few of them overstate it.

    Args:
        function: images to releases, with any noise held fixed; None for a release that is the same for all images.
        images: to take samples from.
        prior: S of such images.
        samples, most_samples: how many images to begin with, and at most.
        effort: how much memory may be used.

    Raises:
        NotApplicableError: the null space still shrinks, or there is no derivative, or images are too large.
    """
    inputs = images[0].numel()
    _check(images, prior)
    score = prior.matrix.to(images.device)
    if function is None:
        value = fisher.null_space_bound(torch.eye(inputs, dtype=torch.float64, device=images.device), score)
        return _silent(value, f"the release is the same for all images; prior: {prior.method}", len(images))
    order = torch.linspace(0, len(images) - 1, min(most_samples, len(images))).round().long()
    square = torch.zeros(inputs, inputs, dtype=torch.float64, device=images.device)
    used, hidden, before = 0, inputs, None
    with torch.no_grad():
        outputs = function(images[:1]).flatten(1).shape[1]
    order, tolerance = order[: max(2, _MOST_ENTRIES // (outputs * inputs))], 0.0
    while hidden and hidden != before and used < len(order):
        count = min(len(order), samples if used == 0 else 2 * used)
        some = images[order[used:count]]
        # Rows, not copies: the map may draw random numbers, which copies would not share.
        how = plan(function, some, outputs, memory=effort.memory, repeatable=False)
        for matrix in jacobians(function, some, how):
            tolerance = max(matrix.shape) * torch.finfo(matrix.dtype).eps
            wide = matrix.double()
            square.addmm_(wide.T, wide)
        used, before = count, hidden if used else None
        directions = fisher.null_space(square, tolerance)
        hidden = directions.shape[1]
    if hidden and hidden != before:
        raise NotApplicableError(
            "no noise is declared, so only the null space of E[J'J] bounds anything, and it still shrinks after "
            f"{used} images ({hidden} of {inputs} directions): raise bound_samples"
        )
    shown = f"{hidden} of {inputs} directions that {used} images do not show"
    return _silent(fisher.null_space_bound(directions, score), f"{shown}; prior: {prior.method}", used)


def _sizes(count: int) -> tuple[int, int]:
    """How many of so many images are at even and at odd positions."""
    return (count + 1) // 2, count // 2


def _silent(value: float, words: str, count: int) -> Bounds:
    best = Value(
        value=value, low=value, high=value, n=count, unit="mse",
        method=f"null space of E[J'J]: no noise is declared, so nothing else bounds an attacker; {words}",
    )  # fmt: skip
    return Bounds(best=best, each={"bound.null_space": best})


def _value(whole: float, slopes: list[float], method: str) -> Value:
    """A bound with Student's t limits from what each image moves it by."""
    spread = estimates.mean([whole + slope for slope in slopes], "mse")
    return spread.model_copy(update={"value": whole, "method": f"{method}; delta method over images"})


def _check(images: Tensor, prior: ScorePrior) -> None:
    inputs = images[0].numel()
    if prior.matrix.shape != (inputs, inputs):
        raise NotApplicableError(f"the prior is of {len(prior.matrix)} values and an image has {inputs}")
    if len(images) < 2:
        raise NotApplicableError("fewer than two images have no interval")


def _connected(values: Tensor, x: Tensor) -> Tensor:
    """A log variance or mean that is constant still gets a derivative: zero."""
    return values + 0 * x.flatten(1).sum(1, keepdim=True)
