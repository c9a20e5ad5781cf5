"""Evaluating everybody who learns from pairs of images and releases: inversion and linkage."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from adversaries.evidence import Evidence, Value
from adversaries.threat import Labels, Level, ThreatModel
from protocols.engine.handles import EvaluationHandle
from protocols.engine.identity import digest_of_defense
from protocols.engine.task import Task
from protocols.engine.task_runner import QueuedTask
from protocols.evaluation.candidate import Candidate, calibrated
from protocols.evaluation.context import Context
from protocols.evaluation.evidence import EvidenceMaker, pairs_budget
from protocols.evaluation.flags import orders
from protocols.evaluation.leaderboard import Contestant, Leaderboard
from protocols.evaluation.metrics import chosen_value
from protocols.evaluation.results import Arm, Budgeted, Competitor, Results, Trial
from protocols.evaluation.schedule import Choice, Schedule
from protocols.evaluation.statistic import Statistic
from vfc.defense import Defense
from vfc.seeding import derive_seed

PAIRS: Mapping[str, tuple[Budgeted, ...]] = {"smoke": (100, "all"), "standard": (100, 1000, "all")}
"""Numbers of pairs by budget; `full` is as `standard`."""


def pairs_statistic(
    name: str, goal: str, array: str, *, kind: Literal["rate", "mean"] = "rate", **more: Any
) -> Statistic:
    """A statistic of adversaries that learn from pairs: some can afford only some rows, so comparisons are paired."""
    return Statistic(
        name=name,
        goal=goal,
        array=array,
        kind=kind,
        ties="budget",
        corrected_for="attempts",
        missed_by="paired",
        **more,
    )


@dataclass(frozen=True, kw_only=True)
class PairsTask(Task, ABC):
    """One adversary that learns from pairs, in one arm, with one seed.

    Args:
        adversary: registered name.
        settings: its options.
        level: threat level of this adversary.
        pairs: granted pairs.
        arm: attack, ceiling or shuffled.
        seed: attack seed.
        doubled: fit with twice the training.
        task: the label that the target predicts.
        world: digest of the data that are attacked.
        defense: digest of the fitted defense; empty for adversaries that do not know it.
        beside: digest of the further releases that are read; empty without.
    """

    adversary: str
    settings: dict[str, Any]
    level: Level
    pairs: Labels
    arm: Arm
    seed: int
    doubled: bool
    task: str
    world: str
    defense: str = ""
    beside: str = ""

    @property
    def threat(self) -> ThreatModel:
        """What the adversary may know."""
        return ThreatModel(level=self.level, pairs=self.pairs)

    def shown(self, handle: EvaluationHandle) -> Defense | None:
        """The fitted defense, where the adversary knows it."""
        return handle.defense() if self.level >= "L4" else None

    @property
    def seeds(self) -> dict[str, int]:
        """Seeds of the arm and of the fit."""
        # The same draw in every arm: on the identity release attack and ceiling are one and the same.
        drawn_from = (self.adversary, sorted((k, str(v)) for k, v in self.settings.items()), self.pairs, self.seed)
        return {"seed": derive_seed("mispaired", self.seed), "fit_seed": derive_seed("fit", *drawn_from)}


@dataclass(frozen=True, kw_only=True)
class PairsEvaluation:
    """Everybody who learns from pairs for one goal, measured by several statistics.

    Args:
        context: the run.
        protocol: its name.
        results: who competes, and what is known so far.
        boards: the same results ranked by each statistic.
        task: from a candidate to what makes its tasks.
        defense: digest of the fitted defense; empty where nobody is shown it.
    """

    context: Context
    protocol: str
    results: Results
    boards: tuple[Leaderboard, ...]
    task: Callable[[Candidate], Callable[..., PairsTask]]
    defense: str

    @classmethod
    def of(
        cls,
        context: Context,
        protocol: str,
        competitors: Sequence[Competitor],
        statistics: Sequence[Statistic],
        task: Callable[[Candidate], Callable[..., PairsTask]],
    ) -> PairsEvaluation:
        """Nothing known yet.

        Args:
            context: the run.
            protocol: its name.
            competitors: who competes; blind ones are the floor's guessers.
            statistics: how it is measured.
            task: from a candidate to what makes its tasks.
        """
        prepared = context.prepared
        candidates = [each.candidate for each in competitors]
        known = calibrated(candidates, n=len(prepared.world.targets), dataset=prepared.dataset.name)
        results = Results(
            competitors=[replace(each, calibrated=i in known) for i, each in enumerate(competitors)],
            seeds=context.seeds,
            grid=PAIRS.get(context.budget.name, PAIRS["standard"]),
            common=context.common,
            unchecked=context.budget.doubling == "none",
        )
        boards = tuple(Leaderboard(results=results, statistic=statistic) for statistic in statistics)
        publisher = prepared.publisher if context.threat >= "L4" else None
        return cls(
            context=context,
            protocol=protocol,
            results=results,
            boards=boards,
            task=task,
            defense="" if publisher is None else digest_of_defense(publisher.defense),
        )

    def run(self, name: str) -> None:
        """Every stage; `name` is how progress calls the attack."""
        context, results = self.context, self.results
        schedule = Schedule(results=results, budget=context.budget, runner=context.runner, task=self._task, name=name)
        schedule.attack()
        schedule.double()
        schedule.control(lambda: [Choice(board=board, attempts=results.tried()) for board in self.boards])

    def chosen(self, board: Leaderboard) -> Contestant | None:
        """The strongest of all by one statistic."""
        return board.choose(self.results.tried())

    def metric(self, board: Leaderboard) -> Value:
        """The number of the contestant chosen on validation, with its flags and its missed rivals."""
        return chosen_value(board, self.results.tried(), self._maker(board).stored)

    def evidence(self, beside: Mapping[str, Mapping[str, Value]]) -> list[Evidence]:
        """One row per attempt, statistic and seed; attempts that were not measured are listed once.

        Args:
            beside: further numbers of the evidence that a number comes from, by goal.
        """
        found = []
        for board in self.boards:
            chosen, seeing = self.chosen(board), board.seeing(self.results.tried())
            levels = sorted({self.results.of(attempt).level for attempt in seeing})
            extra = orders(
                board,
                [[a for a in seeing if self.results.of(a).level == level] for level in levels],
                [[a for a in seeing if a.budget == pairs] for pairs in self.results.grid],
            )
            maker = self._maker(board, beside.get(board.statistic.goal, {}))
            found += maker.rows([] if chosen is None else [chosen], extra, absent=board is self.boards[0])
        return found

    def _maker(self, board: Leaderboard, beside: Mapping[str, Value] | None = None) -> EvidenceMaker:
        return EvidenceMaker(
            board=board,
            protocol=self.protocol,
            sidecar=self.context.rows,
            budget=pairs_budget,
            pairs=True,
            controls_of_largest=True,
            controls_of_absent=False,
            beside=beside or {},
        )

    def _task(self, trial: Trial) -> QueuedTask:
        """What is run for a trial."""
        competitor, prepared = self.results.of(trial.attempt), self.context.prepared
        candidate, granted = competitor.candidate, trial.attempt.budget
        task = self.task(candidate)(
            adversary=candidate.adversary,
            settings=dict(candidate.settings),
            level=competitor.level,
            pairs=granted or "all",
            arm=trial.arm,
            seed=trial.seed,
            doubled=trial.doubled,
            task=prepared.parts.task,
            world=prepared.digests.world,
            defense=self.defense if competitor.level >= "L4" else "",
        )
        pairs = "" if granted is None else f", {granted} pairs"
        title = f"{candidate.name}{pairs}, {trial.arm}"
        return QueuedTask(task=task, place=prepared.place, folder=self.context.cells, title=title)
