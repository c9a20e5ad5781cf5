"""Degrees of freedom against closed forms."""

import math

import pytest
import torch

from adversaries.diagnostics.dof import covariance_eigenvalues, degrees_of_freedom, measure_dof
from vfc.errors import NotApplicableError


def test_a_flat_spectrum_has_as_many_as_it_has_directions():
    found = degrees_of_freedom(torch.tensor([3.0] * 40 + [0.0] * 60))
    assert found.effective == pytest.approx(40)
    assert found.participation == pytest.approx(40)
    assert found.ridge == pytest.approx(40 / 1.01)
    assert found.pca99 == 40
    assert found.agreement == pytest.approx(1 / 1.01)


def test_a_geometric_spectrum():
    q = 0.5
    found = degrees_of_freedom(q ** torch.arange(200).double())
    entropy = -math.log(1 - q) - q / (1 - q) * math.log(q)
    assert found.effective == pytest.approx(math.exp(entropy))
    assert found.participation == pytest.approx((1 + q) / (1 - q))
    assert found.pca99 == math.ceil(math.log(0.01) / math.log(q))
    assert found.ridge == pytest.approx(sum(q**i / (q**i + 0.01) for i in range(200)))


def test_scale_does_not_matter_and_nothing_is_zero():
    values = torch.rand(30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    small = degrees_of_freedom(values * 1e-12)
    assert small.ridge == pytest.approx(degrees_of_freedom(values).ridge)
    nothing = degrees_of_freedom(torch.zeros(5))
    assert (nothing.effective, nothing.participation, nothing.ridge, nothing.pca99) == (0, 0, 0, 0)
    assert nothing.agreement == 1


@pytest.mark.parametrize("shape", [(30, 8), (8, 30), (200, 1500)])
def test_covariance_eigenvalues_agree_with_numpy(shape):
    import numpy as np

    values = torch.randn(shape, generator=torch.Generator().manual_seed(0)) + 100
    expected = np.linalg.svd(values.double().numpy() - values.double().numpy().mean(0), compute_uv=False) ** 2
    found = covariance_eigenvalues(values).flip(0).numpy()
    np.testing.assert_allclose(found[: len(expected)], expected / (shape[0] - 1), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("wide", [False, True])
def test_intervals_hold_the_truth(wide):
    # Four directions of equal variance: effective, participation and PCA-99 are 4.
    held = 0
    for seed in range(20):
        g = torch.Generator().manual_seed(seed)
        rows = torch.randn(200, 4, generator=g) @ torch.eye(4, 320 if wide else 6)
        found, _ = measure_dof(rows)
        assert found["pca99"].value == 4
        # The estimate is biased by the spread of sample eigenvalues, which is of the order of p / n.
        held += found["effective"].low - 0.05 <= 4 <= found["effective"].high + 0.05
        assert found["effective"].n == 200
    assert held >= 15


def test_more_images_make_the_interval_narrower():
    g = torch.Generator().manual_seed(0)
    few, _ = measure_dof(torch.randn(40, 10, generator=g))
    many, _ = measure_dof(torch.randn(1000, 10, generator=g))
    widths = [found["participation"].high - found["participation"].low for found in (few, many)]
    assert widths[0] > 2 * widths[1]


def test_integers_are_numbers_and_nan_is_not():
    whole, _ = measure_dof(torch.arange(60).reshape(20, 3))
    assert whole["effective"].value == pytest.approx(1)
    with pytest.raises(NotApplicableError, match="NaN"):
        measure_dof(torch.tensor([[1.0, math.nan], [0.0, 1.0], [2.0, 2.0]]))
    with pytest.raises(NotApplicableError, match="covariance"):
        measure_dof(torch.ones(1, 4))


def test_two_images_have_a_number_without_an_interval():
    found, _ = measure_dof(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    assert found["effective"].value == pytest.approx(1)
    assert found["effective"].low is None
    assert found["effective"].reason
