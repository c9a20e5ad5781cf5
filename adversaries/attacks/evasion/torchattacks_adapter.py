"""The only door to torchattacks (Kim 2020, Torchattacks: a PyTorch repository for adversarial attacks, 2010.01950).

Call it inside `adversaries.attacks.evasion.guard.guarded`, which undoes what the library does to its surroundings.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from adversaries.attacks.evasion.ball import Ball
from adversaries.attacks.evasion.pipeline import Pipeline
from vfc.errors import NotApplicableError

_NORM = {"linf": "Linf", "l2": "L2"}


def step_size(radius: float, steps: int) -> float:
    """2.5 * radius / steps: few steps make an attack weaker, never void."""
    return 2.5 * radius / steps


def pgd(
    pipeline: Pipeline, images: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"], ball: Ball, *, steps: int
) -> Float[Tensor, "n c h w"]:
    """Projected gradient descent from a random start, with the step size tied to the number of steps."""
    kind = {"linf": "PGD", "l2": "PGDL2"}[ball.norm]
    options = {"eps": ball.radius, "alpha": step_size(ball.radius, steps), "steps": steps, "random_start": True}
    return _run(kind, pipeline, images, labels, options)


def apgd(
    pipeline: Pipeline,
    images: Float[Tensor, "n c h w"],
    labels: Int[Tensor, " n"],
    ball: Ball,
    *,
    steps: int,
    loss: str,
    seed: int,
) -> Float[Tensor, "n c h w"]:
    """Auto-PGD on `ce`, `dlr`, or `targeted` (the targeted difference-of-logits ratio against every other class).

    Raises:
        NotApplicableError: that loss needs more classes than there are; the library would crash.
    """
    classes = _classes(pipeline, images)
    needed = {"ce": 2, "dlr": 3, "targeted": 4}[loss]
    if classes < needed:
        raise NotApplicableError(f"the {loss} loss of APGD needs {needed} classes, and there are {classes}")
    options: dict[str, Any] = {"norm": _NORM[ball.norm], "eps": ball.radius, "steps": steps, "seed": seed % 2**31}
    if loss == "targeted":
        return _run("APGDT", pipeline, images, labels, {**options, "n_classes": min(classes, 10)})
    return _run("APGD", pipeline, images, labels, {**options, "loss": loss})


def square(
    pipeline: Pipeline,
    images: Float[Tensor, "n c h w"],
    labels: Int[Tensor, " n"],
    ball: Ball,
    *,
    queries: int,
    seed: int,
) -> Float[Tensor, "n c h w"]:
    """Square attack: random squares, kept when the margin falls.

    Raises:
        NotApplicableError: the images are under 5 pixels; the library divides by their fifth.
    """
    if ball.norm == "l2" and min(images.shape[2:]) < 5:
        raise NotApplicableError("the square attack in l2 needs images of 5 pixels or more")
    options = {"norm": _NORM[ball.norm], "eps": ball.radius, "n_queries": queries, "seed": seed % 2**31}
    return _run("Square", pipeline, images, labels, options)


def _run(kind: str, pipeline: Pipeline, images: Tensor, labels: Tensor, options: dict[str, Any]) -> Tensor:
    import torchattacks

    attack = getattr(torchattacks, kind)(pipeline, **options)
    found: Tensor = attack(images, labels)
    return found


def _classes(pipeline: Pipeline, images: Tensor) -> int:
    return int(pipeline(images[:1]).shape[1])
