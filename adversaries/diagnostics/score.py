"""The prior's part of the bound: S = E[s s'], the covariance of the score s = gradient of log p(x).

S says how much about an image is known before any release. It is never smaller than the inverse covariance, which only
a Gaussian reaches. Axes: n images, d values of an image, h hidden units.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vfc.datasets.gaussian import DISTANCE, SIDE
from vfc.errors import NotApplicableError, UserError

LIMIT = 4096
"""Images of more values than this have no S here: it is a matrix."""

_GAUSSIAN_SCALE = 0.05

Whitening = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class ScorePrior:
    """S and where it came from.

    Args:
        matrix: S, shape (d, d), float64, positive definite.
        exact: whether it is a closed form; bounds from an estimate are estimates.
        method: how it was had, in words.
    """

    matrix: Float[Tensor, "d d"]
    exact: bool
    method: str

    @property
    def trace(self) -> float:
        """tr S."""
        return float(self.matrix.trace())


@dataclass(frozen=True, kw_only=True)
class ScoreMatching:
    """How a score model is fitted.

    Args:
        blur: standard deviation of the noise that fills the gaps between gray levels, in units of the range [0, 1];
            directions in which images vary less than this count as known up to it.
        hidden: units of the model.
        steps, batch, lr: of Adam.
    """

    blur: float = 1 / 64
    hidden: int = 128
    steps: int = 1_000
    batch: int = 256
    lr: float = 1e-2

    def __post_init__(self) -> None:
        if not (self.blur > 0 and self.hidden > 0 and self.steps > 0 and self.batch > 0 and self.lr > 0):
            raise UserError("expected positive settings of the score prior, got others", "change score-prior options")


def mixture_prior(
    directions: Float[Tensor, "k d"], distance: float, scale: float, method: str = "closed form"
) -> ScorePrior:
    """S of x = constant + scale * (g + sum of +-distance along k directions, each sign a fair coin), g unit normal.

    Along each direction s = -t + a tanh(a t) for a = distance, so E[-s'] = 1 - a^2 E[sech^2(a t)], by Gauss-Hermite
    quadrature; elsewhere it is 1.

    Args:
        directions: orthonormal rows.
        distance: of the two means from the middle, in standard deviations.
        scale: standard deviation.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(200)
    known = distance**2 * float((weights / np.cosh(distance * (nodes + distance)) ** 2).sum() / math.sqrt(2 * math.pi))
    u = directions.double()
    matrix = (torch.eye(u.shape[1], dtype=torch.float64) - known * u.T @ u) / scale**2
    return ScorePrior(matrix=matrix, exact=True, method=method)


def gaussian_prior() -> ScorePrior:
    """S of the data set `gaussian`, a mixture of four normal distributions."""
    half = torch.where(torch.arange(SIDE) < SIDE // 2, -1.0, 1.0).double()
    across = (half / SIDE).expand(SIDE, SIDE)
    directions = torch.stack([across.flatten(), across.T.flatten()])
    return mixture_prior(directions, DISTANCE, _GAUSSIAN_SCALE, "closed form of the mixture")


def sliced_score_prior(
    images: Float[Tensor, "n ..."], generator: torch.Generator, settings: ScoreMatching | None = None
) -> ScorePrior:
    """Estimate S on images of the attacker's pool, by a model of the score fitted by sliced score matching.

    In whitened coordinates the model is s(z) = -z + W'(a * tanh(Wz + b) + c * (Wz + b)), the gradient of a potential;
    it starts as the score of a normal distribution, and the iterate that is best on a fifth of the images is kept.
    S = E[-ds/dz], whose eigenvalues are never below 1 there. A model that misses structure makes S too small and bounds
    too large, so they are estimates.

    Args:
        images: the pool, shape (n, ...), at least 20.
        generator: draws noise, batches, slices and first weights.
        settings: of the fit.

    Source: Song, Garg, Shi, Ermon, Sliced score matching, UAI 2019 (the variance-reduced form).

    Raises:
        NotApplicableError: too few images, or more values per image than a matrix allows.
    """
    settings = settings or ScoreMatching()
    rows = images.reshape(len(images), -1).double()
    n, d = rows.shape
    if n < 20 or d > LIMIT:
        raise NotApplicableError(f"no score prior from {n} images of {d} values (20 or more, at most {LIMIT} values)")
    order = torch.randperm(n, generator=generator, device=generator.device).to(rows.device)
    held, fitted = rows[order[: n // 5]], rows[order[n // 5 :]]
    mean = fitted.mean(0)
    covariance = torch.cov((fitted - mean).T).reshape(d, d)
    covariance.diagonal().add_(settings.blur**2)
    spread, axes = torch.linalg.eigh(covariance)
    whiten = axes / spread.sqrt()

    def whitened(some: Tensor) -> Tensor:
        noise = torch.randn(some.shape, generator=generator, device=generator.device, dtype=torch.float64)
        white: Tensor = (some + settings.blur * noise.to(some.device) - mean) @ whiten
        return white.float()

    model = _fit(fitted, held, whitened, generator, settings)
    values, vectors = torch.linalg.eigh(model.information(whitened(rows)))
    root: Tensor = (vectors * values.clamp_min(1).sqrt()).T @ whiten.T
    return ScorePrior(
        matrix=root.T @ root,
        exact=False,
        method=f"sliced score matching on {n} images, blur {settings.blur:.3g}: an estimate",
    )


class _Score:
    """s(z) = -z + W'(a * tanh(h) + c * h) with h = Wz + b."""

    def __init__(self, inputs: int, hidden: int, generator: torch.Generator, device: torch.device) -> None:
        weight = torch.randn(hidden, inputs, generator=generator, device=generator.device) / math.sqrt(inputs)
        self.weight = weight.to(device).requires_grad_()
        self.bias, self.curved, self.straight = (
            torch.zeros(hidden, device=device, requires_grad=True) for _ in range(3)
        )

    @property
    def parameters(self) -> list[Tensor]:
        return [self.weight, self.bias, self.curved, self.straight]

    def loss(self, z: Tensor, slices: Tensor | None) -> Tensor:
        """Mean over images of v' ds/dz v + |s|^2 / 2, or with the exact trace in the place of slices."""
        hidden = z @ self.weight.T + self.bias
        bent = torch.tanh(hidden)
        score = (self.curved * bent + self.straight * hidden) @ self.weight - z
        slope = self.curved * (1 - bent.square()) + self.straight
        if slices is None:
            along = slope @ self.weight.square().sum(1) - z.shape[1]
        else:
            along = (slope * (slices @ self.weight.T).square()).sum(1) - slices.square().sum(1)
        return (along + 0.5 * score.square().sum(1)).mean()

    def information(self, z: Tensor) -> Tensor:
        """E[-ds/dz], in float64."""
        with torch.no_grad():
            slope = self.curved * (1 - torch.tanh(z @ self.weight.T + self.bias).square()) + self.straight
            weight, mean = self.weight.double(), slope.double().mean(0)
            inner: Tensor = (weight.T * mean) @ weight
            return torch.eye(z.shape[1], dtype=torch.float64, device=z.device) - inner


def _fit(
    fitted: Tensor, held: Tensor, whitened: Whitening, generator: torch.Generator, settings: ScoreMatching
) -> _Score:
    model = _Score(fitted.shape[1], settings.hidden, generator, fitted.device)
    optimizer = torch.optim.Adam(model.parameters, lr=settings.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    check = torch.cat([whitened(held) for _ in range(max(1, 2_000 // len(held)))])
    best, kept = math.inf, [parameter.detach().clone() for parameter in model.parameters]
    for step in range(settings.steps + 1):
        if step % 50 == 0 or step == settings.steps:
            with torch.no_grad():
                loss = float(model.loss(check, None))
            if loss < best:
                best, kept = loss, [parameter.detach().clone() for parameter in model.parameters]
        if step == settings.steps:
            break
        rows = torch.randint(0, len(fitted), (settings.batch,), generator=generator, device=generator.device)
        z = whitened(fitted[rows.to(fitted.device)])
        signs = torch.randint(0, 2, z.shape, generator=generator, device=generator.device).to(z.device)
        optimizer.zero_grad(set_to_none=True)
        with torch.enable_grad():
            model.loss(z, 2.0 * signs - 1).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        for parameter, value in zip(model.parameters, kept, strict=True):
            parameter.copy_(value)
    return model
