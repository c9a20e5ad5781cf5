"""Which directions of an image the first linear or convolutional layer of a target reads, and how strongly.

Axes: n images, d values of one image.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vfc.errors import NotApplicableError

_KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_BATCH = 256
_ADDITIVE = 1e-6


class _ReachedError(Exception):
    """The first layer has answered, so the rest of the network need not run."""


@dataclass(frozen=True, kw_only=True)
class FirstLayer:
    """The linear map from an image to the outputs of a target's first layer, by its singular directions.

    Args:
        directions: orthonormal rows in the space of images, those that the layer hears best first.
        gains: the singular value of each; how much the layer's output moves per unit along it.
    """

    directions: Float[Tensor, "d d"]
    gains: Float[Tensor, " d"]

    @classmethod
    def of(cls, target: nn.Module, shape: tuple[int, ...]) -> FirstLayer:
        """Singular directions of the first layer, in double precision.

        Args:
            target: images to logits; what precedes its first layer must be affine (a normalization, say).
            shape: (c, h, w) of one image.

        Raises:
            NotApplicableError: there is no such layer, or what precedes it is not affine.
        """
        layer = first_outputs(copy.deepcopy(target).double().eval())
        device = next((p.device for p in target.parameters()), torch.device("cpu"))
        origin = torch.zeros(1, *shape, dtype=torch.float64, device=device)
        _require_affine(layer, origin)
        size, pieces = origin.numel(), []
        with torch.no_grad():
            start = layer(origin)
        # The Gram matrix J'J, a few rows at a time: J itself may have hundreds of millions of entries.
        for rows in torch.eye(size, dtype=torch.float64, device=device).split(_BATCH):
            with torch.no_grad():
                moved = layer(rows.reshape(-1, *shape)) - start
            leaf = torch.zeros(len(rows), *shape, dtype=torch.float64, device=device, requires_grad=True)
            with torch.enable_grad():
                (row,) = torch.autograd.grad(layer(leaf), leaf, grad_outputs=moved)
            pieces.append(row.flatten(1))
        gram = torch.cat(pieces)
        values, vectors = torch.linalg.eigh((gram + gram.T) / 2)
        gains = values.flip(0).clamp_min(0).sqrt()
        return cls(directions=vectors.T.flip(0).contiguous(), gains=gains)


def first_outputs(target: nn.Module) -> Callable[[Tensor], Tensor]:
    """A function from images to the outputs of the first linear or convolutional layer that a target runs.

    Raises:
        NotApplicableError: when it is called and there is no such layer.
    """

    def run(x: Tensor) -> Tensor:
        caught: list[Tensor] = []

        def stop(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            caught.append(output)
            raise _ReachedError

        hooks = [each.register_forward_hook(stop) for each in target.modules() if isinstance(each, _KINDS)]
        try:
            target(x)
        except _ReachedError:
            return caught[0]
        finally:
            for hook in hooks:
                hook.remove()
        raise NotApplicableError("the target has no linear or convolutional layer")

    return run


@torch.no_grad()
def _require_affine(layer: Callable[[Tensor], Tensor], origin: Tensor) -> None:
    """Raise `NotApplicableError` unless outputs of a sum are the sum of outputs, as seen at two fixed points."""
    steps = torch.arange(origin.numel(), dtype=torch.float64, device=origin.device).reshape(origin.shape)
    one, two = torch.sin(steps), torch.cos(1.7 * steps)
    start = layer(origin)
    expected = layer(one) + layer(two) - start
    if float((layer(one + two) - expected).abs().max()) > _ADDITIVE * float(expected.abs().max().clamp_min(1e-30)):
        raise NotApplicableError("what precedes the target's first layer is not affine, so it has no null space")
