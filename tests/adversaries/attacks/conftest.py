"""A small world of images with class patterns, tiny unintended models, and a helper that fits and grades."""

import pytest
import torch
from torch import nn

from adversaries.adversary import ADVERSARIES
from adversaries.evaluation_data import EvaluationData, Part
from adversaries.knowledge import Knowledge
from adversaries.threat import ThreatModel
from vfc.seeding import seeded
from vfc.training import TrainSettings, train_classifier


class Tiny(nn.Module):
    """Features, then `head`; with or without BatchNorm."""

    def __init__(self, channels, classes, *, normalized=True):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, 6, 3, stride=2, padding=1),
            nn.BatchNorm2d(6) if normalized else nn.Identity(),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.head = nn.Linear(6 * 16, classes)

    def features(self, x):
        return self.body(x)

    def forward(self, x):
        return self.head(self.features(x))


def make_world(transform=lambda x: x, *, channels=1, classes=3, sizes=(180, 30, 90), normalized=True):
    source = torch.Generator().manual_seed(0)
    y = torch.arange(sum(sizes)) % classes
    patterns = torch.randn(classes, channels, 8, 8, generator=source)
    x = (0.5 + 0.15 * patterns[y] + 0.1 * torch.randn(len(y), channels, 8, 8, generator=source)).clamp(0, 1)
    model = seeded(lambda: Tiny(channels, classes, normalized=normalized), source)
    train_classifier(model, x[: sizes[0]], y[: sizes[0]], TrainSettings(steps=40), source)
    release = transform(x)
    parts = [
        Part(images=image, release=some, labels={"y": label, "bit": label % 2})
        for image, some, label in zip(x.split(sizes), release.split(sizes), y.split(sizes), strict=True)
    ]
    return EvaluationData(
        train=parts[0],
        validation=parts[1],
        targets=parts[2],
        classes={"y": classes, "bit": 2},
        models={"tiny": model},
    )


def settings_of(name):
    return {"model": "tiny"} if ADVERSARIES.get(name).per_model else {}


class TaskRunner:
    """Builds worlds and attacks for tests."""

    world = staticmethod(make_world)

    @staticmethod
    def adversary(name, **settings):
        return ADVERSARIES.get(name)(**{**settings_of(name), **settings})

    @staticmethod
    def view(world, *, level="L2", labels="all", label="y"):
        return Knowledge(world, ThreatModel(level=level, labels_per_class=labels if level >= "L2" else None), label)

    def fit(self, name, world, *, seed=0, labels="all", label="y", **settings):
        view = self.view(world, labels=labels, label=label)
        return self.adversary(name, **settings).fit(view, torch.Generator().manual_seed(seed))

    @staticmethod
    def accuracy(attack, world, label="y"):
        guess = attack.guess(world.targets.release)
        return float((guess.argmax(1) == world.targets.labels[label]).double().mean())


@pytest.fixture(scope="session")
def bench():
    return TaskRunner()


@pytest.fixture(scope="session")
def plain():
    return make_world()
