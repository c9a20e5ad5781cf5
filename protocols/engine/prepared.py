"""What preparation hands to the attack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from adversaries.evaluation_data import EvaluationData
from protocols.engine.handles import EvaluationHandle
from protocols.engine.identity import fingerprint
from protocols.engine.outside.families import Families
from protocols.engine.publishing.publisher import Publisher
from protocols.engine.settings import digest_of
from protocols.engine.task import Rows
from vfc.artifact import contents
from vfc.data import Dataset
from vfc.release import Observed, tensor_digest
from vfc.splits import Parts


@dataclass(frozen=True, kw_only=True)
class TargetRows:
    """Right or wrong per target image for the intended use; None where there is no target model.

    Args:
        release: on the release as published.
        clean: on the images themselves.
        picture: on the release made a real picture.
    """

    release: Rows | None = None
    clean: Rows | None = None
    picture: Rows | None = None


@dataclass(frozen=True, kw_only=True)
class Digests:
    """Content hashes that name results.

    Args:
        world: of the world that is attacked.
        clean: of that world without its releases, which is all that the ceiling arm depends on.
        undefended: of the undefended world, or empty.
        informed: of the clean world with the target's predictions on releases, which is what the ceiling arm of an
            adversary that reads those depends on; empty means `world`.
    """

    world: str
    clean: str
    undefended: str = ""
    informed: str = ""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Everything that an attack needs.

    Args:
        dataset: with the task chosen.
        parts: who owns which images.
        world: the releases of all parts.
        models: files of the unintended models by name.
        place: where `world` is for the workers; `undefended` likewise, or None.
        digests: of both.
        publisher: publishes further images through the defense; None for saved arrays.
        target: right or wrong per target for the intended use.
        observed: what was seen of the release.
        families: which models were trained, or None without images.
        kind, name, settings: what was attacked.
        targetless: why there is no target model; empty if there is one.
        overlap: contents that are both in the attacker's pool and among the targets.
        spent: seconds that the defense took to be fitted, in this run or an earlier one (`fit_s`, None where nobody
            knows), and to publish all parts (`publish_s`); empty for saved arrays.
        told: whether the defense was told the true labels of what it publishes.
    """

    dataset: Dataset
    parts: Parts
    world: EvaluationData
    models: Mapping[str, Path]
    place: EvaluationHandle
    undefended: EvaluationHandle | None
    digests: Digests
    publisher: Publisher | None
    target: TargetRows
    observed: Observed
    families: Families | None
    kind: str
    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    targetless: str = ""
    overlap: int = 0
    told: bool = False
    spent: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def defense_digest(self) -> str:
        """Content hash of the fitted defense and its target, and of what a factory's was made of and fitted on.

        Empty without a defense. What is fitted need not show in the state: a set of names, say.
        """
        if self.publisher is None:
            return ""
        found, source = [fingerprint(self.publisher.defense)], self.place.source
        if source is not None and source.spec is not None:
            own = [self.parts.digests[name] for name in ("defender_train", "defender_validation")]
            found += [source.code, str(source.seed), *own]
        return digest_of(found)


def digests_with(prepared: Prepared, models: Mapping[str, Path]) -> Digests:
    """The digests of a prepared evaluation whose unintended models are others."""
    weights = _weights(models)
    world = prepared.world
    seen = [part.prediction for part in (world.train, world.validation, world.targets) if part.prediction is not None]
    old = prepared.digests
    clean = digest_of([old.clean, weights])
    return Digests(
        world=digest_of([old.world, weights]),
        clean=clean,
        undefended=digest_of([old.undefended, weights]) if old.undefended else "",
        informed=digest_of([clean, tensor_digest(*seen) if seen else ""]),
    )


def _weights(models: Mapping[str, Path]) -> dict[str, str]:
    return {name: contents(path.parent)[path.name]["sha256"] for name, path in models.items()}


def world_digest(world: EvaluationData, models: Mapping[str, Path], *, releases: bool = True) -> str:
    """Content hash of all images and labels, of the models' weights and, unless told otherwise, of the releases.

    Without originals the releases always count, since they stand in for them.
    """
    tensors: list[Tensor] = []
    names: list[list[str]] = []
    for part in (world.train, world.validation, world.targets):
        tensors += [part.labels[name] for name in sorted(part.labels)]
        names.append(sorted(part.labels))
        if part.images is not None:
            tensors.append(part.images)
        if releases or part.images is None:
            tensors += [part.release, *(each for each in (part.prediction, part.call) if each is not None)]
    return digest_of([tensor_digest(*tensors), names, dict(world.classes), _weights(models), world.twin])


def overlap_of(parts: Parts) -> int:
    """How many image contents are both in the attacker's pool and among the targets."""
    pool = set(parts.pool_train.row_hashes) | set(parts.pool_validation.row_hashes)
    return len(pool & set(parts.targets.row_hashes))
