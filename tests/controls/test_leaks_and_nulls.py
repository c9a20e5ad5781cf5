"""Every adversary finds a leak that is there, and none finds one that is not.

Axes: n images, classes k = 3 (2 for the leak in products), images of 1 x 8 x 8.
"""

import dataclasses
from functools import cache
from pathlib import Path

import pytest
import torch
from scipy import stats
from torch import nn

from adversaries.adversary import ADVERSARIES, Adversary, Attack
from adversaries.evaluation_data import EvaluationData, Part
from adversaries.goals.assess import Graded, assess
from adversaries.goals.label import TaskLabel
from adversaries.knowledge import Knowledge
from adversaries.threat import ThreatModel
from vfc.errors import NotApplicableError
from vfc.seeding import seeded
from vfc.training import TrainSettings, train_classifier

SIZES = (360, 60, 400)
CLASSES = 3
GOAL = TaskLabel(label="y")


class Clean(nn.Module):
    """A tiny unintended model."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 32)
        )
        self.head = nn.Linear(32, classes)

    def features(self, x):
        return torch.relu(self.body(x))

    def forward(self, x):
        return self.head(self.features(x))


def generator(seed):
    return torch.Generator().manual_seed(seed)


@cache
def originals(classes):
    """Images whose class is a smooth pattern under noise, their classes, and a model trained on the attacker's."""
    source = generator(1)
    y = torch.randint(classes, (sum(SIZES),), generator=source)
    coarse = torch.randn(classes, 1, 4, 4, generator=source)
    patterns = nn.functional.interpolate(coarse, size=(8, 8), mode="bilinear", align_corners=False)
    noise = torch.randn(len(y), 1, 8, 8, generator=source)
    x = (0.5 + 0.12 * patterns[y] + 0.15 * noise).clamp(0, 1)
    model = seeded(lambda: Clean(classes), source)
    train_classifier(model, x[: SIZES[0]], y[: SIZES[0]], TrainSettings(steps=80), source)
    return x, y, model


def noise_like(x, seed=2):
    return torch.randn(x.shape, generator=generator(seed))


def identity(x, y):
    return x


def permutation(x, y):
    return x.flatten(1)[:, torch.randperm(64, generator=generator(3))].reshape(x.shape)


def mixing(x, y):
    rotation = torch.linalg.qr(torch.randn(64, 64, generator=generator(4))).Q
    return (x.flatten(1) @ rotation).reshape(x.shape)


def quantization(x, y):
    """Three bits, published as an integer code."""
    return (x * 7).round().to(torch.uint8)


def pixel(x, y):
    """Noise, with the class in one pixel."""
    release = noise_like(x)
    release[:, 0, 3, 5] = y + 0.1 * release[:, 0, 3, 5]
    return release


def lowest_bits(x, y):
    """Random 8-bit codes as floats in [0, 1]; the lowest bit of eight pixels tells the class."""
    codes = torch.randint(256, x.shape, generator=generator(5))
    wanted = (torch.arange(8)[None] % CLASSES == y[:, None]).long()
    codes[:, 0, 0] = codes[:, 0, 0] // 2 * 2 + wanted
    return codes.float() / 255


def norm(x, y):
    """A random direction whose length tells the class."""
    direction = nn.functional.normalize(noise_like(x).flatten(1), dim=1).reshape(x.shape)
    return direction * (1 + 0.2 * y[:, None, None, None])


def sign_pattern(x, y):
    """Random sizes from 1e-3 to 1e3; the signs of six values tell the class."""
    release = 10 ** (6 * torch.rand(x.shape, generator=generator(6)) - 3)
    release = release * torch.randint(2, x.shape, generator=generator(7)).mul(2).sub(1)
    wanted = (torch.arange(6)[None] % CLASSES == y[:, None]).float() * 2 - 1
    release[:, 0, 0, :6] = release[:, 0, 0, :6].abs() * wanted
    return release


def zeros(x, y):
    """Noise, in which the class decides which of three values is exactly zero."""
    release = noise_like(x)
    for value in range(CLASSES):
        release[y == value, 0, 2, value] = 0.0
    return release


def products(x, y):
    """Noise, in which the product of two values is positive for one of two classes."""
    release = noise_like(x)
    release[:, 0, 1, 1] = release[:, 0, 1, 1].abs() * release[:, 0, 6, 2].sign() * (y * 2 - 1)
    return release


def mantissa_bit(x, y):
    """Noise in [1, 2); bit 5 of the float32 words of nine values tells the class."""
    words = (1 + torch.rand(x.shape, generator=generator(8))).view(torch.int32)
    wanted = (torch.arange(8)[None] % CLASSES == y[:, None]).int()
    words[:, 0, 4] = (words[:, 0, 4] & ~32) | (wanted << 5)
    return words.view(torch.float32)


def noise(x, y):
    return noise_like(x, 9)


def integer_noise(x, y):
    return torch.randint(256, x.shape, generator=generator(10), dtype=torch.uint8)


def constant(x, y):
    return torch.full_like(x, 0.25)


FEW = {"steps": 120}
MODEL = {"model": "clean"}
FINDS = {
    "adapter": [(identity, {**MODEL, **FEW}), (permutation, {**MODEL, **FEW, "form": "linear"}), (quantization, MODEL)],
    "batchnorm": [(identity, MODEL)],
    "bit-planes": [(mantissa_bit, {}), (identity, {}), (sign_pattern, {})],
    "cnn": [(identity, FEW), (quantization, FEW)],
    "entropy": [(identity, {**MODEL, "steps": 20})],
    "fine-tune": [(identity, {**MODEL, **FEW}), (mixing, {**MODEL, **FEW}), (identity, {**MODEL, "scope": "head"})],
    "frozen": [(identity, MODEL)],
    "frozen-picture": [(identity, MODEL), (identity, {**MODEL, "form": "rescale"})],
    "input-transform": [
        (identity, {"inner": "linear", "transform": name}) for name in ("jpeg", "blur", "flip", "down-up")
    ],
    "integer-codes": [(lowest_bits, {}), (quantization, {})],
    "knn": [(identity, {}), (permutation, {}), (mixing, {})],
    "linear": [(identity, {}), (permutation, {}), (mixing, {}), (quantization, {}), (pixel, {})],
    "mlp": [(identity, FEW), (permutation, FEW), (mixing, FEW), (pixel, FEW)],
    "moments": [(identity, MODEL), (identity, {**MODEL, "match": "histogram"})],
    "norms": [(norm, {})],
    "second-order": [(products, {})],
    "signs": [(sign_pattern, {}), (zeros, {})],
}
"""What every adversary must find, with its settings. A new adversary gets a row here."""

NO_READER = {"majority", "table"}
"""Adversaries that never read a release and must be at the floor, whatever leaks."""

ELSEWHERE: dict[str, str] = {
    "pgd": "adversaries/test_evasion.py",
    "apgd": "adversaries/test_evasion.py",
    "square": "adversaries/test_evasion.py",
    "carlini-wagner": "adversaries/test_evasion.py",
    "deepfool": "adversaries/test_evasion.py",
    "boundary": "adversaries/test_evasion.py",
    "hop-skip-jump": "adversaries/test_evasion.py",
    "loss-threshold": "adversaries/test_membership.py",
    "lira": "adversaries/test_membership.py",
    "shadow-classifier": "adversaries/test_membership.py",
    "shadow-reader": "adversaries/test_membership.py",
    "mask-latent": "adversaries/test_masked.py",
    "mask-replay": "adversaries/test_masked.py",
    "decensor": "adversaries/attacks/test_informed.py",
    "with-prediction": "adversaries/attacks/test_informed.py",
    **dict.fromkeys(
        ("known-bits", "matched-bits", "matched-features", "modular", "noise-projection", "popcounts"),
        "adversaries/attacks/test_keyed_breaks.py",
    ),
    "averaging": "adversaries/test_reconstruction.py",
    **dict.fromkeys(
        (
            "bag",
            "deep-set",
            "products",
            "ranks",
            "residues",
            "row-views",
            "scaled-linear",
            "signed-planes",
            "spreading",
            "trees",
        ),
        "adversaries/attacks/test_readers.py",
    ),
    "shot": "adversaries/attacks/test_attack_behavior.py",
    "spreading-features": "adversaries/attacks/test_attack_behavior.py",
    "bavaria": "adversaries/test_membership.py",
    "rmia": "adversaries/test_membership.py",
    "decoder": "adversaries/test_reconstruction.py",
    "inverse-network": "adversaries/test_decoders.py",
    "own-inverse": "adversaries/test_decoders.py",
    "replay-decoder": "adversaries/test_decoders.py",
    "replay-training": "adversaries/attacks/test_replay_training.py",
    "rmle": "adversaries/test_decoders.py",
    "deep-prior": "adversaries/test_reconstruction.py",
    "gradient-inversion": "adversaries/test_reconstruction.py",
    "matcher": "adversaries/test_matching.py",
    "mean-image": "adversaries/test_reconstruction.py",
    "replay": "adversaries/test_matching.py",
    "ridge-decoder": "adversaries/test_reconstruction.py",
}
"""Adversaries that need more than this file's worlds: name to the test file, from tests/, that shows what they find."""


@cache
def world(leak):
    classes = 2 if leak is products else CLASSES
    x, y, model = originals(classes)
    release = leak(x, y)
    pieces = zip(x.split(SIZES), release.split(SIZES), y.split(SIZES), strict=True)
    parts = [Part(images=image, release=some, labels={"y": label}) for image, some, label in pieces]
    train, validation, targets = parts
    return EvaluationData(
        train=train, validation=validation, targets=targets, classes={"y": classes}, models={"clean": model}
    )


def grade(adversary, leak, arm="attack"):
    threat = ThreatModel(level="L2", labels_per_class="all")
    return assess(adversary, world(leak), GOAL, threat, arm=arm, seed=11, fit_seed=12)


def alarm(graded: Graded):
    """Whether the one-sided 99.9 % lower bound (Clopper-Pearson) exceeds the best constant guess."""
    hits, n = int(graded.targets.sum()), len(graded.targets)
    return stats.binomtest(hits, n).proportion_ci(0.998, "exact").low > graded.chance


def build(name, settings):
    return ADVERSARIES.get(name)(**settings)


CASES = [
    pytest.param(name, leak, settings, id=f"{name}-{leak.__name__}-{number}")
    for name, rows in FINDS.items()
    for number, (leak, settings) in enumerate(rows)
]
NULLS = (noise, integer_noise, constant)


def test_every_adversary_has_a_leak_that_it_must_find():
    assert set(FINDS) | NO_READER | set(ELSEWHERE) == set(ADVERSARIES.cards)
    for name, path in ELSEWHERE.items():
        assert name in (Path(__file__).parents[1] / path).read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "leak", "settings"), CASES)
def test_finds_the_leak(name, leak, settings):
    graded = grade(build(name, settings), leak)
    assert alarm(graded)
    assert graded.flags == ()


@pytest.mark.parametrize("name", sorted({*FINDS, *NO_READER}))
def test_finds_nothing_where_nothing_is(name):
    settings = FINDS[name][0][1] if name in FINDS else {}
    measured = 0
    for null in NULLS:
        try:
            graded = grade(build(name, settings), null)
        except NotApplicableError:
            continue
        measured += 1
        assert not alarm(graded), null.__name__
    assert measured


@pytest.mark.parametrize("name", [name for name in FINDS if ADVERSARIES.get(name).trains_on_labels])
def test_shuffled_labels_leave_nothing_to_find(name):
    leak, settings = FINDS[name][0]
    assert not alarm(grade(build(name, settings), leak, arm="shuffled"))


def test_the_floor_guesser_is_the_floor():
    graded = grade(build("majority", {}), identity)
    assert torch.equal(graded.targets, GOAL.floor(world(identity)))


@pytest.mark.parametrize("name", ["linear", "knn", "cnn"])
def test_the_ceiling_works_where_the_release_is_empty(name):
    settings = FINDS[name][0][1]
    assert not alarm(grade(build(name, settings), constant))
    assert alarm(grade(build(name, settings), constant, arm="ceiling"))


class Nearest(Attack):
    def __init__(self, release, labels, classes):
        self.release, self.labels, self.classes = release.flatten(1).float(), labels, classes

    def guess(self, release):
        near = torch.cdist(release.flatten(1).float(), self.release).argmin(1)
        return nn.functional.one_hot(self.labels[near], self.classes).float()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cheat(Adversary):
    """Learns the graded rows by heart."""

    level = "L2"

    def fit(self, view, generator):
        part = view.leaked.targets
        return Nearest(part.release, part.labels[view.label], view.num_classes)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Blind(Adversary):
    """Never looks at a release: learns noise in its place."""

    level = "L2"

    def fit(self, view, generator):
        release, labels = view.labelled
        return Nearest(torch.randn(release.shape, generator=generator), labels, view.num_classes)


@pytest.mark.usefixtures("leaky_views")
def test_the_shuffled_arm_catches_an_adversary_that_has_seen_the_targets():
    assert float(grade(Cheat(), noise).targets.double().mean()) == 1.0
    assert alarm(grade(Cheat(), noise, arm="shuffled"))


def test_a_view_holds_nothing_that_the_attacker_is_graded_on():
    view = Knowledge(world(noise), ThreatModel(level="L5", labels_per_class="all"), GOAL.label)
    assert len(view._world.targets) == len(view._world.validation) == 0
    assert len(view._world.train) > 0


def test_the_ceiling_arm_shows_an_adversary_that_ignores_the_release_at_the_floor():
    assert not alarm(grade(Blind(), identity, arm="ceiling"))
