"""VFC in front of a classifier that somebody else trained: does the target keep its accuracy, and does another lose it?

    python -m benchmarks.strength --data cifar10.npz --models FOLDER [--seed 0] [--set epochs=20] [--set head_start=0.5]

The data are CIFAR-10 as npz (`train_images`, `test_images`, `train_label`, `test_label`); the folder holds
`resnet20.safetensors` and `resnet56.safetensors`, networks for CIFAR-10 whose shortcuts have no parameters, trained on
the whole training part, under the names `conv1`, `bn1`, `layer{1,2,3}.{block}.{conv1,bn1,conv2,bn2}` and `linear`. So
only the paper's split is honest: VFC is fitted on all training images. Printed as JSON: how far it is, then the numbers
on the test part, with the settings and the processor seconds of the fit.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vfc.config import configured, parsed_value
from vfc.core.trainer import watch_steps
from vfc.data import load_dataset
from vfc.defense import FitData
from vfc.defenses.bottleneck.vfc import VFC
from vfc.outside.files import read_classifier
from vfc.release import Release
from vfc.splits import split
from vfc.training import accuracy


def say(**values: Any) -> None:
    """One line of JSON."""
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def published(defense: VFC, images: Tensor) -> Tensor:
    """Releases of many images."""
    releases: list[Release] = [defense.publish(rows, torch.Generator().manual_seed(0)) for rows in images.split(500)]
    return torch.cat([release.values for release in releases])


def main() -> None:
    """Fit and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], metavar="OPTION=VALUE")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    files = {f"resnet{depth}": given.models / f"resnet{depth}.safetensors" for depth in (20, 56)}
    target, other = (read_classifier(file, name, (3, 32, 32), 10).requires_grad_(False) for name, file in files.items())
    parts = split(load_dataset(f"npz:{given.data}"), paper=True, seed=given.seed)
    train, held, task = parts.defender_train, parts.defender_validation, parts.task
    texts = dict(each.split("=", 1) for each in given.set)
    defense = configured(VFC, {name: parsed_value(text, name) for name, text in texts.items()}, "vfc")
    data = FitData(
        images=train.images,
        labels=train.labels[task],
        validation_images=held.images,
        validation_labels=held.labels[task],
        num_classes=10,
        target=target,
    )
    started, worked = time.perf_counter(), time.process_time()

    def progress(_: nn.Module, step: int, steps: int) -> None:
        if step and step % (steps // 20 or 1) == 0:
            say(step=step, of=steps, seconds=round(time.perf_counter() - started))

    with watch_steps(progress):
        fitted = defense.fit(data, torch.Generator().manual_seed(given.seed))
    cost = {"seconds": time.perf_counter() - started, "processor_seconds": time.process_time() - worked}
    images, labels = parts.targets.images, parts.targets.labels[task]
    release = published(fitted, images)
    say(
        seed=given.seed,
        options=texts,
        images=len(train),
        targets=len(images),
        clean=accuracy(target, images, labels),
        release=accuracy(target, release, labels),
        picture=accuracy(target, release.clamp(0, 1), labels),
        other_clean=accuracy(other, images, labels),
        other_release=accuracy(other, release, labels),
        lowest=float(release.min()),
        highest=float(release.max()),
        **{name: round(value) for name, value in cost.items()},
    )


if __name__ == "__main__":
    main()
