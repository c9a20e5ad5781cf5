"""Objects and arrays of the caller: named wrong, they are named with the fix; the same object has the same digest."""

import re

import numpy as np
import pytest
import torch
from torch import nn

from protocols.engine.outside.release import learns
from vfc.errors import UserError
from vfc.handed.arrays import as_classes, as_images, as_release, hold_images
from vfc.handed.content import digest_of_object
from vfc.handed.held import DATASETS_HELD, DEFENSES_HELD
from vfc.handed.objects import hold_defense
from vfc.handed.published import save_published
from vfc.wrapper import ModuleDefense

IMAGES = np.linspace(0, 1, 40 * 64, dtype=np.float32).reshape(40, 1, 8, 8)
LABELS = np.arange(40) % 2


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (IMAGES * 255, ["0 to 255", "images / 255"]),
        (IMAGES.transpose(0, 2, 3, 1), ["channels last", "transpose(0, 3, 1, 2)"]),
        (IMAGES - 0.5, ["-0.5 to 0.5", "undo the normalization"]),
        (IMAGES[:, 0], ["(40, 8, 8)", "images[:, None]"]),
        ((IMAGES * 255).astype(np.int64), ["int64"]),
        (IMAGES * np.nan, ["nan"]),
        ("a.png", ["str"]),
    ],
)
def test_images_of_another_form_are_named_with_the_fix(images, says):
    with pytest.raises(UserError) as found:
        as_images(images)
    assert all(word in str(found.value) for word in says)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (np.eye(2)[LABELS], ["scores", "labels.argmax(1)"]),
        (LABELS * 1.0, ["float64", "astype(int)"]),
        (LABELS[:5], ["(40,)", "(5,)"]),
        (LABELS - 1, ["from 0", "-1"]),
    ],
)
def test_labels_of_another_form_are_named_with_the_fix(labels, says):
    with pytest.raises(UserError) as found:
        as_classes(labels, 40)
    assert all(word in str(found.value) for word in says)


def test_images_are_the_same_as_arrays_tensors_and_bytes():
    whole = (IMAGES * 255).round().astype(np.uint8)
    names = {hold_images(values, LABELS, {}) for values in (whole, torch.from_numpy(whole), whole / np.float32(255))}
    assert len(names) == 1
    dataset = DATASETS_HELD[names.pop()]
    assert dataset.task == "label"
    assert torch.equal(dataset.train.images, torch.from_numpy(whole).float() / 255)


@pytest.mark.parametrize("turned", [lambda x: x.astype(">f4"), lambda x: x[::-1][::-1], lambda x: np.asfortranarray(x)])
def test_arrays_are_the_same_in_any_layout(turned):
    assert torch.equal(as_images(turned(IMAGES)), torch.from_numpy(IMAGES))
    assert torch.equal(as_release(turned(IMAGES)), torch.from_numpy(IMAGES))


def test_what_torch_has_no_numbers_for_is_named():
    with pytest.raises(UserError, match="as numbers in an array"):
        as_images(IMAGES.astype(np.longdouble))
    with pytest.raises(UserError, match="expected releases as a numpy array"):
        as_release(IMAGES.astype(np.longdouble))


def test_negative_classes_are_named_by_what_was_handed_over(tmp_path):
    for named, given in [
        ("label", {"labels": LABELS - 1}),
        ("prediction", {"target": LABELS - 1}),
        ("gender", {"attributes": {"gender": LABELS - 1}}),
    ]:
        whole = {"labels": LABELS, "images": None, "attributes": None, "target": None} | given
        with pytest.raises(UserError, match=f"from 0 as label '{named}', got -1"):
            save_published(tmp_path / "release.safetensors", IMAGES, **whole)


def test_the_first_label_is_the_task_and_a_test_part_has_the_same_labels():
    named = hold_images(
        IMAGES, {"digit": LABELS, "ink": 1 - LABELS}, {}, (IMAGES[:4], {"digit": LABELS[:4], "ink": LABELS[:4]})
    )
    dataset = DATASETS_HELD[named]
    assert (dataset.task, dataset.attributes, len(dataset.test)) == ("digit", ("ink",), 4)
    with pytest.raises(UserError, match="the same labels"):
        hold_images(IMAGES, LABELS, {"ink": LABELS}, (IMAGES[:4], LABELS[:4]))


def halved(x):
    return x[..., ::2, ::2]


class Caller:
    """No module: a callable with its own reader."""

    stochastic = True

    def __call__(self, x):
        return x.flatten(1).numpy()

    def predict(self, release):
        return release[:, :2]


@pytest.mark.parametrize(
    ("defense", "target", "says"),
    [
        (nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)), None, ["1 (BatchNorm2d)", ".eval()"]),
        (halved, nn.Dropout(), ["target (Dropout)", "training mode", ".eval()"]),
        (nn.Conv2d, None, ["the class Conv2d", "Conv2d()"]),
        (3, None, ["int", "release="]),
        (halved, 3, ["target", "int"]),
    ],
)
def test_a_defense_that_would_spoil_the_numbers_is_refused(defense, target, says):
    with pytest.raises(UserError) as found:
        hold_defense(defense, target)
    assert all(word in str(found.value) for word in says)


def test_weights_on_two_devices_are_refused():
    with pytest.raises(UserError, match=r"target\.weight on cpu") as found:
        hold_defense(nn.Conv2d(1, 1, 1, device="meta"), nn.Linear(4, 2))
    assert "meta" in str(found.value)


def test_weights_without_numbers_are_refused():
    with pytest.raises(UserError, match="expected defense and target with numbers, got weight on the device meta"):
        hold_defense(nn.Conv2d(1, 1, 1, device="meta"))


def test_classes_that_start_at_one_are_named_with_the_fix():
    with pytest.raises(UserError, match="from 0 as label 'label', got 1 to 2; hand over labels - 1"):
        hold_images(IMAGES, LABELS + 1, {})


@pytest.mark.parametrize(
    "texts", [np.array(["cat", "dog"] * 2), np.array(["cat", "dog"] * 2, object), ["cat", "dog"] * 2]
)
def test_names_in_the_place_of_classes_are_told_to_be_numbered(texts):
    said = "got texts such as 'cat'; hand over np.unique(labels, return_inverse=True)[1]"
    with pytest.raises(UserError, match=re.escape(said)):
        hold_images(np.zeros((4, 1, 8, 8)), texts, {})
    with pytest.raises(UserError, match=re.escape("np.unique(kind, return_inverse=True)[1]")):
        as_classes(texts, 4, "kind")
    numbered = np.unique(texts, return_inverse=True)[1]
    assert as_classes(numbered, 4).tolist() == [0, 1, 0, 1]


def test_a_tuple_is_refused_with_the_fix():
    defense = DEFENSES_HELD[hold_defense(lambda x: (x, x))]
    with pytest.raises(UserError, match="return the release alone"):
        defense.publish(torch.rand(2, 1, 8, 8), torch.Generator())


def test_functions_and_callables_publish_and_predict():
    x = torch.rand(3, 1, 8, 8)
    defense = DEFENSES_HELD[hold_defense(halved, nn.Flatten())]
    assert isinstance(defense, ModuleDefense)
    assert torch.equal(defense.publish(x, torch.Generator()).values, halved(x))
    assert torch.equal(defense.predict(halved(x)), halved(x).flatten(1))
    own = DEFENSES_HELD[hold_defense(Caller())]
    assert own.stochastic
    assert torch.equal(own.publish(x, torch.Generator()).values, x.flatten(1))
    assert torch.equal(own.predict(x.flatten(1)), x.flatten(1)[:, :2])


def test_who_learns_is_known():
    class Learns(nn.Module):
        def fit(self, images, labels):
            self.mean = images.mean()

        def forward(self, x):
            return x - self.mean

    assert learns(DEFENSES_HELD[hold_defense(Learns())])
    assert not learns(DEFENSES_HELD[hold_defense(halved)])
    defense = DEFENSES_HELD[hold_defense(Learns())]
    assert not hasattr(defense.module, "mean")


def noise(scale):
    def publish(x):
        return x + scale

    return publish


class Scaled(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.scale, self.layer = scale, nn.Linear(2, 2)

    def forward(self, x):
        return self.scale * self.layer(x)


def test_the_digest_is_of_what_is_computed():
    assert digest_of_object(noise(1)) == digest_of_object(noise(1))
    assert digest_of_object(noise(1)) != digest_of_object(noise(2))
    assert digest_of_object(halved) != digest_of_object(lambda x: x[..., ::2, 1::2])
    first, second = Scaled(1.0), Scaled(1.0)
    assert digest_of_object(first) != digest_of_object(second)  # other weights
    second.load_state_dict(first.state_dict())
    assert digest_of_object(first) == digest_of_object(second)
    second.scale = 2.0  # no tensor, and still another defense
    assert digest_of_object(first) != digest_of_object(second)
    third = Scaled(1.0)
    third.load_state_dict(first.state_dict())
    third.forward = halved
    assert digest_of_object(first) != digest_of_object(third)


def test_the_digest_follows_what_a_function_names():
    space = {"__name__": "theirs"}
    exec("K = 2\ndef inner(x):\n    return x * K\ndef outer(x):\n    return inner(x)\n", space)
    before = digest_of_object(space["outer"])
    assert before == digest_of_object(space["outer"])
    space["K"] = 3
    assert digest_of_object(space["outer"]) != before
