"""Data, a small target, and every defense that declares a noise law, fitted briefly."""

import pytest
import torch

from vfc.data import load_dataset
from vfc.defense import DEFENSES, Defense, FitData
from vfc.models import build_model, channel_statistics
from vfc.splits import split

LAW_OPTIONS = {"vfc": {"deployment": "sample", "epochs": 2, "latent": 12, "beta": 0.05}}
"""Options under which a defense has a noise law, where the defaults have none."""


def declared_names():
    """Registered defenses that declare a noise law in their code."""
    return [name for name in DEFENSES.cards if DEFENSES.get(name).noise_law is not Defense.noise_law]


def _others(parts, part):
    """All labels but the task's, which some defenses hide."""
    return {name: labels for name, labels in part.labels.items() if name != parts.task}


def _target(images, labels):
    """A network with random features and, as its last layer, the least squares of the labels on them."""
    mean, std = channel_statistics(images)
    target = build_model(
        "cnn", channels=1, side=images.shape[-1], num_classes=2, width=0.25, mean=mean, std=std,
        generator=torch.Generator().manual_seed(0),
    ).eval().requires_grad_(False)  # fmt: skip
    features = torch.cat([target.features(images), torch.ones(len(images), 1)], 1).double()
    codes = 2 * torch.nn.functional.one_hot(labels, 2).double() - 1
    found = torch.linalg.solve(features.T @ features + 1e-3 * torch.eye(features.shape[1]), features.T @ codes).float()
    target.head.weight.copy_(found[:-1].T)
    target.head.bias.copy_(found[-1])
    return target


def fitted(name, parts, **options):
    images, labels = parts.defender_train.images, parts.defender_train.labels[parts.task] % 2
    data = FitData(
        images=images,
        labels=labels,
        validation_images=parts.defender_validation.images,
        validation_labels=parts.defender_validation.labels[parts.task] % 2,
        num_classes=2,
        target=_target(images, labels),
        attributes=_others(parts, parts.defender_train),
        validation_attributes=_others(parts, parts.defender_validation),
    )
    return DEFENSES.get(name)(**options).fit(data, torch.Generator().manual_seed(0))


@pytest.fixture(scope="session")
def gaussian():
    return split(load_dataset("gaussian"))


@pytest.fixture(scope="session")
def digits():
    return split(load_dataset("digits"))
