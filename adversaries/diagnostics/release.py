"""What a release lets through, without any attack: every number of the catalog's `leakage.*`, or its reason.

Axes: n images, m values of a release, d values of an image, k noisy values.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Shaped
from numpy.typing import NDArray
from torch import Tensor

from adversaries.diagnostics.bounds import Bounds, noise_bounds, silent_bounds
from adversaries.diagnostics.dof import NAMES, RIDGE, measure_dof
from adversaries.diagnostics.intrinsic import measure_intrinsic
from adversaries.diagnostics.ranks import jacobian_values
from adversaries.diagnostics.rate import rate_per_dimension
from adversaries.diagnostics.score import ScorePrior
from adversaries.diagnostics.spectra import Effort, Spectra, spectra
from adversaries.diagnostics.steps import StraightThrough
from adversaries.evidence import Value
from adversaries.statistics import estimates
from vfc.defense import Defense
from vfc.errors import NotApplicableError, UserError
from vfc.seeding import derive_seed

UNITS: dict[str, str] = {
    "leakage.mse_bound": "mse",
    "leakage.jacobian.rank@1e-3": "dimensions",
    "leakage.jacobian.effective_rank": "dimensions",
    "leakage.jacobian.stable_rank": "dimensions",
    **{f"leakage.dof.{name}": "dimensions" for name in NAMES},
    "leakage.kl_nats": "nats",
    "leakage.intrinsic_dimension": "dimensions",
}
"""The catalog's names and their units."""

RANDOM = (
    "The release is random: its Jacobian is taken with the noise held fixed, and degrees of freedom and dimension "
    "count the noise too."
)
RATE_BOUNDS = "Samples of the latent are published: its rate is at least the nats that a release tells of its image."
RATE_IS_EMPTY = "The latent's mean is published, without noise: its rate bounds nothing of what a release tells."
ESTIMATE = "The prior of the bound is estimated on the pool, so hold the bound against the attacks."
"""What a reader must know beside some numbers."""


@dataclass(frozen=True, kw_only=True)
class LeakageSettings:
    """How releases are measured.

    Args:
        samples: images whose Jacobians are computed, evenly spread over those given.
        bound_samples: images over which bounds are averaged, and that the null space of E[J'J] may take until it
            stops shrinking.
        straight_through: count rounding steps as the identity instead of as not differentiable.
        ridge: a of the ridge degrees of freedom, as a share of the largest eigenvalue.
        effort: of the spectra.
    """

    samples: int = 8
    bound_samples: int = 64
    straight_through: bool = False
    ridge: float = RIDGE
    effort: Effort = field(default_factory=Effort)

    def __post_init__(self) -> None:
        if self.samples < 2 or self.bound_samples < self.samples or not 0 < self.ridge < 1:
            raise UserError(
                f"expected 2 or more samples, no fewer in bound_samples, and a ridge in (0, 1), got {self.samples}, "
                f"{self.bound_samples} and {self.ridge:g}",
                "change the leakage options",
            )


@dataclass(frozen=True, kw_only=True)
class Leakage:
    """Attack-free numbers of one release.

    Args:
        metrics: by the catalog's names; all of them are there.
        more: further numbers by name: other ranks, E[J'J], all bounds, dFIL, agreement, other dimensions.
        arrays: for the sidecar: per-image numbers under the `rows` of values, and `spectra/release`, shape (images, r).
        notes: what a reader must know, as sentences.
    """

    metrics: Mapping[str, Value]
    more: Mapping[str, Value]
    arrays: Mapping[str, NDArray[Any]]
    notes: tuple[str, ...] = ()


def measure_values(release: Shaped[Tensor, "n ..."], *, ridge: float = RIDGE) -> dict[str, Value]:
    """What published values alone tell: degrees of freedom and intrinsic dimension; saved arrays have no more.

    Args:
        release: of different images, any real type.
        ridge: a of the ridge estimator, as a share of the largest eigenvalue.

    Returns:
        `leakage.dof.*`, `leakage.intrinsic_dimension`, and the further numbers `dof.agreement` and `intrinsic.*`.
    """
    found: dict[str, Value] = {}
    try:
        measured, whole = measure_dof(release, ridge=ridge)
        found.update({f"leakage.dof.{name}": value for name, value in measured.items()})
        found["dof.agreement"] = estimates.exact(whole.agreement, "ratio")
    except NotApplicableError as error:
        found.update({f"leakage.dof.{name}": Value.unknown(str(error), unit="dimensions") for name in NAMES})
    try:
        dimensions = measure_intrinsic(release)
        found["leakage.intrinsic_dimension"] = dimensions["two_nn"]
        found.update({f"intrinsic.{name}": value for name, value in dimensions.items()})
    except NotApplicableError as error:
        found["leakage.intrinsic_dimension"] = Value.unknown(str(error), unit="dimensions")
    return found


def measure_release(
    defense: Defense,
    images: Float[Tensor, "n c h w"],
    generator: torch.Generator,
    *,
    prior: ScorePrior | str,
    release: Shaped[Tensor, "n ..."] | None = None,
    settings: LeakageSettings | None = None,
) -> Leakage:
    """Every attack-free number of a defense's release.

    Args:
        defense: fitted, in eval mode.
        images: whose releases are measured, shape (n, c, h, w); the targets.
        generator: the only source of randomness.
        prior: S of the images, or the reason why there is none.
        release: what was published for these images, if it is at hand.
        settings: how to measure.

    Returns:
        All of the catalog's numbers; what cannot be had is unknown, with its reason, never infinite.
    """
    settings = settings or LeakageSettings()
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    if release is None:
        with torch.no_grad():
            stream = torch.Generator().manual_seed(derive_seed("leakage release", seed))
            release = defense.publish(images, stream).values
    values = measure_values(release, ridge=settings.ridge)
    arrays: dict[str, NDArray[Any]] = {}
    notes: list[str] = []
    published = publishing(defense, seed, straight_through=settings.straight_through)
    some = images[_spread(len(images), settings.samples)]
    probes = torch.Generator().manual_seed(derive_seed("leakage probes", seed))
    found: Spectra | None = None
    failed, independent = "", same_for_all(published, images)
    try:
        if independent:
            raise NotApplicableError("the release does not depend on the image")
        repeatable = copies_agree(published, some)
        found = spectra(published, some, generator=probes, effort=settings.effort, repeatable=repeatable)
        values.update(jacobian_values(found, "release", arrays))
        if not repeatable:
            notes.append(RANDOM)
        if settings.straight_through:
            notes.append("Rounding steps count as the identity (straight-through).")
    except (NotApplicableError, UserError) as error:
        failed = str(error)
        nothing = estimates.exact(0.0, "dimensions") if independent else None
        for name in (name for name in UNITS if ".jacobian." in name):
            values[name] = nothing or Value.unknown(failed, unit=UNITS[name])

    try:
        depends = None if independent else published
        bound = _bounds(defense, depends, images, prior, settings, failed=failed if found is None else None)
        values["leakage.mse_bound"] = bound.best
        values.update(bound.each)
    except (NotApplicableError, UserError) as error:
        values["leakage.mse_bound"] = Value.unknown(str(error), unit="mse")
    values["leakage.kl_nats"] = _kl(defense, images, arrays)
    if values["leakage.kl_nats"].value is not None:
        notes.append(RATE_BOUNDS if defense.noise_law() is not None else RATE_IS_EMPTY)
    if values["leakage.mse_bound"].value is not None and isinstance(prior, ScorePrior) and not prior.exact:
        notes.append(ESTIMATE)
    return Leakage(
        metrics={name: values[name] for name in UNITS},
        more={name: value for name, value in values.items() if name not in UNITS},
        arrays=arrays,
        notes=tuple(notes),
    )


def _bounds(
    defense: Defense,
    published: Callable[[Tensor], Tensor] | None,
    images: Tensor,
    prior: ScorePrior | str,
    settings: LeakageSettings,
    *,
    failed: str | None,
) -> Bounds:
    """Bounds on the error of whoever rebuilds images, from the declared noise or from what the release leaves out.

    Args:
        defense: whose noise law counts.
        published: the release as a function of images; None if it depends on none of them.
        images: the targets.
        prior: S of the images, or the reason why there is none.
        settings: how to measure.
        failed: why the Jacobian of the release is unknown; None if it is known.

    Raises:
        NotApplicableError: there is no bound.
    """
    if isinstance(prior, str):
        raise NotApplicableError(prior)
    law = defense.noise_law()
    if law is not None:
        return noise_bounds(law, images[_spread(len(images), settings.bound_samples)], prior, effort=settings.effort)
    if published is not None and failed is not None:
        raise NotApplicableError(f"no noise law of full rank is declared, and for the null space: {failed}")
    return silent_bounds(published, images, prior, settings.samples, settings.bound_samples, settings.effort)


def _spread(count: int, most: int) -> Tensor:
    """Positions of at most so many rows, evenly over all."""
    return torch.linspace(0, count - 1, min(most, count)).round().long()


def publishing(defense: Defense, seed: int, *, straight_through: bool = False) -> Callable[[Tensor], Tensor]:
    """A defense as a differentiable function of images; every call draws the same noise for the same rows."""

    def published(x: Tensor) -> Tensor:
        with StraightThrough() if straight_through else contextlib.nullcontext():
            return defense.publish(x, torch.Generator().manual_seed(derive_seed("leakage noise", seed))).values

    return published


def same_for_all(function: Callable[[Tensor], Tensor], images: Float[Tensor, "n ..."]) -> bool:
    """Whether every row stays the same, bit for bit, when the images change places: it depends on none of them."""
    with torch.no_grad():
        return len(images) > 1 and torch.equal(function(images), function(images.roll(1, 0)))


def copies_agree(function: Callable[[Tensor], Tensor], images: Float[Tensor, "n ..."]) -> bool:
    """Whether the rows of two copies of an image in one batch are the same."""
    with torch.no_grad():
        values = function(images[:1].repeat_interleave(2, 0))
    first, second = (values[i].double().nan_to_num() for i in (0, 1))
    scale = float(first.abs().max()) if first.numel() else 0.0
    return float((first - second).abs().max()) <= 1e-4 * scale if first.numel() else True


def _kl(defense: Defense, images: Tensor, arrays: dict[str, NDArray[Any]]) -> Value:
    try:
        law = defense.latent_law()
    except UserError as error:
        return Value.unknown(str(error), unit="nats")
    if law is None:
        return Value.unknown("the defense has no variational latent of its own law", unit="nats")
    try:
        with torch.no_grad():
            nats = rate_per_dimension(*law.statistics(images))
    except NotApplicableError as error:
        return Value.unknown(str(error), unit="nats")
    key = "leakage/release/kl_nats"
    arrays[key] = nats.sum(1).cpu().numpy()
    arrays["leakage/release/kl_per_dimension"] = nats.mean(0).cpu().numpy()
    return estimates.mean(arrays[key], "nats", rows=key)
