"""One adversary on plain tensors: fit it on labelled releases, and let it guess about others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from adversaries.adversary import ADVERSARIES, Adversary, Attack
from adversaries.evaluation_data import EvaluationData, Part
from adversaries.knowledge import Knowledge
from adversaries.threat import ThreatModel, parse_level
from vfc.config import configured
from vfc.errors import NotApplicableError, UserError
from vfc.handed.arrays import TASK, as_classes, as_images, as_release

_CHUNK = 512


@dataclass(frozen=True, kw_only=True)
class FittedAdversary:
    """An adversary that has learned.

    Example:
        ```python
        fitted = vfc.fit_adversary("linear", release[:600], labels[:600])
        margins = fitted.scores(release[600:]).topk(2).values.diff().abs()
        ```

    Args:
        name: of the adversary.
        attack: what it has learned.
        shape: of one release.
    """

    name: str
    attack: Attack
    shape: tuple[int, ...]

    @torch.no_grad()
    def scores(self, release: Shaped[Tensor, "n ..."] | np.ndarray) -> Float[Tensor, "n k"]:
        """A score for every class and release, shape (n, k); the largest one is the guess.

        Raises:
            UserError: releases of another shape than those that it was fitted on.
        """
        values = as_release(release)
        if tuple(values.shape[1:]) != self.shape:
            raise UserError(
                f"expected releases of shape (n, {', '.join(map(str, self.shape))}), got {tuple(values.shape)}",
                "publish them as those that the adversary was fitted on",
            )
        return torch.cat([self.attack.guess(chunk) for chunk in torch.split(values, _CHUNK)])

    def guess(self, release: Shaped[Tensor, "n ..."] | np.ndarray) -> Int64[Tensor, " n"]:
        """The class that it thinks each release is of, shape (n,).

        Raises:
            UserError: releases of another shape than those that it was fitted on.
        """
        return self.scores(release).argmax(1)


def fit_adversary(
    name: str, release: object, labels: object, *, images: object = None, seed: int = 0, **settings: Any
) -> FittedAdversary:
    """Fit an adversary of labels on labelled releases; see `vfc.fit_adversary`, which is this."""
    kind = ADVERSARIES.get(name)
    if not issubclass(kind, Adversary):
        raise UserError(
            f"expected an adversary that guesses labels, got {name!r}, which is after something else",
            "vfc list adversaries shows what each one guesses",
        )
    if kind.per_model and "model" not in settings:
        raise UserError(
            f"{name} does not apply here: it reads releases by an unintended model, and plain arrays come without one",
            "use another adversary, or vfc.attack",
        )
    adversary = configured(kind, settings, name)
    values = as_release(release)
    classes = as_classes(labels, len(values))
    if len(classes.unique()) < 2:
        raise UserError("expected two classes at least as labels, got one", "give labels of several classes")
    part = Part(images=None if images is None else as_images(images), release=values, labels={TASK: classes})
    world = EvaluationData(
        train=part, validation=part.nothing(), targets=part.nothing(), classes={TASK: int(classes.max()) + 1}
    )
    threat = ThreatModel(level=parse_level(max(adversary.level, "L2")), labels_per_class="all")
    generator = torch.Generator().manual_seed(seed)
    try:
        attack = adversary.fit(Knowledge(world, threat, TASK), generator)
    except NotApplicableError as reason:
        raise UserError(f"{name} does not apply here: {reason}", "use another adversary, or vfc.attack") from reason
    return FittedAdversary(name=name, attack=attack, shape=tuple(values.shape[1:]))
