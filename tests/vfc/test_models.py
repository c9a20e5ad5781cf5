import json

import pytest
import torch

from vfc.data import load_dataset
from vfc.errors import UserError
from vfc.models import (
    DEFAULT_UNINTENDED,
    MODELS,
    build_model,
    channel_statistics,
    default_models,
    default_training,
    rebuild,
)
from vfc.splits import split
from vfc.training import accuracy, train_classifier

NAMES = (
    *("cnn", "mlp", "resnet20", "resnet56", "resnet18", "vgg11", "vgg16"),
    *("mobilenetv2", "shufflenetv2", "densenet121", "vit-tiny"),
)


def build(name, seed=0, **changes):
    channels = changes.get("channels", 1)
    arguments = {"channels": 1, "side": 16, "num_classes": 10, "width": 0.25, "mean": [0.4] * channels}
    arguments |= {"std": [0.3] * channels} | changes
    return build_model(name, **arguments, generator=torch.Generator().manual_seed(seed))


def pictures(n, channels, side):
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(1))


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_all_models_are_listed():
    assert set(MODELS.cards) == set(NAMES)
    assert all(card.summary for card in MODELS.cards.values())


@pytest.mark.parametrize("side", [8, 16, 28, 32, 64])
@pytest.mark.parametrize("name", NAMES)
def test_shapes(name, side):
    model = build(name, side=side, channels=3 if side == 32 else 1, num_classes=7).eval()
    x = pictures(2, 3 if side == 32 else 1, side)
    with torch.no_grad():
        features = model.features(x)
        assert features.shape == (2, model.head.in_features)
        assert torch.equal(model(x), model.head(features))
    assert model(x).shape == (2, 7)


@pytest.mark.parametrize("side", [9, 11, 13, 20, 48, 63])
@pytest.mark.parametrize("name", [name for name in NAMES if name != "vit-tiny"])
def test_odd_sides_work(name, side):
    assert build(name, side=side, width=0.1).eval()(pictures(1, 1, side)).shape == (1, 10)


@pytest.mark.parametrize("side", [8, 16])
@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_parameter_and_the_image_in_a_batch_of_two(name, side):
    model = build(name, side=side).train()
    x = pictures(2, 1, side).requires_grad_()
    # An uneven sum, because BatchNorm cancels an even one.
    (model(x) * torch.randn(2, 10, generator=torch.Generator().manual_seed(2))).sum().backward()
    missing = [key for key, value in model.named_parameters() if value.grad is None or not value.grad.isfinite().all()]
    assert not missing
    idle = [key for key, value in model.named_parameters() if not value.grad.any()]
    assert not idle
    assert x.grad.any()


@pytest.mark.parametrize("name", NAMES)
def test_the_generator_alone_decides_the_weights(name):
    state = torch.get_rng_state()
    first, again, other = build(name), build(name), build(name, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    for key, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])
    assert not torch.equal(first.head.weight, other.head.weight)


@pytest.mark.parametrize("name", NAMES)
def test_rebuild_takes_the_weights_of_its_original(name):
    model = build(name, seed=3, channels=3).eval()
    copy = rebuild(json.loads(json.dumps(model.arch, allow_nan=False)))
    copy.load_state_dict(model.state_dict())
    x = pictures(2, 3, 16)
    with torch.no_grad():
        assert torch.equal(copy.eval()(x), model(x))
    assert copy.arch == model.arch


def full(name):
    return build(name, channels=3, side=32, num_classes=1000, width=1.0)


def test_full_width_counts_are_torchvisions_published_ones():
    from torchvision.models import (
        DenseNet121_Weights,
        MobileNet_V2_Weights,
        ResNet18_Weights,
        ShuffleNet_V2_X1_0_Weights,
    )

    smaller_stem = 64 * 3 * (7 * 7 - 3 * 3)
    for name, weights, stem in (
        ("resnet18", ResNet18_Weights.IMAGENET1K_V1, smaller_stem),
        ("densenet121", DenseNet121_Weights.IMAGENET1K_V1, smaller_stem),
        ("mobilenetv2", MobileNet_V2_Weights.IMAGENET1K_V1, 0),
        ("shufflenetv2", ShuffleNet_V2_X1_0_Weights.IMAGENET1K_V1, 0),
    ):
        assert count(full(name)) == weights.meta["num_params"] - stem, name


def test_vgg_counts_are_torchvisions_without_its_three_linear_layers():
    from torchvision.models import VGG11_BN_Weights, VGG16_BN_Weights

    linear = (512 * 49 + 1) * 4096 + (4096 + 1) * 4096 + (4096 + 1) * 1000
    for name, weights in (("vgg11", VGG11_BN_Weights.IMAGENET1K_V1), ("vgg16", VGG16_BN_Weights.IMAGENET1K_V1)):
        assert count(full(name).body) == weights.meta["num_params"] - linear


def test_resnet20_count_is_the_closed_form_of_its_paper():
    def stage(fan_in, out):
        return 9 * fan_in * out + 5 * 9 * out * out + 6 * 2 * out

    body = 9 * 3 * 16 + 2 * 16 + stage(16, 16) + stage(16, 32) + stage(32, 64)
    model = build("resnet20", channels=3, side=32, width=1.0)
    assert count(model) == body + 65 * 10
    assert round(count(model) / 1e6, 2) == 0.27  # table 6 of the paper


def test_vit_count_is_deit_tinys_apart_from_patches_and_positions():
    # Touvron et al. (2021): 5,717,416 at 224 pixels with 16x16 patches and 1,000 classes.
    patches = 192 * 3 * (16 * 16 - 4 * 4)
    positions = 192 * (14 * 14 - 8 * 8)
    assert count(full("vit-tiny")) == 5_717_416 - patches - positions


def test_a_model_normalizes_inside_itself():
    plain = build("cnn", mean=[0.0], std=[1.0]).eval()
    inside = build("cnn", mean=[0.25], std=[0.5]).eval()
    x = pictures(3, 1, 16)
    assert torch.allclose(inside(x), plain((x - 0.25) / 0.5), atol=1e-6)
    assert {"normalize.mean", "normalize.std"} <= set(inside.state_dict())


def test_channel_statistics_are_the_population_ones():
    x = pictures(50, 3, 8)
    x[:, 2] = 0.5
    mean, std = channel_statistics(x)
    for channel in range(2):
        assert mean[channel] == pytest.approx(x[:, channel].numpy().astype("float64").mean())
        assert std[channel] == pytest.approx(x[:, channel].numpy().astype("float64").std())
    assert std[2] == 1 / 255


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "resnet19"}, "did you mean 'resnet1?2?[08]"),
        ({"side": 7}, "8 to 64 pixels"),
        ({"side": 65}, "8 to 64 pixels"),
        ({"channels": 2}, "1 or 3 channels"),
        ({"num_classes": 1}, "at least 2 classes"),
        ({"width": 0.0}, "width above 0"),
        ({"mean": [0.1, 0.2]}, "1 means"),
        ({"std": [0.0]}, "positive standard deviations"),
        ({"name": "vit-tiny", "side": 13}, "choose another model"),
    ],
)
def test_wrong_arguments_are_refused(changes, words):
    with pytest.raises(UserError, match=words):
        build(changes.pop("name", "cnn"), **changes)


def test_a_foreign_description_is_refused():
    with pytest.raises(UserError, match="expected the keys"):
        rebuild({"name": "cnn"})


@pytest.mark.parametrize("target", NAMES)
@pytest.mark.parametrize("side", [8, 16, 32, 64])
def test_default_unintended_models_are_three_and_not_the_target(side, target):
    names, width = default_models(side, target)
    assert len(set(names)) == 3
    assert target not in names
    assert not any(name[:3] == target[:3] for name in names)
    assert width == (0.25 if side <= 16 else 1.0)
    assert set(names) <= set(DEFAULT_UNINTENDED["small" if side <= 16 else "real"])


def test_default_training_scales_with_the_data():
    small, large = default_training(480, 16), default_training(20_000, 32)
    assert (small.precision, small.augment) == ("float32", False)
    assert (large.precision, large.augment) == ("bf16", True)
    assert large.steps * large.batch == pytest.approx(30 * 20_000, rel=0.02)
    assert not default_training(20_000, 16).augment
    assert not default_training(5_000, 64).augment


@pytest.mark.parametrize(("name", "part", "least"), [("cnn", "defender_train", 0.95), ("mlp", "pool_train", 0.94)])
def test_the_default_target_and_the_fastest_unintended_model_read_digits(name, part, least):
    parts = split(load_dataset("digits"))
    own = getattr(parts, part)
    mean, std = channel_statistics(own.images)
    model = build(name, mean=mean, std=std)
    generator = torch.Generator().manual_seed(0)
    train_classifier(model, own.images, own.labels["digit"], default_training(len(own), 16), generator)
    assert accuracy(model, parts.targets.images, parts.targets.labels["digit"]) >= least
