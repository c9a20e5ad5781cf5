"""Conducting the ladder of knowledge on the task label: a board, a campaign, and the numbers that come of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from adversaries.adversary import ADVERSARIES
from adversaries.evidence import Value
from adversaries.goals.assess import reads_labels
from adversaries.goals.label import LabelGoal, TaskLabel
from protocols.evaluation.board import Board
from protocols.evaluation.campaign import Campaign
from protocols.evaluation.candidate import Candidate, calibrated
from protocols.evaluation.codelength import codelengths
from protocols.evaluation.context import FEW, Context, Findings
from protocols.evaluation.cross_protocol import let_in, stronger
from protocols.evaluation.label_evidence import evidence_of, reference_row
from protocols.evaluation.label_metrics import LabelMetrics
from protocols.evaluation.overrides import with_overrides


def conduct_task(context: Context, protocol: str, candidates: Sequence[Candidate], *, adaptive: bool) -> Findings:
    """Attack the task label.

    Args:
        context: the run.
        protocol: its name.
        candidates: who competes.
        adaptive: whether the `adaptive.*` numbers are wanted.
    """
    prepared = context.prepared
    goal = TaskLabel(label=prepared.parts.task)
    board = board_of(context, goal, candidates)
    campaign_of(context, board, goal).run(context.levels)
    numbers = numbers_of(context, board)
    metrics = numbers.transfer()
    if adaptive:
        metrics |= numbers.adaptive([level for level in context.levels if level <= "L2"])
    evidence = evidence_of(board, protocol, goal.name, board.choices(context.levels), context.rows)
    if adaptive:
        coded = codelengths(context, protocol, [goal.label])
        evidence, metrics = [*evidence, *coded.evidence], {**metrics, **coded.metrics}
    if context.threat >= "L5" and prepared.target.release is not None:
        evidence.append(reference_row(protocol, goal.name, prepared.target.release, board.floor, context.settings.seed))
    return Findings(evidence=evidence, metrics=metrics, ladder=board if adaptive else None)


def numbers_of(context: Context, board: Board) -> LabelMetrics:
    """What computes the numbers of a board on the task label."""
    prepared = context.prepared
    per_class = len(prepared.world.train) / prepared.dataset.classes[prepared.parts.task]
    return LabelMetrics(board=board, target=prepared.target, per_class=per_class, rows=context.rows)


def against_everybody(context: Context, found: Sequence[Findings]) -> dict[str, Value]:
    """`adaptive.*` with everybody who attacked the task label, where the threat grants more than labels.

    Args:
        context: at the threat level of these numbers.
        found: what the protocols found; without the ladder's board there is nothing to compute.
    """
    board = next((each.ladder for each in found if each.ladder is not None), None)
    rivals = [rival for each in found for rival in each.rivals]
    if board is None or not rivals or context.threat < "L3":
        return {}
    levels, n = [level for level in context.levels if level <= "L4"], len(board.floor)
    let_in(board, (rival for rival in rivals if rival.graded_on(n)))
    numbers = numbers_of(context, board)
    metrics = numbers.strongest(levels)
    chosen = board.choose(board.attempts(board.grid[-1], levels=levels))
    some = [rival for rival in rivals if not rival.graded_on(n) and rival.level in levels]
    # Who can afford some targets only cannot be compared by the whole validation part; on the targets it must not win.
    missed = [] if chosen is None else stronger(board, chosen, some)
    return numbers.with_missed(metrics, [[outcome.targets for outcome in rival.attacks()] for rival in missed])


def board_of(context: Context, goal: LabelGoal, candidates: Sequence[Candidate]) -> Board:
    """An empty board for those candidates that the threat level allows."""
    floor = goal.floor(context.prepared.world).cpu().numpy().astype(np.uint8)
    few = {"TOO_FEW_TARGETS"} if len(floor) < FEW else set()
    candidates = [each for each in candidates if ADVERSARIES.get(each.adversary).level in context.levels]
    kinds = [ADVERSARIES.get(candidate.adversary) for candidate in candidates]
    world = context.prepared.world
    candidates = [with_overrides(candidate, context.settings) for candidate in candidates]
    return Board(
        candidates=candidates,
        levels=[kind.level for kind in kinds],
        readers=frozenset(i for i, kind in enumerate(kinds) if reads_labels(kind)),
        seeds=context.seeds,
        grid=context.budget.labels,
        floor=floor,
        common=tuple(dict.fromkeys((*context.common, *few))),
        planted=world.train.images is None,
        calibrated=calibrated(candidates, n=len(floor), dataset=context.prepared.dataset.name),
    )


def campaign_of(context: Context, board: Board, goal: LabelGoal) -> Campaign:
    """The runner of a board's cells."""
    return Campaign(
        board=board,
        goal=goal.name,
        place=context.prepared.place,
        undefended=context.prepared.undefended,
        digests=context.prepared.digests,
        budget=context.budget,
        cells=context.cells,
        ceilings=context.shared,
        runner=context.runner,
    )


def models_of(context: Context) -> tuple[list[str], str | None]:
    """Names of the unintended models and of the near twin among them; none without images."""
    families = context.prepared.families
    return ([], None) if families is None else (list(families.unintended), families.twin)
