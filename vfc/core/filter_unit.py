"""Weights on the channels of a network that are switched off for good once they fall behind.

Axes: n images, c channels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vfc.errors import NotApplicableError
from vfc.zoo.resnet import PaddedBlock

FaithfulTo = Literal["paper", "code"]
VERSIONS: tuple[str, ...] = get_args(FaithfulTo)
START = 0.1
"""What every weight is at first."""

NORMALIZATIONS = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d, nn.GroupNorm),
)
"""The layers after which a filter goes: those whose channels are the second axis."""


class FilterUnit(nn.Module):
    """One weight for every channel: those above a share of the largest weight scale their channel, others make it zero.

    A weight at or under the threshold becomes zero for good as soon as `settle` is called, which belongs after every
    step. The public code differs from the paper: a weight at the threshold exactly counts half (and stays), and a bias
    that is learned is added to every channel, also to those that were switched off.

    Args:
        channels: how many.
        threshold: alpha, as a share of the largest weight, in [0, 1].
        version: paper, or code.
    """

    alive: Tensor

    def __init__(self, channels: int, threshold: float, version: FaithfulTo) -> None:
        super().__init__()
        self.threshold, self.version = threshold, version
        self.weight = nn.Parameter(torch.full((channels,), START))
        self.register_buffer("alive", torch.ones(channels, dtype=torch.bool))
        self.bias = nn.Parameter(torch.zeros(channels)) if version == "code" else None

    def kept(self) -> Float[Tensor, " c"]:
        """Share of every weight that counts: 1, 0, or 1/2 at the threshold in the public code."""
        above = self.weight.detach() - self.threshold * self.weight.detach().max()
        at = torch.full_like(above, 0.5 if self.version == "code" else 0.0)
        return torch.heaviside(above, at) * self.alive

    def forward(self, values: Float[Tensor, "n c ..."]) -> Float[Tensor, "n c ..."]:
        """Scale or silence every channel."""
        shape = (-1, *[1] * (values.ndim - 2))
        scaled = values * (self.weight * self.kept()).reshape(shape)
        return scaled if self.bias is None else scaled + self.bias.reshape(shape)

    @torch.no_grad()
    def settle(self) -> Bool[Tensor, " c"]:
        """Make the weights that do not count zero for good; which channels are left."""
        self.alive &= self.kept() > 0
        self.weight.masked_fill_(~self.alive, 0.0)
        return self.alive


def insert_filters(model: nn.Module, threshold: float, version: FaithfulTo) -> list[FilterUnit]:
    """Put a filter after every normalization of a network, in place; the names of its layers stay.

    Faithful to the paper, identity shortcuts of residual blocks get one, too; in the public code they bypass the
    filters. Residual blocks are those of torchvision's ResNet and of ours.

    Args:
        model: the network.
        threshold: of every filter.
        version: paper, or code.

    Returns:
        The filters.

    Raises:
        NotApplicableError: the network has no normalization over channels.
    """
    found: list[FilterUnit] = []

    def unit(channels: int) -> FilterUnit:
        found.append(FilterUnit(channels, threshold, version))
        return found[-1]

    if version == "paper":
        _filter_shortcuts(model, unit)
    places = [
        (parent, name, child)
        for parent in list(model.modules())
        for name, child in list(parent.named_children())
        if isinstance(child, NORMALIZATIONS)
    ]
    if not places:
        raise NotApplicableError(
            f"filters stand after normalization layers, and {type(model).__name__} has none; cnn, resnet20, vgg11 or "
            "densenet121 have"
        )
    for parent, name, child in places:
        channels = child.num_channels if isinstance(child, nn.GroupNorm) else child.num_features
        setattr(parent, name, nn.Sequential(child, unit(channels)))
    return found


def filters_of(model: nn.Module) -> list[FilterUnit]:
    """The filters of a network, in the order of its modules."""
    return [module for module in model.modules() if isinstance(module, FilterUnit)]


def _filter_shortcuts(model: nn.Module, unit: Callable[[int], FilterUnit]) -> None:
    from torchvision.models.resnet import BasicBlock, Bottleneck

    for block in model.modules():
        if isinstance(block, PaddedBlock):
            block.skip = unit(block.out)
        elif isinstance(block, BasicBlock | Bottleneck) and block.downsample is None:
            block.downsample = unit((block.bn2 if isinstance(block, BasicBlock) else block.bn3).num_features)


def avgri(rest: nn.Module, values: Float[Tensor, "n c ..."], labels: Int[Tensor, " n"]) -> Float[Tensor, " c"]:
    """AvgRI: how much a change of every channel would change the loss, on average over images and positions.

    The mean of |dL_i / dx_i|, L_i the cross-entropy of image i after the rest of the network.

    Args:
        rest: the network from these channels on, in eval mode; the whole network for its input channels.
        values: the channels of some images.
        labels: their classes.

    Source: Bi et al., PriFU: capturing task-relevant information without adversarial learning, 2024 (ACM MM).
    """
    total = torch.zeros(values.shape[1], dtype=torch.float64)
    for rows, truth in zip(torch.split(values, 512), torch.split(labels, 512), strict=True):
        leaf = rows.detach().clone().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(cross_entropy(rest(leaf), truth, reduction="sum"), leaf)
        total += gradient.abs().double().reshape(*gradient.shape[:2], -1).mean(2).sum(0).cpu()
    return (total / len(values)).float()
