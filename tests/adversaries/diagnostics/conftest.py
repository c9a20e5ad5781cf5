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


def fitted(name, parts, **options):
    images = parts.defender_train.images
    mean, std = channel_statistics(images)
    target = build_model(
        "cnn", channels=1, side=images.shape[-1], num_classes=2, width=0.25, mean=mean, std=std,
        generator=torch.Generator().manual_seed(0),
    ).eval().requires_grad_(False)  # fmt: skip
    data = FitData(
        images=images,
        labels=parts.defender_train.labels[parts.task] % 2,
        validation_images=parts.defender_validation.images,
        validation_labels=parts.defender_validation.labels[parts.task] % 2,
        num_classes=2,
        target=target,
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
