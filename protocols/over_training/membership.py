"""Attacks one layer at one checkpoint: every adversary, one choice on the shadows, one grading, its controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adversaries.attacks.membership.layers import SignalRatio, SignalThreshold
from adversaries.evidence import Value
from adversaries.goals.membership import ADVERSARIES, MembershipAdversary, Truth
from adversaries.goals.membership_grading import (
    GradedMembership,
    MembershipArm,
    MembershipInputs,
    assess_membership,
)
from adversaries.health import HONESTY, LEVEL
from adversaries.statistics import levels
from protocols.evaluation.statistic import FEW
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

    def graded_in(arm: MembershipArm, name: str) -> GradedMembership:
        drawn = derive_seed("layer membership controls", name, seed)
        return assess_membership(adversaries[name], inputs, truth, arm=arm, seed=drawn)

    graded = {name: graded_in("attack", name) for name in adversaries}
    dropped: set[str] = set()
    health: set[str] = set()
    chosen, arms, honest = "", dict[str, Value](), False
    # Controls cost: from the best on the shadows down, only as many are controlled as it takes to find an honest one.
    for name in sorted(graded, key=lambda name: -graded[name].calibrated.advantage):
        controls = {"shuffled": graded_in("shuffled", name).advantage, "planted": graded_in("ceiling", name).advantage}
        flags = _control_flags(graded[name], controls, cells)
        honest = not flags & set(HONESTY)
        if honest or not chosen:
            chosen, arms, health = name, controls, flags
        if honest:
            break
        dropped |= flags & set(HONESTY)
    flagged = tuple(sorted(dropped))
    if honest:
        best = graded[chosen].advantage.model_copy(update={"flags": flagged})
        health |= _strength_flags(chosen, graded)
    else:
        best = Value.unknown(NOBODY_HONEST, unit="difference", flags=flagged)
    if len(truth) < 2 * FEW:
        health.add("TOO_FEW_TARGETS")
    return {
        "chosen": chosen,
        "advantage": best.model_dump(mode="json"),
        **{name: value.model_dump(mode="json") for name, value in arms.items()},
        "health": sorted(health | dropped),
        "tried": {name: _tried(each) for name, each in graded.items()},
    }


def _control_flags(graded: GradedMembership, controls: Mapping[str, Value], cells: int) -> set[str]:
    """Whether an adversary is honest, and able to find what is planted."""
    raised = {
        "NONFINITE_GUESS": not graded.finite,
        "SHUFFLED_ABOVE_CHANCE": (levels.recompute(controls["shuffled"], LEVEL / cells).low or 0.0) > 0,
        "CEILING_MISSED": (controls["planted"].low or 0.0) <= 0,
    }
    return {name for name, yes in raised.items() if yes}


def _strength_flags(chosen: str, graded: Mapping[str, GradedMembership]) -> set[str]:
    """Whether another adversary was clearly stronger, and whether the chosen one found anything."""
    best = graded[chosen].advantage
    rivals = {name: levels.recompute(each.advantage, LEVEL / len(graded)).low for name, each in graded.items()}
    missed = any((low or -1.0) > (best.value or 0.0) for name, low in rivals.items() if name != chosen)
    return {*(["SELECTION_MISSED"] if missed else []), *(["AT_FLOOR"] if (best.low or 0.0) <= 0 else [])}


def _tried(graded: GradedMembership) -> dict[str, Any]:
    return {
        "on_shadows": graded.calibrated.advantage,
        "advantage": graded.advantage.model_dump(mode="json"),
    }
