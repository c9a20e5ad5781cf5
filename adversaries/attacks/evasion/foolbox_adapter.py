"""The only door to foolbox (Rauber, Brendel and Bethge 2017, Foolbox: a Python toolbox, arXiv 1707.04131).

Call it inside `adversaries.attacks.evasion.guard.guarded`, which undoes what the library does to its surroundings.

Axes: n images, c channels, h and w pixels.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from adversaries.attacks.evasion.ball import Ball
from adversaries.attacks.evasion.pipeline import Pipeline
from adversaries.attacks.evasion.torchattacks_adapter import step_size
from vfc.errors import NotApplicableError

TRIES = 8
"""How many starting points a decision-based attack may look at for one image."""


def pgd(
    pipeline: Pipeline, images: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"], ball: Ball, *, steps: int
) -> Float[Tensor, "n c h w"]:
    """Projected gradient descent; the library's own step size does not depend on the number of steps, ours does."""
    library = _foolbox()
    kind = {"linf": library.attacks.LinfPGD, "l2": library.attacks.L2PGD}[ball.norm]
    # An absolute step: a relative one of a radius of 0 would be the same, but says less.
    attack = kind(steps=steps, abs_stepsize=step_size(ball.radius, steps), random_start=True)
    return _perturbed(attack, pipeline, images, labels, epsilons=ball.radius)


def carlini_wagner(
    pipeline: Pipeline, images: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"], *, steps: int, searches: int
) -> Float[Tensor, "n c h w"]:
    """The nearest adversarial image in l2 by Carlini and Wagner's loss.

    The search runs in arctanh space, where a black pixel is about 7 away from gray, so the steps together go 5 at
    least, however few they are.
    """
    attack = _foolbox().attacks.L2CarliniWagnerAttack(
        binary_search_steps=searches, steps=steps, stepsize=max(0.01, 5 / steps), initial_const=1.0
    )
    return _perturbed(attack, pipeline, images, labels)


def deepfool(
    pipeline: Pipeline, images: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"], norm: str, *, steps: int
) -> Float[Tensor, "n c h w"]:
    """The nearest boundary of the linearized pipeline, again and again."""
    library = _foolbox()
    kind = {"linf": library.attacks.LinfDeepFoolAttack, "l2": library.attacks.L2DeepFoolAttack}[norm]
    return _perturbed(kind(steps=steps), pipeline, images, labels)


def boundary(
    pipeline: Pipeline, images: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"], *, steps: int
) -> Float[Tensor, "n c h w"]:
    """Boundary attack: a random walk along the decision boundary toward the image."""
    attack = _foolbox().attacks.BoundaryAttack(steps=steps, tensorboard=False)
    return _from_starts(
        lambda x, y, starts: _perturbed(attack, pipeline, x, y, starts=starts), pipeline, images, labels
    )


def hop_skip_jump(
    pipeline: Pipeline,
    images: Float[Tensor, "n c h w"],
    labels: Int[Tensor, " n"],
    norm: str,
    *,
    steps: int,
    evaluations: int,
) -> Float[Tensor, "n c h w"]:
    """HopSkipJump: the boundary's normal estimated from decisions alone."""
    attack = _foolbox().attacks.HopSkipJumpAttack(
        steps=steps, initial_gradient_eval_steps=evaluations, max_gradient_eval_steps=10 * evaluations, constraint=norm
    )
    return _from_starts(
        lambda x, y, starts: _perturbed(attack, pipeline, x, y, starts=starts), pipeline, images, labels
    )


def starting_points(
    pipeline: Pipeline, images: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"]
) -> tuple[Float[Tensor, "n c h w"], Bool[Tensor, " n"]]:
    """For every image the nearest one of the attacker's own that the pipeline calls something else.

    Returns:
        The starting points, and for which images there is one that the pipeline still calls something else in the
        place of the image: one that does not, and the library gives up the whole batch.

    Raises:
        NotApplicableError: the attacker owns no images.
    """
    if pipeline.pool is None or len(pipeline.pool) == 0:
        raise NotApplicableError("a decision-based attack starts from images of the attacker's own, and there are none")
    pool = pipeline.pool.to(images)
    with torch.no_grad():
        called = pipeline(pool).argmax(1)
        distances = torch.cdist(images.flatten(1), pool.flatten(1))
        distances[called[None, :] == labels.to(called.device)[:, None]] = torch.inf
        found = torch.zeros(len(images), dtype=torch.bool, device=images.device)
        starts = images.clone()
        for _ in range(min(TRIES, len(pool))):
            nearest = distances.argmin(1)
            possible = torch.isfinite(distances.gather(1, nearest[:, None])[:, 0]) & ~found
            if not bool(possible.any()):
                break
            starts[possible] = pool[nearest[possible]]
            found = found | (possible & (pipeline(starts).argmax(1) != labels.to(called.device)))
            distances.scatter_(1, nearest[:, None], torch.inf)
    return starts, found


def _from_starts(
    attack: Callable[[Tensor, Tensor, Tensor], Tensor], pipeline: Pipeline, images: Tensor, labels: Tensor
) -> Tensor:
    """Attack those images that have a starting point; the others stay as they are."""
    moved = images.clone()
    rows = torch.arange(len(images), device=images.device)
    while len(rows):
        starts, found = starting_points(pipeline, images[rows], labels[rows])
        if bool(found.all()):
            moved[rows] = attack(images[rows], labels[rows], starts)
            break
        # A batch's randomness depends on who is in it, so those that are left are looked at again.
        rows = rows[found]
    return moved


def _perturbed(
    attack: Any,
    pipeline: Pipeline,
    images: Tensor,
    labels: Tensor,
    *,
    epsilons: float | None = None,
    starts: Tensor | None = None,
) -> Tensor:
    library = _foolbox()
    model = library.PyTorchModel(pipeline, bounds=(0, 1), device=images.device)
    extra = {} if starts is None else {"starting_points": starts}
    moved: Tensor = attack(model, images, library.criteria.Misclassification(labels), epsilons=epsilons, **extra)[0]
    return moved


def _foolbox() -> ModuleType:
    # It imports GitPython, which refuses to be imported where there is no git.
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    import foolbox

    module: ModuleType = foolbox
    return module
