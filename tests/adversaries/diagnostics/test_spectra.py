"""Spectra against closed forms and finite differences; sketches against exact ones."""

import math

import pytest
import torch
from torch import nn

from adversaries.diagnostics.jacobian import Linearization, Plan, jacobians
from adversaries.diagnostics.sketch import sketch, trace
from adversaries.diagnostics.spectra import Effort, spectra
from adversaries.diagnostics.spectrum import effective_rank, spectrum_of
from adversaries.diagnostics.steps import StraightThrough
from vfc.errors import NotApplicableError, UserError


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def with_singular_values(values, m, d, seed=0):
    """A matrix of known spectrum."""
    u = torch.linalg.qr(torch.randn(m, len(values), generator=gen(seed), dtype=torch.float64)).Q
    v = torch.linalg.qr(torch.randn(d, len(values), generator=gen(seed + 1), dtype=torch.float64)).Q
    return u * torch.as_tensor(values, dtype=torch.float64) @ v.T


def linear(matrix):
    return lambda x: x.flatten(1) @ matrix.to(x.dtype).T


def mixed(x):
    """A smooth map with more outputs than inputs, or fewer, by its caller's choice of rows."""
    flat = x.flatten(1)
    return torch.cat([torch.sin(3 * flat), flat * flat.roll(1, 1)], 1)


@pytest.mark.parametrize("shape", [(30, 12), (12, 30), (20, 20)])
def test_linear_maps_of_known_spectrum(shape):
    values = torch.logspace(0, -2, 10).double()
    x = torch.rand(2, 1, 1, shape[1], generator=gen())
    found = spectra(linear(with_singular_values(values, *shape)), x, generator=gen())
    for spectrum in (*found.each, found.mean):
        torch.testing.assert_close(spectrum.values[:10].double(), values, rtol=1e-4, atol=0)
        assert float(spectrum.values[10:].max()) < 1e-6
        shares = values**2 / (values**2).sum()
        assert spectrum.effective_rank == pytest.approx(math.exp(-float((shares * shares.log()).sum())), rel=1e-4)
        assert spectrum.stable_rank == pytest.approx(float((values**2).sum()), rel=1e-4)
        assert (spectrum.rank(), spectrum.rank(1e-1), spectrum.rank(1e-6)) == (10, 5, 10)


@pytest.mark.parametrize("method", ["exact", "sketch"])
def test_an_orthogonal_map_has_every_rank(method):
    matrix = torch.linalg.qr(torch.randn(96, 96, generator=gen(), dtype=torch.float64)).Q
    x = torch.rand(2, 1, 1, 96, generator=gen())
    found = spectra(linear(matrix), x, generator=gen(), effort=Effort(method=method))
    for spectrum in (*found.each, found.mean):
        assert spectrum.effective_rank == pytest.approx(96, rel=1e-4)
        assert spectrum.stable_rank == pytest.approx(96, rel=1e-4)


def test_a_relu_network_against_finite_differences_in_float64():
    torch.manual_seed(3)
    network = nn.Sequential(nn.Flatten(), nn.Linear(20, 40), nn.ReLU(), nn.Linear(40, 15)).double()
    x = torch.rand(1, 1, 4, 5, generator=gen(), dtype=torch.float64)
    step = 1e-6
    columns = []
    with torch.no_grad():
        for i in range(20):
            move = torch.zeros(20, dtype=torch.float64)
            move[i] = step
            columns.append(
                (network(x + move.reshape(1, 1, 4, 5)) - network(x - move.reshape(1, 1, 4, 5)))[0] / 2 / step
            )
    expected = torch.linalg.svdvals(torch.stack(columns, 1))
    found = spectra(network, x, generator=gen())
    torch.testing.assert_close(found.each[0].values, expected, rtol=1e-6, atol=1e-9)
    assert found.each[0].eps == torch.finfo(torch.float64).eps


@pytest.mark.parametrize("side", ["outputs", "inputs"])
@pytest.mark.parametrize(
    ("strategy", "width"), [("copies", 1), ("copies", 4), ("copies", 64), ("rows", 3), ("vmap", 2)]
)
def test_every_way_to_a_jacobian_agrees_with_the_functional_one(side, strategy, width):
    x = torch.rand(3, 1, 2, 5, generator=gen(), dtype=torch.float64)
    found = torch.stack(list(jacobians(mixed, x, Plan(side=side, strategy=strategy, width=width))))
    expected = torch.stack([torch.func.jacrev(lambda one: mixed(one[None])[0])(each).flatten(1) for each in x])
    torch.testing.assert_close(found, expected)


def test_products_are_adjoint_to_each_other():
    x = torch.rand(2, 1, 2, 5, generator=gen(), dtype=torch.float64)
    line = Linearization(mixed, x, copies=2)
    v = torch.randn(2, 5, line.inputs, generator=gen(), dtype=torch.float64)
    u = torch.randn(2, 5, line.outputs, generator=gen(), dtype=torch.float64)
    torch.testing.assert_close((line.push(v) * u).sum(2), (v * line.pull(u)).sum(2))


@pytest.mark.parametrize("method", ["exact", "sketch"])
def test_the_mean_square_of_a_diagonal_jacobian(method):
    x = torch.rand(4, 1, 4, 10, generator=gen()) + 0.5
    found = spectra(lambda x: x.flatten(1).square() / 2, x, generator=gen(), effort=Effort(method=method))
    expected = x.flatten(1).double().square().mean(0)
    assert found.mean.effective_rank == pytest.approx(effective_rank(expected), rel=1e-4)
    if method == "exact":
        torch.testing.assert_close(found.gram, torch.diag(expected), rtol=1e-5, atol=1e-6)


def test_many_inputs_and_few_outputs_take_the_mean_without_a_square_of_inputs():
    matrix = with_singular_values([3.0, 2.0, 1.0], 4, 300)
    x = torch.rand(2, 1, 1, 300, generator=gen())
    found = spectra(linear(matrix), x, generator=gen(), effort=Effort(limit=50))
    assert found.gram is None
    assert found.mean.values[:3].tolist() == pytest.approx([3, 2, 1], rel=1e-4)


@pytest.mark.parametrize("decay", [0.5, 1.0])
def test_a_sketch_is_close_and_says_how_close(decay):
    values = torch.arange(1, 501).double() ** -decay
    matrix = torch.diag(values)
    truth = spectrum_of(matrix)
    errors, stated = [], []
    for seed in range(4):
        found = sketch(lambda v: v @ (matrix @ matrix).float(), 500, gen(seed))
        rank = effective_rank(found.values, found.weights)
        errors.append(rank / truth.effective_rank - 1)
        each = [effective_rank(found.values, weights) for weights in found.replicates]
        count = len(each)
        stated.append(math.sqrt((count - 1) * torch.tensor(each).var(correction=0)) / truth.effective_rank)
    assert max(abs(error) for error in errors) < 0.03
    root = math.sqrt(sum(error**2 for error in errors) / len(errors))
    assert root < 0.02
    assert sum(stated) / len(stated) > root / 3


@pytest.mark.parametrize(
    ("eigenvalues", "expected"),
    [
        ([1.0] * 5 + [0.0] * 395, 5),
        ([2.0] * 100 + [0.0] * 300, 100),
        ([0.0] * 400, 0),
    ],
)
def test_sketches_of_degenerate_spectra(eigenvalues, expected):
    values = torch.tensor(eigenvalues)
    found = sketch(lambda v: v * values, 400, gen())
    assert effective_rank(found.values, found.weights) == pytest.approx(expected, rel=0.25)
    assert float(found.weights.sum()) == pytest.approx(400, rel=1e-6)


def test_a_sketch_never_claims_a_rank_but_bounds_it():
    matrix = with_singular_values(torch.logspace(0, -5, 300), 300, 300)
    found = spectra(linear(matrix), torch.rand(2, 1, 1, 300), generator=gen(), effort=Effort(method="sketch"))
    assert found.each[0].rank(1e-3) is None
    assert 0 < found.each[0].rank_at_least(1e-3) <= 180


def test_hutchinson_covers_the_trace_as_often_as_it_says():
    matrix = torch.randn(40, 60, generator=gen())
    truth = float(matrix.square().sum())
    held = 0
    for seed in range(200):
        value = trace(lambda v: v @ matrix.T, 60, gen(seed), probes=20)
        held += value.low <= truth <= value.high
    # 90 % of 200, less 3.3 standard errors.
    assert held >= 166


def test_the_choice_is_by_size_and_is_said():
    x = torch.rand(1, 1, 1, 40, generator=gen())
    matrix = with_singular_values(torch.ones(30), 60, 40)
    assert "exact" in spectra(linear(matrix), x, generator=gen(), effort=Effort(limit=40)).method
    assert "sketch" in spectra(linear(matrix), x, generator=gen(), effort=Effort(limit=39)).method


def test_bad_efforts():
    with pytest.raises(UserError, match="auto, exact, sketch"):
        Effort(method="magic")
    with pytest.raises(UserError, match="mebibyte"):
        Effort(memory=5)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: torch.round(x * 8) / 8, "round"),
        (lambda x: (x * 8).floor_() + torch.ceil(x), "ceil"),
        (lambda x: x.argmax(-1), "int64"),
        (lambda x: (x > 0.5).float(), "no gradient leads"),
        (lambda x: x.detach(), "no gradient leads"),
        (lambda x: x / 0, "NaN or infinite"),
        (lambda x: x.sum((0, 1, 2, 3), keepdim=True).expand_as(x), "images beside it"),
        (lambda x: x.flatten(1).repeat(2, 1), "rows"),
        (nn.BatchNorm2d(1).train(), "images beside it"),
        (lambda x: _overwritten(x), "in-place"),
    ],
)
def test_what_has_no_jacobian_says_why(function, words):
    with pytest.raises(NotApplicableError, match=words):
        spectra(function, torch.rand(3, 1, 2, 4, generator=gen()), generator=gen())


def _overwritten(x):
    y = torch.sigmoid(x)
    y.mul_(2)
    return y


@pytest.mark.parametrize("rounding", [torch.round, torch.Tensor.floor_, lambda x: x.ceil(), torch.trunc])
def test_straight_through_counts_rounding_as_the_identity(rounding):
    def function(x):
        with StraightThrough():
            return rounding(x * 8) / 8

    x = torch.rand(2, 1, 2, 4, generator=gen())
    torch.testing.assert_close(function(x), rounding(x * 8) / 8)
    found = spectra(function, x, generator=gen())
    assert found.each[0].values.tolist() == pytest.approx([1.0] * 8, rel=1e-5)


def test_an_in_place_first_step_changes_neither_images_nor_result():
    x = torch.rand(2, 1, 2, 4, generator=gen())
    before = x.clone()
    found = spectra(lambda x: x.mul_(3), x, generator=gen())
    assert torch.equal(x, before)
    assert found.each[0].values.tolist() == pytest.approx([3.0] * 8, rel=1e-5)
