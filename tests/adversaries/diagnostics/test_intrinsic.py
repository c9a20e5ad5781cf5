"""Intrinsic dimension of known manifolds, and the rate of known latents."""

import math

import pytest
import torch

from adversaries.diagnostics.intrinsic import measure_intrinsic
from adversaries.diagnostics.rate import rate_per_dimension
from vfc.errors import NotApplicableError


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def rotated(points, size):
    """Points isometrically in a larger space."""
    basis = torch.linalg.qr(torch.randn(size, points.shape[1], generator=gen(9), dtype=torch.float64)).Q
    return points.double() @ basis.T


def sphere(n, d):
    points = torch.randn(n, d + 1, generator=gen())
    return points / points.norm(dim=1, keepdim=True)


def roll(n):
    t = 1.5 * math.pi * (1 + 2 * torch.rand(n, generator=gen()))
    return torch.stack([t * torch.cos(t), 21 * torch.rand(n, generator=gen(1)), t * torch.sin(t)], 1)


MANIFOLDS = {
    "line": (rotated(torch.rand(1000, 1, generator=gen()), 10), 1),
    "square": (rotated(torch.rand(1000, 2, generator=gen()), 1100), 2),
    "roll": (roll(2000), 2),
    "sphere": (sphere(2000, 3), 3),
    "cube": (rotated(torch.rand(2000, 5, generator=gen()), 20), 5),
}


@pytest.mark.parametrize("name", MANIFOLDS)
def test_known_manifolds_within_ten_per_cent(name):
    points, dimension = MANIFOLDS[name]
    found = measure_intrinsic(points)
    for estimator in ("two_nn", "mle"):
        assert found[estimator].value == pytest.approx(dimension, rel=0.1), estimator
        assert found[estimator].low < found[estimator].value < found[estimator].high
    assert found["local_pca"].value == pytest.approx(dimension, rel=0.25)


@pytest.mark.parametrize("name", ["roll", "cube"])
def test_against_scikit_dimension(name):
    skdim = pytest.importorskip("skdim", reason="scikit-dimension, the second oracle, is not installed")
    points, _ = MANIFOLDS[name]
    found = measure_intrinsic(points)
    assert found["two_nn"].value == pytest.approx(skdim.id.TwoNN().fit(points.numpy()).dimension_, rel=0.03)
    assert found["mle"].value == pytest.approx(skdim.id.MLE(K=20).fit(points.numpy()).dimension_, rel=0.1)


@pytest.mark.parametrize(("name", "two_nn", "mle"), [("roll", 2.010, 1.951), ("cube", 4.802, 4.526)])
def test_against_what_scikit_dimension_said(name, two_nn, mle):
    # scikit-dimension 0.5.0, id.TwoNN() and id.MLE(K=20), on these very points.
    found = measure_intrinsic(MANIFOLDS[name][0])
    assert found["two_nn"].value == pytest.approx(two_nn, rel=1e-3)
    assert found["mle"].value == pytest.approx(mle, rel=1e-3)


def test_repeated_points_count_once_and_scale_does_not_matter():
    points, _ = MANIFOLDS["sphere"]
    some = points[:500]
    once, twice = measure_intrinsic(some), measure_intrinsic(torch.cat([some, some]) * 1e-6)
    assert twice["two_nn"].n == 500
    assert twice["two_nn"].value == pytest.approx(once["two_nn"].value, rel=1e-3)


def test_too_few_different_points_have_no_dimension():
    with pytest.raises(NotApplicableError, match="2 different"):
        measure_intrinsic(torch.tensor([[0.0, 1.0], [1.0, 0.0]]).repeat(40, 1))
    with pytest.raises(NotApplicableError, match="NaN"):
        measure_intrinsic(torch.full((40, 2), math.nan))
    with pytest.raises(NotApplicableError, match="one distance"):
        measure_intrinsic(torch.eye(30))


def test_the_rate_is_torchs_divergence():
    mean, log_variance = torch.randn(6, 4, generator=gen()), torch.randn(6, 4, generator=gen(1))
    posterior = torch.distributions.Normal(mean.double(), (log_variance.double() / 2).exp())
    expected = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0))
    torch.testing.assert_close(rate_per_dimension(mean, log_variance), expected)
    assert rate_per_dimension(torch.zeros(2, 3), torch.zeros(2, 3)).tolist() == [[0.0] * 3] * 2
    with pytest.raises(NotApplicableError, match="finite"):
        rate_per_dimension(torch.full((1, 1), math.inf), torch.zeros(1, 1))
