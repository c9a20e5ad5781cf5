"""Where a task finds what it works on: worlds on disk, and defenses that any process can load again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from adversaries.evaluation_data import ABOUT, WORLD, EvaluationData, load_world
from vfc.artifact import load_arrays, load_defense, load_model, mapped_arrays, save_arrays
from vfc.defense import Defense, FitData, attributes_of
from vfc.errors import NotApplicableError
from vfc.factory import ReleaseSpec, call_factory
from vfc.isolation.user_code import defender_call
from vfc.seeding import derive_seed, seeded
from vfc.wrapper import ModuleDefense

NO_DEFENSE = "only releases were given, and no defense to ask"


@dataclass(frozen=True, kw_only=True)
class DefenseSource:
    """How to get a fitted defense in any process: read it from its folder, or call its factory and fit it again.

    Args:
        target: file of the target model; None for a plain module, which brings its own.
        folder: of a saved defense; None for a factory.
        file: which defense of that folder.
        spec: the factory; None for a folder.
        code: digest of the factory's code.
        classes: number of task classes, for the factory.
        data, validation: arrays files with `images`, `labels` and attributes, which a factory's defense is fitted on.
        seed: of that fit, and of what the factory draws.
    """

    target: Path | None
    folder: Path | None = None
    file: str = "defense"
    spec: ReleaseSpec | None = None
    code: str = ""
    classes: int = 0
    data: Path | None = None
    validation: Path | None = None
    seed: int = 0

    def load(self, device: str) -> Defense:
        """The fitted defense on a device; equal in every process.

        Raises:
            UserError: its files or its factory cannot be used.
        """
        return _load_defense(self, device)


@lru_cache(maxsize=2)
def _load_defense(source: DefenseSource, device: str) -> Defense:
    target: nn.Module = nn.Identity()
    if source.target is not None:
        target = load_model(source.target).to(device).eval().requires_grad_(False)
    if source.spec is None:
        if source.folder is None:
            raise ValueError("expected a folder or a factory")
        return load_defense(source.folder, target, file=source.file)
    defense = made(source.spec, source.classes, source.seed)
    if isinstance(defense, ModuleDefense):
        defense = replace(defense, code=source.code)
    data = fit_data(source.data, source.validation, source.classes, target)
    generator = torch.Generator().manual_seed(source.seed)
    return defender_call(defense, lambda: defense.fit(data, generator), limit="fit")


def size_of(path: Path) -> int:
    """Bytes of a file; 0 of one that is not there."""
    return path.stat().st_size if path.is_file() else 0


def made(spec: ReleaseSpec, classes: int, seed: int) -> Defense:
    """What a factory returns; what it draws from torch's global state depends on the seed alone."""
    generator = torch.Generator().manual_seed(derive_seed("factory", seed))
    return seeded(lambda: call_factory(spec, classes), generator)


def fit_data(data: Path | None, validation: Path | None, classes: int, target: nn.Module) -> FitData:
    """What a defender may use, from arrays files with `images`, `labels` and what `attribute_arrays` made."""
    if data is None or validation is None:
        raise ValueError("expected the defender's data")
    train, held = load_arrays(data), load_arrays(validation)
    return FitData(
        images=train["images"],
        labels=train["labels"],
        validation_images=held["images"],
        validation_labels=held["labels"],
        num_classes=classes,
        target=target,
        attributes=attributes_of(train),
        validation_attributes=attributes_of(held),
    )


@dataclass(frozen=True, kw_only=True)
class EvaluationHandle:
    """What a task works on.

    Args:
        folder: of the world.
        device: where to compute.
        source: the defense, for tasks of white-box adversaries; None for saved arrays.
        about: the file of that folder which names classes and models.
    """

    folder: Path
    device: str
    source: DefenseSource | None = None
    about: str = ABOUT

    @property
    def size(self) -> int:
        """Bytes that a task reads."""
        return size_of(self.folder / WORLD)

    @property
    def foreign(self) -> bool:
        """Whether asking for the defense runs code of the user's own."""
        return self.source is not None and self.source.spec is not None

    def world(self) -> EvaluationData:
        """The world, on the device."""
        return load_world(self.folder, self.device, self.about)

    def with_models(self, models: Mapping[str, Path]) -> EvaluationHandle:
        """The same data with other unintended models, by name, and no near twin among them; arrays are not copied."""
        known = json.loads((self.folder / ABOUT).read_text())
        about = {**known, "models": {name: str(path) for name, path in models.items()}, "twin": None}
        # Worlds that were read are kept by file name, so it says which models are meant.
        file = f"world-{derive_seed('models', *(str(path) for path in models.values()))}.json"
        (self.folder / file).write_text(json.dumps(about))
        return replace(self, about=file)

    def defense(self) -> Defense:
        """The fitted defense, on the device.

        Raises:
            NotApplicableError: there is none: only its releases were saved.
        """
        if self.source is None:
            raise NotApplicableError(NO_DEFENSE)
        return self.source.load(self.device)

    def arrays(self, name: str) -> dict[str, Tensor]:
        """Further arrays beside the world, as `save_beside` wrote them, on the device."""
        found = mapped_arrays(self.folder / f"{name}.safetensors")
        return {key: values.to(self.device) for key, values in found.items()}

    def save_beside(self, name: str, arrays: Mapping[str, Tensor]) -> None:
        """Write further arrays beside the world, for tasks that need more than it."""
        save_arrays(dict(arrays), self.folder / f"{name}.safetensors")
