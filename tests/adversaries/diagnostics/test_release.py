"""Every number of the catalog for every kind of release, or its reason; never infinity."""

import math

import pytest
import torch
from torch import nn

from adversaries.diagnostics.release import (
    ESTIMATE,
    RANDOM,
    RATE_BOUNDS,
    RATE_IS_EMPTY,
    UNITS,
    LeakageSettings,
    measure_release,
    measure_values,
)
from adversaries.diagnostics.score import gaussian_prior
from reports.model.catalog import metrics
from tests.adversaries.diagnostics.conftest import LAW_OPTIONS, fitted
from vfc.errors import UserError
from vfc.wrapper import ModuleDefense

QUICK = LeakageSettings(samples=4, bound_samples=16)


def measure(defense, images, settings=QUICK, **options):
    options.setdefault("prior", gaussian_prior())
    return measure_release(defense, images, torch.Generator().manual_seed(0), settings=settings, **options)


def test_the_names_and_units_are_the_catalogs():
    expected = {metric.name: metric.unit for metric in metrics() if metric.name.startswith("leakage.")}
    assert expected == UNITS


@pytest.mark.parametrize(
    "name", ["identity", "pure-noise", "constant", "quantization", "label-release", "gaussian-noise", "vfc", "negated"]
)
def test_every_number_is_finite_or_has_a_reason(name, gaussian):
    options = {"epochs": 1, "latent": 8} if name == "vfc" else {}
    found = measure(fitted(name, gaussian, **options), gaussian.targets.images[:200])
    assert set(found.metrics) == set(UNITS)
    for value in (*found.metrics.values(), *found.more.values()):
        if value.value is None:
            assert value.reason
            assert value.low is value.high is None
        else:
            assert math.isfinite(value.value)
            assert value.method
    for array in found.arrays.values():
        assert torch.isfinite(torch.as_tensor(array)).all()
    for value in found.metrics.values():
        assert value.rows is None or value.rows in found.arrays


def test_identity_has_every_direction_and_no_bound(gaussian):
    found = measure(fitted("identity", gaussian), gaussian.targets.images[:200])
    assert found.metrics["leakage.jacobian.rank@1e-3"].value == 64
    assert found.metrics["leakage.jacobian.effective_rank"].value == pytest.approx(64)
    bound = found.metrics["leakage.mse_bound"]
    assert bound.value == 0
    assert "no noise is declared" in bound.method
    assert "bound.spectrum" not in found.more


@pytest.mark.parametrize("name", ["constant", "pure-noise"])
def test_a_release_without_the_image_leaves_the_prior(name, gaussian):
    found = measure(fitted(name, gaussian), gaussian.targets.images[:200])
    expected = float(torch.linalg.inv(gaussian_prior().matrix).trace()) / 64
    assert found.metrics["leakage.mse_bound"].value == pytest.approx(expected, rel=1e-6)
    assert found.metrics["leakage.jacobian.rank@1e-3"].value == 0


def test_rounding_is_named_or_passed_straight_through(gaussian):
    defense, images = fitted("quantization", gaussian, bits=4), gaussian.targets.images[:100]
    unknown = measure(defense, images).metrics["leakage.jacobian.effective_rank"]
    assert unknown.value is None
    assert "round" in unknown.reason
    settings = LeakageSettings(samples=4, bound_samples=16, straight_through=True)
    passed = measure(defense, images, settings)
    assert passed.metrics["leakage.jacobian.effective_rank"].value == pytest.approx(64, rel=1e-4)
    assert any("straight-through" in note for note in passed.notes)


def test_a_random_release_is_measured_with_its_noise_held_fixed(gaussian):
    defense = fitted("vfc", gaussian, **LAW_OPTIONS["vfc"])
    found = measure(defense, gaussian.targets.images[:200])
    assert RANDOM in found.notes
    assert RATE_BOUNDS in found.notes
    assert ESTIMATE not in found.notes
    # A mask keeps half of the twelve latent dimensions, and nothing else passes.
    assert found.metrics["leakage.jacobian.rank@1e-3"].value <= 6
    assert found.metrics["leakage.mse_bound"].value > 0
    assert "latent" in found.metrics["leakage.mse_bound"].method


def test_the_rate_is_of_the_latent_that_is_kept(gaussian):
    images = gaussian.targets.images[:100]
    defense = fitted("vfc", gaussian, **LAW_OPTIONS["vfc"])
    found = measure(defense, images).metrics["leakage.kl_nats"]
    network = defense.fitted
    with torch.no_grad():
        mu, log_variance = network.encoder(images)
    posterior = torch.distributions.Normal(mu, (log_variance / 2).exp())
    nats = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0))[:, network.mask.kept]
    assert found.value == pytest.approx(float(nats.sum(1).mean()), rel=1e-4)
    assert measure(fitted("identity", gaussian), images).metrics["leakage.kl_nats"].reason


def test_the_rate_of_a_latent_whose_mean_is_published_says_that_it_bounds_nothing(gaussian):
    found = measure(fitted("vfc", gaussian, epochs=1, latent=8), gaussian.targets.images[:60])
    assert found.metrics["leakage.kl_nats"].value > 0
    assert RATE_IS_EMPTY in found.notes


def test_masks_that_depend_on_the_image_declare_no_law(gaussian):
    defense = fitted("vfc", gaussian, epochs=1, latent=8, deployment="sample", scope="sample")
    assert defense.noise_law() is None


def test_equal_seeds_give_equal_numbers(gaussian):
    defense = fitted("gaussian-noise", gaussian)
    first, second = (measure(defense, gaussian.targets.images[:80]) for _ in range(2))
    assert first.metrics == second.metrics
    assert first.more == second.more


class Hostile(nn.Module):
    """Leaves torch on the way."""

    def forward(self, x):
        return torch.from_numpy(x.numpy() * 2)


class Integers(nn.Module):
    def forward(self, x):
        return (x * 255).to(torch.uint8)


class NotANumber(nn.Module):
    def forward(self, x):
        return x * math.nan


@pytest.mark.parametrize(("module", "words"), [(Hostile(), "numpy"), (Integers(), "uint8"), (NotANumber(), "NaN")])
def test_third_party_modules_that_cannot_be_differentiated(module, words, gaussian):
    found = measure(ModuleDefense(module=module), gaussian.targets.images[:60])
    value = found.metrics["leakage.jacobian.effective_rank"]
    assert value.value is None
    assert words in value.reason
    assert found.metrics["leakage.mse_bound"].value is None


def test_saved_arrays_have_what_values_tell():
    values = torch.randn(200, 3, generator=torch.Generator().manual_seed(0)) @ torch.randn(3, 50)
    found = measure_values(values)
    assert found["leakage.dof.pca99"].value == 3
    assert found["leakage.intrinsic_dimension"].value == pytest.approx(3, rel=0.25)


def test_without_a_prior_there_is_no_bound(gaussian):
    found = measure(fitted("gaussian-noise", gaussian), gaussian.targets.images[:60], prior="no pool")
    assert found.metrics["leakage.mse_bound"].reason == "no pool"


def test_bad_settings():
    with pytest.raises(UserError, match="2 or more"):
        LeakageSettings(samples=1)
