"""Marks of members of kinds that common readers miss, planted in a copy of what membership attacks read.

Axes: s shadow defenses, u rows of the shadows' universe, m rows that are scored, d features of one release.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from adversaries.evaluation_data import EvaluationData, Part
from adversaries.goals.membership import LARGEST, Readings, Shadows, Truth
from adversaries.health import Kind
from adversaries.planting import drawn_kind, planted

_LABEL, _CLASSES = "member", 2


def hard_kind(shadows: Shadows, real: Readings, truth: Truth, seed: int) -> Kind | None:
    """The kind that a run plants; None if what is read of releases of this form can carry none of them.

    Args:
        shadows, real, truth: as an attack is graded on them.
        seed: of the run.
    """
    return drawn_kind(_world(shadows, real, truth), _LABEL, seed)


def hard_planted(
    shadows: Shadows, real: Readings, truth: Truth, kind: Kind, strength: float, seed: int
) -> tuple[Shadows, Readings]:
    """A copy in which releases say who is a member, alike under every defense, where no single number shows it.

    Signals stay what they are.

    Args:
        shadows, real, truth: as an attack is graded on them.
        kind: how; see `adversaries.health`.
        strength: share of the rows that carry it, in [0, 1].
        seed: of what is drawn.
    """
    generator = torch.Generator().manual_seed(seed)
    world = planted(_world(shadows, real, truth), _LABEL, kind, strength, generator)
    universe = _marked(shadows.universe, world.train)
    candidates = _marked(shadows.candidates, world.validation)
    return replace(shadows, universe=universe, candidates=candidates), _marked([real], world.targets)[0]


def _world(shadows: Shadows, real: Readings, truth: Truth) -> EvaluationData:
    """Releases with membership as their label: of the universe, of the images in question, of the real defense."""
    return EvaluationData(
        train=_part(shadows.universe, shadows.member),
        validation=_part(shadows.candidates, shadows.inside),
        targets=_part([real], truth),
        classes={_LABEL: _CLASSES},
    )


def _part(readings: Sequence[Readings], member: Truth) -> Part:
    release = torch.from_numpy(np.concatenate([each.release for each in readings]))
    return Part(images=None, release=release, labels={_LABEL: torch.from_numpy(member.reshape(-1)).long()})


def _marked(readings: Sequence[Readings], part: Part) -> list[Readings]:
    """The same readings with other releases, which are held in bounds as all that is read is."""
    release = part.release.numpy().clip(-LARGEST, LARGEST)
    pieces = np.split(release, np.cumsum([len(each.release) for each in readings])[:-1])
    return [replace(each, release=piece) for each, piece in zip(readings, pieces, strict=True)]
