"""The only grader of evasion attacks: every image is measured and scored again on the real pipeline, by us.

Axes: b balls of one norm in rising order, n targets, c channels, h and w pixels.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from adversaries.attacks.evasion.ball import Ball
from adversaries.attacks.evasion.base import Evasion
from adversaries.attacks.evasion.guard import Guarded, checked_images, guarded
from adversaries.attacks.evasion.pipeline import Bare, Deployed, Pipeline, Scores, score, zero_gradients
from adversaries.evidence import Cost
from vfc.errors import NotApplicableError, UserError
from vfc.seeding import derive_seed

MASKED = 0.1
"""Share of images without a gradient above which ZERO_GRADIENT is raised."""

NOOP = 8
"""Targets on which every attack is run with a budget of 0."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """How the pipeline did under one attack, per ball and target.

    Args:
        right: whether the label is predicted on one fresh release of the worst image found; (b, n).
        share: share of the draws that chose that image in which it is predicted; (b, n).
        margin: mean margin in them; (b, n). Of images that are right equally often, the worse one has the smaller.
        left: whether the attack returned an image outside the ball or [0, 1], which then counts as untouched; (b, n).
        crashed: targets on which the attack crashed; (b, n).
        images: the worst images found; (b, n, c, h, w).
        flags: doubts.
        cost: what it took.
    """

    right: Bool[Tensor, "b n"]
    share: Float[Tensor, "b n"]
    margin: Float[Tensor, "b n"]
    left: Bool[Tensor, "b n"]
    crashed: Bool[Tensor, "b n"]
    images: Float[Tensor, "b n c h w"]
    flags: tuple[str, ...]
    cost: Cost


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What is attacked, and how often its randomness is drawn.

    Args:
        use: the pipeline.
        images, labels: of the targets, on the CPU.
        pool: images that the attacker owns.
        draws: draws per gradient, decision and score; 1 for a deterministic pipeline.
        seed: of all randomness.
        device: where to compute.
    """

    use: Deployed | Bare
    images: Float[Tensor, "n c h w"]
    labels: Int[Tensor, " n"]
    pool: Float[Tensor, "m c h w"]
    draws: int
    seed: int
    device: str = "cpu"
    untouched: Scores = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "untouched", self.scores(self.images, self.labels))

    def scores(self, images: Float[Tensor, "m c h w"], labels: Int[Tensor, " m"]) -> Scores:
        """How images are compared with each other; the draws are not those that grade."""
        return score(
            self.use, images, labels, draws=self.draws, seed=derive_seed("choose", self.seed), device=self.device
        )

    def graded(self, images: Float[Tensor, "n c h w"]) -> Bool[Tensor, " n"]:
        """Right or wrong on one fresh release of every image, as it would be published."""
        seed = derive_seed("grade", self.seed)
        return score(self.use, images, self.labels, draws=1, seed=seed, device=self.device).right > 0.5

    def pipeline(self, adversary: Evasion) -> Pipeline:
        """What an attack may call."""
        return Pipeline(
            self.use,
            seed=derive_seed("attack", self.seed),
            draws=self.draws,
            repeat=adversary.level == "L3",
            pool=self.pool,
            device=self.device,
        )


def try_attack(adversary: Evasion, scene: Scene, balls: Sequence[Ball]) -> Trial:
    """Run one attack in balls of one norm and grade it.

    A larger ball attacks only what every smaller one left, since what lies in a ball lies in all that hold it.

    Args:
        adversary: who attacks.
        scene: what is attacked.
        balls: of one norm, in rising order.

    Raises:
        NotApplicableError: the attack has no meaning here.
        RuntimeError: it crashed, changed an image at budget 0, or returned nothing that lies inside its ball.
    """
    norm = _checked_norm(adversary, balls)
    images = checked_images(scene.images)
    started = time.perf_counter()
    pipeline = scene.pipeline(adversary)
    flags = {"ZERO_GRADIENT"} if _masked(adversary, scene) else set[str]()
    _check_noop(adversary, scene, norm)
    best, known = images.clone(), scene.untouched
    share, margin = known.right.clone(), known.margin.clone()
    nearest = _nearest(adversary, pipeline, scene, balls) if adversary.minimal else None
    rows: dict[str, list[Tensor]] = {name: [] for name in ("right", "share", "margin", "left", "crashed", "images")}
    for ball in balls:
        left, crashed = (torch.zeros(len(images), dtype=torch.bool) for _ in range(2))
        for restart in range(1 if nearest is not None else adversary.restarts):
            open_rows = torch.nonzero(share > 0).flatten()
            if not len(open_rows):
                break
            if nearest is None:
                result = _run(adversary, pipeline, scene, open_rows, ball, restart)
                moved, crashed[open_rows] = result.images, crashed[open_rows] | result.crashed
            else:
                moved, crashed = nearest.images[open_rows], nearest.crashed
                moved = ball.project(images[open_rows], moved)
            holds = ball.holds(images[open_rows], moved)
            left[open_rows] |= ~holds
            moved = torch.where(holds[:, None, None, None], moved, images[open_rows])
            found = scene.scores(moved, scene.labels[open_rows])
            better = (found.right < share[open_rows]) | (
                (found.right == share[open_rows]) & (found.margin < margin[open_rows])
            )
            taken = open_rows[better]
            best[taken], share[taken], margin[taken] = moved[better], found.right[better], found.margin[better]
        attacked = known.right > 0
        if bool(left[attacked].all()) and bool(attacked.any()):
            raise RuntimeError("every image that the attack returned lies outside its ball or [0, 1]")
        for name, value in (
            ("right", scene.graded(best)), ("share", share), ("margin", margin), ("left", left), ("crashed", crashed),
            ("images", best),
        ):  # fmt: skip
            rows[name].append(value.clone())
    stacked = {name: torch.stack(values) for name, values in rows.items()}
    if bool(stacked["crashed"].any()):
        flags.add("CRASHED")
    if bool(stacked["left"].any()):
        flags.add("OUT_OF_BOUNDS")
    cost = Cost(
        seconds=round(time.perf_counter() - started, 4),
        gradient_steps=pipeline.meter.gradients,
        queries=pipeline.meter.queries,
        peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )
    return Trial(**stacked, flags=tuple(sorted(flags)), cost=cost)


def random_corners(scene: Scene, ball: Ball) -> Bool[Tensor, " n"]:
    """Right or wrong after a random step of full length: what a perturbation does that is no attack."""
    generator = torch.Generator().manual_seed(derive_seed("corners", scene.seed, ball.norm))
    step = torch.randn(scene.images.shape, generator=generator)
    step = step.sign() if ball.norm == "linf" else step
    scaled = step / ball.lengths(step).to(step)[:, None, None, None] * ball.radius
    return scene.graded(ball.project(scene.images, scene.images + scaled.to(scene.images)))


def _checked_norm(adversary: Evasion, balls: Sequence[Ball]) -> str:
    norms = {ball.norm for ball in balls}
    radii = [ball.radius for ball in balls]
    if len(norms) != 1 or radii != sorted(radii):
        raise UserError("expected balls of one norm in rising order", "attack one norm at a time")
    (norm,) = norms
    if norm not in adversary.norms:
        raise NotApplicableError(f"the attack works in {' and '.join(adversary.norms)} only")
    return norm


def _run(adversary: Evasion, pipeline: Pipeline, scene: Scene, rows: Tensor, ball: Ball, restart: int) -> Guarded:
    seed = derive_seed("evasion attack", scene.seed, ball.norm, ball.budget, restart)
    return guarded(
        lambda x, y: adversary.perturb(pipeline, x.to(scene.device), y.to(scene.device), ball, seed),
        scene.images[rows],
        scene.labels[rows],
        scene.use.modules,
        torch.Generator().manual_seed(seed),
    )


def _nearest(adversary: Evasion, pipeline: Pipeline, scene: Scene, balls: Sequence[Ball]) -> Guarded | None:
    """The nearest adversarial images that a minimal attack finds, for all targets."""
    rows = torch.nonzero(scene.untouched.right > 0).flatten()
    if not len(rows):
        return None
    found = _run(adversary, pipeline, scene, rows, balls[-1], 0)
    moved, crashed = scene.images.clone(), torch.zeros(len(scene.images), dtype=torch.bool)
    moved[rows], crashed[rows] = found.images, found.crashed
    return Guarded(images=moved, crashed=crashed, error=found.error)


def _check_noop(adversary: Evasion, scene: Scene, norm: str) -> None:
    """With a budget of 0 nothing may change. What a minimal attack finds is projected, so there is nothing to check."""
    if adversary.minimal:
        return
    ball = Ball(norm=norm, budget="0")
    rows = torch.arange(min(NOOP, len(scene.images)))
    moved = _run(adversary, scene.pipeline(adversary), scene, rows, ball, 0).images
    # Some attacks divide 0 by 0 here; what is not finite counts as untouched, as everywhere.
    finite = torch.isfinite(moved).flatten(1).all(1)
    if bool((finite & ~ball.holds(scene.images[rows], moved)).any()):
        raise RuntimeError("the attack changes images at budget 0")


def _masked(adversary: Evasion, scene: Scene) -> bool:
    """Whether too many images that are predicted right give the attack no gradient at all."""
    loss = adversary.followed()
    rows = torch.nonzero(scene.untouched.right > 0).flatten()
    if loss == "none" or not len(rows):
        return False
    pipeline = adversary.seen(scene.pipeline(adversary))
    images, labels = scene.images[rows].to(scene.device), scene.labels[rows].to(scene.device)
    return float(zero_gradients(pipeline, images, labels, loss=loss).float().mean()) > MASKED
