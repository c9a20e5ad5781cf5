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
    with frozen(target), torch.no_grad():
        rows = [answers(target, each.to(device), k, "the target").float().cpu() for each in torch.split(images, _CHUNK)]
    logits = torch.cat(rows)
    right, floor = int((logits.argmax(1) == labels).sum()), int(torch.bincount(labels, minlength=k).max())
    if len(labels) >= FEWEST and right <= floor:
        raise UserError(
            f"expected a target better than chance on the defender's images, got {right} of {len(labels)} right, "
            f"where the commonest class alone has {floor}",
            "check that its normalization, its classes and their order are those of the data",
        )


def answers(model: nn.Module, images: Float[Tensor, "n c h w"], classes: int, origin: str) -> Float[Tensor, "n k"]:
    """Logits of a classifier that may be none of such images.

    Args:
        model: in the mode and on the device in which it is asked.
        images: in [0, 1].
        classes: how many there are.
        origin: how errors name the model.

    Raises:
        UserError: it fails on such images, or gives another number of logits, or NaN.
    """
    try:
        found = model(images)
    except Exception as error:  # whatever a network raises on images that it was not made for
        said = error.what if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        raise UserError(
            f"expected {origin} to read images of {' x '.join(map(str, images.shape[1:]))} (channels, height, width), "
            f"got {said[:300]}",
            "choose data of the size that it was trained on, or resize inside a factory",
        ) from error
    if not isinstance(found, Tensor) or not found.is_floating_point() or found.ndim != 2 or len(found) != len(images):
        words = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise UserError(f"expected logits (n, {classes}) from {origin}, got {words}", "return one row of logits each")
    if found.shape[1] != classes:
        raise UserError(
            f"expected {origin} to tell {classes} classes apart, got {found.shape[1]}",
            "choose the label that it was trained for with --task, or give it another last layer",
        )
    if not bool(torch.isfinite(found).all()):
        raise UserError(f"expected finite logits from {origin}, got NaN or infinity", "check its weights")
    return found


def collapse(answers: Int[Tensor, " n"], labels: Int[Tensor, " n"]) -> str | None:
    """What there is to say when the target calls all releases of several classes the same; None otherwise."""
    if len(answers) < 2 or int(answers.unique().numel()) > 1 or int(labels.unique().numel()) < 2:
        return None
    return f"the release collapsed: the target calls all {len(answers)} images class {int(answers[0])}"
