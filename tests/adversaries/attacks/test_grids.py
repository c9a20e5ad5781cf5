"""Codes of columns on a grid, which neither an outlier nor a column of other numbers hides from those who read them."""

import pytest
import torch

from adversaries.evaluation_data import EvaluationData, Part
from adversaries.learning.grids import Grids
from vfc.errors import NotApplicableError

SIZES, CLASSES = (600, 300), 8


def generator(seed):
    return torch.Generator().manual_seed(seed)


def codes():
    return torch.randint(0, 160, (sum(SIZES), 16), generator=generator(0)).float()


def world(release, y, classes=CLASSES):
    rows = (slice(SIZES[0]), slice(SIZES[0], None))
    parts = [Part(images=None, release=release[r], labels={"y": y[r]}) for r in rows]
    return EvaluationData(
        train=parts[0], validation=parts[1].nothing(), targets=parts[1], classes={"y": classes}, models={}
    )


def with_outlier(x):
    x = x.clone()
    x[7, 4] = 0.4714
    return x


def with_tiny_outlier(x):
    x = x.clone()
    x[7, 11] = 2.0**-16
    return x


def with_float_column(x):
    return torch.cat([torch.randn(len(x), 1, generator=generator(1)), x], 1)


def with_column_of_another_grid(x):
    return torch.cat([x, torch.randint(0, 256, (len(x), 1), generator=generator(1)) / 255], 1)


def standardized(x):
    return (x / 255 - 0.4914) / 0.247


CHANGES = [
    lambda x: x,
    with_outlier,
    with_tiny_outlier,
    with_float_column,
    with_column_of_another_grid,
    standardized,
    lambda x: with_outlier(standardized(x)),
]


@pytest.mark.parametrize("change", CHANGES)
def test_residues_are_read_beside_numbers_on_no_grid(bench, change):
    x = codes()
    one = world(change(x), (x[:, 4] % CLASSES).long())
    assert bench.accuracy(bench.fit("residues", one), one) > 0.97


@pytest.mark.parametrize("change", CHANGES[:-2])
def test_a_sum_of_all_codes_is_read_beside_numbers_on_no_grid(bench, change):
    x = codes()
    one = world(change(x), (x.sum(1) % 7).long())
    assert bench.accuracy(bench.fit("residues", one), one) > 0.97


@pytest.mark.parametrize("change", CHANGES)
def test_neighboring_bits_are_read_beside_numbers_on_no_grid(bench, change):
    x = codes()
    whole = x[:, 4].long()
    one = world(change(x), ((whole >> 2) ^ (whole >> 3)) & 1, 2)
    assert bench.accuracy(bench.fit("signed-planes", one), one) > 0.97


@pytest.mark.parametrize("change", CHANGES[1:])
def test_single_bits_are_read_where_no_grid_holds_all_values(bench, change):
    x = codes()
    one = world(change(x), (x[:, 4].long() >> 2) & 1, 2)
    assert bench.accuracy(bench.fit("signed-planes", one), one) > 0.97


def test_words_are_read_where_some_column_is_on_a_grid(bench):
    x = with_float_column(codes())
    y = (x[:, 0].contiguous().view(torch.int32) >> 3 ^ x[:, 0].contiguous().view(torch.int32) >> 4) & 1
    one = world(x, y.long(), 2)
    assert bench.accuracy(bench.fit("signed-planes", one), one) > 0.97


@pytest.mark.parametrize("step", [1.0, 0.5, 1 / 255, 0.137, 3.7])
@pytest.mark.parametrize("origin", [0.0, 0.31])
def test_the_codes_come_back_but_for_what_they_count_from(step, origin):
    x = codes() - 50
    found = Grids.fit((x * step + origin).float())
    assert found.columns.tolist() == list(range(16))
    assert found.exact
    assert found.alike.all()
    away = found((x * step + origin).float()) - x.long()
    assert (away == away[:1]).all()
    if origin == 0:
        assert not away.any()


def test_only_columns_on_a_grid_are_kept_and_those_of_one_step_are_alike():
    found = Grids.fit(with_column_of_another_grid(with_float_column(codes())))
    assert found.columns.tolist() == list(range(1, 18))
    assert found.alike.tolist() == [True] * 16 + [False]
    assert not found.exact


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [20, 600])
def test_numbers_on_no_grid_have_no_codes(n, dtype):
    with pytest.raises(NotApplicableError, match="no grid"):
        Grids.fit(torch.randn(n, 64, generator=generator(2)).to(dtype))


def test_codes_of_what_nobody_expected_are_numbers():
    x = codes()
    found = Grids.fit(x)
    x[:4, 0] = torch.tensor([torch.nan, torch.inf, -torch.inf, 3e38])
    assert found(x[:4])[:3, 0].tolist() == [0, 0, 0]
    assert found(x[:4])[3, 0] > 2**60
    whole = torch.tensor([[2**60 + 1, 5], [3, 5]])
    assert torch.equal(Grids.fit(whole)(whole), whole)
