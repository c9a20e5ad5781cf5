"""How well do our inversion attacks rebuild images from a layer of a classifier, beside those of the literature?

    python -m benchmarks.split_layer --data cifar10.npz [--models FOLDER] [--layer 9] [--pairs 2000] \\
        [--attack decoder:form=image] [--targets 1000] [--seed 0]

The data are CIFAR-10's images (`train_images`, `train_label`, `test_images` of an npz), averaged over 2x2 pixels to 16.
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
from vfc.defense import Defense
from vfc.errors import NotApplicableError
from vfc.models import SMALL_WIDTH, Classifier, build_model
from vfc.outside.files import read_classifier
from vfc.release import Release
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
    generator = torch.Generator().manual_seed(0)
    model = build_model(
        "cnn",
        channels=3,
        side=SIDE,
        num_classes=10,
        width=SMALL_WIDTH,
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


def world(images: Tensor, cut: Cut, pairs: int) -> EvaluationData:
    """Targets and the attacker's pairs; nothing is chosen here, so the validation part is empty."""

    @torch.no_grad()
    def part(rows: Tensor) -> Part:
        release = torch.cat([cut.publish(some, torch.Generator()).values for some in rows.split(500)])
        return Part(images=rows, release=release, labels={"y": torch.zeros(len(rows), dtype=torch.long)})

    targets, own = part(images[:TARGETS]), part(images[len(images) - pairs :])
    return EvaluationData(train=own, validation=targets.nothing(), targets=targets, classes={"y": 10}, models={})


def measured(adversary: Reconstructor, data: EvaluationData, cut: Cut, seed: int, count: int) -> dict[str, Any]:
    """Fit, rebuild, grade."""
    started = time.process_time()
    view = Knowledge(data, ThreatModel(level="L4", pairs="all"), "y", predictions=True, defense=cut)
    attack = adversary.fit(view, torch.Generator().manual_seed(seed))
    fitted = time.process_time()
    rebuilt = torch.cat([attack.rebuild(rows, None) for rows in data.targets.release[:count].split(250)])
    rebuilt = rebuilt.detach().clamp(0, 1)
    done = time.process_time()
    images = torch.empty(0) if data.targets.images is None else data.targets.images
    found: dict[str, Any] = {}
    for name, measure in (("psnr", psnr), ("ssim", ssim)):
        value = estimates.mean(measure(rebuilt, images[:count]).double().numpy(), name)
        found[name] = [round(number, 4) for number in (value.value, value.low, value.high) if number is not None]
    found |= {rule: float((rank == 0).double().mean()) for rule, rank in ranks(rebuilt, images[:count], None).items()}
    return {**found, "fit_seconds": round(fitted - started, 1), "rebuild_seconds": round(done - fitted, 1)}


def main() -> None:
    """One line per attack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--layer", type=int, default=9)
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--attack", action="append", metavar="NAME[:OPTION=VALUE,...]")
    parser.add_argument("--targets", type=int, default=TARGETS)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    arrays = np.load(given.data)
    train = small(arrays["train_images"][:TRAINED]), torch.from_numpy(arrays["train_label"][:TRAINED]).long()
    cut = front(classifier(given.models, *train), given.layer)
    data = world(small(arrays["test_images"]), cut, given.pairs)
    for text in given.attack or ["ridge-decoder", "decoder:form=vector", "decoder:form=image"]:
        name, _, options = text.partition(":")
        settings = dict(each.split("=", 1) for each in options.split(",") if each)
        adversary = configured(ADVERSARIES.get(name), {k: parsed_value(v, k) for k, v in settings.items()}, name)
        try:
            found = measured(adversary, data, cut, given.seed, given.targets)
        except NotApplicableError as reason:
            found = {"not_applicable": str(reason)}
        sys.stdout.write(json.dumps({"attack": text, "layer": given.layer, "pairs": given.pairs, **found}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
