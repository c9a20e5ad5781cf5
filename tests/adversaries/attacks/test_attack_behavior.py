"""What single adversaries promise in their cards."""

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from adversaries.adversary import ADVERSARIES
from adversaries.attacks.label.frozen.picture import Picture
from adversaries.attacks.label.probes.input_transform import InputTransform, TransformedView
from adversaries.attacks.label.probes.linear import Linear
from adversaries.evaluation_data import EvaluationData, Part
from adversaries.goals.assess import assess
from adversaries.goals.label import TaskLabel
from adversaries.knowledge import Knowledge
from adversaries.threat import ThreatModel
from vfc.errors import NotApplicableError


@pytest.mark.parametrize("name", ["batchnorm", "entropy", "shot"])
def test_without_batchnorm_there_is_nothing_to_adapt(bench, name):
    with pytest.raises(NotApplicableError, match="no BatchNorm"):
        bench.fit(name, bench.world(normalized=False))


def test_a_model_without_batchnorm_can_be_fine_tuned(bench):
    world = bench.world(normalized=False)
    assert bench.accuracy(bench.fit("fine-tune", world, steps=40), world) > 0.9
    assert bench.accuracy(bench.fit("fine-tune", world, scope="head"), world) > 0.9


@pytest.mark.parametrize("name", ["frozen", "frozen-picture", "batchnorm", "entropy", "moments", "shot"])
def test_a_model_of_another_label_is_not_applicable(bench, plain, name):
    with pytest.raises(NotApplicableError, match="3 classes apart"):
        bench.fit(name, plain, label="bit")


@pytest.mark.parametrize(("name", "settings"), [("fine-tune", {}), ("fine-tune", {"scope": "head"}), ("adapter", {})])
def test_a_model_of_another_label_gets_a_new_head(bench, name, settings):
    # With two classes the bit is the class, so it can be learned.
    world = bench.world(classes=2)
    three = bench.world(classes=3)
    world = EvaluationData(
        train=world.train,
        validation=world.validation,
        targets=world.targets,
        classes=world.classes,
        models=three.models,
    )
    assert bench.accuracy(bench.fit(name, world, label="bit", **settings), world, "bit") > 0.9


def test_batchnorm_undoes_a_change_of_scale_and_offset(bench):
    world = bench.world(lambda x: x * 0.02 + 2)
    plain = bench.world()
    clean = bench.accuracy(bench.fit("frozen", plain), plain)
    assert bench.accuracy(bench.fit("frozen", world), world) < clean - 0.2
    assert bench.accuracy(bench.fit("batchnorm", world), world) > clean - 0.05
    assert bench.accuracy(bench.fit("moments", world), world) > clean - 0.05
    assert bench.accuracy(bench.fit("moments", world, match="histogram"), world) > clean - 0.05
    assert bench.accuracy(bench.fit("frozen-picture", world, form="rescale"), world) > clean - 0.05


def test_entropy_makes_the_model_more_certain_of_unlabelled_releases(bench):
    world = bench.world()

    def entropy(steps):
        logs = bench.fit("entropy", world, steps=steps).guess(bench.view(world).unlabelled).log_softmax(1)
        return float(-(logs.exp() * logs).sum(1).mean())

    assert entropy(150) < 0.8 * entropy(0)


def test_diversity_keeps_releases_from_ending_in_one_class(bench):
    noise = torch.Generator().manual_seed(8)
    # Nothing tells classes apart here, and the first is favored, so being certain is easiest by always saying it.
    world = bench.world(lambda x: torch.rand(x.shape, generator=noise))
    with torch.no_grad():
        world.models["tiny"].head.bias[0] += 2.0

    def varied(diversity):
        attack = bench.fit("shot", world, steps=60, lr=1e-2, diversity=diversity)
        mean = attack.guess(bench.view(world).unlabelled).softmax(1).mean(0)
        return float(-(mean * mean.clamp_min(1e-9).log()).sum())

    assert varied(1.0) > varied(0.0) + 0.2


@pytest.mark.parametrize("name", ["batchnorm", "entropy", "moments", "fine-tune", "shot", "spreading-features"])
def test_the_model_of_the_world_is_left_alone(bench, name):
    world = bench.world()
    before = {key: value.clone() for key, value in world.models["tiny"].state_dict().items()}
    settings = {"steps": 5} if name in {"entropy", "fine-tune", "shot"} else {}
    bench.fit(name, world, **settings)
    assert all(torch.equal(value, before[key]) for key, value in world.models["tiny"].state_dict().items())


def test_the_adapter_leaves_the_frozen_model_alone(bench, plain):
    attack = bench.fit("adapter", plain, steps=5)
    for key, value in plain.models["tiny"].state_dict().items():
        assert torch.equal(attack.model.frozen.state_dict()[key], value)


@pytest.mark.parametrize("shape", [(12,), (2, 3), (5, 4, 4)])
def test_the_adapter_reads_any_shape(bench, shape):
    size = int(torch.tensor(shape).prod())
    mix = torch.randn(64, size, generator=torch.Generator().manual_seed(1))
    world = bench.world(lambda x: ((x.flatten(1) @ mix) * 100).long().reshape(-1, *shape))
    assert bench.accuracy(bench.fit("adapter", world), world) > 0.6
    with pytest.raises(NotApplicableError):
        bench.fit("adapter", world, form="convolution")


def test_pictures_are_eight_bit():
    x = torch.tensor([[-3.0, 0.0, 0.5019, 1.0, 7.0]])
    clipped = Picture(low=0.0, high=1.0)(x)
    torch.testing.assert_close(clipped, torch.tensor([[0, 0, 128, 255, 255]]) / 255)
    rescaled = Picture.rescaling(x)(x)
    torch.testing.assert_close(rescaled, ((x + 3) / 10 * 255).round() / 255)


def test_gray_and_vectors_are_not_applicable(bench, plain):
    with pytest.raises(NotApplicableError, match="one channel"):
        bench.fit("input-transform", plain, inner="linear", transform="gray")
    vectors = bench.world(lambda x: x.flatten(1))
    with pytest.raises(NotApplicableError, match="shaped like an image"):
        assess(
            InputTransform(inner="linear"),
            vectors,
            TaskLabel(label="y"),
            ThreatModel(level="L2", labels_per_class="all"),
            arm="attack",
            seed=0,
            fit_seed=0,
        )


def test_a_transform_wraps_a_name_and_an_instance_alike(bench, plain):
    by_name = InputTransform(inner="linear", options={"iterations": 7}, transform="flip")
    by_object = InputTransform(inner=Linear(iterations=7), transform="flip")
    guesses = [
        adversary.fit(bench.view(plain), torch.Generator()).guess(plain.targets.release)
        for adversary in (by_name, by_object)
    ]
    assert torch.equal(*guesses)
    assert by_name.settings()["options"] == by_object.settings()["options"] == {"iterations": 7}
    assert by_name.doubled().adversary() == Linear(iterations=14)
    assert InputTransform(inner="knn").doubled() is None


def test_a_transformed_view_grants_what_the_view_grants(bench, plain):
    view = bench.view(plain)
    seen = TransformedView(view, lambda x: x + 1)
    for name in ("num_classes", "release_shape", "image_shape", "image_shaped", "release_range", "model_names"):
        assert getattr(seen, name) == getattr(view, name)
    assert torch.equal(seen.unlabelled, view.unlabelled + 1)
    assert torch.equal(seen.labelled[0], view.labelled[0] + 1)
    assert torch.equal(seen.images[0], view.images[0])
    assert isinstance(seen.model("tiny"), nn.Module)


def test_a_transformed_view_answers_for_everything_that_a_view_grants(bench, plain):
    granted = {name for name, value in vars(Knowledge).items() if isinstance(value, property) and name[0] != "_"}
    assert granted <= set(vars(TransformedView))
    view = bench.view(plain, level="L3")
    seen = TransformedView(view, lambda x: x + 1)
    assert torch.equal(seen.labelled_pairs, view.labelled_pairs)
    assert torch.equal(seen.labelled[0], seen.pairs[0][seen.labelled_pairs])


def test_zero_gradient_is_said(bench, plain):
    world = bench.world()
    # A dead model: its head reads zeros, whatever comes in.
    dead = world.models["tiny"]
    with torch.no_grad():
        dead.body[1].weight.zero_()
        dead.body[1].bias.fill_(-1.0)
        dead.head.weight.zero_()
    for name in ("entropy", "adapter"):
        assert "ZERO_GRADIENT" in bench.fit(name, world, steps=3).flags
        assert "ZERO_GRADIENT" not in bench.fit(name, plain, steps=3).flags


@pytest.fixture(scope="module")
def digits():
    """Real digits: 600 labelled releases, 450 targets."""
    bunch = load_digits()
    x = torch.tensor(bunch.images / 16, dtype=torch.float32)[:, None]
    x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    y = torch.tensor(bunch.target)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))[:1060]
    x, y = x[order], y[order]

    def world(release):
        parts = [
            Part(images=x[a:b], release=release[a:b], labels={"y": y[a:b]})
            for a, b in ((0, 600), (600, 610), (610, 1060))
        ]
        return EvaluationData(train=parts[0], validation=parts[1], targets=parts[2], classes={"y": 10})

    pixels = torch.randperm(256, generator=torch.Generator().manual_seed(1))
    label = nn.functional.one_hot(y, 256).float().reshape(-1, 1, 16, 16)
    return {
        "identity": world(x),
        "permuted": world(x.flatten(1)[:, pixels].reshape(x.shape)),
        "label": world(label),
    }


@pytest.mark.parametrize(
    ("name", "least"), [("linear", 0.93), ("knn", 0.95), ("mlp", 0.95), ("cnn", 0.96), ("second-order", 0.94)]
)
def test_strength_on_real_digits(bench, digits, name, least):
    assert bench.accuracy(bench.fit(name, digits["identity"]), digits["identity"]) >= least


@pytest.mark.parametrize("name", ["linear", "knn", "mlp", "bit-planes"])
def test_permuting_pixels_hides_nothing(bench, digits, name):
    plain, permuted = (bench.accuracy(bench.fit(name, digits[kind]), digits[kind]) for kind in ("identity", "permuted"))
    assert abs(plain - permuted) <= (0.015 if name == "mlp" else 0.003)


@pytest.mark.parametrize("name", ["linear", "knn", "mlp", "bit-planes", "signs", "second-order"])
def test_a_release_of_the_label_is_read(bench, digits, name):
    assert bench.accuracy(bench.fit(name, digits["label"]), digits["label"]) >= 0.99


@pytest.mark.parametrize("name", ["linear", "mlp"])
def test_close_to_bayes_on_a_gaussian_world(bench, name):
    source = torch.Generator().manual_seed(0)
    direction = nn.functional.normalize(torch.randn(64, generator=source), dim=0)
    y = torch.randint(2, (4410,), generator=source)
    z = torch.randn(4410, 64, generator=source) + (3.0 * y - 1.5)[:, None] * direction
    x = (0.5 + 0.05 * z).reshape(-1, 1, 8, 8)
    parts = [
        Part(images=x[a:b], release=x[a:b], labels={"y": y[a:b]}) for a, b in ((0, 2400), (2400, 2410), (2410, 4410))
    ]
    world = EvaluationData(train=parts[0], validation=parts[1], targets=parts[2], classes={"y": 2})
    # The Bayes-optimal accuracy is Phi(1.5) = .9332.
    assert bench.accuracy(bench.fit(name, world), world) >= 0.97 * 0.9332


def test_every_adversary_has_a_level():
    assert {ADVERSARIES.get(name).level for name in ADVERSARIES.cards} >= {"L0", "L1", "L2"}
