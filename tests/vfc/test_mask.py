import numpy as np
import pytest
import torch
from scipy.stats import rankdata

from vfc.core.mask import COMBINATIONS, LatentMask, MaskRule, combine, normalize, rank_shares, select


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_rank_shares_agree_with_scipy():
    score = torch.tensor([[0.3, 0.1, 0.1, 0.9, 0.0]])
    expected = rankdata(score.numpy(), method="ordinal", axis=1) / 5
    np.testing.assert_allclose(rank_shares(score).numpy(), expected, rtol=1e-6)


def test_normalize_keeps_zero_rows_finite():
    assert normalize(torch.tensor([[0.0, 0.0], [1.0, 4.0]])).tolist() == [[0.0, 0.0], [0.25, 1.0]]


def test_combinations_by_hand():
    kl, saliency = torch.tensor([4.0, 2.0, 0.0]), torch.tensor([1.0, 10.0, 5.0])
    expected = {
        "sum": [0.55, 0.75, 0.25],
        "product": [0.1, 0.5, 0.0],
        "rank-sum": [2 / 3, 5 / 6, 0.5],
        "and": [0.1, 0.5, 0.0],
        "or": [1.0, 1.0, 0.5],
    }
    assert set(expected) == set(COMBINATIONS)
    for combination, values in expected.items():
        torch.testing.assert_close(combine(kl, saliency, combination), torch.tensor(values))


@pytest.mark.parametrize("cutoff", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_threshold_on_and_or_is_the_boolean_of_both(cutoff):
    kl, saliency = torch.rand(40, generator=generator()), torch.rand(40, generator=generator(1))
    one, other = normalize(kl) >= cutoff, normalize(saliency) >= cutoff
    both = select(combine(kl, saliency, "and"), "threshold", 1, cutoff)
    either = select(combine(kl, saliency, "or"), "threshold", 1, cutoff)
    assert torch.equal(either, one | other)
    if (one & other).any():
        assert torch.equal(both, one & other)
    else:
        assert int(both.sum()) == 1


def test_percentile_agrees_with_numpy():
    score = torch.rand(3, 101, generator=generator())
    line = np.quantile(score.numpy(), 0.7, axis=1, keepdims=True)
    kept = select(score, "percentile", 1, 0.7)
    assert np.array_equal(kept.numpy(), score.numpy() >= line)
    assert kept.sum(1).tolist() == [31, 31, 31]


def test_top_k_keeps_exactly_k_even_with_equal_scores():
    assert select(torch.ones(2, 6), "top-k", 2, 0.0).tolist() == [[True, True, False, False, False, False]] * 2


@pytest.mark.parametrize(("keep", "count"), [(0.5, 16), (16, 16), (1.0, 32), (1, 1), (0.001, 1), (99, 32)])
def test_share_and_count(keep, count):
    assert MaskRule(keep=keep).count(32) == count


def planted(rule):
    """Four dimensions: 0 has KL, 1 has gradient, 2 has both, 3 has gradient but a latent that is always zero."""
    mask = LatentMask(4, rule)
    mu = torch.tensor([[1.0, 1.0, 1.0, 0.0]]).repeat(6, 1)
    kl = torch.tensor([[5.0, 0.0, 4.0, 0.0]]).repeat(6, 1)
    gradient = torch.tensor([[0.0, 1.0, -1.0, 2.0]]).repeat(6, 1)
    # Signs that cancel in a mean must not cancel in a mean of magnitudes.
    gradient[::2] *= -1
    mask.update(mu, kl, gradient, generator())
    return mask, mask(mu, kl, generator())


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({"mask": "none"}, {0, 1, 2, 3}),
        ({"mask": "kl", "keep": 2}, {0, 2}),
        ({"mask": "saliency", "keep": 2}, {1, 2}),
        ({"mask": "saliency", "keep": 1, "saliency": "grad"}, {3}),
        ({"mask": "both", "keep": 1}, {2}),
        ({"mask": "both", "keep": 1, "combination": "product"}, {2}),
        ({"mask": "both", "keep": 1, "combination": "and"}, {2}),
        ({"mask": "both", "selection": "threshold", "cutoff": 0.9, "combination": "or"}, {0, 1, 2}),
    ],
)
@pytest.mark.parametrize("scope", ["global", "sample"])
def test_the_planted_dimensions_are_kept(settings, kept, scope):
    _, rows = planted(MaskRule(**{"scope": scope, "saliency": "grad-times-latent", **settings}))
    for row in rows:
        assert set(torch.nonzero(row).flatten().tolist()) == kept


def test_everything_is_kept_before_the_first_update():
    mask = LatentMask(5, MaskRule(scope="sample"))
    assert mask(torch.randn(3, 5), torch.rand(3, 5), generator()).all()


def test_a_sample_mask_follows_the_image():
    mask = LatentMask(3, MaskRule(scope="sample", keep=1, mask="saliency", saliency="grad-times-latent"))
    mask.update(torch.ones(2, 3), torch.ones(2, 3), torch.ones(2, 3), generator())
    rows = mask(torch.tensor([[9.0, 1.0, 1.0], [1.0, -9.0, 1.0]]), torch.ones(2, 3), generator())
    assert rows.tolist() == [[True, False, False], [False, True, False]]


def test_a_random_mask_has_equal_size_and_is_drawn_once():
    rule = MaskRule(mask="random", keep=10)
    mask, values = LatentMask(40, rule), torch.rand(4, 40, generator=generator())
    stream = generator(3)
    mask.update(values, values, values, stream)
    first = mask.kept.clone()
    mask.update(values, values, values, stream)
    assert int(first.sum()) == MaskRule(mask="both", keep=10).count(40) == 10
    assert torch.equal(mask.kept, first)
    other = LatentMask(40, rule)
    other.update(values, values, values, stream)
    assert not torch.equal(other.kept, first)


def test_a_random_sample_mask_differs_between_images():
    mask, values = LatentMask(40, MaskRule(mask="random", keep=10, scope="sample")), torch.rand(4, 40)
    mask.update(values, values, values, generator())
    rows = mask(values, values, generator(1))
    assert rows.sum(1).tolist() == [10] * 4
    assert not torch.equal(rows[0], rows[1])
