"""Conducting `vfc leakage --over-training`: where the states come from, and the tasks for each of them.

Axes: s shadows, u images of their universe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from adversaries.attacks.membership.layers import MODEL
from adversaries.diagnostics.layers import gray_as_color, layer_names
from adversaries.goals.membership_draws import Question, Universe
from protocols.engine.handles import EvaluationHandle
from protocols.engine.outside.families import Families
from protocols.engine.own_module import LayerOptions, spread
from protocols.engine.settings import Settings
from protocols.engine.task_runner import QueuedTask, TaskRunner
from protocols.engine.trainer import Trainer
from protocols.engine.training_jobs import HASH
from protocols.over_training.options import OverTraining
from protocols.over_training.shadows import Training, trained_shadows, universe_of
from protocols.over_training.source import Source, of_encoder, of_files, of_target
from protocols.over_training.tasks import (
    ASKED,
    IMAGES,
    CheckpointTask,
    LayerMembershipTask,
    LayersTask,
    payload,
    save_networks,
)
from reports.studies.over_training import findings
from vfc.checkpoints import FOLDER, Kept, kept
from vfc.data import Dataset, ImageSet
from vfc.errors import NotApplicableError, UserError
from vfc.isolation.user_code import user_call
from vfc.release import tensor_digest
from vfc.seeding import derive_seed
from vfc.splits import Parts

UNIVERSE = 1000
"""Images, at most, that shadows could have been trained on and are read to learn how members look."""

UNKNOWN_MEMBERS = "a module of one's own does not tell which images it was trained on, so nobody knows its members"
ENCODER_LAYERS = ("encoder.*", "decoder")
"""The layers that are measured of the part `encoder` unless others are named."""


COLOR = "Gray images are given to the model with their channel repeated three times."
LAGS = (
    "Networks are measured as they are deployed, in eval mode; in the first steps the running statistics of BatchNorm "
    "lag behind the weights."
)
ENCODER = (
    "The target in front of which the encoder trains is the trained one at every step, and was trained on the same "
    "images: what it knows of its members shows at step 0 already."
)
SAMPLED = (
    "This defense is deployed with samples of its latent; what is followed here is the release of the latent's mean, "
    "without that noise."
)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is followed.

    Args:
        source: the states.
        target, encoder: the kept states, or None for a user's module.
        notes: what a reader must know.
    """

    source: Source
    target: Kept | None = None
    encoder: Kept | None = None
    notes: tuple[str, ...] = ()


class OverTrainingStudy:
    """One run.

    Args:
        options, over, settings: what was asked for.
        dataset, parts: the data.
        trainer: trains what is missing.
        runner: where checkpoints are measured.
        cells: folder of what is finished.
    """

    def __init__(
        self,
        options: LayerOptions,
        over: OverTraining,
        settings: Settings,
        dataset: Dataset,
        parts: Parts,
        trainer: Trainer,
        runner: TaskRunner,
        cells: Path,
    ) -> None:
        self.options, self.over, self.settings = options, over, settings
        self.dataset, self.parts, self.trainer, self.runner, self.cells = dataset, parts, trainer, runner, cells
        self.handle = EvaluationHandle(folder=trainer.scratch / "over-training", device=trainer.device)
        self.subject = self._subject()
        module = self.subject.source.load(0)
        default = ENCODER_LAYERS if self.subject.encoder is not None else ("*",)
        self.layers = layer_names(module, options.layers or default)
        images = spread(parts.targets.images, options.images)
        color = gray_as_color(module, images)
        self.images = images if color is None else color
        lags = any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules())
        self.notes = [*([] if color is None else [COLOR]), *([LAGS] if lags else []), *self.subject.notes]
        # What a user's module raises is told before anything is measured.
        user_call(self.subject.source.origin, lambda: module(self.images[:1]))

    def data(self) -> tuple[dict[str, Any], bool]:
        """Everything that was found, and whether any layer could be measured."""
        source = self.subject.source
        found = [payload(outcome) for outcome in self.runner.run("measuring checkpoints", self._layer_tasks())]
        layers = findings.layers_over(source.steps, found)
        whole, about = None, dict[str, Any]()
        try:
            tasks, about = self._membership_tasks()
            asked = [payload(outcome) for outcome in self.runner.run("attacking membership", tasks)]
            whole = findings.with_membership(layers, asked, MODEL)
        except NotApplicableError as reason:
            about = {"reason": str(reason)}
        notes = list(self.notes)
        if whole is not None:
            sizes = (about["shadows_trained_on"], about["trained_on"])
            other = sizes_note(*sizes) if sizes[0] != sizes[1] else ""
            order = "" if findings.layers_differ(layers) else findings.NO_ORDER
            notes += [note for note in (other, findings.left_out(layers), order) if note]
        return {
            "title": f"{source.title} on {self.dataset.name}",
            "part": self.over.part,
            "steps": list(source.steps),
            "images": len(self.images),
            "samples": min(self.options.samples, len(self.images)),
            "image_shape": list(self.images.shape[1:]),
            "notes": notes,
            "membership": {"reason": None, **about},
            "layers": layers,
            "model": whole,
            "correlations": findings.correlations(layers) if whole is not None else [],
        }, any(layer["method"] for layer in layers)

    def _subject(self) -> Subject:
        if self.options.model is not None:
            classes = self.dataset.classes[self.parts.task]
            source = of_files(self.options.model, classes, self.settings.seed, str(self.over.checkpoints))
            first = f"The first file is step {source.steps[0]}: what came before it is not known."
            return Subject(source=source, notes=(first,) if source.steps[0] else ())
        if self.over.release is not None:
            return self._released(Path(self.over.release))
        families = Families.of(self.settings, self.dataset)
        path = self.trainer.target(self.dataset, self.parts, families)
        target = kept(path.parent / FOLDER, "target")
        self._check_members(target)
        return Subject(source=of_target(target, f"target {families.target}"), target=target)

    def _released(self, folder: Path) -> Subject:
        target = kept(folder / FOLDER, "target")
        self._check_members(target)
        if self.over.part == "target":
            return Subject(source=of_target(target, f"target {target.about['architecture']['name']}"), target=target)
        encoder = kept(folder / FOLDER, "encoder")
        self._check_members(encoder)
        source = of_encoder(encoder, folder / "target.safetensors", f"{encoder.about['defense']} network")
        return Subject(source=source, target=target, encoder=encoder, notes=encoder_notes(encoder))

    def _check_members(self, states: Kept) -> None:
        ours = {digest.hex()[:HASH] for digest in self.parts.defender_train.row_hashes}
        if ours != set(states.about["members"]):
            raise UserError(
                f"expected {states.folder} trained on the {len(ours)} images of the defender, got others",
                "train again with this data and split",
            )

    def _shared(self, position: int, images: str) -> dict[str, Any]:
        """What both tasks of a checkpoint depend on."""
        source = self.subject.source
        named = {"state": source.digests[position], "code": source.code, "images": images}
        return {"position": position, **named, "layers": self.layers, "seed": self.settings.seed}

    def _queued(self, tasks: Sequence[CheckpointTask]) -> list[QueuedTask]:
        steps = self.subject.source.steps
        return [QueuedTask(task, self.handle, self.cells, f"step {steps[task.position]}") for task in tasks]

    def _layer_tasks(self) -> list[QueuedTask]:
        save_networks(self.handle, self.subject.source)
        self.handle.save_beside(IMAGES, {"images": self.images})
        digest = tensor_digest(self.images)
        tasks = [
            LayersTask(
                **self._shared(position, digest),
                samples=self.options.samples,
                method=self.options.method,
                memory=int(self.options.memory * 2**30),
                straight_through=self.options.straight_through,
            )
            for position in range(len(self.subject.source.steps))
        ]
        return self._queued(tasks)

    def _membership_tasks(self) -> tuple[list[QueuedTask], dict[str, Any]]:
        source, subject, parts, seed = self.subject.source, self.subject, self.parts, self.settings.seed
        if subject.target is None:
            raise NotApplicableError(UNKNOWN_MEMBERS)
        if not self.over.shadows:
            raise NotApplicableError("--shadows 0: without shadow trainings nobody knows how members look")
        universe = universe_of(parts, self.over.shadows, seed, whole=subject.encoder is None)
        how = Training(target=subject.target, encoder=subject.encoder, trainer=self.trainer)
        shadows = trained_shadows(how, universe, parts, self.dataset.classes[parts.task])
        question = Question.drawn(parts, self.over.members, seed)
        generator = torch.Generator().manual_seed(derive_seed("universe read", seed))
        rows = torch.randperm(len(universe.images), generator=generator)[:UNIVERSE]
        arrays = {
            "images": question.images,
            "labels": question.labels,
            "truth": question.member,
            "universe": universe.images[rows],
            "universe_labels": universe.labels[rows],
            "member": universe.member[:, rows],
            "inside": _inside(question.images, universe),
        }
        save_networks(self.handle, source, shadows)
        self.handle.save_beside(ASKED, arrays)
        tasks = [
            LayerMembershipTask(
                **self._shared(position, tensor_digest(question.images, question.labels)),
                shadows=tuple(shadow.digests[position] for shadow in shadows),
                universe=tensor_digest(arrays["universe"], arrays["universe_labels"]),
                ignore=source.ignore,
                cells=len(source.steps) * (len(self.layers) + 1),
            )
            for position in range(len(source.steps))
        ]
        members = int(question.member.sum())
        return self._queued(tasks), {
            "members": members,
            "non_members": len(question.member) - members,
            "shadows": len(shadows),
            "trained_on": len(parts.defender_train),
            "shadows_trained_on": int(universe.member[0].sum()),
        }


def encoder_notes(encoder: Kept) -> tuple[str, ...]:
    """What a reader must know of the kept states of an encoder."""
    return (ENCODER, SAMPLED) if encoder.about["training"].get("deployment") == "sample" else (ENCODER,)


def sizes_note(shadow: int, real: int) -> str:
    """That shadows know fewer images than the network in question, and what follows.

    Args:
        shadow, real: images that each was trained on.
    """
    return (
        f"Every shadow was trained on {shadow} images, the network in question on {real}, by the same settings: a "
        "shadow may know its members better, so that thresholds fixed on shadows lie elsewhere."
    )


def _inside(images: Tensor, universe: Universe) -> Tensor:
    """Which shadow was trained on which image in question: on none, unless the data were not divided."""
    hashes = [ImageSet(images=each, labels={}).row_hashes for each in (images, universe.images)]
    places = {digest: row for row, digest in enumerate(hashes[1])}
    found = torch.zeros(len(universe.member), len(images), dtype=torch.bool)
    for column, digest in enumerate(hashes[0]):
        if digest in places:
            found[:, column] = universe.member[:, places[digest]]
    return found
