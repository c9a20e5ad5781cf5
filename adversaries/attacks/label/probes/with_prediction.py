"""Probes of an attribute that read the release and the target's prediction on it.

Axes: n rows, d columns, k classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from adversaries.adversary import ADVERSARIES, Adversary
from adversaries.attacks.label.probes.linear import fit_logistic
from adversaries.attacks.label.probes.mlp import MultilayerPerceptron
from adversaries.knowledge import Knowledge
from adversaries.learning.kernels import Columns, flat
from adversaries.learning.networks import attack_from, training
from adversaries.learning.prediction import InformedAttack, PredictionTable
from adversaries.threat import Level
from vfc.errors import NotApplicableError
from vfc.seeding import seeded
from vfc.training import train_classifier


class Offset(nn.Module):
    """A network whose output is added to logits that come with its input.

    Args:
        net: columns to logits.
        classes: how many of the last columns are those logits.
    """

    def __init__(self, net: nn.Module, classes: int) -> None:
        super().__init__()
        self.net, self.classes = net, classes

    def forward(self, z: Float[Tensor, "n dk"]) -> Float[Tensor, "n k"]:
        """Logits."""
        logits: Tensor = self.net(z[:, : -self.classes]) + z[:, -self.classes :]
        return logits


@ADVERSARIES.register(
    "with-prediction",
    goals=("attribute",),
    variants=({"probe": "linear"}, {"probe": "mlp"}),
    order=410,
    length={"least": 200, "epochs": 8, "when": {"probe": "mlp"}},
)
@dataclass(frozen=True, kw_only=True)
class WithPrediction(Adversary):
    """A probe of an attribute that reads the release together with the target's prediction on it.

    Knows: labelled releases with the target's predictions; unlabelled releases for the scale of every column; the
    predictions and labels of its own images.
    Does: starts from the table from prediction to attribute, and adds to its logits what logistic regression or a
    multilayer perceptron finds in the flattened, standardized release beside the one-hot prediction. How much of the
    table logistic regression keeps is cross-validated, by likelihood, inside the labelled rows.

    Args:
        probe: `linear` or `mlp`.
        iterations: L-BFGS iterations per fit of `linear`, at most.
        steps: optimizer steps of `mlp`; None for at least 200 and at least 8 epochs of batches of 64.
        times: factor on both.
    """

    level: ClassVar[Level] = "L2"

    probe: Literal["linear", "mlp"] = "linear"
    iterations: int = 60
    steps: int | None = None
    times: int = 1

    @property
    def uses_prediction(self) -> bool:
        """That is its point."""
        return True

    def fit(self, view: Knowledge, generator: torch.Generator) -> InformedAttack:
        """Fit; raises `NotApplicableError` where there is no target."""
        table, seen = PredictionTable.fit(view), view.labelled_predictions
        if table is None or seen is None:
            raise NotApplicableError("there is no target whose prediction could be known")
        release, y = view.labelled
        scale = Columns.fit(flat(view.unlabelled))

        def columns(rows: Tensor) -> Tensor:
            return scale(flat(rows)).clamp(-10, 10)

        x, offsets = table.beside(columns(release), seen), table.offsets(seen, y)
        if self.probe == "linear":
            logistic = fit_logistic(
                x, y, view.num_classes, iterations=self.iterations * self.times, prior=offsets, by="likelihood"
            )
            fitted: Callable[[Tensor, Tensor | None], Tensor] = logistic.logits
            steps = logistic.iterations
            flags = frozenset({"ZERO_GRADIENT"}) if logistic.zero_gradient else frozenset[str]()
        else:
            fitted, steps, flags = self._network(x, y, offsets, view.num_classes, generator)
        return InformedAttack(columns=columns, table=table, labels=y, logits=fitted, gradient_steps=steps, flags=flags)

    def doubled(self) -> WithPrediction:
        """The same with twice the training."""
        return replace(self, times=2 * self.times)

    def _network(
        self, x: Tensor, y: Tensor, offsets: Tensor, classes: int, generator: torch.Generator
    ) -> tuple[Callable[[Tensor, Tensor | None], Tensor], int, frozenset[str]]:
        plain = MultilayerPerceptron()
        net = seeded(lambda: Offset(plain.network(x.shape[1], classes), classes), generator).to(x.device)
        settings = training(len(y), 0, steps=self.steps, times=self.times, lr=plain.lr, weight_decay=plain.weight_decay)
        z = torch.cat([x, offsets], dim=1)
        log = seeded(lambda: train_classifier(net, z, y, settings, generator), generator)
        attack = attack_from(net, lambda rows: rows, log)

        def logits(rows: Tensor, start: Tensor | None) -> Tensor:
            start = rows.new_zeros((len(rows), classes)) if start is None else start
            return attack.guess(torch.cat([rows, start], dim=1))

        return logits, log.steps, attack.flags
