"""Was an image among those that a classifier was trained on? What each of its layers shows of that.

The attacker holds the network (white-box), the image and its label. Per layer: the gradient of the image's own loss
with respect to the layer's output and to the layer's own parameters, the length of the output, and the output itself.

Axes: n images, c channels, h and w pixels, m values of a layer's output, p values of a parameter.
Source: Nasr, Shokri, Houmansadr, Comprehensive privacy analysis of deep learning, 2019, arXiv 1812.00910.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from adversaries.attacks.membership.lira import Lira
from adversaries.attacks.membership.signals import Measured, confidence
from adversaries.goals.membership import MembershipAdversary, Numbers, Readings, Sight
from vfc.core.objective import frozen

FEATURES = 64
"""A layer's output of more numbers is averaged over neighbors down to so many."""

MODEL = ""
"""The name under which `read_layers` keeps what the whole model shows; no layer has it."""

OUTPUT, PARAMETERS, NORM = "output_gradient", "parameter_gradient", "norm"
"""Signals of a layer; the whole model has `confidence`, `parameter_gradient` and `norm` (of its logits)."""

_SMALLEST = 1e-12
_CHUNK = 64
_MEMORY = 2**26


@dataclass(frozen=True, kw_only=True)
class SignalThreshold(MembershipAdversary):
    """Calls an image a member when one signal is on the side where it is for members of the shadows.

    Knows: the image, its label, the network, and shadow networks.
    Does: one threshold on a signal, turned as the shadows say.

    Args:
        signal: its name.

    Source: Yeom et al., Privacy risk in machine learning: analyzing the connection to overfitting, 2018, arXiv
        1709.01604, there on the loss.
    """

    signal: str

    def score(self, sight: Sight) -> Numbers:
        """The signal, larger for likelier members."""
        position = sight.signal(self.signal)
        return sight.direction(position) * sight.readings.signals[:, position]


@dataclass(frozen=True, kw_only=True)
class SignalRatio(MembershipAdversary):
    """The registered likelihood ratio attack on any one signal, shown to it under the name that it reads.

    Knows: the image, its label, the network, and shadow networks.
    Does: what `lira` does.

    Args:
        signal: its name.

    Source: Carlini et al., Membership inference attacks from first principles, 2022, arXiv 2112.03570.
    """

    signal: str

    def score(self, sight: Sight) -> Numbers:
        """The score of `lira`."""
        position = sight.signal(self.signal)
        names = tuple("norm" if index == position else f"other {index}" for index in range(len(sight.names)))
        return Lira(signal="norm").score(replace(sight, names=names))


def read_layers(
    model: nn.Module,
    images: Float[Tensor, "n c h w"],
    labels: Int[Tensor, " n"],
    layers: Sequence[str],
    *,
    ignore: str = "",
    device: str = "cpu",
) -> dict[str, Measured]:
    """What every layer, and the whole model under the name `MODEL`, shows of each image.

    Args:
        model: images to logits; used in eval mode, and left as it was.
        images, labels: in question; batches move to the device, where the model is.
        layers: names as in `named_modules`.
        ignore: parameters whose names begin so are not the model's own (a frozen target, say).
        device: where to compute.

    Returns:
        Signals by layer, each the natural logarithm of a length (`confidence` is a logit); outputs in at most
        `FEATURES` numbers. A layer that is not called, or gives no tensor, is left out.
    """
    own = {name: value.detach() for name, value in model.named_parameters() if not (ignore and name.startswith(ignore))}
    found: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in (*layers, MODEL)}
    columns: dict[str, tuple[str, ...]] = {}
    size = max(1, min(_CHUNK, _MEMORY // max(4, 4 * sum(value.numel() for value in own.values()))))
    with frozen(model):
        for rows in torch.split(torch.arange(len(images)), size):
            x, y = images[rows].to(device), labels[rows].to(device)
            lengths = _parameter_gradients(model, own, x, y)
            for name, signals, features in _layer_signals(model, x, y, layers):
                mine = {key for key in lengths if not name or key.startswith(f"{name}.")}
                if mine:
                    total = torch.stack([lengths[key] for key in sorted(mine)]).sum(0)
                    signals[PARAMETERS] = _log(total.sqrt())
                columns[name] = tuple(sorted(signals))
                stacked = torch.stack([signals[key] for key in columns[name]], dim=1)
                found[name].append((stacked.cpu(), features.float().cpu()))
    return {name: _measured(columns[name], parts) for name, parts in found.items() if parts}


def _measured(names: tuple[str, ...], parts: Sequence[tuple[Tensor, Tensor]]) -> Measured:
    signals, features = (torch.cat(column).double().nan_to_num() for column in zip(*parts, strict=True))
    return Measured(names=names, readings=Readings(signals=signals.numpy(), release=features.numpy()))


def _layer_signals(
    model: nn.Module, x: Tensor, y: Tensor, layers: Sequence[str]
) -> Iterator[tuple[str, dict[str, Tensor], Tensor]]:
    """Name, signals and features of every layer, then of the whole model; one forward and one backward pass."""
    leaf = x.detach().requires_grad_()
    with torch.enable_grad(), _held(model, layers) as outputs:
        logits = model(leaf).float()
        # In eval mode no image depends on another, so the gradient of the sum holds every image's own.
        loss = nn.functional.cross_entropy(logits, y, reduction="sum")
        smooth = [name for name in outputs if outputs[name].requires_grad]
        given = torch.autograd.grad(loss, [outputs[name] for name in smooth], allow_unused=True) if smooth else ()
    gradients = dict(zip(smooth, given, strict=True))
    for name in (name for name in layers if name in outputs):
        output = outputs[name].detach().flatten(1).double()
        signals = {NORM: _log(output.norm(dim=1))}
        gradient = gradients.get(name)
        if gradient is not None:
            signals[OUTPUT] = _log(gradient.flatten(1).double().norm(dim=1))
        yield name, signals, _pooled(output)
    logits = logits.detach().double()
    yield MODEL, {"confidence": confidence(logits, y), NORM: _log(logits.norm(dim=1))}, _pooled(logits)


@contextmanager
def _held(model: nn.Module, layers: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Inside, the last output of every layer is kept as it was before a later layer could change it in place."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> torch.utils.hooks.RemovableHandle:
        def hook(_module: nn.Module, _inputs: object, output: object) -> Tensor | None:
            if not isinstance(output, Tensor):
                return None
            outputs[name] = output
            return output.clone()

        return model.get_submodule(name).register_forward_hook(hook)

    handles = [keep(name) for name in layers]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def _parameter_gradients(
    model: nn.Module, own: Mapping[str, Tensor], x: Float[Tensor, "n c h w"], y: Int[Tensor, " n"]
) -> dict[str, Float[Tensor, " n"]]:
    """Squared length of every image's gradient, by parameter."""

    def loss(values: dict[str, Tensor], one: Tensor, label: Tensor) -> Tensor:
        logits = functional_call(model, values, (one[None],))
        return nn.functional.cross_entropy(logits.float(), label[None])

    gradients = vmap(grad(loss), in_dims=(None, 0, 0), randomness="same")(dict(own), x, y)
    return {name: value.flatten(1).double().square().sum(1) for name, value in gradients.items()}


def _log(length: Tensor) -> Tensor:
    return length.clamp(min=_SMALLEST).log()


def _pooled(output: Float[Tensor, "n m"]) -> Float[Tensor, "n f"]:
    return output if output.shape[1] <= FEATURES else nn.functional.adaptive_avg_pool1d(output, FEATURES)
