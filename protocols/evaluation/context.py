"""What a protocol is conducted on: everything prepared, the threat level, the budget, and where tasks are done."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from adversaries.health import TRUE_LABELS
from adversaries.threat import LEVELS
from protocols.engine.budget import Budget
from protocols.engine.prepared import Prepared
from protocols.engine.settings import Settings
from protocols.engine.task_runner import TaskRunner
from protocols.engine.trainer import Trainer
from protocols.evaluation.evidence import Sidecar
from protocols.evaluation.statistic import FEW


@dataclass(frozen=True, kw_only=True)
class Context:
    """Everything that a protocol works with. This is the runner's side: adversaries get a `Knowledge` of the world.

    Args:
        settings: the run's.
        prepared: data, releases, models.
        budget: how much to spend.
        threat: the highest level of knowledge.
        runner: where tasks are done.
        trainer: trains further models, kept like all trained parts.
        cells: folder of finished tasks of this run.
        shared: folder of finished tasks that depend on no release, which runs share.
        scratch: folder for what only this run's workers need.
        rows: arrays of the report's sidecar; a protocol adds its own.
    """

    settings: Settings
    prepared: Prepared
    budget: Budget
    threat: str
    runner: TaskRunner
    trainer: Trainer
    cells: Path
    shared: Path
    scratch: Path
    rows: Sidecar

    @property
    def levels(self) -> tuple[str, ...]:
        """The levels of knowledge up to the threat's."""
        return LEVELS[: LEVELS.index(self.threat) + 1]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The attack seeds."""
        return self.settings.attack_seeds()

    @property
    def common(self) -> tuple[str, ...]:
        """Flags that every adversary of the run carries."""
        # Boards drop it for candidates of whom calibration results were shipped.
        flags = ["UNCALIBRATED"]
        if self.prepared.overlap:
            flags.append("SPLIT_OVERLAP")
        if len(self.prepared.world.targets) < FEW:
            flags.append("TOO_FEW_TARGETS")
        if self.prepared.observed.call_dependent:
            flags.append("CALL_DEPENDENT")
        if self.prepared.told:
            flags.append(TRUE_LABELS)
        return tuple(flags)

    @property
    def models(self) -> tuple[list[str], str | None]:
        """Names of the unintended models and of the near twin among them; none without images."""
        families = self.prepared.families
        return ([], None) if families is None else (list(families.unintended), families.twin)
