"""Codelengths against closed forms."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from adversaries.learning.mdl import block_ends, online_codelength


def labels(n, classes, seed=0):
    return torch.randint(classes, (n,), generator=torch.Generator().manual_seed(seed))


def test_blocks_double_and_cover_everything():
    assert block_ends(10_000) == (10, 20, 40, 80, 160, 320, 625, 1250, 2500, 5000, 10_000)
    assert block_ends(450) == (4, 8, 15, 29, 57, 113, 225, 450)
    assert block_ends(3) == (3,)
    assert block_ends(1) == (1,)


@pytest.mark.parametrize("classes", [2, 5])
def test_of_a_constant_release_the_code_is_laplaces_rule_of_succession(classes):
    y, release = labels(150, classes), torch.full((150, 2), 3.0)
    bits = online_codelength(release, y, classes, scale=release)
    expected = np.full(150, math.log2(classes))
    for known, end in pairwise(block_ends(150)):
        seen = np.bincount(y[:known], minlength=classes)
        expected[known:end] = -np.log2((seen[y[known:end]] + 1) / (known + classes))
    np.testing.assert_allclose(bits.numpy(), expected, atol=0.02)


def test_a_release_that_is_the_label_costs_little_and_noise_costs_the_entropy():
    y = labels(300, 4)
    told = torch.nn.functional.one_hot(y, 4).float()
    noise = torch.randn(300, 6, generator=torch.Generator().manual_seed(1))
    assert float(online_codelength(told, y, 4, scale=told, iterations=20).mean()) < 0.5
    assert 1.95 < float(online_codelength(noise, y, 4, scale=noise, iterations=20).mean()) < 2.4
    shuffled = y[torch.randperm(300, generator=torch.Generator().manual_seed(2))]
    assert 1.95 < float(online_codelength(told, shuffled, 4, scale=told, iterations=20).mean()) < 2.4


def test_a_surprise_costs_at_most_the_uniform_share():
    y = torch.cat([torch.zeros(300), torch.ones(100)]).long()
    release = torch.randn(400, 5, generator=torch.Generator().manual_seed(3))
    bits = online_codelength(release, y, 2, scale=release, iterations=20)
    assert float(bits.max()) <= math.log2(202)
    assert torch.isfinite(bits).all()


def test_integers_and_values_that_are_not_finite_have_a_codelength():
    y = labels(100, 2)
    words = torch.randint(-(2**31), 2**31 - 1, (100, 4), dtype=torch.int32, generator=torch.Generator().manual_seed(4))
    broken = torch.full((100, 4), torch.nan)
    for release in (words, broken):
        assert torch.isfinite(online_codelength(release, y, 2, scale=release, iterations=20)).all()
