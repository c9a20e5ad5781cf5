"""Whether a target and a defender's images belong together, and whether a trained network still says anything.

Axes: n images, c channels, h and w pixels.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vfc.core.objective import frozen
from vfc.errors import UserError

LOOKED_AT = 1000
"""On so many images it shows whether a target does better than chance."""

FEWEST = 200
"""On fewer images nobody can tell chance from a weak target."""

_CHUNK = 250


def require_suitable(target: nn.Module, images: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"], k: int) -> None:
    """Refuse a target that cannot be served: before the training, not after it.

    Args:
        target: images to logits; in whatever mode, which it is given back in.
        images: the defender's, in [0, 1]; the first ones are looked at.
        labels: their task labels.
        k: number of task classes.

    Raises:
        UserError: it refuses such images, answers with another number of classes or with no numbers, or is right (on
            200 images or more) no more often than one who always names the commonest class.
    """
    device = next((parameter.device for parameter in target.parameters()), images.device)
    images, labels = images[:LOOKED_AT], labels[:LOOKED_AT].cpu()
    pieces = []
    with frozen(target), torch.no_grad():
        for rows in torch.split(images, _CHUNK):
            try:
                logits = target(rows.to(device))
            except (RuntimeError, ValueError, IndexError) as error:
                raise UserError(
                    f"expected a target for images of shape {tuple(images.shape[1:])}, got: {str(error)[:200]}",
                    "give a target that takes images of that size",
                ) from error
            if logits.shape != (len(rows), k):
                raise UserError(
                    f"expected logits of {k} classes from the target, got an answer of shape {tuple(logits.shape)}",
                    "give a target of the task",
                )
            pieces.append(logits.float().cpu())
    logits = torch.cat(pieces)
    if not bool(logits.isfinite().all()):
        raise UserError("expected finite logits from the target, got NaN or infinity", "check its weights")
    right, floor = int((logits.argmax(1) == labels).sum()), int(torch.bincount(labels, minlength=k).max())
    if len(labels) >= FEWEST and right <= floor:
        raise UserError(
            f"expected a target better than chance on the defender's images, got {right} of {len(labels)} right, "
            f"where the commonest class alone has {floor}",
            "check that its normalization, its classes and their order are those of the data",
        )


def collapse(answers: Int[Tensor, " n"], labels: Int[Tensor, " n"]) -> str | None:
    """What there is to say when the target calls all releases of several classes the same; None otherwise."""
    if len(answers) < 2 or int(answers.unique().numel()) > 1 or int(labels.unique().numel()) < 2:
        return None
    return f"the release collapsed: the target calls all {len(answers)} images class {int(answers[0])}"
