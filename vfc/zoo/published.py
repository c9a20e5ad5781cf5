"""torchvision's classifiers as they are published, for weights that somebody else trained."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from vfc.errors import UserError, unknown
from vfc.zoo.shape import Shape

PREFIX = "torchvision:"
"""Begins the name of an architecture of torchvision's, such as `torchvision:resnet18`."""


def of_torchvision(name: str) -> Callable[[Shape], tuple[nn.Module, int]] | None:
    """What builds a body of torchvision's, without its last linear layer; None for names without the prefix.

    Args:
        name: the prefix and a name that torchvision knows.

    Raises:
        UserError: torchvision has no such classifier.
    """
    if not name.startswith(PREFIX):
        return None
    _check(name)

    def build(shape: Shape) -> tuple[nn.Module, int]:
        if shape.channels != 3 or shape.width != 1:
            raise UserError(
                f"expected 3 channels and width 1 for {name}, got {shape.channels} and {shape.width:g}",
                "its weights fit nothing else",
            )
        body = _made(name)
        head = _head_name(body, name)
        weight = body.get_parameter(f"{head}.weight")
        body.set_submodule(head, nn.Identity())
        return body, weight.shape[1]

    return build


def head_of_torchvision(name: str) -> str:
    """Dotted name of the last linear layer of a classifier of torchvision's.

    Raises:
        UserError: torchvision has no such classifier, or its last layer is another one, as in SqueezeNet.
    """
    _check(name)
    with torch.device("meta"):
        return _head_name(_made(name), name)


def _check(name: str) -> None:
    """Refuse a name that torchvision does not know."""
    import torchvision.models

    known = torchvision.models.list_models(module=torchvision.models)
    if not name.startswith(PREFIX) or name.removeprefix(PREFIX) not in known:
        raise unknown("classifier of torchvision", name.removeprefix(PREFIX), known)


def _made(name: str) -> nn.Module:
    import torchvision.models

    body: nn.Module = torchvision.models.get_model(name.removeprefix(PREFIX), weights=None)
    return body


def _head_name(body: nn.Module, name: str) -> str:
    """Dotted name of the last linear layer, which must be the last layer of all with weights.

    Raises:
        UserError: another layer is the last, as in SqueezeNet.
    """
    weighted = [place for place, module in body.named_modules() if getattr(module, "weight", None) is not None]
    last = weighted[-1] if weighted else ""
    if not last or not isinstance(body.get_submodule(last), nn.Linear):
        raise UserError(f"expected {name} to end with a linear layer, got another", "bring it by a factory")
    return last
