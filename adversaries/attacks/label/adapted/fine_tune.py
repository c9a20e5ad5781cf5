"""Unintended models retrained on labelled releases."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from adversaries.adversary import ADVERSARIES, Adversary, Attack
from adversaries.attacks.label.probes.linear import Logistic, fit_logistic
from adversaries.knowledge import Knowledge
from adversaries.learning.kernels import Columns
from adversaries.learning.networks import (
    ChannelMatch,
    batchnorms,
    fit_head,
    head_inputs,
    reestimate,
    trained,
    training,
)
from adversaries.threat import Level
from vfc.errors import NotApplicableError
from vfc.seeding import seeded
from vfc.training import predict_logits


@dataclass(frozen=True, kw_only=True)
class HeadAttack(Attack):
    """A frozen feature extractor with a new head on top of what the old head said."""

    model: nn.Module
    prepare: ChannelMatch
    columns: Columns
    logistic: Logistic
    keeps_head: bool
    gradient_steps: int
    flags: frozenset[str]

    def guess(self, release: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n k"]:
        """Logits; each row stands alone."""
        x = self.prepare(release)
        old = predict_logits(self.model, x).to(x.device) if self.keeps_head else None
        return self.logistic.logits(self.columns(head_inputs(self.model, x)), old)


@ADVERSARIES.register(
    "fine-tune",
    goals=("task", "attribute"),
    variants=({"scope": "head"}, {"scope": "all"}),
    order=310,
    length={"least": 200, "epochs": 8, "when": {"scope": "all"}},
)
@dataclass(frozen=True, kw_only=True)
class FineTune(Adversary):
    """An unintended model retrained on labelled releases.

    Knows: labelled and unlabelled releases, its own clean images, the models trained on them.
    Does: matches channel statistics to clean images, re-estimates BatchNorm statistics on unlabelled releases, then
    retrains: `all` every weight with AdamW and a fixed length; `head` a logistic regression on the features, added to
    as much of the old head's logits as cross-validation inside the labelled rows keeps. A head for another number of
    classes is replaced.

    Args:
        model: name of the unintended model.
        scope: `head` or `all`.
        lr: peak learning rate of `all`.
        weight_decay: decoupled weight decay of `all`.
        steps: optimizer steps of `all`; None for at least 200 and at least 8 epochs of batches of 64.
        iterations: L-BFGS iterations per fit of `head`, at most.
        times: factor on both.
    """

    level: ClassVar[Level] = "L2"
    needs_image_shape: ClassVar[bool] = True
    per_model: ClassVar[bool] = True

    model: str
    scope: Literal["head", "all"] = "all"
    lr: float = 2e-3
    weight_decay: float = 1e-2
    steps: int | None = None
    iterations: int = 60
    times: int = 1

    def fit(self, view: Knowledge, generator: torch.Generator) -> Attack:
        """Adapt without labels first, then with."""
        model = view.model(self.model)
        prepare = ChannelMatch.between(view.unlabelled, view.images[0])
        replaced = fit_head(
            model,
            view.num_classes,
            lambda old: seeded(lambda: nn.Linear(old.in_features, view.num_classes), generator),
        )
        pool = prepare(view.unlabelled)
        has_statistics = _reestimated(model, pool, generator)
        if self.scope == "head":
            return self._head(model, prepare, view, keeps_head=not replaced)
        release, y = view.labelled
        settings = training(
            len(y),
            max(view.release_shape[1:]),
            steps=self.steps,
            times=self.times,
            lr=self.lr,
            weight_decay=self.weight_decay,
        )
        attack = trained(model, prepare, (release, y), settings, generator)
        if has_statistics:
            reestimate(model, pool, generator)
        return attack

    def doubled(self) -> FineTune:
        """The same with twice the training."""
        return replace(self, times=2 * self.times)

    def _head(self, model: nn.Module, prepare: ChannelMatch, view: Knowledge, *, keeps_head: bool) -> HeadAttack:
        release, y = view.labelled
        columns = Columns.fit(head_inputs(model, prepare(view.unlabelled)))
        x = prepare(release)
        old = predict_logits(model, x).to(x.device) if keeps_head else None
        logistic = fit_logistic(
            columns(head_inputs(model, x)), y, view.num_classes, iterations=self.iterations * self.times, prior=old
        )
        return HeadAttack(
            model=model,
            prepare=prepare,
            columns=columns,
            logistic=logistic,
            keeps_head=keeps_head,
            gradient_steps=logistic.iterations,
            flags=frozenset({"ZERO_GRADIENT"}) if logistic.zero_gradient else frozenset(),
        )


def _reestimated(model: nn.Module, pool: Tensor, generator: torch.Generator) -> bool:
    """Re-estimate where there is something to re-estimate."""
    try:
        batchnorms(model)
    except NotApplicableError:
        return False
    reestimate(model, pool, generator)
    return True
