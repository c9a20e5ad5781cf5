import pytest
import torch
from torch import nn

from vfc.artifact import load_defense, save_defense
from vfc.data import load_dataset
from vfc.defense import DEFENSES, FitData
from vfc.defenses.noise.fmd import feature_distance
from vfc.errors import NotApplicableError, UserError
from vfc.models import build_model
from vfc.training import TrainSettings, train_classifier

STEPS = 12


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def data():
    digits = load_dataset("digits").train
    x, y = digits.images[:, :, ::2, ::2], digits.labels["digit"]
    target = build_model(
        "cnn", channels=1, side=8, num_classes=10, width=0.25, mean=[0.3], std=[0.37], generator=generator()
    )
    # A short training, so that some predictions are wrong.
    train_classifier(target, x[:200], y[:200], TrainSettings(steps=25, lr=1e-2), generator())
    return FitData(
        images=x[:200],
        labels=y[:200],
        validation_images=x[200:300],
        validation_labels=y[200:300],
        num_classes=10,
        target=target.requires_grad_(False),
    )


def fit(data, **settings):
    return DEFENSES.get("fmd")(**{"steps": STEPS, **settings}).fit(data, generator())


def unseen():
    digits = load_dataset("digits").train
    return digits.images[300:500, :, ::2, ::2], digits.labels["digit"][300:500]


@pytest.mark.parametrize("eps", [4 / 255, 16 / 255])
def test_the_release_stays_in_the_ball_and_its_features_go_far(data, eps):
    x, _ = unseen()
    values = fit(data, eps=eps).publish(x, generator(1)).values
    assert float((values - x).abs().max()) <= eps + 1e-6
    assert float(values.min()) >= 0
    assert float(values.max()) <= 1
    noise = (x + eps * (2 * torch.rand(x.shape, generator=generator(2)) - 1)).clamp(0, 1)
    chance = feature_distance(data.target, None, x, noise)
    assert float(feature_distance(data.target, None, x, values).mean()) > 5 * float(chance.mean())
    # The target still sees what it saw.
    same = data.target(values).argmax(1) == data.target(x).argmax(1)
    assert float(same.float().mean()) > 0.95


def test_the_weight_moves_between_features_and_target(data):
    x, _ = unseen()
    alone = fit(data, weight=1.0).publish(x, generator(1)).values
    both = fit(data, weight=0.5).publish(x, generator(1)).values
    far = [float(feature_distance(data.target, None, x, each).mean()) for each in (alone, both)]
    sees = data.target(x).argmax(1)
    loss = [float(nn.functional.cross_entropy(data.target(each), sees)) for each in (alone, both)]
    assert far[0] > far[1]
    assert loss[0] > 2 * loss[1]


def test_it_is_random_by_its_generator_alone(data):
    x, _ = unseen()
    defense = fit(data)
    one, two, other = (defense.publish(x[:5], generator(seed)).values for seed in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert defense.stochastic


def test_true_labels_are_used_only_where_they_were_granted(data):
    x, y = unseen()
    wrong = data.target(x).argmax(1) != y
    assert int(wrong.sum()) >= 5
    honest, blind = fit(data), fit(data, labels="oracle")
    assert (honest.oracle, blind.oracle) == (False, True)
    told = blind.granted(x[:100], y[:100])
    plain, oracle = (each.publish(x, generator(1)).values for each in (honest, told))
    # It never saw these images in its fit, so before anything is granted it is the honest variant.
    assert torch.equal(blind.publish(x, generator(1)).values, plain)
    granted = torch.arange(200) < 100
    assert torch.equal(oracle[~granted | ~wrong], plain[~granted | ~wrong])
    right = [float((data.target(each).argmax(1) == y)[granted & wrong].float().mean()) for each in (plain, oracle)]
    assert right[1] > right[0] + 0.3
    own = blind.publish(data.validation_images, generator(1)).values
    assert not torch.equal(own, honest.publish(data.validation_images, generator(1)).values)
    with pytest.raises(UserError, match="labels=oracle"):
        honest.granted(x, y)


def test_what_was_granted_is_saved(data, tmp_path):
    x, y = unseen()
    defense = fit(data, labels="oracle").granted(x, y)
    save_defense(defense, "fmd", tmp_path)
    back = load_defense(tmp_path, data.target)
    assert dict(back.fitted) == dict(defense.fitted)
    assert torch.equal(back.publish(x[:9], generator()).values, defense.publish(x[:9], generator()).values)
    save_defense(fit(data), "fmd", tmp_path)
    assert load_defense(tmp_path, data.target).fitted == {}


def test_settings_and_layers_that_are_not_there_are_refused(data):
    for settings in ({"eps": 2.0}, {"alpha": 0.0}, {"steps": 0}, {"weight": -0.5}):
        with pytest.raises(UserError, match=next(iter(settings))):
            fit(data, **settings)
    with pytest.raises(UserError, match=r"'body\.99'"):
        fit(data, layer="body.99")
    flat = FitData(**{**vars(data), "target": nn.Sequential(nn.Flatten(), nn.Linear(64, 10))})
    # A bench says of such a row that it does not apply, not that it failed.
    with pytest.raises(NotApplicableError, match="no convolution"):
        DEFENSES.get("fmd")().fit(flat, generator())
    with pytest.raises(UserError, match="'conv'"):
        DEFENSES.get("fmd")(layer="conv").fit(flat, generator())
