"""A torch module, a function or any object with `predict` as a defense, checked for what is usually wrong with it."""

# Structure: calibration does not count it.

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from vfc.defense import Defense
from vfc.errors import UserError
from vfc.handed.arrays import as_tensor
from vfc.handed.content import digest_of_object
from vfc.handed.held import DEFENSES_HELD
from vfc.isolation.user_code import defender_call
from vfc.wrapper import ModuleDefense

PREFIX = "python"
_OPTIONAL = ("clean_target", "secret", "stochastic", "mask", "encoder", "decoder")
_TRAINS = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)


def hold_defense(value: object, target: object = None) -> str:
    """Keep a defense for this process, and say under which name `resolve` finds it.

    Args:
        value: a torch module or a function from images (n, c, h, w) in [0, 1] to one release row per image, an object
            that can be called like that, or a vfc `Defense`.
        target: the intended use, a torch module or a function from releases to logits (n, classes); None for the
            object's own `predict` or `target`.

    Returns:
        `python:NAME:DIGEST`, where the digest is of code and weights.

    Raises:
        UserError: it is nothing of that kind, or something about it would spoil the numbers.
    """
    name = _name(value)
    if isinstance(value, Defense):
        if target is not None:
            raise UserError(f"expected no target beside the vfc Defense {name}, got one", "leave target out")
        defense = value
    else:
        module = _module(value, target, name)
        _check_modes(module)
        _check_devices(module)
        defense = ModuleDefense(module=module, origin=name)
    digest = digest_of_object([value, target])[:12]
    if isinstance(defense, ModuleDefense):
        defense = replace(defense, code=digest)
    # Now, and not after a training: a secret that cannot be read is a mistake.
    defender_call(defense, defense.declared_secret)
    text = f"{PREFIX}:{name}:{digest}"
    DEFENSES_HELD[text] = defense
    return text


class Handed(nn.Module):
    """A callable and its intended use as one module.

    Args:
        call: from images to releases.
        use: from releases to logits; None without an intended use.
        known: attributes of the object that a defense may show.
    """

    def __init__(self, call: Callable[..., Any], use: object, known: dict[str, Any]) -> None:
        super().__init__()
        self.call = call
        if isinstance(use, nn.Module):
            self.target = use
        elif use is not None:
            self.predict = use
        for name, item in known.items():
            setattr(self, name, item)

    def forward(self, x: Tensor) -> Any:
        """The release of some images."""
        return as_tensor(self.call(x))


class Reader(nn.Module):
    """A function from releases to logits as a module, so that it can be asked about images too.

    Args:
        call: the function.
    """

    def __init__(self, call: Callable[..., Any]) -> None:
        super().__init__()
        self.call = call

    def forward(self, release: Tensor) -> Any:
        """The logits."""
        return as_tensor(self.call(release))


class Fitting(Handed):
    """The same for an object that learns."""

    def fit(self, images: Tensor, labels: Tensor) -> None:
        """Let the object learn, in its own way."""
        self.call.fit(images, labels)  # type: ignore[attr-defined]


def _name(value: object) -> str:
    """A word for a defense, as reports have it."""
    name = str(getattr(value, "__name__", type(value).__name__))
    return name if name.isidentifier() else "function" if callable(value) else "object"


def _module(value: object, target: object, name: str) -> nn.Module:
    """The object as a torch module with its intended use."""
    if isinstance(value, type):
        raise UserError(f"expected a defense, got the class {name}", f"hand over an object: {name}()")
    if isinstance(value, nn.Module) and target is None:
        return value
    if not callable(value):
        raise UserError(
            f"expected a torch module, a function or an object that can be called, got {type(value).__name__}",
            "hand over what maps images (n, c, h, w) to releases; published values go to release=",
        )
    use = target if target is not None else getattr(value, "predict", getattr(value, "target", None))
    if target is not None and not isinstance(target, nn.Module) and callable(target):
        use = Reader(target)
    if use is not None and not callable(use):
        raise UserError(
            f"expected a target that can be called, got {type(use).__name__}", "give a module from release to logits"
        )
    known = {each: getattr(value, each) for each in _OPTIONAL if getattr(value, each, None) is not None}
    return (Fitting if callable(getattr(value, "fit", None)) else Handed)(value, use, known)


def _check_modes(module: nn.Module) -> None:
    """Refuse a module in training mode whose layers would compute something else in use."""
    for name, layer in module.named_modules():
        if isinstance(layer, _TRAINS) and layer.training and not callable(getattr(module, "fit", None)):
            raise UserError(
                "expected defense and target in eval mode, got "
                f"{_plain(name)} ({type(layer).__name__}) in training mode",
                "call .eval() on them first; noise that is part of the defense belongs into its forward, as "
                "torch.nn.functional.dropout(x, training=True)",
            )


def _check_devices(module: nn.Module) -> None:
    """Refuse weights on several devices, and on the one that holds no numbers."""
    found: dict[str, str] = {}
    for name, values in (*module.named_parameters(), *module.named_buffers()):
        found.setdefault(str(values.device), name)
    if len(found) > 1:
        where = " and ".join(f"{_plain(name)} on {device}" for device, name in sorted(found.items()))
        raise UserError(
            f"expected defense and target on one device, got {where}", "move both: defense.to('cpu'), target.to('cpu')"
        )
    if "meta" in found:
        raise UserError(
            f"expected defense and target with numbers, got {_plain(found['meta'])} on the device meta, which has none",
            "load the weights on a real device",
        )


def _plain(name: str) -> str:
    """A layer's name without the word that holds the user's object here."""
    return name.removeprefix("call.") or "the module"
