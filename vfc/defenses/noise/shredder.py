"""Noise that is trained to be large and to leave the target's predictions alone (Shredder)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vfc.defense import DEFENSES, Defense, FitData
from vfc.defenses.support import require_fitted, require_range, require_state
from vfc.release import Release
from vfc.training import batch_indices

_BATCH = 64


@DEFENSES.register("shredder", sweep={"reward": (0.1, 0.5, 2.0)})
@dataclass(frozen=True, kw_only=True)
class Shredder(Defense):
    """Adds one of several trained noise tensors, drawn anew for every image; the target is left as it is.

    Each tensor starts as Laplace noise and is trained by the target's cross-entropy minus a reward for its size, so
    that it stays large where the target does not mind. All tensors together stand for a distribution to sample from.

    Threat model (the paper's): an observer of what is published, measured by mutual information. Known breaks: a finite
    set of tensors is no noise to whoever has seen each of them with its image (`ridge-decoder`); averages of releases
    show the image plus the tensors' mean; every probe that is trained on releases learns past them.
    Cost: `steps` forward and backward passes through the target with batches of 64; adding a tensor per image.

    Args:
        count: noise tensors.
        scale: of the Laplace noise that they start from, in units of the image's range; its deviation is 1.41 scale.
        reward: weight of the mean absolute noise against the cross-entropy.
        steps: optimizer steps (Adam), for all tensors together.
        lr: learning rate.

    Source: Mireshghallah, Taram, Ramrakhyani, Jalali, Tullsen, Esmaeilzadeh, "Shredder: Learning noise distributions
    to protect inference privacy", ASPLOS 2020, arXiv 1905.11814; there at an inner layer, here at the image. Number
    of tensors, scale, weight and steps are ours.
    """

    stochastic: ClassVar[bool] = True

    count: int = 16
    scale: float = 0.25
    reward: float = 0.5
    steps: int = 400
    lr: float = 1e-2
    fitted: Float[Tensor, "k c h w"] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_range("count", self.count, 1)
        require_range("scale", self.scale, 0, above=True)
        require_range("reward", self.reward, 0)
        require_range("steps", self.steps, 0)
        require_range("lr", self.lr, 0, above=True)

    def fit(self, data: FitData, generator: torch.Generator) -> Shredder:
        """Train the noise; the target's weights are not touched."""
        target, shape = data.target.eval(), (self.count, *data.images.shape[1:])
        uniform = torch.rand(shape, generator=generator, device=generator.device) - 0.5
        # The inverse of the distribution function; 1 - 2|u| is kept above zero, where the logarithm ends.
        start = -self.scale * uniform.sign() * (1 - 2 * uniform.abs()).clamp_min(1e-7).log()
        noise = start.to(data.images).requires_grad_()
        optimizer = torch.optim.Adam([noise], lr=self.lr)
        for rows in batch_indices(len(data.images), _BATCH, self.steps, generator):
            which = torch.randint(self.count, (len(rows),), generator=generator, device=generator.device)
            images, labels = data.images[rows], data.labels[rows]
            with torch.enable_grad():
                logits = target(images + noise[which.to(noise.device)])
                loss = nn.functional.cross_entropy(logits, labels) - self.reward * noise.abs().mean()
            (noise.grad,) = torch.autograd.grad(loss, [noise])
            optimizer.step()
        return self._replace(target=data.target, fitted=noise.detach().cpu())

    def publish(self, x: Float[Tensor, "n c h w"], generator: torch.Generator) -> Release:
        """Noisy images; unbounded."""
        noise = require_fitted(self.fitted, "shredder")
        which = torch.randint(len(noise), (len(x),), generator=generator, device=generator.device)
        return Release(values=x + noise[which.cpu()].to(x))

    def state(self) -> dict[str, Tensor]:
        """The noise tensors."""
        return {"noise": require_fitted(self.fitted, "shredder")}

    def with_state(self, state: Mapping[str, Tensor], target: nn.Module) -> Shredder:
        """The same tensors again."""
        return self._replace(target=target, fitted=require_state(state, "noise").cpu())
