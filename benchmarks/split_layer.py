"""How well do our inversion attacks rebuild images from a layer of a classifier, beside those of the literature?

    python -m benchmarks.split_layer [--data cifar10.npz] [--models FOLDER] [--layer 9] [--pairs 2000] \\
        [--attack decoder:form=image] [--targets 1000] [--seed 0]

Without data: VFC on digits, its targets and the attacker's pairs. Else the data are CIFAR-10's images (`train_images`,
`train_label`, `test_images` of an npz), averaged over 2x2 pixels to 16.

Released is what a module of a classifier's body gives. With a folder that holds `resnet20.safetensors` (as for
`strength.py`), of that network: 64 maps of 4x4 for the modules 9 to 11; else of our default target, trained here on
20,000 training images: the same shape for the modules 8 (convolution) to 10 (after ReLU). Targets are the first test
images, the attacker's pairs the last ones. One line of JSON per attack: mean PSNR and SSIM with 95 % intervals, the
share of targets whose original is nearest among all of them (no prediction is granted), the same by direction, and CPU
seconds of fitting and rebuilding.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adversaries.evaluation_data import EvaluationData, Part
from adversaries.goals.image_metrics import psnr, ssim
from adversaries.goals.reconstruction import ADVERSARIES, Reconstructor, ranks
from adversaries.knowledge import Knowledge
from adversaries.statistics import estimates
from adversaries.threat import ThreatModel
from vfc.config import configured, parsed_value
from vfc.data import load_dataset
from vfc.defense import Defense, FitData
from vfc.defenses.bottleneck.vfc import VFC
from vfc.errors import NotApplicableError
from vfc.models import SMALL_WIDTH, Classifier, build_model
from vfc.outside.files import read_classifier
from vfc.release import Release
from vfc.splits import split
from vfc.training import TrainSettings, train_classifier

TARGETS = 1000
TRAINED = 20_000
SIDE = 16


@dataclass(frozen=True, kw_only=True)
class Cut(Defense):
    """A classifier up to a module of its body.

    Args:
        front: images to releases.
    """

    front: nn.Module

    def publish(self, x: Tensor, generator: torch.Generator) -> Release:  # noqa: ARG002
        """What that module gives."""
        return Release(values=self.front(x))


def classifier(models: Path | None, images: Tensor, labels: Tensor) -> Classifier:
    """Somebody else's ResNet-20, or our default target trained here."""
    if models is not None:
        return read_classifier(models / "resnet20.safetensors", "resnet20", (3, SIDE, SIDE), 10)
    return trained_cnn(images, labels, SMALL_WIDTH)


def trained_cnn(images: Tensor, labels: Tensor, width: float) -> Classifier:
    """Our default target."""
    generator = torch.Generator().manual_seed(0)
    model = build_model(
        "cnn",
        channels=images.shape[1],
        side=images.shape[2],
        num_classes=10,
        width=width,
        mean=images.mean((0, 2, 3)).tolist(),
        std=images.std((0, 2, 3)).tolist(),
        generator=generator,
    )
    train_classifier(model, images, labels, TrainSettings(steps=1500), generator)
    return model


def front(model: Classifier, layer: int) -> Cut:
    """A classifier up to a module of its body, as a defense that anybody may ask."""
    model.requires_grad_(False).eval()
    return Cut(front=nn.Sequential(model.normalize, *list(model.body.children())[: layer + 1]).eval())


def small(images: np.ndarray[Any, Any]) -> Tensor:
    """Images in [0, 1] with half as many pixels a side."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    return nn.functional.avg_pool2d(x, 2)


def vfc_on_digits(seed: int) -> tuple[EvaluationData, Defense]:
    """VFC in front of the default target, as a run fits both."""
    parts = split(load_dataset("digits"), seed=seed)
    train, held = parts.defender_train, parts.defender_validation
    generator = torch.Generator().manual_seed(seed)
    target = trained_cnn(train.images, train.labels[parts.task], SMALL_WIDTH)
    fitted = VFC().fit(
        FitData(
            images=train.images,
            labels=train.labels[parts.task],
            validation_images=held.images,
            validation_labels=held.labels[parts.task],
            num_classes=10,
            target=target.requires_grad_(False).eval(),
        ),
        generator,
    )
    return world(parts.targets.images, parts.pool_train.images, fitted), fitted


def world(targets: Tensor, own: Tensor, defense: Defense) -> EvaluationData:
    """Targets and the attacker's pairs; nothing is chosen here, so the validation part is empty."""
    generator = torch.Generator().manual_seed(0)

    @torch.no_grad()
    def part(rows: Tensor) -> Part:
        release = torch.cat([defense.publish(some, generator).values for some in rows.split(500)])
        return Part(images=rows, release=release, labels={"y": torch.zeros(len(rows), dtype=torch.long)})

    graded = part(targets)
    return EvaluationData(train=part(own), validation=graded.nothing(), targets=graded, classes={"y": 10}, models={})


def measured(adversary: Reconstructor, data: EvaluationData, defense: Defense, seed: int, count: int) -> dict[str, Any]:
    """Fit, rebuild, grade the first targets."""
    started = time.process_time()
    view = Knowledge(data, ThreatModel(level="L4", pairs="all"), "y", predictions=True, defense=defense)
    attack = adversary.fit(view, torch.Generator().manual_seed(seed))
    fitted = time.process_time()
    rebuilt = torch.cat([attack.rebuild(rows, None) for rows in data.targets.release[:count].split(250)])
    rebuilt = rebuilt.detach().clamp(0, 1)
    done = time.process_time()
    images = torch.empty(0) if data.targets.images is None else data.targets.images
    count = len(rebuilt)
    found: dict[str, Any] = {}
    for name, measure in (("psnr", psnr), ("ssim", ssim)):
        value = estimates.mean(measure(rebuilt, images[:count]).double().numpy(), name)
        found[name] = [round(number, 4) for number in (value.value, value.low, value.high) if number is not None]
    found |= {rule: float((rank == 0).double().mean()) for rule, rank in ranks(rebuilt, images[:count], None).items()}
    return {**found, "fit_seconds": round(fitted - started, 1), "rebuild_seconds": round(done - fitted, 1)}


def main() -> None:
    """One line per attack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--layer", type=int, default=9)
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--attack", action="append", metavar="NAME[:OPTION=VALUE,...]")
    parser.add_argument("--targets", type=int, default=TARGETS)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.data is None:
        data, defense = vfc_on_digits(given.seed)
    else:
        arrays = np.load(given.data)
        train = small(arrays["train_images"][:TRAINED]), torch.from_numpy(arrays["train_label"][:TRAINED]).long()
        defense = front(classifier(given.models, *train), given.layer)
        test = small(arrays["test_images"])
        data = world(test[:TARGETS], test[len(test) - given.pairs :], defense)
    for text in given.attack or ["ridge-decoder", "decoder:form=vector", "decoder:form=image"]:
        name, _, options = text.partition(":")
        settings = dict(each.split("=", 1) for each in options.split(",") if each)
        adversary = configured(ADVERSARIES.get(name), {k: parsed_value(v, k) for k, v in settings.items()}, name)
        try:
            found = measured(adversary, data, defense, given.seed, given.targets)
        except NotApplicableError as reason:
            found = {"not_applicable": str(reason)}
        sys.stdout.write(json.dumps({"attack": text, "layer": given.layer, "pairs": len(data.train), **found}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
