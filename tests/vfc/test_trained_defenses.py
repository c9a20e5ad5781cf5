"""Split-point defenses: what all of them promise, and what each is for."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.stats import qmc
from torch import nn

from adversaries.attacks.mask.opened_latent import open_latent
from vfc.artifact import load_defense, save_defense
from vfc.core.filter_unit import FilterUnit, avgri, filters_of, insert_filters
from vfc.data import load_dataset
from vfc.defense import DEFENSES, FitData
from vfc.defenses.adversarial.ci import Reversal
from vfc.defenses.adversarial.maxent_arl import entropy
from vfc.defenses.bottleneck.cem import class_clusters, cluster_log_variance
from vfc.defenses.bottleneck.nopeek import distance_correlation
from vfc.errors import NotApplicableError, UserError
from vfc.models import MODELS, build_model
from vfc.seeding import seeded
from vfc.training import TrainSettings, accuracy, train_classifier
from vfc.zoo.shape import Shape

TRAINED = ("cem", "cfb", "ci", "disco", "maxent-arl", "nopeek", "pan", "prifu", "ran")
ADVERSARIAL = ("cfb", "ci", "disco", "maxent-arl", "pan")
SOON = {"prifu": {"epochs": 4, "decay": 0.0}}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def digits():
    labels = load_dataset("digits").train
    return labels.images[:, :, ::2, ::2], labels.labels


@pytest.fixture(scope="module")
def data(digits):
    x, labels = digits
    target = build_model(
        "cnn", channels=1, side=8, num_classes=10, width=0.25, mean=[0.3], std=[0.37], generator=generator()
    )
    train_classifier(target, x[:320], labels["digit"][:320], TrainSettings(steps=100, lr=1e-2), generator())
    target.requires_grad_(False)
    held = slice(320, 420)
    return FitData(
        images=x[:320],
        labels=labels["digit"][:320],
        validation_images=x[held],
        validation_labels=labels["digit"][held],
        num_classes=10,
        target=target,
        attributes={name: labels[name][:320] for name in ("ink", "parity")},
        validation_attributes={name: labels[name][held] for name in ("ink", "parity")},
    )


def unfitted(name, **settings):
    return DEFENSES.get(name)(**{**SOON.get(name, {"epochs": 3}), **settings})


def fit(name, data, **settings):
    return unfitted(name, **settings).fit(data, generator(7))


def published(defense, data, seed=1):
    return defense.publish(data.validation_images, generator(seed)).values


@pytest.mark.parametrize("name", TRAINED)
def test_every_one_keeps_the_contract(name, data, tmp_path):
    before = {key: value.clone() for key, value in data.target.state_dict().items()}
    defense, again = fit(name, data), fit(name, data)
    x = data.validation_images
    release = defense.publish(x, generator(1))
    assert release.digest == again.publish(x, generator(1)).digest
    same = torch.equal(release.values, defense.publish(x, generator(2)).values)
    assert same is not defense.stochastic
    assert release.values.shape[1:] == (32, 2, 2)
    logits = defense.predict(release.values)
    assert logits.shape == (100, 10)
    assert float((logits.argmax(1) == data.validation_labels).float().mean()) > 0.6
    # A release says the same of an image whatever stands beside it.
    if not defense.stochastic:
        torch.testing.assert_close(defense.publish(x[:1], generator(1)).values, release.values[:1])
    assert all(torch.equal(value, before[key]) for key, value in data.target.state_dict().items())
    assert not data.target.training
    save_defense(defense, name, tmp_path)
    back = load_defense(tmp_path, data.target)
    assert back.publish(x, generator(1)).digest == release.digest
    assert torch.equal(back.predict(release.values), logits)
    assert "Source:" in DEFENSES.cards[name].text
    assert "Known breaks" in DEFENSES.cards[name].text


@pytest.mark.parametrize("name", [each for each in TRAINED if each != "prifu"])
def test_undefended_is_the_same_network_trained_for_the_task_alone(name, data):
    bare = unfitted(name).undefended()
    assert (bare.fitted, bare.stochastic) == (None, False)
    bare = bare.fit(replace(data, attributes={}), generator(7))
    release = bare.publish(data.validation_images, generator(1))
    plain = published(fit("nopeek", data, weight=0.0), data)
    assert torch.equal(release.values, plain)
    assert release.mask is None
    assert not torch.equal(plain, published(fit("nopeek", data), data))


def test_undefended_prifu_has_no_filters(data):
    bare = unfitted("prifu").undefended().fit(data, generator(7))
    assert filters_of(bare.fitted) == []
    assert len(filters_of(fit("prifu", data).fitted)) == 3


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_an_attribute_that_is_not_there_is_named(name, data):
    with pytest.raises(UserError, match=r"the attribute 'age'.* ink, parity"):
        fit(name, data, attribute="age")
    with pytest.raises(UserError, match="attributes none"):
        fit(name, replace(data, attributes={}))
    one = {"ink": torch.zeros_like(data.labels)}
    with pytest.raises(UserError, match="two classes of 'ink'"):
        fit(name, replace(data, attributes=one, validation_attributes={}))


def test_the_first_attribute_is_the_default(data):
    assert torch.equal(published(fit("ci", data), data), published(fit("ci", data, attribute="ink"), data))
    assert not torch.equal(published(fit("ci", data), data), published(fit("ci", data, attribute="parity"), data))


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("ci", {"weight": 1.5}, "weight"),
        ("ran", {"lr": 0.0}, "lr"),
        ("pan", {"share": -1.0}, "share"),
        ("cem", {"sigma": -0.1}, "sigma"),
        ("cem", {"clusters": 0}, "clusters"),
        ("disco", {"pruned": 1.0}, "pruned"),
        ("nopeek", {"epochs": 0}, "epochs"),
    ],
)
def test_settings_out_of_range_are_refused(name, settings, words):
    with pytest.raises(UserError, match=words):
        DEFENSES.get(name)(**settings)


def test_what_diverges_or_collapses_is_said(data):
    with pytest.raises(UserError, match="finite"):
        fit("nopeek", data, lr=1e30)
    with pytest.raises(UserError, match="collapsed"):
        fit("prifu", data, weight=1.0)
    with pytest.raises(UserError, match="layers where it can be cut"):
        fit("nopeek", data, layer="body.99")
    with pytest.raises(UserError, match="at least 2 images"):
        fit("nopeek", replace(data, images=data.images[:1], labels=data.labels[:1], attributes={}))
    with pytest.raises(UserError, match="never fitted"):
        unfitted("nopeek").publish(data.images, generator())
    with pytest.raises(UserError, match="fit it again"):
        unfitted("nopeek", layer="body.3").with_state(fit("nopeek", data).state(), data.target)


def test_a_vector_can_be_released(data):
    defense = fit("disco", data, layer="body.12")
    release = defense.publish(data.validation_images, generator())
    assert release.values.shape == release.mask.shape == (100, 256)


# Distance correlation.


def reference(first, second):
    """Distance correlation from its definition, pair by pair."""

    def centered(rows):
        n = len(rows)
        far = np.array([[np.linalg.norm(rows[i] - rows[j]) for j in range(n)] for i in range(n)])
        return np.array(
            [[far[i, j] - far[i].mean() - far[:, j].mean() + far.mean() for j in range(n)] for i in range(n)]
        )

    a, b = centered(first), centered(second)
    return math.sqrt((a * b).mean() / math.sqrt((a * a).mean() * (b * b).mean()))


def test_distance_correlation_is_its_definition():
    rows = torch.randn(9, 4, generator=generator(), dtype=torch.float64)
    other = torch.randn(9, 2, generator=generator(1), dtype=torch.float64) + rows[:, :2]
    assert float(distance_correlation(rows, other)) == pytest.approx(reference(rows.numpy(), other.numpy()), rel=1e-9)
    turned = rows @ torch.linalg.qr(torch.randn(4, 4, generator=generator(2), dtype=torch.float64)).Q
    assert float(distance_correlation(rows, 3 * turned + 1)) == pytest.approx(1, abs=1e-9)
    assert float(distance_correlation(rows, torch.ones(9, 3, dtype=torch.float64))) < 1e-5


@pytest.mark.parametrize("rho", [0.3, 0.8])
def test_distance_correlation_of_a_normal_pair(rho):
    # Székely, Rizzo and Bakirov (2007), theorem 7; squared distances would give rho itself.
    pair = torch.from_numpy(qmc.MultivariateNormalQMC([0, 0], seed=0).random(1024))
    first, second = pair[:, :1], rho * pair[:, :1] + math.sqrt(1 - rho**2) * pair[:, 1:]
    above = rho * math.asin(rho) + math.sqrt(1 - rho**2) - rho * math.asin(rho / 2) - math.sqrt(4 - rho**2) + 1
    exact = math.sqrt(above / (1 + math.pi / 3 - math.sqrt(3)))
    assert float(distance_correlation(first, second)) == pytest.approx(exact, abs=0.01)


def test_distance_correlation_has_finite_gradients():
    rows = torch.rand(5, 3, generator=generator())
    same = torch.ones(5, 2, requires_grad=True)
    distance_correlation(rows, same).backward()
    assert bool(torch.isfinite(same.grad).all())


def test_nopeek_lowers_distance_correlation(data):
    x = data.validation_images.flatten(1)
    low, bare = (published(fit("nopeek", data, weight=w, epochs=6), data).flatten(1) for w in (0.8, 0.0))
    assert float(distance_correlation(x, low)) < float(distance_correlation(x, bare)) - 0.15


# Adversaries of the defender's own.


def test_reversal_turns_gradients_round():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    (Reversal.apply(x, 0.25) * torch.tensor([3.0, 5.0])).sum().backward()
    assert x.grad.tolist() == [-0.75, -1.25]
    assert torch.equal(Reversal.apply(x, 0.25), x)


def test_entropy_of_known_distributions():
    logits = torch.tensor([[0.0, 0.0, 0.0, 0.0], [100.0, 0.0, 0.0, 0.0], [math.log(3), 0.0, -200.0, -200.0]])
    expected = [math.log(4), 0.0, -0.75 * math.log(0.75) - 0.25 * math.log(0.25)]
    assert entropy(logits).tolist() == pytest.approx(expected, abs=1e-6)


def answers(name, data, weight, **settings):
    """What the opponents of a training say of the encoded images at its end."""
    training = unfitted(name, weight=weight, epochs=8, **settings).train(data, generator(7))
    with torch.no_grad():
        values = training.network.encoder(data.images)
        return {name: opponent(values) for name, opponent in training.opponents.items()}


def test_maxent_raises_the_entropy_of_its_adversary(data):
    found = []
    for weight in (1e-6, 0.9):
        found.append(float(entropy(answers("maxent-arl", data, weight)["attribute"]).mean()))
    assert found[1] > found[0] + 0.1
    assert found[1] <= math.log(2) + 1e-6


@pytest.mark.parametrize("name", ["ci", "pan"])
def test_the_reader_that_it_trains_against_does_worse(name, data):
    found = []
    for weight in (1e-6, 0.8):
        logits = answers(name, data, weight)["attribute"]
        found.append(float(nn.functional.cross_entropy(logits, data.attributes["ink"])))
    assert found[1] > found[0] + 0.1


@pytest.mark.parametrize(("name", "settings"), [("ran", {}), ("pan", {"share": 0.05})])
def test_the_rebuilder_that_it_trains_against_does_worse(name, settings, data):
    found = []
    for weight in (1e-6, 0.95):
        rebuilt = answers(name, data, weight, **settings)["image"]
        found.append(float(nn.functional.mse_loss(rebuilt, data.images)))
    assert found[1] > 1.1 * found[0]


def test_disco_drops_other_channels_of_other_images(data):
    release = fit("disco", data, pruned=0.25).publish(data.validation_images, generator())
    assert release.mask.dtype == torch.bool
    assert release.mask.shape == (100, 32)
    assert bool((release.mask.sum(1) == 24).all())
    assert len(release.mask.unique(dim=0)) > 50
    assert not release.values[~release.mask].any()
    assert release.values[release.mask].any()


# Noisy codes.


def test_cfb_publishes_draws_of_its_law_and_shortens_the_code(data):
    defense = fit("cfb", data)
    x = data.validation_images[:2]
    mean, log_variance = defense.noise_law().statistics(x)
    draws = torch.stack([defense.publish(x, generator(seed)).values.flatten(1) for seed in range(400)])
    z = (draws - mean) / (0.5 * log_variance).exp()
    assert float(z.mean(0).abs().max()) < 0.25
    assert float((z.std(0) - 1).abs().max()) < 0.2
    lengths = []
    for weight in (0.05, 0.9):
        mu, log_var = fit("cfb", data, weight=weight).noise_law().statistics(data.validation_images)
        lengths.append(float((mu.square() + log_var.exp() - 1 - log_var).mean() / 2))
    assert lengths[1] < lengths[0]


def test_cluster_log_variance_of_known_clusters():
    values = torch.tensor([[0.0, 1.0], [2.0, 1.0], [10.0, 4.0], [10.0, 8.0], [10.0, 6.0]])
    cluster, centers = torch.tensor([0, 0, 1, 1, 1]), torch.tensor([[1.0, 1.0], [10.0, 6.0]])
    # Variances (1, 0) of two rows and (0, 8/3) of three; noise of variance 0.5.
    expected = (2 * math.log(3) / 2 + 3 * math.log(1 + 16 / 3) / 2) / 5
    assert float(cluster_log_variance(values, cluster, centers, 0.5)) == pytest.approx(expected, rel=1e-6)


def test_clusters_are_found_within_classes():
    centers = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0], [9.0, 9.0]])
    of = torch.arange(40) % 4
    values = centers[of] + 0.1 * torch.randn(40, 2, generator=generator())
    labels = of // 2
    cluster, middle = class_clusters(values, labels, 3, 2, generator(1))
    assert len(middle) == 4
    for group in range(4):
        assert len(cluster[of == group].unique()) == 1
    assert float((middle[cluster] - centers[of]).abs().max()) < 0.3


def test_cem_lowers_the_log_variance_within_clusters_at_equal_noise(data):
    found = []
    for weight in (0.0, 0.8):
        defense = fit("cem", data, weight=weight, sigma=0.2, epochs=6)
        with torch.no_grad():
            values = defense.fitted.encoder(data.validation_images).flatten(1)
        cluster, centers = class_clusters(values, data.validation_labels, 10, 3, generator())
        found.append(float(cluster_log_variance(values, cluster, centers, 0.2**2)))
    assert found[1] < found[0] - 0.2


def test_cem_declares_its_noise(data):
    defense = fit("cem", data, sigma=0.3)
    mean, log_variance = defense.noise_law().statistics(data.validation_images)
    noise = published(defense, data).flatten(1) - mean
    assert float(noise.std()) == pytest.approx(0.3, rel=0.03)
    assert float(log_variance.unique()) == pytest.approx(2 * math.log(0.3))
    assert fit("cem", data, sigma=0.0).noise_law() is None


# PriFU.


@pytest.mark.parametrize("version", ["paper", "code"])
def test_a_weight_under_the_threshold_never_comes_back(version):
    unit = FilterUnit(4, 0.5, version)
    with torch.no_grad():
        unit.weight.copy_(torch.tensor([1.0, 0.6, 0.5, 0.4]))
    x = torch.ones(2, 4, 3, 3)
    half = 0.5 * 0.5 if version == "code" else 0.0
    torch.testing.assert_close(unit(x)[0, :, 0, 0], torch.tensor([1.0, 0.6, half, 0.0]))
    unit.settle()
    assert unit.alive.tolist() == [True, True, version == "code", False]
    assert unit.weight[3] == 0
    unit(x)[:, 3].sum().backward()
    assert unit.weight.grad is None or unit.weight.grad[3] == 0
    with torch.no_grad():
        unit.weight[3] = 9.0  # whatever an optimizer's momentum might do
    assert unit(x)[0, 3].abs().max() == 0
    unit.settle()
    assert unit.weight[3] == 0
    assert not unit.alive[3]


def test_channels_are_switched_off_in_training_for_good(data):
    training = unfitted("prifu", weight=0.2, epochs=10, decay=None)
    seen = []
    original = FilterUnit.settle

    def watch(self):
        alive = original(self)
        seen.append((id(self), alive.clone(), self.weight.detach().clone()))
        return alive

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FilterUnit, "settle", watch)
        network = training.fit(data, generator(7)).fitted
    alive = [int(unit.alive.sum()) for unit in filters_of(network)]
    assert sum(alive) < sum(len(unit.alive) for unit in filters_of(network))
    for unit in {each for each, _, _ in seen}:
        states = [(kept, weight) for each, kept, weight in seen if each == unit]
        for (before, _), (after, weight) in pairwise(states):
            assert not bool((after & ~before).any())
            assert not weight[~after].any()


@pytest.mark.parametrize("name", ["resnet18", "resnet20", "vgg11", "densenet121"])
def test_filters_go_after_every_normalization(name):
    model = build_model(
        name, channels=1, side=8, num_classes=3, width=0.25, mean=[0.5], std=[0.5], generator=generator()
    )
    layers, norms = dict(model.named_modules()), [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    paper = insert_filters(model, 0.1, "paper")
    # Identity shortcuts: all but the first block of each of three later stages, or every shortcut of ResNet-20.
    shortcuts = {"resnet18": 5, "resnet20": 9}.get(name, 0)
    assert len(paper) == len(norms) + shortcuts
    assert set(layers) <= set(dict(model.named_modules()))
    model.eval()(torch.rand(2, 1, 8, 8, generator=generator())).sum().backward()
    assert all(unit.weight.grad is not None for unit in paper)
    other = build_model(
        name, channels=1, side=8, num_classes=3, width=0.25, mean=[0.5], std=[0.5], generator=generator()
    )
    assert len(insert_filters(other, 0.1, "code")) == len(norms)
    with pytest.raises(NotApplicableError, match="normalization"):
        insert_filters(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), 0.1, "paper")


def test_avgri_of_a_linear_network():
    # One weight per channel and class, logits far apart: dL/dx = sum over classes of (p - onehot) * weight.
    head = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 0.5], [-1.0, 0.5]]))
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    x, y = torch.zeros(3, 2, 2, 2), torch.tensor([0, 1, 0])
    # p = 1/2 each, so |dL/dpooled| = (1, 0), and each of four pixels has a quarter of it.
    assert avgri(network, x, y).tolist() == pytest.approx([0.25, 0.0])


def test_avgri_of_noise_channels_is_lowest(digits):
    x, y = digits[0][:900], digits[1]["digit"][:900]
    draw = generator(5)
    noise = [torch.full_like(x, 0.5), torch.rand(x.shape, generator=draw)]
    noise.append(0.5 + 0.3 * torch.randn(x.shape, generator=draw))
    images = torch.cat([x, *noise], dim=1)

    def build():
        body, features = MODELS.get("resnet20")(Shape(channels=4, side=8, width=0.5))
        return nn.Sequential(body, nn.Linear(features, 10))

    network = seeded(build, draw)
    train_classifier(network, images, y, TrainSettings(steps=60, lr=1e-2), draw)
    assert accuracy(network, images, y) > 0.8
    found = avgri(network, images, y)
    assert float(found[0]) > 1.5 * float(found[1:].max())


def test_whoever_knows_the_mask_finds_the_code_behind_it(data):
    disco = fit("disco", data)
    latent = open_latent(disco, data.validation_images)
    assert (latent.per_image, latent.shape) == (True, (32, 2, 2))
    prifu = fit("prifu", data, weight=0.2, epochs=10, decay=None)
    on = prifu.publish(data.validation_images, generator()).mask
    assert bool((on == on[0]).all())
    assert 0 < int((~on[0]).sum()) < 32
    assert not published(prifu, data)[:, ~on[0]].any()
    assert open_latent(prifu, data.validation_images).units == 128


@pytest.mark.parametrize("name", TRAINED)
def test_errors_name_a_defense_as_users_type_it(name, data):
    defense = DEFENSES.get(name)()
    assert DEFENSES.name_of(type(defense)) == name
    one = replace(data, images=data.images[:1], labels=data.labels[:1], attributes={})
    with pytest.raises(UserError, match=rf"to fit {name} on"):
        defense.fit(one, generator())
    with pytest.raises(UserError, match=rf"a fitted {name} defense"):
        defense.publish(data.images[:1], generator())
