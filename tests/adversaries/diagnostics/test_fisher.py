"""Bounds against the exact posterior error of linear Gaussian channels."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adversaries.diagnostics import fisher
from vfc.errors import NotApplicableError


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def covariance(size, seed=0):
    root = draw(size, size + 3, seed=seed)
    return root @ root.T / size


def posterior_error(matrix, prior, noise):
    """Kalman's form, which inverts in the space of releases: mean squared error per value of the posterior mean."""
    gain = prior @ matrix.T @ torch.linalg.inv(matrix @ prior @ matrix.T + noise)
    return float((prior - gain @ matrix @ prior).trace()) / len(prior)


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (7, 7)])
def test_the_spectrum_bound_is_the_posterior_error_of_a_gaussian_channel(shape):
    m, d = shape
    matrix, prior, noise = draw(m, d), covariance(d, 1), covariance(m, 2)
    information = fisher.information(matrix, noise)
    score = torch.linalg.inv(prior)
    assert fisher.spectrum_bound(information, score) == pytest.approx(posterior_error(matrix, prior, noise), rel=1e-9)
    # Whole covariance, variances and one variance say the same where they mean the same.
    for same in (0.3, torch.full((m,), 0.3), 0.3 * torch.eye(m)):
        found = fisher.spectrum_bound(fisher.information(matrix, same), score)
        assert found == pytest.approx(posterior_error(matrix, prior, 0.3 * torch.eye(m).double()), rel=1e-6)


def test_dfil_and_the_unbiased_bound_of_an_isotropic_channel():
    information = fisher.information(2 * torch.eye(6), 0.25)
    leakage = float(information.trace()) / 6
    assert leakage == pytest.approx(16)
    assert fisher.unbiased_bound(16.0) == pytest.approx(0.0625)
    # x^ = r / 2 is unbiased and reaches it: its error is the noise / 4.
    assert fisher.unbiased_bound(leakage) == pytest.approx(0.25 / 4)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 8), st.integers(1, 8))
def test_the_spectrum_never_loosens_the_bound(seed, m, d):
    information = fisher.information(draw(m, d, seed=seed), 0.5)
    score = covariance(d, seed + 1)
    loose = fisher.any_attacker_bound(float(information.trace()), float(score.trace()), d)
    assert fisher.spectrum_bound(information, score) >= loose * (1 - 1e-9)


def test_less_noise_tends_to_the_null_space_bound():
    matrix, prior = draw(3, 8), covariance(8, 1)
    score = torch.linalg.inv(prior)
    directions = fisher.null_space(matrix.T @ matrix, 1e-10)
    assert directions.shape == (8, 5)
    limit = fisher.null_space_bound(directions, score)
    assert limit == pytest.approx(posterior_error(matrix, prior, 1e-7 * torch.eye(3).double()), rel=1e-5)
    assert fisher.spectrum_bound(fisher.information(matrix, 1e-7), score) == pytest.approx(limit, rel=1e-5)


def test_no_null_space_bounds_nothing_and_nothing_shown_leaves_the_prior():
    prior = covariance(6, 1)
    score = torch.linalg.inv(prior)
    assert fisher.null_space_bound(fisher.null_space(torch.eye(6), 1e-6), score) == 0
    everything = fisher.null_space(torch.zeros(6, 6), 1e-6)
    assert fisher.null_space_bound(everything, score) == pytest.approx(float(prior.trace()) / 6)


@pytest.mark.parametrize(
    "noise", [0.0, torch.tensor([1.0, 0.0, 1.0]), torch.ones(3, 3), torch.tensor([1.0, -1.0, 1.0])]
)
def test_noise_without_full_rank_is_refused(noise):
    with pytest.raises(NotApplicableError, match="full rank"):
        fisher.information(torch.eye(3), noise)


def test_nothing_is_ever_infinite():
    with pytest.raises(NotApplicableError, match="no information"):
        fisher.unbiased_bound(0.0)
    with pytest.raises(NotApplicableError, match="neither"):
        fisher.any_attacker_bound(0.0, 0.0, 4)
    with pytest.raises(NotApplicableError, match="neither"):
        fisher.spectrum_bound(torch.zeros(4, 4), torch.diag(torch.tensor([1.0, 1.0, 1.0, 0.0])))
