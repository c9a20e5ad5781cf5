"""Fisher information of a release about its image, and what it says of any reconstruction.

For r = f(x) + noise of covariance C (positive definite, the same for every x) and the Jacobian J of f: I = J' C^-1 J.
S is the score covariance of the prior, E[s s'] with s the gradient of log p(x). All errors are mean squared errors per
value: E|x^ - x|^2 / d. They bound reconstruction only, never what labels or attributes leak.
Axes: m outputs, d inputs, k directions.

Source: Maeng, Guo, Kariyappa, Suh, Bounding the invertibility of privacy-preserving instance encoding using Fisher
information, NeurIPS 2023; Hwang, Li, Maeng, 2026; van Trees, Detection, estimation, and modulation theory, 1968.
"""

from __future__ import annotations

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from vfc.errors import NotApplicableError


def whitened(jacobian: Float[Tensor, "m d"], noise: float | Tensor) -> Float[Tensor, "m d"]:
    """C^-1/2 J in float64, up to a rotation: its squared singular values are the eigenvalues of I.

    Args:
        jacobian: of the release without noise.
        noise: C: one variance, a variance per output (m,), or a covariance (m, m).

    Raises:
        NotApplicableError: C is not of full rank, so some direction is published without noise.
    """
    wide = jacobian.double()
    covariance = torch.as_tensor(noise, dtype=torch.float64, device=wide.device)
    if covariance.ndim < 2:
        variances = covariance.expand(len(wide))
        if not bool((variances > 0).all()) or not bool(torch.isfinite(variances).all()):
            raise NotApplicableError("the noise has no variance in some direction: its covariance lacks full rank")
        return wide / variances.sqrt()[:, None]
    factor, failed = torch.linalg.cholesky_ex(covariance)
    diagonal = factor.diagonal()
    if int(failed) or float(diagonal.min()) <= len(wide) * torch.finfo(torch.float64).eps * float(diagonal.max()):
        raise NotApplicableError("the noise has no variance in some direction: its covariance lacks full rank")
    return cast(Tensor, torch.linalg.solve_triangular(factor, wide, upper=False))


def information(jacobian: Float[Tensor, "m d"], noise: float | Tensor) -> Float[Tensor, "d d"]:
    """I = J' C^-1 J in float64; see `whitened` for the arguments."""
    white = whitened(jacobian, noise)
    return white.T @ white


def unbiased_bound(leakage: float) -> float:
    """1 / dFIL: the least error of an attacker whose reconstructions are unbiased.

    Args:
        leakage: diagonal Fisher information leakage, dFIL = tr(I) / d.

    Raises:
        NotApplicableError: the information is zero, and nobody is unbiased then.
    """
    if leakage <= 0:
        raise NotApplicableError("the release holds no information, so no reconstruction of it is unbiased")
    return 1 / leakage


def any_attacker_bound(information_trace: float, score_trace: float, inputs: int) -> float:
    """d / (E tr I + tr S): the least error of any attacker, by traces alone.

    Raises:
        NotApplicableError: both traces are zero.
    """
    if information_trace < 0 or score_trace < 0 or information_trace + score_trace <= 0:
        raise NotApplicableError("neither the release nor the prior holds information: no error is too large")
    return inputs / (information_trace + score_trace)


def spectrum_bound(mean_information: Float[Tensor, "d d"], score: Float[Tensor, "d d"]) -> float:
    """tr((E[I] + S)^-1) / d: the least error of any attacker, never below `any_attacker_bound`.

    Raises:
        NotApplicableError: E[I] + S is singular: some direction is neither released nor limited by the prior.
    """
    return _mean_inverse(mean_information.double() + score.double(), len(mean_information))


def null_space(mean_square: Float[Tensor, "d d"], tolerance: float) -> Float[Tensor, "d k"]:
    """Directions that no release shows: eigenvectors of E[J'J] whose singular value is below a share of the largest.

    Args:
        mean_square: E[J'J].
        tolerance: share of the largest singular value, max(m, d) * eps of the precision that J was computed in; a
            square in float64 itself resolves no less than the root of d * eps.
    """
    values, vectors = torch.linalg.eigh(mean_square.double())
    least = max(tolerance**2, len(values) * torch.finfo(torch.float64).eps)
    hidden: Tensor = vectors[:, values <= least * values[-1].clamp_min(0)]
    return hidden


def null_space_bound(directions: Float[Tensor, "d k"], score: Float[Tensor, "d d"]) -> float:
    """tr((U'SU)^-1) / d, the limit of `spectrum_bound` without noise; 0 if there are no such directions.

    Args:
        directions: orthonormal U, from `null_space`.
        score: S.
    """
    if directions.shape[1] == 0:
        return 0.0
    return _mean_inverse(directions.T @ score.double() @ directions, len(score))


def _mean_inverse(matrix: Tensor, inputs: int) -> float:
    values = torch.linalg.eigvalsh((matrix + matrix.T) / 2)
    if float(values[0]) <= len(values) * torch.finfo(torch.float64).eps * float(values[-1]):
        raise NotApplicableError("neither the release nor the prior limits some direction: no error is too large")
    return float((1 / values).sum()) / inputs
