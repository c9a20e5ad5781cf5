"""What the layers of any torch module let through: taps on their outputs, and their attack-free numbers.

Axes: n images, m values of a layer's output.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from adversaries.diagnostics.ranks import jacobian_values
from adversaries.diagnostics.release import measure_values
from adversaries.diagnostics.spectra import Effort, spectra
from adversaries.diagnostics.steps import StraightThrough
from adversaries.evidence import Value
from vfc.core.objective import frozen
from vfc.errors import NotApplicableError, UserError, unknown
from vfc.isolation.user_code import user_call

_CHUNK = 64


@dataclass(frozen=True, kw_only=True)
class LayerSettings:
    """How layers are measured.

    Args:
        samples: images whose Jacobians are computed.
        straight_through: count rounding steps as the identity.
        effort: of the spectra; its memory also limits how many images' outputs are kept.
    """

    samples: int = 8
    straight_through: bool = False
    effort: Effort = field(default_factory=Effort)

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise UserError(f"expected 2 or more samples, got {self.samples}", "one image has no interval")


@dataclass(frozen=True, kw_only=True)
class LayerLeakage:
    """The numbers of one layer.

    Args:
        name, kind: of the module inside the model.
        shape: of its output for one image.
        values: by the names of `adversaries.diagnostics.release`; unknown ones have their reason.
        arrays: for a sidecar.
        method: how the spectra were computed; empty without any.
        notes: what a reader must know.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    values: Mapping[str, Value]
    arrays: Mapping[str, NDArray[Any]]
    method: str
    notes: tuple[str, ...]

    def report(self, names: Iterable[str] | None = None) -> dict[str, Any]:
        """As files say it, with the values of some names, in their order, or with all."""
        shown = sorted(self.values) if names is None else [name for name in names if name in self.values]
        return {
            "name": self.name,
            "kind": self.kind,
            "shape": list(self.shape),
            "method": self.method,
            "notes": list(self.notes),
            "metrics": {name: self.values[name].model_dump(mode="json") for name in shown},
        }


class _ReachedError(Exception):
    """Ends a forward pass as soon as the wanted output is there."""


class Tap:
    """A layer's output as a function of the model's input. The model stops there; later layers are not run.

    The output is copied at once, so that a later in-place operation (ReLU after BatchNorm) cannot change it.

    Args:
        module: the model.
        name: of the layer, as in `named_modules`.
        call: which of its calls in one forward pass, from 1; None for the last.
        origin: how errors name the model.
    """

    def __init__(self, module: nn.Module, name: str, *, call: int | None = None, origin: str = "the model") -> None:
        self.module, self.name, self.call, self.origin = module, name, call, origin
        self.calls = 0
        self.several = False

    def __call__(self, x: Float[Tensor, "n ..."]) -> Tensor:
        """The layer's output for some images.

        Raises:
            NotApplicableError: the layer is not called, or gives no tensor.
            UserError: the model raises.
        """
        if self.call is None:
            with torch.no_grad():
                self._run(x[:1].detach(), None)
            self.call = self.calls
        return self._run(x, self.call)

    def _run(self, x: Tensor, wanted: int | None) -> Tensor:
        held: list[Any] = []
        self.calls = 0

        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            self.calls += 1
            if wanted is None or self.calls == wanted:
                held[:] = [_tensors(output)]
                if wanted is not None:
                    held[0] = [tensor.clone() for tensor in held[0][:1]] + held[0][1:]
                    raise _ReachedError

        handle = self.module.get_submodule(self.name).register_forward_hook(hook)
        try:
            user_call(self.origin, lambda: _until_reached(self.module, x.clone()))
        finally:
            handle.remove()
        if not held:
            raise NotApplicableError("the layer is not called when the model reads an image")
        if not held[0]:
            raise NotApplicableError("the layer's output holds no tensor")
        self.several = len(held[0]) > 1
        found: Tensor = held[0][0]
        return found


def layer_names(module: nn.Module, patterns: Sequence[str]) -> tuple[str, ...]:
    """Names of the layers that patterns mean, in the model's order.

    `*` and `?` stay within one level: `layer*` is layer1 to layer4 of a ResNet, `layer1.*` their blocks.

    Raises:
        UserError: a pattern without any layer; says which exist and the nearest.
    """
    names = [name for name, _ in module.named_modules() if name]
    if not names:
        raise UserError(f"expected a model with layers, got {type(module).__name__} without any", "wrap it in a module")
    chosen: set[str] = set()
    for pattern in patterns:
        level = [name for name in names if name.count(".") == pattern.count(".")]
        found = fnmatch.filter(level, pattern)
        if not found:
            raise unknown("layer", pattern, level or names)
        chosen.update(found)
    return tuple(name for name in names if name in chosen)


def measure_layers(
    module: nn.Module,
    images: Float[Tensor, "n ..."],
    names: Iterable[str],
    generator: torch.Generator,
    *,
    settings: LayerSettings | None = None,
    origin: str = "the model",
    done: Callable[[str], None] | None = None,
) -> tuple[LayerLeakage, ...]:
    """Attack-free numbers of some layers; the model is put to eval mode meanwhile, and changed in nothing else.

    Args:
        module: the model.
        images: what it reads, shape (n, ...); Jacobians are taken at the first few.
        names: from `layer_names`.
        generator: draws the probes of sketches.
        settings: how to measure.
        origin: how errors name the model.
        done: called with each layer's name when it is measured.

    Raises:
        UserError: the model raises on these images.
    """
    settings = settings or LayerSettings()
    measured = []
    with frozen(module):
        user_call(origin, lambda: _forward(module, images[:1]))
        for name in names:
            measured.append(_measure(module, name, images, generator, settings, origin))
            if done is not None:
                done(name)
    return tuple(measured)


def _measure(
    module: nn.Module, name: str, images: Tensor, generator: torch.Generator, settings: LayerSettings, origin: str
) -> LayerLeakage:
    tap = Tap(module, name, origin=origin)
    kind = type(module.get_submodule(name)).__name__
    values: dict[str, Value] = {}
    arrays: dict[str, NDArray[Any]] = {}
    notes: list[str] = []
    shape: tuple[int, ...] = ()
    method = ""
    try:
        with torch.no_grad():
            first = tap(images[:1])
            shape = tuple(first.shape[1:])
            keep = min(len(images), max(32, settings.effort.memory // (4 * max(1, first.numel() * 4))))
            outputs = torch.cat([tap(some) for some in torch.split(images[:keep], _CHUNK)])
        if keep < len(images):
            notes.append(f"degrees of freedom and dimension from {keep} images, which fill the memory")
        if tap.call and tap.call > 1:
            notes.append(f"called {tap.call} times: its last output is measured")
        if tap.several:
            notes.append("gives several tensors: the first is measured")
        values.update(measure_values(outputs))
        del outputs

        def straight(x: Tensor) -> Tensor:
            with StraightThrough():
                return tap(x)

        found = spectra(
            straight if settings.straight_through else tap,
            images[: settings.samples],
            generator=generator,
            effort=settings.effort,
        )
        values.update(jacobian_values(found, name, arrays))
        method = found.method
    except NotApplicableError as error:
        for metric in ("rank@1e-3", "effective_rank", "stable_rank"):
            values[f"leakage.jacobian.{metric}"] = Value.unknown(str(error), unit="dimensions")
    return LayerLeakage(
        name=name, kind=kind, shape=shape, values=values, arrays=arrays, method=method, notes=tuple(notes)
    )


def gray_as_color(module: nn.Module, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n three h w"] | None:
    """Gray images with their channel repeated, if the model's first convolution reads three; None if they fit."""
    first = next((part for part in module.modules() if isinstance(part, nn.Conv2d)), None)
    if first is None or images.shape[1] != 1 or first.in_channels != 3:
        return None
    return images.expand(-1, 3, -1, -1)


def _tensors(output: Any) -> list[Tensor]:
    """The tensors of a layer's output, in their order."""
    if isinstance(output, Tensor):
        return [output]
    parts = output.values() if isinstance(output, Mapping) else output
    return [tensor for part in parts for tensor in _tensors(part)] if isinstance(parts, Iterable) else []


def _until_reached(module: nn.Module, x: Tensor) -> None:
    try:
        module(x)
    except _ReachedError:
        return


def _forward(module: nn.Module, x: Tensor) -> None:
    with torch.no_grad():
        module(x)
