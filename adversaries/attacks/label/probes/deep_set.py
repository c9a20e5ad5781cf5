"""A network that reads a release as a set.

Axes: n rows, t tokens of one release, e values of one token, k classes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from adversaries.adversary import ADVERSARIES, Adversary
from adversaries.attacks.label.probes.bag import BagOfParts
from adversaries.knowledge import Knowledge
from adversaries.learning.kernels import Basis, Ridge, leave_one_out_possible, spread, strongest
from adversaries.learning.networks import NetworkAttack, attack_from, training
from adversaries.learning.tokens import Kind, Scale, tokens
from adversaries.threat import Level
from vfc.seeding import seeded
from vfc.training import train_classifier

_SCREEN, _POOL = 512, 4096
_FEW_PARTS, _MOST_PARTS = 32, 256


class SetNetwork(nn.Module):
    """Every token through the same layers, then mean, largest and spread over tokens, then layers that read those.

    Args:
        size: values of one token.
        width: units per layer.
        classes: number of classes.
        dropout: share of units dropped while training.
    """

    def __init__(self, size: int, width: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.embed = nn.Sequential(
            nn.Linear(size, width), nn.LayerNorm(width), nn.GELU(), nn.Linear(width, width), nn.GELU()
        )
        self.read = nn.Sequential(
            nn.BatchNorm1d(3 * width),
            nn.Dropout(dropout),
            nn.Linear(3 * width, width),
            nn.BatchNorm1d(width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(width, classes),
        )

    def forward(self, parts: Float[Tensor, "n t e"]) -> Float[Tensor, "n k"]:
        """Logits; the order of tokens makes no difference."""
        z = self.embed(parts)
        spreads = (z.var(1, correction=0) + 1e-6).sqrt()
        logits: Tensor = self.read(torch.cat([z.mean(1), z.amax(1), spreads], dim=1))
        return logits


@ADVERSARIES.register("deep-set", goals=("task", "attribute"), order=244)
@dataclass(frozen=True, kw_only=True)
class DeepSet(Adversary):
    """A network trained from scratch that reads a release as a set of values, pairs or patches.

    Knows: labelled releases; unlabelled ones for the scale of values and for typical parts.
    Does: lets leave-one-out of `bag` inside the labelled rows choose what is a part; embeds every part by the same
    layers, takes mean, maximum and deviation over parts, and reads those. AdamW, fixed length; patches are mirrored
    at random while training. Of more than 256 parts it reads so many, evenly
    among all.
    Source: Zaheer et al., "Deep Sets", NeurIPS 2017, arXiv 1703.06114.

    Args:
        width: units per layer; None for 128, and 48 for releases of more than 32 parts.
        dropout: share of pooled units dropped while training.
        lr: peak learning rate.
        weight_decay: decoupled weight decay.
        steps: optimizer steps; None for at least 200 and at least 24 epochs of batches of 64.
        times: factor on the steps.
    """

    level: ClassVar[Level] = "L2"

    width: int | None = None
    dropout: float = 0.3
    lr: float = 3e-3
    weight_decay: float = 1e-2
    steps: int | None = None
    times: int = 1

    def fit(self, view: Knowledge, generator: torch.Generator) -> NetworkAttack:
        """Choose and train; raises `NotApplicableError` for releases of a single value."""
        release, y = view.labelled
        kind = _kind(view, generator)
        pool = view.unlabelled
        scale = Scale.fit(_parts(pool[spread(len(pool), _POOL).to(pool.device)], kind))

        def prepare(rows: Tensor) -> Tensor:
            return scale(_parts(rows, kind))

        x = prepare(release)
        width = self.width or (128 if x.shape[1] <= _FEW_PARTS else 48)
        net = seeded(lambda: SetNetwork(x.shape[2], width, view.num_classes, self.dropout), generator)
        steps = self.steps if self.steps is not None else max(200, 24 * len(y) // 64)
        settings = training(len(y), 0, steps=steps, times=self.times, lr=self.lr, weight_decay=self.weight_decay)
        mirror = _mirror(view.release_shape[0], kind) if kind.startswith("patch") else None
        # Dropout knows only the global random state, so that one is set from the generator meanwhile.
        log = seeded(lambda: train_classifier(net.to(x.device), x, y, settings, generator, transform=mirror), generator)
        return attack_from(net, prepare, log)

    def doubled(self) -> DeepSet:
        """The same with twice the steps."""
        return replace(self, times=2 * self.times)


def _kind(view: Knowledge, generator: torch.Generator) -> Kind:
    """What is a part: by leave-one-out of a bag of few typical parts, or the last kind without that."""
    release, y = view.labelled
    ways = BagOfParts(typical=64).ways(view, generator)
    rows = spread(len(y), _SCREEN).to(y.device)
    if len({kind for kind, _ in ways}) == 1 or not leave_one_out_possible(y[rows]):
        return ways[-1][0]
    fits = [Ridge.fit(Basis.fit(way(release[rows])), y[rows], view.num_classes) for _, way in ways]
    return ways[strongest(fits)][0]


def _parts(rows: Tensor, kind: Kind) -> Tensor:
    found = tokens(rows, kind)
    if found is None:
        raise ValueError("expected releases of the shape that was chosen for")
    return found[:, spread(found.shape[1], _MOST_PARTS).to(found.device)]


class _Mirror:
    """Mirrors the patches of half of the releases from left to right.

    Args:
        channels: of a patch.
        side: of a patch, in pixels.
    """

    def __init__(self, channels: int, side: int) -> None:
        order = torch.arange(channels * side * side).reshape(channels, side, side)
        self.order = order.flip(-1).flatten()

    def __call__(self, parts: Float[Tensor, "n t e"], generator: torch.Generator) -> Float[Tensor, "n t e"]:
        flipped = torch.rand(len(parts), generator=generator).to(parts.device) < 0.5
        return torch.where(flipped[:, None, None], parts[:, :, self.order.to(parts.device)], parts)


def _mirror(channels: int, kind: Kind) -> _Mirror:
    return _Mirror(channels, int(kind.removeprefix("patch")))
