"""What keeps third-party attack code from doing harm: its input is checked, its side effects undone, its crashes held.

Seen in torchattacks 3.5.1 and foolbox 3.3.4: global random state set and not restored, gradients left on parameters,
results that require a gradient or left the range asked for, bare assertions, and batches lost to one bad row.

Axes: n images, c channels, h and w pixels.
"""

from __future__ import annotations

import contextlib
import io
import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vfc.core.objective import frozen
from vfc.errors import NotApplicableError, UserError

Attack = Callable[[Tensor, Tensor], Tensor]
"""From images and labels to perturbed images."""

MOST_CRASHES = 0.1
"""Share of rows that may crash one by one before the attack counts as crashed altogether."""


@contextlib.contextmanager
def contained(modules: Sequence[nn.Module], generator: torch.Generator) -> Iterator[None]:
    """Inside, global randomness comes from the generator; afterwards everything is as it was.

    Restored: the random state of torch (every device), numpy and Python, train / eval mode, which parameters require a
    gradient, their gradients, all buffers (BatchNorm statistics among them), and whether gradients are recorded.
    Nothing is printed, and no warning of the library's gets out.
    """
    seed = int(torch.randint(2**31, (), generator=generator))
    own, numpy_state = random.getstate(), np.random.get_state()
    parameters = [p for module in modules for p in module.parameters()]
    gradients = [(p, None if p.grad is None else p.grad.clone()) for p in parameters]
    buffers = [(b, b.clone()) for module in modules for b in module.buffers()]
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(torch.random.fork_rng())
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        stack.enter_context(torch.enable_grad())
        for module in modules:
            stack.enter_context(frozen(module))
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        try:
            yield
        finally:
            random.setstate(own)
            np.random.set_state(numpy_state)
            for parameter, gradient in gradients:
                parameter.grad = gradient
            with torch.no_grad():
                for buffer, before in buffers:
                    buffer.copy_(before)


def checked_images(images: Tensor) -> Float[Tensor, "n c h w"]:
    """Images as the libraries can take them: (n, c, h, w), float32, in [0, 1].

    Raises:
        NotApplicableError: they are no images: the libraries crash on vectors, and clamp anything to [0, 1], which
            moves a latent however small the budget.
        UserError: there are none.
    """
    if images.ndim != 4:
        raise NotApplicableError(f"the libraries perturb images (n, c, h, w), got shape {tuple(images.shape)}")
    if not images.is_floating_point():
        raise NotApplicableError(f"the libraries perturb floats, got {images.dtype}")
    if len(images) == 0:
        raise UserError("expected images to perturb, got none", "give at least one")
    if not bool(((images >= 0) & (images <= 1)).all()):
        raise NotApplicableError("the libraries clamp to [0, 1], and these values are not all inside")
    return images.detach().float()


@dataclass(frozen=True, kw_only=True)
class Guarded:
    """What came out of a guarded attack.

    Args:
        images: perturbed images, as the attack returned them; the originals where it crashed.
        crashed: rows on which it crashed.
        error: the first crash in words, empty without one.
    """

    images: Float[Tensor, "n c h w"]
    crashed: Bool[Tensor, " n"]
    error: str = ""


def guarded(
    attack: Attack,
    images: Tensor,
    labels: Int[Tensor, " n"],
    modules: Sequence[nn.Module],
    generator: torch.Generator,
) -> Guarded:
    """Run a library's attack so that it can neither disturb anything nor lose a batch to one row.

    A batch that crashes is halved until the rows at fault are alone; those are left as they are and said so.

    Args:
        attack: images and labels to perturbed images.
        images, labels: the targets.
        modules: what is attacked.
        generator: the only source of randomness.

    Raises:
        NotApplicableError: the attack has no meaning here.
        RuntimeError: more than a tenth of the rows crash; says how.
    """
    checked = checked_images(images)
    crashed = torch.zeros(len(checked), dtype=torch.bool)
    moved = checked.clone()
    first = ""
    pending = [torch.arange(len(checked))]
    while pending:
        rows = pending.pop()
        try:
            with contained(modules, generator):
                found = attack(checked[rows].clone(), labels[rows].clone())
            moved[rows] = shaped_like(found, checked[rows])
        except NotApplicableError:
            raise
        except Exception as error:
            first = first or f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            if len(rows) > 1:
                pending += [rows[len(rows) // 2 :], rows[: len(rows) // 2]]
                continue
            crashed[rows] = True
            if int(crashed.sum()) > MOST_CRASHES * len(checked):
                raise RuntimeError(f"the attack crashed: {first}") from error
    return Guarded(images=moved, crashed=crashed, error=first)


def shaped_like(found: object, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """A library's result as plain float32 images; raises `ValueError` when it is something else."""
    if not isinstance(found, Tensor) or found.shape != images.shape:
        words = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(f"expected perturbed images of shape {tuple(images.shape)}, got {words}")
    return found.detach().float().to(images.device)
