"""Defenses by the target's first layer, by principal components, and by trained noise."""

import copy
import math

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.decomposition import PCA
from torch import nn

from vfc.defense import DEFENSES, FitData
from vfc.defenses.noise.first_layer import FirstLayer, first_outputs
from vfc.errors import NotApplicableError, UserError
from vfc.models import Normalize
from vfc.seeding import seeded
from vfc.training import TrainSettings, train_classifier


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


NORMALIZE = Normalize([0.4, 0.5, 0.6], [0.2, 0.3, 0.25])


def perceptron():
    return nn.Sequential(NORMALIZE, nn.Flatten(), nn.Linear(192, 40), nn.ReLU(), nn.Linear(40, 5))


def patches():
    """Sixteen patches of 12 values in 8 numbers each."""
    return nn.Sequential(NORMALIZE, nn.Conv2d(3, 8, 2, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(128, 5))


def convolutions():
    return nn.Sequential(NORMALIZE, nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(768, 5))


def data_for(build, images=None):
    x = torch.rand(60, 3, 8, 8, generator=generator()) if images is None else images
    y = torch.arange(len(x)) % 5
    return FitData(
        images=x, labels=y, validation_images=x[:5], validation_labels=y[:5], num_classes=5,
        target=seeded(build, generator(1)).eval().requires_grad_(False),
    )  # fmt: skip


def fit(name, data, **settings):
    return DEFENSES.get(name)(**settings).fit(data, generator(7))


def psnr(release, x):
    return -10 * math.log10(float((release - x).square().mean()))


@pytest.mark.parametrize("build", [perceptron, patches, convolutions])
def test_gains_are_the_singular_values_of_the_jacobian(build):
    target = data_for(build).target
    layer = FirstLayer.of(target, (3, 8, 8))
    wide = copy.deepcopy(target).double()
    jacobian = torch.autograd.functional.jacobian(
        lambda x: wide[:3](x).flatten() if build is perceptron else wide[:2](x).flatten(),
        torch.zeros(1, 3, 8, 8, dtype=torch.float64),
    ).reshape(-1, 192)
    exact = torch.linalg.svdvals(jacobian)
    exact = torch.cat([exact, torch.zeros(192 - len(exact))])[:192]
    torch.testing.assert_close(layer.gains, exact, rtol=0, atol=1e-6 * float(exact[0]))
    moved = (jacobian @ layer.directions.T).norm(dim=0)
    torch.testing.assert_close(moved, exact, rtol=0, atol=1e-6 * float(exact[0]))
    torch.testing.assert_close(layer.directions @ layer.directions.T, torch.eye(192).double(), rtol=0, atol=1e-10)


def test_what_precedes_the_first_layer_must_be_affine():
    with pytest.raises(NotApplicableError, match="not affine"):
        FirstLayer.of(nn.Sequential(nn.Sigmoid(), perceptron()), (3, 8, 8))
    with pytest.raises(NotApplicableError, match="no linear or convolutional"):
        first_outputs(nn.Flatten())(torch.zeros(1, 3, 8, 8))


@pytest.mark.parametrize("build", [perceptron, patches])
def test_the_first_layer_does_not_hear_the_noise(build):
    data = data_for(build)
    defense = fit("nte", data)
    release = defense.publish(data.images, generator(3)).values
    assert psnr(release, data.images) <= 10
    layer = first_outputs(data.target)
    assert float((layer(release) - layer(data.images)).abs().max()) <= 1e-5
    torch.testing.assert_close(defense.predict(release), data.target(data.images), rtol=0, atol=1e-4)
    assert defense.change <= 1e-5
    free = 192 - 40 if build is perceptron else 192 - 128
    assert defense.fitted.basis.shape == (free, 192)
    assert not torch.equal(release, defense.publish(data.images, generator(4)).values)


def test_noise_has_the_size_that_was_asked_for():
    data = data_for(perceptron)
    x = torch.zeros(500, 3, 8, 8)
    release = fit("nte", data, noise=0.2).publish(x, generator(3)).values
    assert float(release.square().mean().sqrt()) == pytest.approx(0.2, rel=0.02)


def test_a_stem_of_convolutions_has_no_null_space_and_near_ones_are_said():
    data = data_for(convolutions)
    with pytest.raises(NotApplicableError, match="no null space"):
        fit("nte", data)
    defense = fit("nte", data, near_null=0.3)
    layer = first_outputs(data.target)
    before = layer(data.images)
    moved = layer(defense.publish(data.images, generator(3)).values) - before
    share = float(moved.square().mean().sqrt() / before.std(0, correction=0).square().mean().sqrt())
    assert share > 0.05
    assert defense.change == pytest.approx(share, rel=0.1)
    assert defense.state()["change"] == defense.change


def test_svd_drops_the_null_space_for_nothing():
    data = data_for(perceptron)
    for ranking in ("gain", "energy"):
        defense = fit("svd", data, keep=40, ranking=ranking)
        release = defense.publish(data.images, generator()).values
        torch.testing.assert_close(defense.predict(release), data.target(data.images), rtol=0, atol=1e-4)
        assert psnr(release, data.images) < 20


def test_svd_drops_the_faintest_directions():
    data = data_for(perceptron)
    layer, gains = first_outputs(data.target), FirstLayer.of(data.target, (3, 8, 8)).gains
    worst = {}
    for ranking in ("gain", "energy"):
        defense = fit("svd", data, keep=10, ranking=ranking)
        release = defense.publish(data.images, generator()).values
        moved = (layer(release) - layer(data.images)).flatten(1)
        # No unit of image moves the layer by more than the largest gain that was dropped.
        if ranking == "gain":
            assert bool((moved.norm(dim=1) <= 1.001 * gains[10] * (release - data.images).flatten(1).norm(dim=1)).all())
        worst[ranking] = float(moved.square().mean())
    assert worst["energy"] <= worst["gain"]
    # On the images that it was fitted on, no ten of the singular directions would leave less behind.
    directions = FirstLayer.of(data.target, (3, 8, 8)).directions
    flat = data.images.flatten(1).double()
    lost = ((flat - flat.mean(0)) @ directions.T).square().mean(0) * gains.square()
    assert worst["energy"] * 40 == pytest.approx(float(lost.sort().values[:-10].sum()), rel=1e-3)


def test_pca_is_scikit_learns():
    data = data_for(perceptron)
    flat = data.images.flatten(1).double().numpy()
    theirs = PCA(6, svd_solver="full").fit(flat)
    vectors = fit("pca", data, keep=6, form="vector").publish(data.images, generator()).values
    np.testing.assert_allclose(np.abs(vectors.numpy()), np.abs(theirs.transform(flat)), atol=1e-5)
    images = fit("pca", data, keep=6).publish(data.images, generator()).values
    np.testing.assert_allclose(images.flatten(1).numpy(), theirs.inverse_transform(theirs.transform(flat)), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "keep", "count"), [("pca", 6, 6), ("pca", 0.1, 19), ("svd", 0.1, 19), ("svd", 500, 192)]
)
def test_both_forms_serve_the_target_alike(name, keep, count):
    data = data_for(perceptron)
    picture, vector = (fit(name, data, keep=keep, form=form) for form in ("image", "vector"))
    values = vector.publish(data.images, generator()).values
    assert values.shape == (60, count)
    flat = picture.publish(data.images, generator()).values
    torch.testing.assert_close(vector.predict(values), picture.predict(flat), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "settings"),
    [("nte", {}), ("svd", {}), ("svd", {"form": "vector"}), ("pca", {}), ("shredder", {"steps": 3, "count": 4})],
)
def test_it_returns_from_its_state_and_repeats_itself(name, settings):
    data = data_for(perceptron)
    defense, original = fit(name, data, **settings), data.images.clone()
    again = DEFENSES.get(name)(**defense.settings()).with_state(defense.state(), data.target)
    values = defense.publish(data.images, generator()).values
    assert torch.equal(data.images, original)
    assert torch.equal(values, again.publish(data.images, generator()).values)
    assert torch.equal(defense.predict(values), again.predict(values))
    assert torch.equal(values, defense.publish(data.images, generator(1)).values) is not defense.stochastic
    with pytest.raises(UserError, match="never fitted"):
        DEFENSES.get(name)(**settings).publish(data.images, generator())
    text = DEFENSES.cards[name].text
    assert all(word in text for word in ("Known breaks:", "Threat model", "Cost:", "Source:"))


@pytest.fixture(scope="module")
def learned():
    """Class patterns with noise, and a perceptron that has learned them."""
    patterns = torch.rand(5, 3, 8, 8, generator=generator(2))
    x = 0.5 * patterns[torch.arange(300) % 5] + 0.5 * torch.rand(300, 3, 8, 8, generator=generator(3))
    data = data_for(perceptron, x)
    model = data.target.requires_grad_(True)
    train_classifier(model, x, data.labels, TrainSettings(steps=60), generator(4))
    model.requires_grad_(False)
    return data


def test_trained_noise_is_large_and_the_target_does_not_mind(learned):
    before = copy.deepcopy(learned.target.state_dict())
    settings = {"scale": 1.0, "count": 4, "lr": 0.05}
    start, trained = fit("shredder", learned, steps=0, **settings), fit("shredder", learned, steps=80, **settings)
    loss, size = {}, {}
    for name, defense in (("start", start), ("trained", trained)):
        values = defense.publish(learned.images, generator(5)).values
        loss[name] = float(nn.functional.cross_entropy(defense.predict(values), learned.labels))
        size[name] = float((values - learned.images).abs().mean())
        assert len((values - learned.images).flatten(1).mul(1e3).round().unique(dim=0)) >= 4
    assert loss["trained"] < 0.5 * loss["start"]
    assert size["trained"] > 0.9 * size["start"]
    unrewarded = fit("shredder", learned, steps=80, reward=0.0, **settings)
    rewarded = fit("shredder", learned, steps=80, reward=20.0, **settings)
    assert float(rewarded.fitted.abs().mean()) > float(unrewarded.fitted.abs().mean())
    assert all(torch.equal(value, before[name]) for name, value in learned.target.state_dict().items())


def test_noise_starts_as_laplace_noise():
    noise = fit("shredder", data_for(perceptron), steps=0, scale=0.3, count=20).fitted
    assert stats.kstest(noise.flatten().numpy(), stats.laplace(0, 0.3).cdf).pvalue > 1e-3


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("nte", {"noise": -1.0}),
        ("nte", {"near_null": 1.0}),
        ("svd", {"keep": 0.0}),
        ("svd", {"ranking": "x"}),
        ("svd", {"form": "x"}),
        ("pca", {"keep": 0}),
        ("pca", {"form": "x"}),
        ("shredder", {"count": 0}),
        ("shredder", {"scale": 0.0}),
    ],
)
def test_settings_out_of_range_are_refused(name, settings):
    with pytest.raises(UserError, match=next(iter(settings))):
        DEFENSES.get(name)(**settings)
