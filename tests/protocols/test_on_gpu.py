"""What only an accelerator shows: every attacker of the ladder works there, and finds what it finds on the CPU."""

import pytest
import torch

from adversaries.evaluation_data import EvaluationData, Part
from adversaries.goals.assess import assess
from adversaries.goals.label import make_goal
from adversaries.registries import ADVERSARIES
from adversaries.threat import ThreatModel
from protocols.evaluation.candidate import collect
from vfc.config import configured
from vfc.errors import NotApplicableError
from vfc.models import build_model
from vfc.training import TrainSettings, accuracy, train_classifier

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")]


def world(device):
    """Images of two classes, bright on the left or on the right, and a model that was trained on some of them."""
    generator = torch.Generator().manual_seed(0)
    model = build_model(
        "cnn", channels=1, side=16, num_classes=2, width=0.25, mean=[0.5], std=[0.25], generator=generator
    )

    def part(rows):
        labels = torch.arange(rows) % 2
        images = 0.5 * torch.rand(rows, 1, 16, 16, generator=generator)
        images[labels == 0, :, :, :8] += 0.2
        images[labels == 1, :, :, 8:] += 0.2
        images, labels = images.to(device), labels.to(device)
        return Part(images=images, release=images, labels={"y": labels}, prediction=labels)

    train, validation, targets = part(400), part(100), part(200)
    model = model.to(device)
    train_classifier(model, train.release, train.labels["y"], TrainSettings(steps=40), generator)
    assert accuracy(model, targets.release, targets.labels["y"]) > 0.95
    return EvaluationData(train=train, validation=validation, targets=targets, classes={"y": 2}, models={"cnn": model})


@pytest.mark.parametrize("candidate", collect("task", models=["cnn"]), ids=lambda candidate: candidate.name)
def test_whoever_applies_on_the_cpu_applies_on_the_device_and_finds_as_much(candidate):
    kind, found = ADVERSARIES.get(candidate.adversary), {}
    for device in ("cpu", "cuda"):
        threat = ThreatModel(level=kind.level, labels_per_class="all" if kind.level == "L2" else None)
        try:
            adversary = configured(kind, candidate.settings, candidate.adversary)
            graded = assess(adversary, world(device), make_goal("task:y"), threat, arm="attack", seed=0, fit_seed=0)
        except NotApplicableError as reason:
            found[device] = str(reason)
        else:
            found[device] = float(graded.targets.double().mean())
    assert type(found["cpu"]) is type(found["cuda"]), found
    if isinstance(found["cpu"], float):
        assert found["cuda"] == pytest.approx(found["cpu"], abs=0.1)
