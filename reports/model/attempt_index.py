"""Evidence grouped into attempts: one adversary with its settings and labels, over all seeds. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from adversaries.evidence import Arm, Evidence, Status, Value, adversary_name
from adversaries.health import HONESTY
from adversaries.statistics.levels import over_seeds
from reports.model.report import Report

TWIN = "-twin"
"""How names of near twins end."""


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
        return adversary_name(self.adversary, self.settings)

    @property
    def candidate(self) -> str:
        """Its name with its labels, as numbers call who gave them."""
        return self.name if self.labels is None else f"{self.name} @{self.labels}"

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

    def arm(self, name: Arm) -> Value | None:
        """One arm over all seeds; None where it does not apply."""
        values = [value for row in self.rows if (value := row.arms.get(name)) is not None]
        return over_seeds(values) if values else None

    def shows(self, value: Value) -> bool:
        """Whether the number of its attack is this one."""
        attack = self.arm("attack")
        if attack is None or attack.value is None or value.value is None:
            return False
        return attack.unit == value.unit and abs(attack.value - value.value) < 1e-9


@dataclass(frozen=True)
class AttemptIndex:
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
        """Attempts on the task of the target model."""
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
        """The best guess at the task that does without the release."""
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

    def known(self, metric: str) -> Value | None:
        """A number of the report; None unless it was measured."""
        value = self.report.metrics.get(metric)
        return None if value is None or value.value is None else value


def best(attempts: Iterable[Attempt]) -> Attempt | None:
    """The honest attempt that is best on the attacker's validation part; the target images play no part.

    Of equals a chosen one wins, then the one named first.
    """
    honest: Sequence[Attempt] = [attempt for attempt in attempts if attempt.honest]
    return max(honest, key=lambda attempt: (attempt.validation, attempt.chosen), default=None)


def best_showing(attempts: Sequence[Attempt], value: Value | None) -> Attempt | None:
    """The attempt that a number names, else the best honest one whose attack shows it; None if there is none.

    A mean over several draws of labels is shown by no single attempt.
    """
    if value is None or value.value is None:
        return None
    named = [attempt for attempt in attempts if attempt.candidate == value.candidate]
    if named:
        return best(named)
    number = value.value
    exact = [
        attempt
        for attempt in attempts
        if (attack := attempt.arm("attack")) is not None
        and attack.value is not None
        and abs(attack.value - number) < 1e-9
    ]
    return best(exact)
