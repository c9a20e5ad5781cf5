"""Content hashes of what is attacked."""

from __future__ import annotations

from torch import nn

from protocols.engine.settings import digest_of
from vfc.defense import Defense
from vfc.release import tensor_digest


def fingerprint(defense: Defense) -> str:
    """Content hash of a fitted defense and its target."""
    return digest_of([*_content(defense), model_digest(defense.target)])


def digest_of_defense(defense: Defense) -> str:
    """Content hash of a fitted defense alone."""
    return digest_of(_content(defense))


def model_digest(model: nn.Module | None) -> str:
    """Content hash of a model's structure and weights; empty without one."""
    if model is None:
        return ""
    state = model.state_dict()
    return digest_of([str(model), sorted(state), tensor_digest(*(state[name] for name in sorted(state)))])


def _content(defense: Defense) -> list[object]:
    state = defense.state()
    settings = {name: str(value) for name, value in defense.settings().items()}
    return [type(defense).__name__, settings, sorted(state), tensor_digest(*(state[name] for name in sorted(state)))]
