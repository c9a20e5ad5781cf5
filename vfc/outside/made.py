"""A user's own network from a factory, kept with its weights, so that any process has the same one."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vfc.errors import UserError
from vfc.factory import ReleaseSpec, call_factory
from vfc.isolation.user_code import user_call
from vfc.outside.names import ModelName
from vfc.seeding import seeded
from vfc.wrapper import ModuleDefense


class Made(nn.Module):
    """Images in [0, 1] to logits, by a network of the user's own.

    Args:
        body: the network.
        arch: JSON-ready facts from which `remade` makes the same architecture: `factory`, `source`, `num_classes`
            and, by whoever can tell, `code`, a digest of the factory's code.
    """

    def __init__(self, body: nn.Module, arch: dict[str, Any]) -> None:
        super().__init__()
        self.body, self.arch = body, arch

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        """Logits."""
        logits: Tensor = user_call(str(self.arch["factory"]), partial(self.body, x))
        return logits


def from_factory(name: ModelName, classes: int, *, code: str = "") -> Made:
    """What a factory returns, in eval mode on the CPU; what it draws from torch's global state is always the same.

    Args:
        name: of kind `factory`.
        classes: handed to factories that have a parameter `num_classes`.
        code: digest of the factory's code, if the caller knows it.

    Raises:
        UserError: it cannot be imported, is missing, raises, or returns no module.
    """
    own = Path(name.source).name if name.source.endswith(".py") else name.source
    arch = {
        "factory": f"{own}:{name.attribute}",
        "source": name.source,
        "attribute": name.attribute,
        "num_classes": classes,
        "code": code,
    }
    return remade(arch)


def remade(arch: Mapping[str, Any]) -> Made:
    """The network that `Made.arch` describes, with the weights that its factory gives it.

    Raises:
        UserError: it is no such description, or the factory cannot be used.
    """
    texts = ("factory", "source", "attribute", "code")
    if not all(isinstance(arch.get(each), str) for each in texts) or not isinstance(arch.get("num_classes"), int):
        raise UserError(f"expected the description of a factory's network, got {sorted(arch)}", "train again")
    spec = ReleaseSpec(kind="factory", text=arch["factory"], source=arch["source"], attribute=arch["attribute"])
    if spec.source.endswith(".py") and not Path(spec.source).is_file():
        raise UserError(f"expected the factory of this model in {spec.source}, got nothing there", "restore the file")
    found = seeded(partial(call_factory, spec, arch["num_classes"]), torch.Generator().manual_seed(0))
    if not isinstance(found, ModuleDefense):
        raise UserError(
            f"expected {spec.text} to return a torch.nn.Module from images to logits, got {type(found).__name__}",
            "a defense is named by --release",
        )
    # Frozen by whoever uses it: one who trains it further must be able to, although its owner froze it.
    return Made(found.module.cpu(), dict(arch)).eval().requires_grad_(True)
