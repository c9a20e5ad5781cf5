"""Score priors against quadrature and against the inverse covariance."""

import math

import pytest
import torch
from scipy import integrate

from adversaries.diagnostics.score import ScoreMatching, gaussian_prior, mixture_prior, sliced_score_prior
from vfc.data import load_dataset
from vfc.errors import NotApplicableError, UserError


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("distance", [0.0, 0.5, 1.5, 3.0])
def test_the_mixture_along_one_direction_by_quadrature(distance):
    def density(t):
        return (math.exp(-((t - distance) ** 2) / 2) + math.exp(-((t + distance) ** 2) / 2)) / math.sqrt(8 * math.pi)

    def slope(t):
        one, other = math.exp(-((t - distance) ** 2) / 2), math.exp(-((t + distance) ** 2) / 2)
        return (-(t - distance) * one - (t + distance) * other) / math.sqrt(8 * math.pi)

    expected, _ = integrate.quad(lambda t: slope(t) ** 2 / density(t), -12, 12)
    found = mixture_prior(torch.tensor([[1.0, 0.0]]), distance, 0.1)
    assert float(found.matrix[0, 0]) == pytest.approx(expected / 0.01, rel=1e-6)
    assert float(found.matrix[1, 1]) == pytest.approx(100)


def test_the_prior_of_the_gaussian_data_set_knows_its_directions():
    data = load_dataset("gaussian")
    prior = gaussian_prior()
    assert prior.exact
    rows = data.train.images.flatten(1).double()
    for label in ("task", "attribute"):
        means = [rows[data.train.labels[label] == value].mean(0) for value in (0, 1)]
        along = (means[1] - means[0]) / (means[1] - means[0]).norm()
        # Two modes are less sharp than one of them, and sharper than a normal of their variance.
        found = float(along @ prior.matrix @ along)
        assert 1 / float((rows @ along).var()) < found < 0.7 / 0.05**2
    torch.testing.assert_close(torch.linalg.eigvalsh(prior.matrix)[2:], torch.full((62,), 400.0).double())


def test_sliced_score_matching_finds_a_mixture():
    n, d, scale = 20_000, 12, 0.05
    rows = torch.randn(n, d, generator=gen())
    rows[:, :2] += 1.5 * (2 * torch.randint(0, 2, (n, 2), generator=gen(1)) - 1)
    truth = mixture_prior(torch.eye(d)[:2], 1.5, scale)
    found = sliced_score_prior(0.5 + scale * rows, gen(2), ScoreMatching(blur=1e-3))
    assert not found.exact
    assert "estimate" in found.method
    assert found.trace == pytest.approx(truth.trace, rel=0.03)
    inverse, expected = (float(torch.linalg.inv(each.matrix).trace()) for each in (found, truth))
    assert inverse == pytest.approx(expected, rel=0.03)
    # The model is needed: a normal of the same covariance is an eighth off.
    normal = float(torch.cov(rows.T.double()).trace()) * scale**2
    assert normal > 1.1 * expected


def test_of_a_normal_pool_it_is_the_inverse_covariance():
    root = torch.randn(8, 8, generator=gen(3), dtype=torch.float64) / 4
    rows = torch.randn(20_000, 8, generator=gen(4)).double() @ root
    found = sliced_score_prior(rows, gen(5), ScoreMatching(blur=1e-4, steps=200))
    expected = torch.linalg.inv(root.T @ root)
    assert found.trace == pytest.approx(float(expected.trace()), rel=0.1)


def test_a_flat_direction_is_known_up_to_the_blur_and_never_infinitely():
    rows = torch.rand(400, 5, generator=gen())
    rows[:, 4] = rows[:, 3]
    found = sliced_score_prior(rows, gen(), ScoreMatching(blur=0.02, steps=100))
    assert bool(torch.isfinite(found.matrix).all())
    assert float(torch.linalg.eigvalsh(found.matrix)[-1]) == pytest.approx(1 / 0.02**2, rel=0.2)


def test_too_little_to_estimate_from():
    with pytest.raises(NotApplicableError, match="5 images"):
        sliced_score_prior(torch.rand(5, 3), gen())
    with pytest.raises(NotApplicableError, match="5000 values"):
        sliced_score_prior(torch.rand(30, 5000), gen())
    with pytest.raises(UserError):
        ScoreMatching(blur=0.0)
