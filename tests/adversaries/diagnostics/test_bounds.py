"""Bounds hold: no measured reconstruction beats them, and noise whose variance depends on the image counts in full."""

import pytest
import torch

from adversaries.diagnostics.bounds import fisher_map, noise_bounds, silent_bounds
from adversaries.diagnostics.fisher import information
from adversaries.diagnostics.score import gaussian_prior
from adversaries.diagnostics.spectra import Effort
from adversaries.statistics import estimates
from tests.adversaries.diagnostics.conftest import LAW_OPTIONS, declared_names, fitted
from vfc.core.noise import NoiseLaw
from vfc.errors import NotApplicableError


def ridge_attack(defense, parts):
    """Squared error per value of every target: a linear map from releases to images, fitted on the attacker's pairs."""

    def published(images, seed):
        with torch.no_grad():
            return defense.publish(images, torch.Generator().manual_seed(seed)).values.flatten(1).double()

    pool = torch.cat([parts.pool_train.images, parts.pool_validation.images])
    x, r = pool.flatten(1).double(), published(pool, 1)
    center, spread = r.mean(0), r.std(0).clamp_min(1e-9)
    r = (r - center) / spread
    weights = torch.linalg.solve(r.T @ r + 10 * torch.eye(r.shape[1]).double(), r.T @ (x - x.mean(0)))
    guess = (published(parts.targets.images, 2) - center) / spread @ weights + x.mean(0)
    return (guess - parts.targets.images.flatten(1).double()).square().mean(1)


@pytest.mark.parametrize("name", declared_names())
def test_no_attack_beats_the_bound(name, gaussian):
    defense = fitted(name, gaussian, **LAW_OPTIONS.get(name, {}))
    law = defense.noise_law()
    assert law is not None
    bounds = noise_bounds(law, gaussian.targets.images[:64], gaussian_prior())
    attack = estimates.mean(ridge_attack(defense, gaussian).numpy(), "mse")
    assert bounds.best.value <= attack.low, (bounds.best, attack)
    assert bounds.best.high <= attack.value
    # Nor is it empty: guessing the mean image is a fair attack, and the bound is of its order.
    variance = float(gaussian.targets.images.flatten(1).var(0).mean())
    assert bounds.best.value > 0.2 * variance
    assert bounds.each["bound.any_attacker"].value <= bounds.best.value


def test_the_bound_of_gaussian_noise_is_almost_reached(gaussian):
    defense = fitted("gaussian-noise", gaussian, sigma=0.05)
    bounds = noise_bounds(defense.noise_law(), gaussian.targets.images[:16], gaussian_prior())
    # 62 directions are normal, where the posterior mean reaches the bound; ridge pays for being fitted.
    attack = float(ridge_attack(defense, gaussian).mean())
    assert bounds.best.value <= attack <= 1.06 * bounds.best.value
    assert bounds.each["dfil"].value == pytest.approx(1 / 0.05**2, rel=1e-5)


def test_a_broken_bound_would_be_noticed(gaussian):
    # A law that claims ten times the noise gives a bound that the same attack beats.
    honest = fitted("gaussian-noise", gaussian, sigma=0.05)
    lying = fitted("gaussian-noise", gaussian, sigma=0.5).noise_law()
    bounds = noise_bounds(lying, gaussian.targets.images[:16], gaussian_prior())
    assert bounds.best.value > estimates.mean(ridge_attack(honest, gaussian).numpy(), "mse").high


def test_variance_that_depends_on_the_image_is_information():
    law = NoiseLaw(where="release", statistics=lambda x: (3 * x.flatten(1), 2 * x.flatten(1)))
    x = torch.tensor([[[[0.2]]], [[[0.7]]]])
    (jacobian,) = torch.func.jacrev(lambda one: fisher_map(law, one[None])[0])(x[0]).reshape(1, 2, 1)
    # N(3x, e^{2x}): I = 9 e^{-2x} + 2^2 / 2.
    frozen = 9 * torch.exp(torch.tensor(-0.4)) + 2
    assert float(information(jacobian, 1.0)) == pytest.approx(float(frozen), rel=1e-5)


def test_few_images_do_not_overstate_the_bound():
    # x -> one of many directions each: over few images most directions look unreleased.
    g = torch.Generator().manual_seed(0)
    images = torch.rand(512, 1, 8, 8, generator=g)
    directions = torch.randn(64, 64, generator=g)

    def statistics(x):
        mean = 40 * torch.sin(30 * x.flatten(1) @ directions[:, :4])
        return mean, torch.zeros_like(mean)

    law = NoiseLaw(where="release", statistics=statistics)
    many = noise_bounds(law, images, gaussian_prior()).best.value
    few = noise_bounds(law, images[:24], gaussian_prior())
    assert few.each["bound.any_attacker"].value <= few.best.value <= 1.1 * many


def test_a_deterministic_projection_leaves_its_null_space():
    basis = torch.linalg.qr(torch.randn(64, 64, generator=torch.Generator().manual_seed(0))).Q[:, :20]
    images = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    found = silent_bounds(lambda x: x.flatten(1) @ basis, images, gaussian_prior(), 8, 40, Effort())
    complement = torch.linalg.qr(torch.cat([basis, torch.eye(64)], 1)).Q[:, 20:64].double()
    expected = torch.linalg.inv(complement.T @ gaussian_prior().matrix @ complement).trace() / 64
    assert found.best.value == pytest.approx(float(expected), rel=1e-3)
    assert "44 of 64" in found.best.method
    assert silent_bounds(lambda x: 2 * x, images, gaussian_prior(), 8, 40, Effort()).best.value == 0


def test_a_null_space_that_still_shrinks_is_no_bound():
    images = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    with pytest.raises(NotApplicableError, match="still shrinks"):
        # One direction for each image, another one every time.
        silent_bounds(lambda x: (x.flatten(1) ** 3).sum(1, keepdim=True), images, gaussian_prior(), 8, 40, Effort())


def test_a_prior_of_other_images_is_refused(digits):
    law = NoiseLaw(where="release", statistics=lambda x: (x.flatten(1), torch.zeros_like(x.flatten(1))))
    with pytest.raises(NotApplicableError, match="64 values"):
        noise_bounds(law, digits.targets.images[:4], gaussian_prior())
