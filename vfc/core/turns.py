"""One loop for all that train several players by turns, each minimizing a loss of its own.

Axes: n images, c channels, h and w pixels, b images of one batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vfc.errors import UserError
from vfc.training import batch_indices

LONGEST_STEP = 5.0
"""Gradients are scaled down to this Euclidean norm: what an adversary loses has no upper bound, and pulls as hard."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What every player sees of one step.

    Args:
        rows: positions of the images in the training data.
        images: in [0, 1].
        labels: of the task.
        attribute: of the label that is to be hidden; zeros where none is.
    """

    rows: Int[Tensor, " b"]
    images: Float[Tensor, "b c h w"]
    labels: Int[Tensor, " b"]
    attribute: Int[Tensor, " b"]


def adamw(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimizer of players that ask for no other."""
    return torch.optim.AdamW(parameters, weight_decay=1e-3)


def descent(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """Plain gradient descent, without momentum or decay."""
    return torch.optim.SGD(parameters)


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One player: what it changes, and what it minimizes.

    Args:
        name: how errors call its loss.
        learns: the modules whose parameters it changes; no two players share a parameter.
        loss: of a batch.
        optimizer: of some parameters; the learning rate is set at every step.
        before_epoch, after_step: called at those moments.
    """

    name: str
    learns: Sequence[nn.Module]
    loss: Callable[[Batch], Tensor]
    optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer] = adamw
    before_epoch: Callable[[], None] | None = None
    after_step: Callable[[], None] | None = None


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How long and how fast players train.

    Args:
        epochs: rounds through the images.
        batch: images per step.
        lr: peak learning rate; it rises for a tenth of the steps and falls to zero on a cosine.
    """

    epochs: int
    batch: int
    lr: float

    def steps(self, n: int) -> int:
        """Steps for n images."""
        return self.epochs * max(1, n // self.batch)


def train_by_turns(
    turns: Sequence[Turn],
    images: Float[Tensor, "n c h w"],
    labels: Int[Tensor, " n"],
    attribute: Int[Tensor, " n"] | None,
    pace: Pace,
    generator: torch.Generator,
) -> None:
    """Train all players in place, in their order at every step, and leave their modules in eval mode.

    Args:
        turns: the players; the first one's modules say on which device to train.
        images: stay where they are, batches move.
        labels, attribute: of the images.
        pace: how long and how fast.
        generator: draws the batches (a CPU generator).

    Raises:
        UserError: a player has nothing to learn, or its loss became infinite or not a number.
    """
    players = [_Player(turn, pace) for turn in turns]
    device, steps = players[0].parameters[0].device, pace.steps(len(images))
    per_epoch = steps // pace.epochs
    hidden = torch.zeros_like(labels) if attribute is None else attribute
    for step, rows in enumerate(batch_indices(len(images), pace.batch, steps, generator)):
        if step % per_epoch == 0:
            for turn in turns:
                if turn.before_epoch is not None:
                    turn.before_epoch()
        for player in players:
            player.train()
        batch = Batch(
            rows=rows,
            images=images[rows].to(device),
            labels=labels[rows].to(device),
            attribute=hidden[rows].to(device),
        )
        for player in players:
            player.step(batch, _rate(step, steps), look=(step + 1) % per_epoch == 0)
    for player in players:
        player.train(mode=False)


class _Player:
    """A turn with its optimizer."""

    def __init__(self, turn: Turn, pace: Pace) -> None:
        self.turn, self.lr = turn, pace.lr
        self.parameters = [each for part in turn.learns for each in part.parameters() if each.requires_grad]
        if not self.parameters:
            raise UserError(f"expected something that the {turn.name} can train, got no weights", "name a later layer")
        self.optimizer = turn.optimizer(self.parameters)

    def train(self, *, mode: bool = True) -> None:
        for part in self.turn.learns:
            part.train(mode)

    def step(self, batch: Batch, rate: float, *, look: bool) -> None:
        """One step; with `look` the loss is checked, which waits for the device."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * rate
        loss = self.turn.loss(batch)
        # Other players' losses have left gradients here, too.
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, LONGEST_STEP)
        self.optimizer.step()
        if self.turn.after_step is not None:
            self.turn.after_step()
        if look and not math.isfinite(float(loss.detach())):
            raise UserError(
                f"expected the loss of the {self.turn.name} to stay finite, got {float(loss.detach())}",
                "lower lr or weight",
            )


def _rate(step: int, steps: int) -> float:
    warm = max(1, steps // 10)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
