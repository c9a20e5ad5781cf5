"""Content hashes of what was fitted: they name results, and seed what is drawn for one defense alone."""

from __future__ import annotations

from torch import nn

from protocols.engine.settings import digest_of
from vfc.defense import Defense
from vfc.release import tensor_digest


def fingerprint(defense: Defense) -> str:
    """Content hash of a fitted defense and its target."""
    state = defense.state()
    settings = {name: str(value) for name, value in defense.settings().items()}
    tensors = tensor_digest(*(state[name] for name in sorted(state)))
    return digest_of([type(defense).__name__, settings, sorted(state), tensors, model_digest(defense.target)])


def model_digest(model: nn.Module | None) -> str:
    """Content hash of a model's structure and weights; empty without one."""
    if model is None:
        return ""
    state = model.state_dict()
    return digest_of([str(model), sorted(state), tensor_digest(*(state[name] for name in sorted(state)))])
