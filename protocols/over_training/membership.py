"""Who was a member, by what one layer shows: every adversary, one choice on the shadows, one grading, its controls.

Axes: n members and n non-members, s shadows, u images of their universe.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adversaries.attacks.membership.layers import SignalRatio, SignalThreshold
from adversaries.attacks.membership.signals import Measured
from adversaries.evidence import Value
from adversaries.goals.membership import ADVERSARIES, MembershipAdversary, Shadows, Truth
from adversaries.health import HONESTY, LEVEL
from adversaries.statistics import levels
from protocols.evaluation.statistic import FEW
from protocols.membership.attempt import Graded, MembershipInputs, grade
from protocols.membership.study import Question
from vfc.seeding import derive_seed
from vfc.splits import Parts

NOBODY_HONEST = "no adversary is honest here: each beats chance on shuffled labels, or guesses what is no number"


def question_of(parts: Parts, most: int, seed: int) -> Question:
    """As many images that were trained on as targets, from one random draw, mixed.

    Args:
        parts: who owns what.
        most: members, at most.
        seed: of the draw.
    """
    sides = (parts.defender_train, parts.targets)
    n = min(most, *(len(side) for side in sides))
    generator = torch.Generator().manual_seed(derive_seed("membership draw", seed))
    rows = [torch.randperm(len(side), generator=generator)[:n] for side in sides]
    mixed = torch.randperm(2 * n, generator=generator)

    def both(of: Sequence[Tensor]) -> Tensor:
        return torch.cat([values[chosen] for values, chosen in zip(of, rows, strict=True)])[mixed]

    return Question(
        images=both([side.images for side in sides]),
        labels=both([side.labels[parts.task] for side in sides]),
        member=(torch.arange(2 * n) < n)[mixed],
    )


@dataclass(frozen=True, kw_only=True)
class Sightings:
    """What one layer shows, of the network in question and of all shadows.

    Args:
        real: on the images in question.
        candidates: of every shadow on these.
        universe: of every shadow on the images that it could have been trained on.
        member: which of those it was trained on; (s, u).
        inside: which of the images in question; (s, 2n).
    """

    real: Measured
    candidates: Sequence[Measured]
    universe: Sequence[Measured]
    member: Truth
    inside: Truth

    @property
    def world(self) -> MembershipInputs:
        """As adversaries are shown it."""
        return MembershipInputs(
            real=self.real.readings,
            shadows=Shadows(
                names=self.real.names,
                universe=[each.readings for each in self.universe],
                member=self.member,
                candidates=[each.readings for each in self.candidates],
                inside=self.inside,
            ),
        )


def candidates_for(names: Sequence[str]) -> dict[str, MembershipAdversary]:
    """Every adversary on every signal, by name, and the classifier of all of them with the output itself."""
    found: dict[str, MembershipAdversary] = {}
    for name in names:
        found[f"threshold {name}"] = SignalThreshold(signal=name)
        found[f"lira {name}"] = SignalRatio(signal=name)
    return {**found, "shadow-classifier": ADVERSARIES.get("shadow-classifier")()}


def attacked(seen: Sightings, truth: Truth, seed: int, cells: int) -> dict[str, Any]:
    """Attack one layer.

    Args:
        seen: what it shows.
        truth: who is a member; no adversary sees it.
        seed: of the controls.
        cells: how many of these attacks the study makes; flags are tests at a level divided by that.

    Returns:
        JSON-ready: `advantage` of the adversary chosen on the shadows, its `shuffled` and `planted` arms, `health`,
        and `tried`, all adversaries with their advantage on the shadows and on the images in question. If no adversary
        is honest, the advantage is unknown, and the arms are those of the best on the shadows.
    """
    world, adversaries = seen.world, candidates_for(seen.real.names)
    graded = {name: grade(adversary, world, truth) for name, adversary in adversaries.items()}
    dropped: set[str] = set()
    health: set[str] = set()
    chosen, arms, honest = "", dict[str, Any](), False
    for name, shuffled, planted, flags in _by_shadows(adversaries, graded, world, truth, seed, cells):
        honest = not flags & set(HONESTY)
        if honest or not chosen:
            chosen, arms, health = name, {"shuffled": shuffled, "planted": planted}, set(flags)
        if honest:
            break
        dropped |= flags & set(HONESTY)
    flagged = tuple(sorted(dropped))
    if honest:
        best = graded[chosen].advantage.model_copy(update={"flags": flagged})
        health |= _doubts(chosen, graded)
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


def _doubts(chosen: str, graded: Mapping[str, Graded]) -> set[str]:
    """Whether another adversary was clearly stronger, and whether the chosen one found anything."""
    best = graded[chosen].advantage
    rivals = {name: levels.recompute(each.advantage, LEVEL / len(graded)).low for name, each in graded.items()}
    missed = any((low or -1.0) > (best.value or 0.0) for name, low in rivals.items() if name != chosen)
    return {*(["SELECTION_MISSED"] if missed else []), *(["AT_FLOOR"] if (best.low or 0.0) <= 0 else [])}


def _by_shadows(
    adversaries: Mapping[str, MembershipAdversary],
    graded: Mapping[str, Graded],
    world: MembershipInputs,
    truth: Truth,
    seed: int,
    cells: int,
) -> Iterator[tuple[str, Any, Any, set[str]]]:
    """Adversaries from the best on the shadows down, each with its controls; these cost, so only as many as asked."""
    for name in sorted(graded, key=lambda name: -graded[name].calibrated.advantage):
        generator = np.random.Generator(np.random.PCG64(derive_seed("layer membership controls", name, seed)))
        flags = set() if graded[name].finite else {"NONFINITE_GUESS"}
        permuted = grade(adversaries[name], world.shuffled(generator), generator.permutation(truth)).advantage
        if (levels.recompute(permuted, LEVEL / cells).low or 0.0) > 0:
            flags.add("SHUFFLED_ABOVE_CHANCE")
        shown = grade(adversaries[name], world.planted(truth, generator), truth).advantage
        if (shown.low or 0.0) <= 0:
            flags.add("CEILING_MISSED")
        yield name, permuted, shown, flags


def _tried(graded: Graded) -> dict[str, Any]:
    return {
        "on_shadows": graded.calibrated.advantage,
        "advantage": graded.advantage.model_dump(mode="json"),
    }
