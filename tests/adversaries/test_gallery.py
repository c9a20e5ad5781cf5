"""Looking for originals, and the regression behind most reconstructions, against other libraries."""

import numpy as np
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.neighbors import NearestNeighbors

from adversaries.goals.gallery import GALLERY, RULES, alike_rows, beside, match_rate, ranks
from adversaries.goals.image_metrics import psnr
from adversaries.learning.ridge_map import RidgeMap


def images(n, seed=0):
    return torch.rand((n, 1, 4, 4), generator=torch.Generator().manual_seed(seed))


def test_the_originals_themselves_are_found():
    gallery = images(20)
    assert all(not rank.any() for rank in ranks(gallery[:7], gallery, None).values())


def test_ranks_agree_with_nearest_neighbors():
    gallery, guess = images(30), images(30, 1)
    flat = gallery.flatten(1).numpy()
    order = NearestNeighbors(n_neighbors=30).fit(flat).kneighbors(guess.flatten(1).numpy(), return_distance=False)
    expected = [list(row).index(i) for i, row in enumerate(order)]
    assert ranks(guess, gallery, None)["nearest"].tolist() == expected
    centered = flat - flat.mean(0)
    cosine = NearestNeighbors(n_neighbors=30, metric="cosine").fit(centered)
    order = cosine.kneighbors(guess.flatten(1).numpy() - flat.mean(0), return_distance=False)
    assert ranks(guess, gallery, None)["direction"].tolist() == [list(row).index(i) for i, row in enumerate(order)]


def test_only_images_with_the_same_prediction_compete():
    gallery = images(6)
    prediction = torch.tensor([0, 1, 2, 3, 4, 4])
    guess = images(6, 1)
    found = ranks(guess, gallery, prediction)
    for rule in RULES:
        assert not found[rule][:4].any()
    assert (1 / alike_rows(6, prediction).sum(1)).tolist() == [1, 1, 1, 1, 0.5, 0.5]


def test_a_copy_of_the_original_is_no_rival_and_an_equal_guess_finds_nothing():
    gallery = images(5)
    gallery[3] = gallery[0]
    assert ranks(gallery[:1], gallery, None)["nearest"].tolist() == [0]
    # A guess at the gallery's mean points nowhere: everybody is equally near.
    nowhere = gallery.double().mean(0, keepdim=True).expand(5, -1, -1, -1)
    assert ranks(nowhere, gallery.double(), None)["direction"].min() > 0


def test_beside_is_the_mean_over_the_others():
    gallery, guess = images(5), images(5, 1)
    alike = alike_rows(5, torch.tensor([0, 0, 0, 1, 1]))
    first = torch.stack([psnr(guess[:1], gallery[j : j + 1])[0] for j in (1, 2)]).mean()
    assert float(beside(guess, gallery, alike)[0]) == pytest.approx(float(first), abs=1e-4)


def data(n=40, d=6, p=3):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, d))
    y = x @ rng.normal(size=(d, p)) + 0.3 * rng.normal(size=(n, p))
    return torch.from_numpy(x).float(), torch.from_numpy(y).float()


def identity(rows):
    return rows


def test_linear_ridge_agrees_with_scikit_learn_and_its_refits():
    x, y = data()
    fit = RidgeMap.fit(identity, x, y, [("linear", 1.0)])
    oracle = Ridge(alpha=fit.ridge).fit(x.numpy(), y.numpy())
    assert np.allclose(fit(x + 1).numpy(), oracle.predict(x.numpy() + 1), atol=1e-4)
    for i in (0, 17):
        rest = [j for j in range(len(x)) if j != i]
        left = Ridge(alpha=fit.ridge).fit(x[rest].numpy(), y[rest].numpy()).predict(x[i : i + 1].numpy())[0]
        assert np.allclose(fit.left_out(y)[i].numpy(), left, atol=1e-4)


def test_a_gaussian_kernel_agrees_with_scikit_learn():
    x, y = data()
    fit = RidgeMap.fit(identity, x, y, [("rbf", 2.0)])
    # Theirs has no intercept: center the kernel and the output by hand.
    n = len(x)
    center = np.eye(n) - 1 / n
    gram = np.exp(-0.5 * ((x[:, None] - x[None]).square().sum(2) / 4).numpy())
    oracle = KernelRidge(alpha=fit.ridge, kernel="precomputed").fit(center @ gram @ center, (y - y.mean(0)).numpy())
    expected = oracle.predict(center @ gram @ center) + y.mean(0).numpy()
    assert np.allclose(fit(x).numpy(), expected, atol=1e-3)


def test_the_kernel_with_the_smaller_left_out_error_is_kept():
    x, _ = data(n=200, d=3)
    curved = (x[:, :1] * x[:, 1:2]).float()
    assert RidgeMap.fit(identity, x, curved).kernel[0] == "quadratic"
    assert RidgeMap.fit(identity, x, x @ torch.ones(3, 1)).error < 1e-6


def test_a_random_match_is_as_rare_as_the_gallery_is_large():
    assert match_rate(4, None).tolist() == [0.25] * 4
    assert match_rate(GALLERY + 5, None).tolist() == pytest.approx([1 / GALLERY] * GALLERY)
    assert match_rate(4, torch.tensor([0, 1, 1, 1])).tolist() == pytest.approx([1, 1 / 3, 1 / 3, 1 / 3])
