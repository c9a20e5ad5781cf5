"""Conducting `membership`: shadow defenses, one choice and one threshold on them, one grading on the real defense.

Axes: n members and n non-members, s shadow defenses, u images of their universe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, get_args

import numpy as np
import torch

from adversaries.evidence import AttackBudget, Evidence, Status, Value
from adversaries.goals.exposed import FALLBACK
from adversaries.goals.marked_members import hard_kind
from adversaries.goals.membership import Shadows, Truth
from adversaries.goals.membership_draws import Question, Universe
from adversaries.goals.membership_grading import MembershipArm, MembershipInputs, hits_at, roc
from adversaries.health import HARD, READERS, Kind
from adversaries.statistics import estimates
from adversaries.threat import Level
from protocols.engine.handles import NO_DEFENSE, EvaluationHandle
from protocols.engine.outside.release import learns
from protocols.engine.settings import digest_of
from protocols.engine.shadows import Shadow, fitted_shadows
from protocols.engine.task import EXPOSED, Outcome, Rows
from protocols.engine.task_runner import QueuedTask
from protocols.evaluation.candidate import collect
from protocols.evaluation.context import Context
from protocols.evaluation.evidence import EvidenceMaker, exposed_by, threat_of, unmeasured
from protocols.evaluation.leaderboard import Contestant, Leaderboard
from protocols.evaluation.metrics import chosen_value
from protocols.evaluation.overrides import with_overrides
from protocols.evaluation.protocol import Findings
from protocols.evaluation.results import Attempt, Competitor, Results, Trial
from protocols.evaluation.schedule import Schedule
from protocols.evaluation.statistic import FEW, Statistic
from protocols.membership.tasks import FALSE_RATE, MembershipTask, ReadTask, input_arrays, measured
from vfc.errors import NotApplicableError
from vfc.release import tensor_digest

NAME, GOAL = "membership", "membership"
LEVEL: Level = "L4"
MOST, LARGEST_UNIVERSE = 2000, 4000
"""Members (and non-members) graded, and images that shadows are drawn from, at most."""

BLIND = FALLBACK / 2
"""The share that is picked out and named right without the release: of as many as are picked at least, every other."""

BUDGET = AttackBudget(releases=1)
"""The attacker holds the image, its label and one release of it."""


def conduct_membership(context: Context) -> Findings:
    """Ask of members and non-members which is which."""
    try:
        _require(context)
        asked = _asked(context)
        board = _together([_attacked(context, asked, seed) for seed in context.seeds])
    except NotApplicableError as reason:
        return nothing(context, str(reason), "not_applicable")
    except RuntimeError as error:
        return nothing(context, str(error), "failed")
    return Findings(evidence=_evidence(context, board, len(asked.shadows)), metrics=_metrics(board))


def _together(boards: Sequence[Leaderboard]) -> Leaderboard:
    """One board of all seeds, each of which has readings of its own; one adversary is chosen over all of them."""
    outcomes = {trial: outcome for board in boards for trial, outcome in board.results.outcomes.items()}
    seeds = tuple(seed for board in boards for seed in board.results.seeds)
    return replace(boards[0], results=replace(boards[0].results, seeds=seeds, outcomes=outcomes))


def nothing(context: Context, reason: str, status: Status) -> Findings:
    """What is said where membership cannot be asked."""
    flags = ("CRASHED",) if status == "failed" else ()
    threat, seed = threat_of(LEVEL, BUDGET), context.settings.seed
    return Findings(
        evidence=[unmeasured(NAME, each, GOAL, threat, seed, status, reason) for each in collect("membership")],
        metrics={
            "membership.advantage": Value.unknown(reason, unit="difference", flags=flags),
            "membership.tpr@0.01": Value.unknown(reason, flags=flags),
            "membership.exposed": Value.unknown(reason, flags=flags),
        },
    )


def _require(context: Context) -> None:
    publisher = context.prepared.publisher
    if publisher is None:
        raise NotApplicableError(NO_DEFENSE)
    if not learns(publisher.defense):
        raise NotApplicableError("the defense fits nothing, so it has no members")
    if context.threat < LEVEL:
        raise NotApplicableError("who fits shadow defenses knows the defense, which --threat L4 and above grant")
    if context.budget.shadows < 2:
        raise NotApplicableError("needs shadow defenses (--budget standard or full)")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What every seed shares.

    Args:
        question: members and non-members.
        universe: the images that shadows are fitted on parts of.
        shadows: the fitted ones.
        online: whether the images in question are in the universe.
    """

    question: Question
    universe: Universe
    shadows: Sequence[Shadow]
    online: bool

    @property
    def truth(self) -> Truth:
        """Which of the images in question are members."""
        return self.question.member.numpy()

    @property
    def inside(self) -> Truth:
        """Which shadow was fitted on which image in question."""
        n = len(self.question.member)
        return self.universe.member[:, :n].numpy() if self.online else np.zeros((len(self.shadows), n), dtype=bool)


def _asked(context: Context) -> Asked:
    """Draw members and non-members, and fit shadows; online also on images in question, which the attacker holds."""
    parts, seed, online = context.prepared.parts, context.settings.seed, context.budget.name == "full"
    question = Question.drawn(parts, MOST, seed)
    images = parts.pool_train.images[:LARGEST_UNIVERSE]
    labels = parts.pool_train.labels[parts.task][:LARGEST_UNIVERSE]
    attributes = {name: values[:LARGEST_UNIVERSE] for name, values in parts.pool_train.attributes(parts.task).items()}
    if online:
        images, labels = torch.cat([question.images, images]), torch.cat([question.labels, labels])
        attributes = {name: torch.cat([question.attributes[name], values]) for name, values in attributes.items()}
    universe = Universe.drawn(images, labels, context.budget.shadows, seed, attributes=attributes)
    shadows = fitted_shadows(context.prepared, context.trainer, universe, context.runner.code)
    return Asked(question=question, universe=universe, shadows=shadows, online=online)


def _attacked(context: Context, asked: Asked, seed: int) -> Leaderboard:
    """One seed: read everything, and attack in every arm; the choice is made on the shadows."""
    task, inputs = _read(context, asked, seed, bare=False)
    reads = {"attack": task}
    if context.prepared.target.clean is not None:
        reads["undefended"], _ = _read(context, asked, seed, bare=True)
    candidates = [with_overrides(candidate, context.settings) for candidate in collect("membership")]
    competitors = [Competitor(candidate=candidate, level=LEVEL, grows=False) for candidate in candidates]
    results = Results(competitors=competitors, seeds=(seed,), common=context.common)

    def queued(trial: Trial) -> QueuedTask:
        candidate = results.of(trial.attempt).candidate
        task = reads.get(trial.arm, reads["attack"])(
            adversary=candidate.adversary, settings=dict(candidate.settings), arm=trial.arm
        )
        return QueuedTask(task, context.prepared.place, context.cells, f"{candidate.name}, {trial.arm}")

    arms = [arm for arm in get_args(MembershipArm) if arm != "undefended" or arm in reads]
    schedule = Schedule(
        results=results, budget=context.budget, runner=context.runner, task=queued, name="attacking membership"
    )
    schedule.run(trial for arm in arms for trial in results.trials(results.attempts(), arm))
    statistic = Statistic(
        goal=GOAL,
        name="membership.advantage",
        kind="advantage",
        unit="difference",
        floor=np.zeros(len(asked.truth)),
        few=2 * FEW,
        ties="budget",
    )
    board = Leaderboard(results=results, statistic=statistic)
    if (kind := hard_kind(inputs.shadows, inputs.real, asked.truth, seed)) is not None:
        schedule.run(results.trials(_looking(board, kind), f"{HARD}{kind}"))  # type: ignore[arg-type]
    return board


def _looking(board: Leaderboard, kind: Kind) -> list[Attempt]:
    """Who looks for a mark of a kind that common readers miss: the strongest, and who reads what it is made of."""
    attempts, of = board.results.attempts(), board.results.of
    chosen = board.choose(attempts)
    readers = [each for each in attempts if of(each).candidate.settings.get("reader") in READERS[kind]]
    return readers if chosen is None else list(dict.fromkeys([chosen.attempt, *readers]))


def _read(context: Context, asked: Asked, seed: int, *, bare: bool) -> tuple[partial[MembershipTask], MembershipInputs]:
    """Readings of all shadows on the universe and on the images in question, and of the real defense on those.

    Returns:
        What makes the tasks that attack them, and what was read.
    """
    publisher, place = context.prepared.publisher, context.prepared.place
    if publisher is None:
        raise NotApplicableError(NO_DEFENSE)
    sets = {
        "universe": (asked.universe.images, asked.universe.labels),
        "candidates": (asked.question.images, asked.question.labels),
    }
    for name, (images, labels) in sets.items():
        place.save_beside(f"membership-{name}", {"images": images, "labels": labels})
    digests = {name: tensor_digest(*tensors) for name, tensors in sets.items()}

    def queued(defense: str, where: EvaluationHandle, name: str, title: str) -> QueuedTask:
        stored = f"membership-{name}"
        task = ReadTask(defense=defense, images=digests[name], name=stored, whose=title, bare=bare, seed=seed)
        return QueuedTask(task, where, context.cells, f"{title}, {name}{', target alone' * bare}")

    queue = [queued(context.prepared.defense_digest, place, "candidates", "the defense")]
    for position, shadow in enumerate(asked.shadows):
        where = replace(place, source=shadow.source)
        queue += [queued(shadow.digest, where, name, f"shadow {position}") for name in ("universe", "candidates")]
    found = [measured(outcome) for outcome in context.runner.run("reading signals", queue)]
    inputs = MembershipInputs(
        real=found[0].readings,
        shadows=Shadows(
            names=found[0].names,
            universe=[each.readings for each in found[1::2]],
            member=asked.universe.member.numpy(),
            candidates=[each.readings for each in found[2::2]],
            inside=asked.inside,
            online=asked.online,
        ),
    )
    # What was read stands for the readings themselves.
    answers = tensor_digest(asked.question.member, asked.universe.member, torch.from_numpy(asked.inside))
    name = f"membership-{digest_of([[each.task.key(context.runner.code) for each in queue], answers])[:32]}"
    place.save_beside(name, input_arrays(inputs, asked.truth))
    return partial(MembershipTask, seed=seed, inputs=name, signals=found[0].names, online=asked.online), inputs


def _metrics(board: Leaderboard) -> dict[str, Value]:
    """The catalog's numbers."""
    attempts = board.results.attempts()
    # Who is weaker on average may find more where few are called members.
    found = replace(board.statistic, name="membership.tpr@0.01", unit="rate", decides=False)
    exposed = _exposed_statistic(board.statistic)

    def rate(contestant: Contestant, _rows: Rows, seed: int) -> Value:
        return _rate_at(board.results.outcomes[Trial(contestant.attempt, "attack", seed)])

    return {
        "membership.advantage": chosen_value(board, attempts, lambda _who, rows, _seed: board.statistic.value(rows)),
        "membership.tpr@0.01": chosen_value(replace(board, statistic=found), attempts, rate),
        "membership.exposed": chosen_value(
            replace(board, statistic=exposed), attempts, lambda _who, rows, _seed: exposed.value(rows)
        ),
    }


def _exposed_statistic(advantage: Statistic) -> Statistic:
    """The share of the images in question that an attack picks out and names right, beside that of a blind guesser."""
    asked = len(advantage.floor) if advantage.floor is not None else 0
    return replace(
        advantage,
        name="membership.exposed",
        array=EXPOSED,
        kind="rate",
        unit="rate",
        floor=np.full(asked, BLIND),
        shuffled_by=advantage,
    )


def _rate_at(outcome: Outcome) -> Value:
    """Share of the members found where 1 % of the non-members are called members too; that must be ten of them."""
    truth = outcome.arrays["targets"] % 2 == 1
    others, needed = int((~truth).sum()), round(10 / FALSE_RATE)
    if others < needed:
        return Value.unknown(f"needs {needed} non-members, and there are {others}")
    return estimates.rate(hits_at(outcome.arrays["scores"], truth, FALSE_RATE), int(truth.sum()))


def _evidence(context: Context, board: Leaderboard, shadows: int) -> list[Evidence]:
    """One row per candidate and seed, with its curve in the sidecar for people to look at."""
    results = board.results
    for attempt in results.tried():
        for seed, outcome in zip(results.seeds, results.measured(attempt, "attack"), strict=False):
            name = results.of(attempt).candidate.name.replace(" ", "-") + (f"-{seed}" if len(results.seeds) > 1 else "")
            false, true, _ = roc(outcome.arrays["scores"], outcome.arrays["targets"] % 2 == 1)
            context.rows.update({f"roc/{name}/fpr": false, f"roc/{name}/tpr": true})
    chosen = board.choose(results.attempts())
    maker = EvidenceMaker(
        board=board, protocol=NAME, sidecar=context.rows, budget=lambda _: BUDGET, described=_described
    )
    rows = maker.rows([] if chosen is None else [chosen], {})
    return [row.model_copy(update={"settings": {**row.settings, "shadows": shadows}}) for row in rows]


def _realized(outcome: Outcome) -> dict[str, Value]:
    """True and false positive rates of thresholds that shadows fixed, beside what they promised there.

    `fpr` and `tpr` are of the threshold of the advantage, those with `fixed@0.01` of one that promised 1 %; the curve's
    own `tpr@0.01` knows where on the images in question 1 % is.
    """
    scores, truth = outcome.arrays["scores"], outcome.arrays["targets"] % 2 == 1
    found: dict[str, Value] = {}
    for name, (threshold, promised) in zip(("", "_fixed@0.01"), outcome.arrays["fixed"], strict=True):
        called = scores >= threshold
        found[f"fpr{name}"] = estimates.rate(int(called[~truth].sum()), int((~truth).sum()))
        found[f"fpr{name}_promised"] = estimates.exact(float(promised), "rate")
        found[f"tpr{name}"] = estimates.rate(int(called[truth].sum()), int(truth.sum()))
    return found


def _described(outcome: Outcome) -> dict[str, Any]:
    """What evidence says beside the advantage and its controls."""
    why = "this is what the threshold was chosen by"
    on_shadows = Value(value=float(outcome.validation[0]), low=None, high=None, unit="difference", reason=why)
    metrics = {"tpr@0.01": _rate_at(outcome), "on_shadows": on_shadows, **_realized(outcome), **exposed_by(outcome)}
    metrics["exposed_floor"] = estimates.exact(BLIND, "rate")
    return {"threat": threat_of(LEVEL, BUDGET), "metrics": metrics}
