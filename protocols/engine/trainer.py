"""Trained parts of an evaluation: the target, the unintended models and the defense, each trained once and kept.

They are kept in the cache, named by a digest of everything that they depend on, or in the run's own folder when the
cache is not wanted. A folder written by `vfc train` holds copies of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from adversaries.statistics import estimates
from protocols.engine.cache import touch
from protocols.engine.executors.base import Executor, WorkerDiedError
from protocols.engine.outside.families import Families
from protocols.engine.outside.models import OutsideModel, keep
from protocols.engine.progress import Reporter
from protocols.engine.provenance import code_digest
from protocols.engine.settings import Settings, digest_of
from protocols.engine.training_jobs import DefenseJob, ModelJob, fit_defense, train_model
from vfc.artifact import save_arrays
from vfc.config import MOST, configured
from vfc.data import Dataset, ImageSet
from vfc.defense import DEFENSES, attribute_arrays
from vfc.errors import UserError
from vfc.models import default_training
from vfc.seeding import derive_seed
from vfc.splits import Parts
from vfc.training import TrainSettings

MODEL_FILE = "model.safetensors"


class Trainer:
    """Trains what is missing and says where it is.

    Args:
        settings: the run's.
        device: where to compute.
        root: folder of the trained parts.
        scratch: folder for the arrays that jobs read; removed by its owner.
        executor, reporter: who runs the jobs and who tells.
        checkpoints: states that the target and VFC's network keep on the way through their training.
    """

    def __init__(
        self,
        settings: Settings,
        device: str,
        root: Path,
        scratch: Path,
        executor: Executor,
        reporter: Reporter,
        *,
        checkpoints: int = 0,
    ) -> None:
        self.settings, self.device, self.root, self.scratch = settings, device, root, scratch
        self.executor, self.reporter, self.checkpoints = executor, reporter, checkpoints
        self._code = code_digest(device, settings.threads)

    def models(self, dataset: Dataset, parts: Parts, families: Families) -> tuple[Path, dict[str, Path]]:
        """The target's file, and those of the unintended models by name; trained side by side."""
        found = self._trained(dataset, parts, families, [families.target, *families.unintended])
        return found.pop(families.target), found

    def unintended(self, dataset: Dataset, parts: Parts, families: Families) -> dict[str, Path]:
        """Files of the unintended models alone, by name."""
        return self._trained(dataset, parts, families, list(families.unintended))

    def _trained(self, dataset: Dataset, parts: Parts, families: Families, names: Sequence[str]) -> dict[str, Path]:
        """Files of the models of some names; those that are missing are trained side by side."""
        task, classes = parts.task, dataset.classes[parts.task]
        brought = {name: families.brought[name] for name in names if name in families.brought}
        paths = {name: self._brought(model, name == families.target, parts, classes) for name, model in brought.items()}
        jobs = {
            name: self._target_job(dataset, parts, families)
            if name == families.target
            else self._model_job(
                f"unintended {name}", families.unintended[name], parts.pool_train, task, classes, families.width
            )
            for name in names
            if name not in brought
        }
        self.run_jobs("training models", train_model, [job for job in jobs.values() if not job.whole])
        paths |= {name: job.path for name, job in jobs.items()}
        return {name: paths[name] for name in names}

    def _brought(self, model: OutsideModel, is_target: bool, parts: Parts, classes: int) -> Path:
        """The file of a model from outside, measured on images of its owner and kept beside what is trained."""
        own = parts.defender_validation if is_target else parts.pool_validation
        labels = own.labels[parts.task]
        # Workers call a factory where it lies, which is no part of what the model is.
        where = getattr(model.module, "arch", {}).get("source", "")
        path = self.place("model", "outside", model.digest, where, own.digest, parts.task, classes) / MODEL_FILE
        found = keep(model, path, own.images, labels, classes, self.device)
        share, whose = estimates.rate(found.hits, found.n), "defender's" if is_target else "attacker's"
        self.reporter.note(
            f"{model.name}, from {model.text}: right on {share.value:.3f} [{share.low:.3f}, {share.high:.3f}] of "
            f"{found.n} clean images of the {whose} validation part"
        )
        return path

    def target(self, dataset: Dataset, parts: Parts, families: Families) -> Path:
        """The target's file alone, trained if it is missing.

        Raises:
            UserError: it comes from outside, so nobody saw its training.
        """
        if families.target in families.outside:
            raise UserError(
                f"expected a target that is trained here, got {families.target}, which comes from outside",
                "name an architecture as --target",
            )
        job = self._target_job(dataset, parts, families)
        self.run_jobs("training the target", train_model, [] if job.whole else [job])
        return job.path

    def attribute_models(
        self, dataset: Dataset, parts: Parts, families: Families, labels: Sequence[str]
    ) -> dict[str, dict[str, Path]]:
        """Files of the unintended models trained for each of some labels, by label and name; without the near twin.

        They see clean images of the attacker pool, and are kept in the cache like those trained for the task.
        Models from outside are not among them.
        """
        jobs = {
            label: {
                name: self._model_job(
                    f"unintended {name}",
                    arch,
                    parts.pool_train,
                    label,
                    dataset.classes[label],
                    families.width,
                    data=f"pool_train-{digest_of(label)[:12]}",
                )
                for name, arch in families.unintended.items()
                if name != families.twin and name not in families.outside
            }
            for label in labels
        }
        missing = [job for named in jobs.values() for job in named.values() if not job.whole]
        self.run_jobs("training attribute models", train_model, missing)
        return {label: {name: job.path for name, job in named.items()} for label, named in jobs.items()}

    def defenses(
        self,
        name: str,
        options: Mapping[str, Any],
        dataset: Dataset,
        parts: Parts,
        target: Path,
        *,
        undefended: bool = True,
    ) -> tuple[Path, Path | None]:
        """Folders of a fitted registered defense and of its undefended twin (None if it has none or nobody asks)."""
        data, validation = self.defender_arrays(parts)
        jobs = []
        twin = undefended and configured(DEFENSES.get(name), options, name).undefended() is not None
        for bare in (False, True)[: 1 + twin]:
            seed = derive_seed("defense", name, self.settings.seed)
            states = 0 if bare else self.checkpoints
            fitted_on = [parts.digests["defender_train"], parts.digests["defender_validation"]]
            # The order too: the first attribute is the default of those that hide one.
            fitted_on.append(" ".join(parts.defender_train.attributes(parts.task)))
            job = DefenseJob(
                data=data,
                validation=validation,
                target=target,
                path=self.place("defense", name, dict(options), bare, target.parent.name, *fitted_on, seed, states),
                name=name,
                settings=options,
                undefended=bare,
                classes=dataset.classes[parts.task],
                seed=seed,
                device=self.device,
                checkpoints=states,
            )
            jobs.append(job)
        missing = [job for job in jobs if not job.whole]
        self.run_jobs(f"fitting {name}", fit_defense, missing)
        return jobs[0].path, jobs[1].path if twin else None

    def defender_arrays(self, parts: Parts) -> tuple[Path, Path]:
        """Files with the defender's images and labels: what it fits on, and what it tunes on."""
        train = self.arrays("defender_train", parts.defender_train, parts.task)
        return train, self.arrays("defender_validation", parts.defender_validation, parts.task)

    def train_settings(self, n: int, side: int) -> TrainSettings:
        """How models are trained: the defaults for so many images, changed by `--set train.option=value`."""
        settings, options = default_training(n, side), self.settings.options("train")
        epochs = options.pop("epochs", None)
        settings = configured(TrainSettings, {**asdict(settings), **options}, "train")
        if epochs is not None:
            if not isinstance(epochs, (int, float)) or not 0 < epochs * n / settings.batch <= MOST:
                raise UserError(f"expected a positive number of epochs, got {epochs!r}", "--set train.epochs=3")
            settings = replace(settings, steps=max(1, round(epochs * n / settings.batch)))
        return settings

    def run_jobs(
        self, name: str, function: Callable[..., None], jobs: Sequence[ModelJob] | Sequence[DefenseJob]
    ) -> None:
        """Train or fit what some jobs say.

        Raises:
            UserError: a job ran out of memory, or its process died.
        """
        with self.reporter.stage(name, len(jobs)) as stage:
            for position, result in self.executor.run(function, [(job,) for job in jobs]):
                # torch has no type of its own for memory that the processor lacks
                if isinstance(result, (MemoryError, WorkerDiedError)) or "allocate memory" in str(result):
                    raise UserError(f"{name} did not end: {result}", "try --workers 1, less data, or smaller models")
                if isinstance(result, BaseException):
                    raise result
                stage.advance(jobs[position].path.parent.name)

    def _target_job(self, dataset: Dataset, parts: Parts, families: Families) -> ModelJob:
        task, images = parts.task, parts.defender_train
        return self._model_job("target", families.target, images, task, dataset.classes[task], families.width)

    def _model_job(
        self, role: str, arch: str, images: ImageSet, task: str, classes: int, width: float, *, data: str = ""
    ) -> ModelJob:
        settings = self.train_settings(len(images), images.images.shape[-1])
        seed = derive_seed(role, self.settings.seed)
        states = self.checkpoints if role == "target" else 0
        facts = [arch, width, classes, images.digest, task, repr(settings), seed, states]
        return ModelJob(
            data=self.arrays(data or ("defender_train" if role == "target" else "pool_train"), images, task),
            path=self.place("model", *facts) / MODEL_FILE,
            name=arch,
            width=width,
            classes=classes,
            settings=settings,
            seed=seed,
            device=self.device,
            checkpoints=states,
        )

    def place(self, kind: str, *facts: object) -> Path:
        """The folder of a trained part, named by a digest of everything that it depends on."""
        folder = self.root / f"{kind}-{digest_of([*facts, self._code])[:24]}"
        touch(folder)
        return folder

    def arrays(self, name: str, images: ImageSet, task: str) -> Path:
        """Write images with one label, and the others as attributes, for jobs to read, once; returns the file."""
        path = self.scratch / name / "arrays.safetensors"
        if not path.exists():
            others = attribute_arrays(images.attributes(task))
            save_arrays({"images": images.images, "labels": images.labels[task], **others}, path)
        return path
