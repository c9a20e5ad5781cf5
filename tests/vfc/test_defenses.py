import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from vfc.defense import DEFENSES, FitData
from vfc.defenses.keyed.orthogonal_mixing import MixingKey
from vfc.errors import UserError
from vfc.seeding import seeded

SHELF = (
    *("constant", "gaussian-noise", "identity", "label-release", "negated"),
    *("orthogonal-mixing", "pixel-permutation", "pure-noise", "quantization"),
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def data():
    def linear():
        return nn.Sequential(nn.Flatten(), nn.Linear(192, 5)).eval()

    images = torch.rand(40, 3, 8, 8, generator=generator())
    labels = torch.arange(40) % 5
    return FitData(
        images=images,
        labels=labels,
        validation_images=images[:5],
        validation_labels=labels[:5],
        num_classes=5,
        target=seeded(linear, generator(1)),
    )


def fit(name, data, **settings):
    return DEFENSES.get(name)(**settings).fit(data, generator(7))


@pytest.mark.parametrize("name", SHELF)
def test_every_defense_keeps_the_contract(name, data):
    defense, x = fit(name, data), data.images
    original = x.clone()
    release = defense.publish(x, generator(1))
    assert release.values.shape == x.shape
    assert torch.equal(x, original)
    assert defense.predict(release.values).shape == (40, 5)
    same = torch.equal(release.values, defense.publish(x, generator(2)).values)
    assert same is not defense.stochastic
    assert torch.equal(release.values, defense.publish(x, generator(1)).values)
    if release.bounds is not None:
        assert release.bounds[0] <= float(release.values.min())
        assert float(release.values.max()) <= release.bounds[1]
    assert DEFENSES.cards[name].summary
    assert "Source:" in DEFENSES.cards[name].text


@pytest.mark.parametrize("name", list(DEFENSES.cards))
def test_every_card_says_what_is_claimed_what_breaks_it_and_what_it_costs(name):
    text = DEFENSES.cards[name].text
    assert "Claims:" in text or "Threat model" in text
    assert all(word in text for word in ("Known breaks:", "Cost:", "Source:"))


@pytest.mark.parametrize("name", SHELF)
def test_every_defense_returns_from_its_state(name, data):
    defense = fit(name, data)
    again = DEFENSES.get(name)(**defense.settings()).with_state(defense.state(), data.target)
    assert defense.publish(data.images, generator()).digest == again.publish(data.images, generator()).digest
    values = defense.publish(data.images, generator()).values
    assert torch.equal(defense.predict(values), again.predict(values))


@pytest.mark.parametrize("name", ["identity", "negated", "pixel-permutation", "orthogonal-mixing"])
def test_strawmen_serve_the_target_as_the_images_do(name, data):
    defense = fit(name, data)
    values = defense.publish(data.images, generator()).values
    torch.testing.assert_close(defense.predict(values), data.target(data.images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["pixel-permutation", "orthogonal-mixing", "label-release"])
def test_keys_are_secret_and_needed(name, data):
    blank = DEFENSES.get(name)()
    one, two = blank.fit(data, generator(1)), blank.fit(data, generator(2))
    assert blank.fitted is None
    assert one.publish(data.images, generator()).digest != two.publish(data.images, generator()).digest
    with pytest.raises(UserError, match="never fitted"):
        blank.publish(data.images, generator())
    with pytest.raises(UserError, match="saved tensor"):
        blank.with_state({}, data.target)


def test_identity_is_the_image(data):
    assert torch.equal(fit("identity", data).publish(data.images, generator()).values, data.images)


def test_permutation_moves_pixels_and_keeps_their_values(data):
    defense = fit("pixel-permutation", data)
    values = defense.publish(data.images, generator()).values
    assert not torch.equal(values, data.images)
    assert torch.equal(values.flatten(2).sort().values, data.images.flatten(2).sort().values)
    assert torch.equal(defense.unpublish(values), data.images)


@pytest.mark.parametrize("values", [64, 784, 1030, 1600])
def test_mixing_is_orthogonal(values):
    key = MixingKey.draw(values, generator())
    matrix = key.mix(torch.eye(values))
    assert float((matrix @ matrix.T - torch.eye(values)).abs().max()) < 1e-5
    # Far from a permutation: no entry is large, and every value reaches almost everywhere.
    assert float(matrix.abs().max()) < 0.9
    assert float((matrix != 0).float().mean()) > 0.95


def test_mixing_of_large_images_is_orthogonal_too():
    key = MixingKey.draw(3 * 64 * 64, generator())
    x = torch.rand(8, 3 * 64 * 64, generator=generator(1))
    mixed = key.mix(x)
    torch.testing.assert_close(mixed @ mixed.T, x @ x.T, rtol=1e-5, atol=0)
    assert float((key.unmix(mixed) - x).abs().max()) < 1e-5


def test_mixing_signs_are_fair():
    # QR alone makes the diagonal of R positive and the matrix not uniform: the first row's mean would be off.
    corners = [float(MixingKey.draw(3, generator(seed)).blocks[0, 0, 0, 0]) for seed in range(400)]
    # One coordinate of a uniform unit vector in three dimensions is uniform (Archimedes).
    assert stats.kstest(corners, stats.uniform(-1, 2).cdf).pvalue > 1e-3


def test_label_release_depends_on_the_predicted_class_alone(data):
    defense = fit("label-release", data)
    classes = data.target(data.images).argmax(1)
    values = defense.publish(data.images, generator()).values
    assert len(classes.unique()) > 1
    for value in classes.unique():
        rows = values[classes == value]
        assert torch.equal(rows, rows[:1].expand_as(rows))
    assert len(values.unique(dim=0)) == len(classes.unique())
    assert torch.equal(defense.predict(values).argmax(1), classes)


def test_noise_does_not_depend_on_the_image(data):
    defense = fit("pure-noise", data)
    one, two = defense.publish(data.images, generator(3)), defense.publish(1 - data.images, generator(3))
    assert torch.equal(one.values, two.values)
    assert stats.kstest(one.values.flatten().numpy(), stats.uniform.cdf).pvalue > 1e-3


def test_constant_is_constant(data):
    values = fit("constant", data, level=0.25).publish(data.images, generator()).values
    assert values.unique().tolist() == [0.25]


def test_gaussian_noise_is_gaussian_of_its_sigma(data):
    release = fit("gaussian-noise", data, sigma=0.3).publish(data.images, generator())
    noise = (release.values - data.images).flatten().numpy()
    assert stats.kstest(noise, stats.norm(0, 0.3).cdf).pvalue > 1e-3
    assert release.bounds is None
    assert torch.equal(fit("gaussian-noise", data, sigma=0.0).publish(data.images, generator()).values, data.images)


@pytest.mark.parametrize("bits", [1, 2, 8, 16])
def test_quantization_rounds_to_the_nearest_level(data, bits):
    values = fit("quantization", data, bits=bits).publish(data.images, generator()).values
    levels = np.linspace(0, 1, 2**bits)
    flat = data.images.flatten().double().numpy()
    right = np.clip(np.searchsorted(levels, flat), 1, len(levels) - 1)
    nearest = np.where(flat - levels[right - 1] < levels[right] - flat, levels[right - 1], levels[right])
    # At 16 bits float32 itself decides some ties, by at most one level.
    np.testing.assert_allclose(values.flatten().numpy(), nearest, atol=1e-6 if bits < 16 else 1.01 / (2**16 - 1))
    assert len(values.unique()) <= 2**bits


@pytest.mark.parametrize(
    ("name", "settings"),
    [("constant", {"level": 1.5}), ("gaussian-noise", {"sigma": -1.0}), ("quantization", {"bits": 0})],
)
def test_settings_out_of_range_are_refused(name, settings):
    with pytest.raises(UserError, match=next(iter(settings))):
        DEFENSES.get(name)(**settings)


def test_names_read_from_source_are_the_registered_ones():
    for name, card in DEFENSES.cards.items():
        entry = DEFENSES.get(name)
        assert entry.__module__ == card.module
