"""Everything about one evaluation (`EvaluationData`), of which an attacker is shown a part (`Knowledge`).

Axes: n images or releases, c channels, h and w pixels, k classes.
"""

# Structure: calibration does not count it.

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from vfc.artifact import load_model, mapped_arrays, save_arrays
from vfc.errors import NotApplicableError, UserError
from vfc.seeding import derive_seed

PARTS = ("train", "validation", "targets")
ABOUT, WORLD = "world.json", "arrays.safetensors"
"""Files of a world's folder: its classes and the files of its models, and everything else."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Aligned rows of one part of the data: row i of everything belongs to one image.

    Args:
        images: the originals in [0, 1]; None when they are unknown (saved arrays).
        release: what was published for them.
        labels: integer labels by name, the task among them.
        prediction: the target's predicted class on the release; None without a target.
        call: number of the call, shared with other parts, in which it was published; None where nobody knows.
    """

    images: Float[Tensor, "n c h w"] | None
    release: Shaped[Tensor, "n ..."]
    labels: Mapping[str, Int[Tensor, " n"]]
    prediction: Int[Tensor, " n"] | None = None
    call: Int[Tensor, " n"] | None = None

    def __len__(self) -> int:
        return len(self.release)

    def take(self, index: Int[Tensor, " m"]) -> Part:
        """The rows at some positions."""
        return Part(
            images=None if self.images is None else self.images[index],
            release=self.release[index],
            labels={name: values[index] for name, values in self.labels.items()},
            prediction=None if self.prediction is None else self.prediction[index],
            call=None if self.call is None else self.call[index],
        )

    def nothing(self) -> Part:
        """The same without any row."""
        return self.take(torch.arange(0, device=self.release.device))

    def on_images(self) -> Part:
        """The same rows with every release replaced by its image: the ceiling arm's data."""
        if self.images is None:
            raise NotApplicableError("the originals are unknown, so nothing can be measured on the images")
        return replace(self, release=self.images)


@dataclass(frozen=True, kw_only=True)
class EvaluationData:
    """Everything about one evaluation. Adversaries never see it: they see a `Knowledge`.

    Args:
        train: the attacker pool without its validation part; labelled releases are granted in the order of its rows.
        validation: the attacker's validation part, for choosing between candidates and for nothing else.
        targets: the held-out part on which everyone is graded.
        classes: number of classes by label name.
        models: unintended models trained on the attacker pool's images for the task, by name; the near twin included.
        twin: the name of the near twin among them, or None.
    """

    train: Part
    validation: Part
    targets: Part
    classes: Mapping[str, int]
    models: Mapping[str, nn.Module] = field(default_factory=dict)
    twin: str | None = None

    def on_images(self) -> EvaluationData:
        """The ceiling arm: the same world, in which everybody publishes the images themselves."""
        return replace(
            self,
            train=self.train.on_images(),
            validation=self.validation.on_images(),
            targets=self.targets.on_images(),
        )

    def planted(self, label: str, strength: float, generator: torch.Generator) -> EvaluationData:
        """A power control where the originals are unknown: a copy of the releases in which one label was planted.

        In a share `strength` of the rows the first k values become a one-hot code of the label, between the smallest
        and the largest published value (with fewer than k values: the first becomes a level).
        """
        classes = self.classes[label]
        finite = self.train.release.double().nan_to_num(posinf=0, neginf=0)
        low, high = float(finite.min()), float(finite.max())
        high = high if high > low else low + 1

        def plant(part: Part) -> Part:
            values = part.release.clone()
            flat = values.reshape(len(values), -1)
            rows = torch.nonzero(torch.rand(len(flat), generator=generator) < strength).flatten().to(flat.device)
            truth = part.labels[label][rows]
            if flat.shape[1] >= classes:
                code = torch.where(nn.functional.one_hot(truth, classes) == 1, high, low)
                flat[rows, :classes] = code.to(flat.dtype)
            else:
                flat[rows, 0] = (low + (high - low) * truth.double() / max(1, classes - 1)).to(flat.dtype)
            return replace(part, release=flat.reshape(values.shape))

        return replace(self, train=plant(self.train), validation=plant(self.validation), targets=plant(self.targets))

    def shuffled(self, label: str, generator: torch.Generator) -> EvaluationData:
        """The honesty control: one label permuted once over train, validation and targets alike."""
        parts = (self.train, self.validation, self.targets)
        values = torch.cat([part.labels[label] for part in parts])
        values = values[torch.randperm(len(values), generator=generator)]
        pieces = torch.split(values, [len(part) for part in parts])
        shuffled = [
            replace(part, labels={**part.labels, label: piece}) for part, piece in zip(parts, pieces, strict=True)
        ]
        return replace(self, train=shuffled[0], validation=shuffled[1], targets=shuffled[2])


def check_world(world: EvaluationData) -> None:
    """Refuse parts whose rows do not match; raises `UserError`."""
    for name, part in (("train", world.train), ("validation", world.validation), ("targets", world.targets)):
        for label, values in part.labels.items():
            if len(values) != len(part):
                raise UserError(
                    f"expected {len(part)} values of label {label!r} in {name}, got {len(values)}",
                    "give one value per row",
                )


def save_world(world: EvaluationData, models: Mapping[str, Path], folder: Path) -> None:
    """Write a world for the workers; its models are named by their files."""
    arrays: dict[str, Tensor] = {}
    for name in PARTS:
        part: Part = getattr(world, name)
        arrays[f"{name}.release"] = part.release
        if part.images is not None:
            arrays[f"{name}.images"] = part.images
        if part.prediction is not None:
            arrays[f"{name}.prediction"] = part.prediction
        if part.call is not None:
            arrays[f"{name}.call"] = part.call
        for label, values in part.labels.items():
            arrays[f"{name}.labels.{label}"] = values
    folder.mkdir(parents=True, exist_ok=True)
    save_arrays(arrays, folder / WORLD)
    about = {
        "classes": dict(world.classes),
        "models": {name: str(path) for name, path in models.items()},
        "twin": world.twin,
    }
    (folder / ABOUT).write_text(json.dumps(about))


@lru_cache(maxsize=2)
def load_world(folder: Path, device: str, file: str = ABOUT) -> EvaluationData:
    """Read a world back with its models, on a device; on the CPU the processes of a machine share its memory."""
    paths = json.loads((folder / file).read_text())["models"]
    models = {name: load_model(Path(path)).to(device).eval() for name, path in paths.items()}
    return replace(mapped_world(folder, device, file), models=models)


def mapped_world(folder: Path, device: str = "cpu", file: str = ABOUT) -> EvaluationData:
    """Read a world back without its models."""
    arrays = mapped_arrays(folder / WORLD)
    about = json.loads((folder / file).read_text())
    parts = {}
    for name in PARTS:
        prefix = f"{name}.labels."
        optional = {key: arrays.get(f"{name}.{key}") for key in ("images", "prediction", "call")}
        parts[name] = Part(
            release=arrays[f"{name}.release"].to(device),
            labels={key.removeprefix(prefix): v.to(device) for key, v in arrays.items() if key.startswith(prefix)},
            **{key: None if value is None else value.to(device) for key, value in optional.items()},
        )
    train, validation, targets = (parts[name] for name in PARTS)
    return EvaluationData(
        train=train, validation=validation, targets=targets, classes=about["classes"], twin=about["twin"]
    )


def reordered(world: EvaluationData, seed: int, draw: int = 0) -> EvaluationData:
    """The attacker's labelled releases in an order of the draw's own: seeds and draws differ in which are granted."""
    generator = torch.Generator().manual_seed(derive_seed("labels", seed, *([draw] if draw else [])))
    order = torch.randperm(len(world.train), generator=generator)
    return replace(world, train=world.train.take(order.to(world.train.release.device)))
