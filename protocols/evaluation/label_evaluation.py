"""Evaluating everybody who attacks one label: who competes, which trials are run, and which choices are controlled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from adversaries.adversary import ADVERSARIES
from adversaries.entries import length_of
from adversaries.evidence import Evidence, adversary_name
from adversaries.goals.assess import reads_labels
from adversaries.goals.label import LabelGoal, TaskLabel
from adversaries.health import HARD, READERS
from adversaries.planting import drawn_kind
from adversaries.threat import parse_level
from protocols.engine.handles import EvaluationHandle
from protocols.engine.identity import digest_of_defense
from protocols.engine.prepared import Digests
from protocols.engine.task import Rows, Task
from protocols.engine.task_runner import QueuedTask
from protocols.evaluation.candidate import Candidate, calibrated
from protocols.evaluation.context import Context
from protocols.evaluation.evidence import EvidenceMaker
from protocols.evaluation.flags import orders
from protocols.evaluation.label_task import LabelTask
from protocols.evaluation.leaderboard import Contestant, Leaderboard
from protocols.evaluation.overrides import with_overrides
from protocols.evaluation.results import Arm, Attempt, Competitor, Results, Trial
from protocols.evaluation.schedule import Choice, Schedule
from protocols.evaluation.statistic import Statistic
from vfc.config import configured

TRANSFORMS = ("gray", "jpeg", "blur", "flip", "down-up")


@dataclass(frozen=True, kw_only=True)
class LabelEvaluation:
    """Everybody who attacks one label, with everything that is known of them.

    Args:
        context: the run.
        goal: the label.
        board: the outcomes, ranked by accuracy.
        handle: where the data are.
        undefended: where the data of the undefended twin are, or None.
        digests: of both, and of the first without its releases.
        replaced: what is run in place of the usual task, for adversaries that know more than labels.
    """

    context: Context
    goal: LabelGoal
    board: Leaderboard
    handle: EvaluationHandle
    undefended: EvaluationHandle | None
    digests: Digests
    replaced: Callable[[Trial, LabelTask], Task] | None = None

    @classmethod
    def of(
        cls,
        context: Context,
        goal: LabelGoal,
        candidates: Sequence[Candidate],
        *,
        undefended: bool = True,
        draws: bool = False,
        replaced: Callable[[Trial, LabelTask], Task] | None = None,
    ) -> LabelEvaluation:
        """Nothing known yet, for those candidates that the threat level allows.

        Args:
            context: the run.
            goal: the label.
            candidates: who competes.
            undefended: whether the undefended twin is a control.
            draws: whether numbers at few labels are means over several draws of them.
            replaced: see the class.
        """
        prepared = context.prepared
        allowed = [each for each in candidates if ADVERSARIES.get(each.adversary).level in context.levels]
        floor = goal.floor(prepared.world).cpu().numpy().astype(np.uint8)
        board = Leaderboard(
            results=Results(
                competitors=_competitors(context, allowed, len(floor)),
                seeds=context.seeds,
                grid=context.budget.labels,
                common=context.common,
                unchecked=context.budget.doubling == "none",
                draws=-(-context.budget.draws // len(context.seeds)) if draws else 0,
            ),
            statistic=Statistic(goal=goal.name, floor=floor, needs_learners=True),
        )
        return cls(
            context=context,
            goal=goal,
            board=board,
            handle=prepared.place,
            undefended=prepared.undefended if undefended else None,
            digests=prepared.digests,
            replaced=replaced,
        )

    @property
    def floor(self) -> Rows:
        """Right or wrong per graded target image without the release."""
        floor = self.board.statistic.floor
        if floor is None:
            raise ValueError("expected the floor of a label")
        return floor

    @property
    def schedule(self) -> Schedule:
        """What runs the trials."""
        context = self.context
        return Schedule(
            results=self.board.results,
            budget=context.budget,
            runner=context.runner,
            task=self._task,
            name="attacks",
            board=self.board if self.replaced is None else None,
            chance=self.goal.known_chance(context.prepared.world),
        )

    def run(self, levels: Sequence[str], further: Callable[[], Sequence[Choice]] = tuple) -> None:
        """Every stage.

        Args:
            levels: of the adversaries that count.
            further: choices by other statistics that numbers come from, from the results as they are then.
        """
        schedule = self.schedule
        schedule.attack()
        schedule.double()
        self._add_transforms(levels, schedule)
        schedule.control(lambda: [*self._choices(levels), *further()])
        schedule.run(self._hard_plants(levels), "hard leaks")
        schedule.draw(self._worth_drawing(levels))

    def _worth_drawing(self, levels: Sequence[str]) -> list[Attempt]:
        """Who is tried with further draws of labels: everybody, or the chosen and those within their interval."""
        results, found = self.board.results, []
        for labels in results.grid[:-1]:
            group = results.attempts(labels, levels=[level for level in levels if level <= "L2"])
            learned = [attempt for attempt in group if results.drawn(attempt)]
            chosen = self.board.choose(group)
            if self.context.budget.draw_all or chosen is None:
                found += learned
                continue
            rivals = self.board.contestants(learned)
            found += [rival.attempt for rival in rivals if rival == chosen or self.board.within(rival, chosen)]
        return list(dict.fromkeys(found))

    def groups(self, levels: Sequence[str]) -> list[list[Attempt]]:
        """The attempts among which each headline number chooses: at every K, at no K, and frozen."""
        results = self.board.results
        unlabelled = [level for level in ("L0", "L1") if level in levels]
        groups = [results.attempts(labels, levels=levels) for labels in results.grid]
        groups += [results.attempts(levels=[level]) for level in unlabelled]
        return [*groups, results.attempts(levels=unlabelled)]

    def chosen(self, levels: Sequence[str]) -> list[Contestant]:
        """The contestants that headline numbers come from."""
        return list(dict.fromkeys(c for c in map(self.board.choose, self.groups(levels)) if c is not None))

    def evidence(self, protocol: str, chosen: Sequence[Contestant]) -> list[Evidence]:
        """One row per attempt and seed."""
        results, largest = self.board.results, self.board.results.grid[-1]
        levels = sorted({competitor.level for competitor in results.competitors})
        extra = orders(
            self.board,
            [results.attempts(largest, levels=[level]) for level in levels],
            [results.attempts(labels) for labels in results.grid],
        )
        maker = EvidenceMaker(board=self.board, protocol=protocol, sidecar=self.context.rows)
        return maker.rows(chosen, extra)

    def _choices(self, levels: Sequence[str]) -> list[Choice]:
        results = self.board.results
        top = results.attempts(results.grid[-1], levels=levels)
        choices = [Choice(board=self.board, attempts=group, ceiling=True) for group in self.groups(levels)]
        return [*choices, Choice(board=self.board, attempts=top, ceiling=True, extra=self._controls_of_strongest)]

    def _controls_of_strongest(self, attempt: Attempt) -> list[Arm]:
        """The undefended twin, and a label planted in a copy of the release, for the strongest of all."""
        arms: list[Arm] = ["undefended"] if self.undefended is not None else []
        return [*arms, "planted"] if self.board.results.of(attempt).level == "L2" else arms

    def _hard_plants(self, levels: Sequence[str]) -> list[Trial]:
        """A leak of a kind that common readers miss, planted in a copy of the release.

        The strongest of all looks for it, and whoever reads what it is made of; on the task, whose control is the
        target model, these only beyond the smallest budget.
        """
        context, results = self.context, self.board.results
        kind = drawn_kind(context.prepared.world, self.goal.label, context.settings.seed)
        group = [a for a in results.attempts(results.grid[-1], levels=levels) if results.of(a).level == "L2"]
        chosen = self.board.choose(group)
        if kind is None or chosen is None:
            return []
        readers = [chosen.attempt]
        if context.budget.name != "smoke" or not isinstance(self.goal, TaskLabel):
            readers += [a for a in group if results.of(a).candidate.adversary in READERS[kind]]
        arm: Arm = f"{HARD}{kind}"  # type: ignore[assignment]
        return results.trials(dict.fromkeys(readers), arm)

    def _add_transforms(self, levels: Sequence[str], schedule: Schedule) -> None:
        """Input transforms in front of the chosen adversary, or of all, at the largest K."""
        budget, board = self.context.budget, self.board
        results, labels = board.results, board.results.grid[-1]
        if budget.transforms == "none":
            return
        inner = [a for a in results.attempts(labels, levels=levels) if results.of(a).shuffles]
        if budget.transforms == "chosen":
            # The ceiling is chosen in the same way, so its own choice is transformed too.
            found = (board.choose(inner), board.choose(inner, "ceiling"))
            inner = [chosen.attempt for chosen in found if chosen is not None]
        trials = []
        for attempt in dict.fromkeys(inner):
            of = results.of(attempt)
            for transform in TRANSFORMS:
                settings = {
                    "transform": transform, "inner": of.candidate.adversary, "options": dict(of.candidate.settings),
                }  # fmt: skip
                candidate = Candidate(adversary="input-transform", settings=settings)
                competitor = Competitor(
                    candidate=candidate, level=of.level, grows=of.level >= "L2", trains=candidate.trains
                )
                added = Attempt(results.add(competitor), labels)
                arms: tuple[Arm, ...] = ("attack", "ceiling", "shuffled")
                trials += [trial for arm in arms for trial in results.trials([added], arm)]
        schedule.run(trials, "input transforms")

    def _task(self, trial: Trial) -> QueuedTask:
        """What is run for a trial."""
        competitor = self.board.results.of(trial.attempt)
        candidate, labels = competitor.candidate, trial.attempt.budget
        digests = {"undefended": self.digests.undefended, "ceiling": self._ceiling_digest(candidate)}
        task = LabelTask(
            adversary=candidate.adversary,
            settings=dict(candidate.settings),
            level=competitor.level,
            labels_per_class=labels,  # type: ignore[arg-type]
            goal=self.goal.name,
            arm=trial.arm,
            seed=trial.seed,
            doubled=trial.doubled,
            draw=trial.draw,
            share=trial.share,
            world=digests.get(trial.arm, self.digests.world),
            defense=self._asked if competitor.level >= "L3" and trial.arm != "ceiling" else "",
        )
        return QueuedTask(
            task=task if self.replaced is None else self.replaced(trial, task),
            place=self.undefended if trial.arm == "undefended" and self.undefended else self.handle,
            folder=self.context.shared if trial.arm == "ceiling" else self.context.cells,
            title=_title(candidate.name, trial),
        )

    @cached_property
    def _asked(self) -> str:
        """Digest of the defense that may be asked; empty where only releases were given."""
        publisher = self.context.prepared.publisher
        return "" if publisher is None else digest_of_defense(publisher.defense)

    def _ceiling_digest(self, candidate: Candidate) -> str:
        """What a ceiling depends on: releases count only through the predictions that some are told."""
        adversary = configured(ADVERSARIES.get(candidate.adversary), candidate.settings, candidate.adversary)
        if not self.goal.grants_prediction or not adversary.uses_prediction:
            return self.digests.clean
        return self.digests.informed or self.digests.world


def _competitors(context: Context, candidates: Sequence[Candidate], targets: int) -> list[Competitor]:
    """The candidates with the user's options, and what the evaluation must know of them."""
    chosen = [with_overrides(candidate, context.settings) for candidate in candidates]
    known = calibrated(chosen, n=targets, dataset=context.prepared.dataset.name)
    kinds = [ADVERSARIES.get(candidate.adversary) for candidate in chosen]
    return [
        Competitor(
            candidate=candidate,
            level=parse_level(kind.level),
            grows=kind.level >= "L2",
            shuffles=reads_labels(kind),
            trains=candidate.trains,
            calibrated=position in known,
            family=_family(candidate),
        )
        for position, (candidate, kind) in enumerate(zip(chosen, kinds, strict=True))
    ]


def _family(candidate: Candidate) -> str:
    """Those who train by steps on labels race against the same adversary started from other models.

    A near twin is reported apart. Without labelled releases nobody may be left out by the labels of a validation part.
    """
    settings = dict(candidate.settings)
    labelled = ADVERSARIES.get(candidate.adversary).level >= "L2"
    if settings.pop("model", None) is None or not candidate.headline or not labelled:
        return ""
    return adversary_name(candidate.adversary, settings) if length_of(candidate.adversary, candidate.settings) else ""


def _title(name: str, trial: Trial) -> str:
    """How progress calls a trial."""
    words = [name, f"K = {trial.attempt.budget}", trial.arm]
    words += [f"draw {trial.draw}"] if trial.draw else []
    words += [f"{trial.share:.1%} of the training"] if trial.share < 1 else []
    return ", ".join(words)
