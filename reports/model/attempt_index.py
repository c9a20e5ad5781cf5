"""Who attacked: evidence grouped into attempts, and which attempt a number came from. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from adversaries.evidence import Evidence, Status, Value
from adversaries.health import HONESTY
from adversaries.statistics.levels import over_seeds
from reports.model.report import Report

TWIN = "-twin"
"""How names of near twins end."""

FEATURES = ("bit-planes", "integer-codes", "norms", "signs", "second-order")
"""Probes that learn from derived features; tables show the best of them as one row."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One adversary with its settings and its labels, over all seeds.

    Args:
        adversary: registered name.
        settings: its options.
        goal: what it was after.
        level: threat level, L0 to L5.
        labels: labelled releases per class that it was granted; None below L2.
        rows: its evidence, one row per seed.
    """

    adversary: str
    settings: Mapping[str, Any]
    goal: str
    level: str
    labels: int | str | None
    rows: tuple[Evidence, ...]

    @property
    def name(self) -> str:
        """Adversary and settings, fit for people; without the labels."""
        inner = self.settings.get("settings")
        values = [*self.settings.values(), *(inner.values() if isinstance(inner, Mapping) else ())]
        return " ".join([self.adversary, *(value for value in values if isinstance(value, str))])

    @property
    def model(self) -> str | None:
        """The unintended model that it starts from."""
        model = self.settings.get("model")
        return model if isinstance(model, str) else None

    @property
    def twin(self) -> bool:
        """Whether it starts from the near twin, and so is in no headline number."""
        return self.model is not None and self.model.endswith(TWIN)

    @property
    def protocols(self) -> tuple[str, ...]:
        """Protocols that ran it."""
        return tuple(dict.fromkeys(row.protocol for row in self.rows))

    @property
    def status(self) -> Status:
        """The worst status of its seeds."""
        order: tuple[Status, ...] = ("failed", "not_run", "not_applicable", "measured")
        return min((row.status for row in self.rows), key=order.index)

    @property
    def chosen(self) -> bool:
        """Whether a headline number came from it."""
        return any(row.chosen for row in self.rows)

    @property
    def flags(self) -> tuple[str, ...]:
        """Health flags of any seed."""
        return tuple(sorted({flag for row in self.rows for flag in row.health}))

    @property
    def honest(self) -> bool:
        """Measured, and with clean honesty controls."""
        return self.status == "measured" and not set(self.flags) & set(HONESTY)

    @property
    def validation(self) -> float:
        """Mean result on the attacker's validation part, by which adversaries are chosen; -1 if unknown."""
        found = [row.metrics["validation"].value for row in self.rows if "validation" in row.metrics]
        known = [value for value in found if value is not None]
        return sum(known) / len(known) if known else -1.0

    def arm(self, name: str) -> Value | None:
        """One arm over all seeds; None where it does not apply."""
        values = [value for row in self.rows if (value := getattr(row.arms, name)) is not None]
        return over_seeds(values) if values else None


@dataclass(frozen=True)
class Lineup:
    """A report's attempts, and the questions that every renderer asks of them.

    Args:
        report: what was measured.
    """

    report: Report

    @cached_property
    def attempts(self) -> tuple[Attempt, ...]:
        """Every attempt, in the report's order. An attempt that two protocols share counts once."""
        groups: dict[tuple[Any, ...], dict[int, Evidence]] = {}
        for row in self.report.evidence:
            settings = json.dumps(row.settings, sort_keys=True, default=str)
            key = (row.goal, row.adversary, settings, row.threat.level, row.threat.budget.labels_per_class)
            seeds = groups.setdefault(key, {})
            if row.seed not in seeds or (row.chosen and not seeds[row.seed].chosen):
                seeds[row.seed] = row
        return tuple(
            Attempt(
                adversary=adversary,
                settings=next(iter(rows.values())).settings,
                goal=goal,
                level=level,
                labels=labels,
                rows=tuple(rows.values()),
            )
            for (goal, adversary, _, level, labels), rows in groups.items()
        )

    @cached_property
    def task(self) -> tuple[Attempt, ...]:
        """Attempts on the target's own task."""
        goal = f"task:{self.report.dataset.task}"
        return tuple(attempt for attempt in self.attempts if attempt.goal == goal)

    @cached_property
    def grid(self) -> tuple[int | str, ...]:
        """Labels per class that were tried on the task, ascending; `all` is the largest."""
        found = {attempt.labels for attempt in self.task if attempt.labels is not None}
        return tuple(sorted(found, key=lambda labels: (isinstance(labels, str), labels if labels != "all" else 0)))

    @cached_property
    def models(self) -> tuple[str, ...]:
        """Unintended models that attacked the task, near twins last."""
        names = dict.fromkeys(attempt.model for attempt in self.task if attempt.model is not None)
        return tuple(sorted(names, key=lambda name: name.endswith(TWIN)))

    @cached_property
    def floor(self) -> Value | None:
        """The best guess at the task that does not read the release."""
        floors = (attempt.arm("floor") for attempt in self.task if attempt.status == "measured")
        return next((floor for floor in floors if floor is not None and floor.value is not None), None)

    def select(
        self,
        *adversaries: str,
        model: str | None = None,
        labels: int | str | None = None,
        level: str | None = None,
    ) -> list[Attempt]:
        """Attempts on the task with these adversaries (none: all), model, labels and level (None: any level)."""
        return [
            attempt
            for attempt in self.task
            if (not adversaries or attempt.adversary in adversaries)
            and (attempt.model == model)
            and attempt.labels == labels
            and (level is None or attempt.level == level)
        ]

    def source(self, metric: str) -> Attempt | None:
        """The attempt that an accuracy of the task came from; None if the report does not tell."""
        value = self.report.metrics.get(metric)
        if value is None or value.value is None:
            return None
        eligible = [attempt for attempt in self._eligible(metric) if attempt.honest]
        exact = [
            attempt
            for attempt in eligible
            if (attack := attempt.arm("attack")) is not None
            and attack.value is not None
            and abs(attack.value - value.value) < 1e-9
        ]
        return best(exact)

    def _eligible(self, metric: str) -> list[Attempt]:
        """Who competed for a number."""
        frozen = {
            "transfer.accuracy": ("frozen", False),
            "transfer.picture.accuracy": ("frozen-picture", False),
            "transfer.twin.accuracy": ("frozen", True),
        }
        if metric in frozen:
            adversary, twin = frozen[metric]
            return [a for a in self.task if a.adversary == adversary and a.twin == twin]
        name, _, text = metric.partition("@")
        if name != "adaptive.accuracy":
            return []
        labels: int | str | None = int(text) if text.isdecimal() else text or (self.grid[-1] if self.grid else None)
        granted = (None,) if labels == 0 else (None, labels)
        threat = str(self.report.command.settings.with_defaults.get("threat") or "L2")
        most = {"0": "L1", "": min(max("L2", threat), "L4")}.get(text, "L2")
        # Up to L2, attacks on the task that other protocols make are rows of their own and no part of this number.
        ladder = {"transfer", "adaptive-probe", *(("inversion", "mask-aware") if most > "L2" else ())}
        competed = (attempt for attempt in self.task if ladder & set(attempt.protocols) and not attempt.twin)
        return [attempt for attempt in competed if attempt.labels in granted and attempt.level <= most]


def best(attempts: Iterable[Attempt]) -> Attempt | None:
    """The honest attempt that is best on the attacker's validation part; the targets play no part.

    Of equals a chosen one wins, then the one named first.
    """
    honest: Sequence[Attempt] = [attempt for attempt in attempts if attempt.honest]
    return max(honest, key=lambda attempt: (attempt.validation, attempt.chosen), default=None)
