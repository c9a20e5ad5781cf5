"""What happens to a network on its way through training: its rates, its averaged weights, the best state so far."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

SCHEDULES = ("one-cycle", "cosine", "constant")


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What one epoch did.

    Args:
        loss: of its last batch.
        accuracy: of the target on releases of the defender's validation part, in [0, 1]; None where nobody looked.
        returned: latent dimensions that the mask took back after having dropped them, at this epoch's renewal.
    """

    loss: float
    accuracy: float | None
    returned: int


@dataclass(frozen=True, kw_only=True)
class TrainingHistory:
    """How a training went.

    Args:
        epochs: one entry each.
        kept: the epoch whose network was kept, counted from 1.
        ended: why it ended early; None if it did not.
    """

    epochs: tuple[Epoch, ...]
    kept: int
    ended: str | None = None


def schedule_of(
    kind: str, optimizer: torch.optim.Optimizer, lr: float, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """The learning rate over training: `one-cycle` rises for a tenth and falls, `cosine` falls, `constant` stays."""
    match kind:
        case "one-cycle":
            return torch.optim.lr_scheduler.OneCycleLR(
                optimizer, lr, total_steps=steps + 1, pct_start=0.1, cycle_momentum=False
            )
        case "cosine":
            return torch.optim.lr_scheduler.LambdaLR(
                optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))
            )
        case _:
            return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)


class Average:
    """A running average of a network's weights and statistics, in place of the last ones.

    Args:
        network: whose.
        decay: what stays of the average at every step, in [0, 1); 0 for no average at all.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self.values: dict[str, Tensor] = state_of(network) if decay else {}

    @torch.no_grad()
    def step(self, network: nn.Module) -> None:
        """Take the weights of one more step in. Early on the average is shorter: it must forget the random start."""
        if not self.decay:
            return
        self.steps += 1
        decay = min(self.decay, self.steps / (self.steps + 10))
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                self.values[name].lerp_(value, 1 - decay)
            else:
                self.values[name].copy_(value)

    def swap(self, network: nn.Module) -> None:
        """Exchange the average and what is in the network."""
        if self.decay:
            current = state_of(network)
            network.load_state_dict(self.values)
            self.values = current


@dataclass
class Best:
    """The best state so far, and whether it may be used: before the mask is on, a network is not what will be deployed.

    Args:
        network: which is watched.
        always: whether the latest good state is kept, however it compares.
    """

    network: nn.Module
    always: bool
    epoch: int = 0
    accuracy: float = -1.0
    state: dict[str, Tensor] | None = field(default=None, repr=False)

    def offer(self, epoch: int, accuracy: float | None) -> None:
        """Keep the network's present state if it is as good as the one kept."""
        value = 0.0 if accuracy is None else accuracy
        if self.always or value >= self.accuracy:
            self.epoch, self.accuracy, self.state = epoch, value, state_of(self.network)

    def restore(self) -> None:
        """Put the kept state back."""
        if self.state is not None:
            self.network.load_state_dict(self.state)


def state_of(network: nn.Module) -> dict[str, Tensor]:
    """A copy of a network's state."""
    return {name: value.detach().clone() for name, value in network.state_dict().items()}
