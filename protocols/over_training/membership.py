"""Attacks one layer at one checkpoint: every adversary, one choice on the shadows, one grading, its controls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from adversaries import health
from adversaries.attacks.membership.layers import SignalRatio, SignalThreshold
from adversaries.evidence import Value
from adversaries.goals.membership import ADVERSARIES, MembershipAdversary, Truth
from adversaries.goals.membership_grading import MembershipArm, MembershipInputs, assess_membership
from protocols.engine.task import Outcome
from protocols.evaluation.candidate import Candidate
from protocols.evaluation.flags import health_flags
from protocols.evaluation.leaderboard import Contestant, Leaderboard
from protocols.evaluation.results import Arm, Attempt, Competitor, Results, Trial
from protocols.evaluation.statistic import FEW, Statistic
from vfc.seeding import derive_seed

NOBODY_HONEST = "no adversary is honest here: each beats chance on shuffled labels, or guesses what is no number"


def candidates_for(names: Sequence[str]) -> dict[str, MembershipAdversary]:
    """Every adversary on every signal, by name, and the classifier of all of them with the output itself."""
    found: dict[str, MembershipAdversary] = {}
    for name in names:
        found[f"threshold {name}"] = SignalThreshold(signal=name)
        found[f"lira {name}"] = SignalRatio(signal=name)
    return {**found, "shadow-classifier": ADVERSARIES.get("shadow-classifier")()}


def attacked(inputs: MembershipInputs, truth: Truth, seed: int, cells: int) -> dict[str, Any]:
    """Attack one layer.

    Args:
        inputs: what it shows, of the network in question and of all shadows.
        truth: who is a member; no adversary sees it.
        seed: of the controls.
        cells: how many of these attacks the study makes; flags are tests at a level divided by that.

    Returns:
        JSON-ready: `advantage` of the adversary chosen on the shadows, its `shuffled` and `planted` arms, `health`,
        and `tried`, all adversaries with their advantage on the shadows and on the images in question. If no adversary
        is honest, the advantage is unknown, and the arms are those of the best on the shadows.
    """
    adversaries = candidates_for(inputs.shadows.names)
    competitors = [Competitor(candidate=Candidate(adversary=name), level="L4", grows=False) for name in adversaries]
    results = Results(competitors=competitors, seeds=(seed,), comparisons=cells)
    statistic = Statistic(
        goal="membership", kind="advantage", unit="difference", floor=np.zeros(len(truth)), few=2 * FEW, ties="budget"
    )
    board = Leaderboard(results=results, statistic=statistic)

    def run(attempt: Attempt, *arms: MembershipArm) -> None:
        name = results.of(attempt).candidate.adversary
        drawn = derive_seed("layer membership controls", name, seed)
        for arm in arms:
            graded = assess_membership(adversaries[name], inputs, truth, arm=arm, seed=drawn)
            arrays = {"validation": np.array([graded.calibrated.advantage]), "targets": graded.rows}
            flags = () if graded.finite else ("NONFINITE_GUESS",)
            results.outcomes[Trial(attempt, arm, seed)] = Outcome(status="measured", flags=flags, arrays=arrays)

    for attempt in results.attempts():
        run(attempt, "attack")
    # Controls cost: from the best on the shadows down, only as many are controlled as it takes to find an honest one.
    controlled: list[Attempt] = []
    for contestant in sorted(board.contestants(results.attempts()), key=board.strength, reverse=True):
        run(contestant.attempt, "shuffled", "ceiling")
        controlled.append(contestant.attempt)
        if not board.dishonest(contestant.attempt):
            break
    return _payload(board, controlled)


def _payload(board: Leaderboard, controlled: Sequence[Attempt]) -> dict[str, Any]:
    """What is said of one layer, as `attacked` returns it."""
    results = board.results

    def value(contestant: Contestant, arm: Arm = "attack") -> Value:
        return board.statistic.value(board.rows(contestant, arm)[0])

    dropped = {flag for attempt in controlled for flag in board.dishonest(attempt)}
    honest = board.choose(controlled)
    shown = honest or Contestant(controlled[0])
    flags = {*dropped, *health_flags(board, shown)}
    if honest is None:
        flags.discard("AT_FLOOR")
        best = Value.unknown(NOBODY_HONEST, unit="difference")
    else:
        best = value(honest)
        flags |= {"SELECTION_MISSED"} if _missed(board, honest) else set()
    return {
        "chosen": results.of(shown.attempt).candidate.adversary,
        "advantage": best.model_copy(update={"flags": tuple(sorted(dropped))}).model_dump(mode="json"),
        "shuffled": value(shown, "shuffled").model_dump(mode="json"),
        "planted": value(shown, "ceiling").model_dump(mode="json"),
        "health": sorted(flags),
        "tried": {
            results.of(each.attempt).candidate.adversary: {
                "on_shadows": board.strength(each),
                "advantage": value(each).model_dump(mode="json"),
            }
            for each in board.contestants(results.attempts())
        },
    }


def _missed(board: Leaderboard, chosen: Contestant) -> bool:
    """Whether another adversary, honest or not, was clearly stronger: controls are made of few."""
    everybody = board.contestants(board.results.attempts())
    ours, level = board.rows(chosen)[0], health.LEVEL / len(everybody)
    return any(board.statistic.missed(board.rows(each)[0], ours, level) for each in everybody if each != chosen)
