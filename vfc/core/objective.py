"""What VFC minimizes, and the saliency of its latent: task cross-entropy through the frozen target + beta * KL.

There is no pixel loss: nothing asks the release to look like the image.
Source: Guo et al., Variational Feature Compression, 2026, arXiv 2604.06644.

Axes: n images, c channels, h and w pixels, d latent dimensions, k classes. z is the latent, q(z|x) = N(mu, sigma^2).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


def kl_per_dimension(mu: Float[Tensor, "n d"], log_variance: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """KL(N(mu, sigma^2) || N(0, 1)) of every latent dimension in nats: (mu^2 + sigma^2 - 1 - log sigma^2) / 2."""
    # expm1 keeps sigma^2 - 1 exact near the prior, where 1 would swallow it.
    return 0.5 * (mu.square() + torch.expm1(log_variance) - log_variance)


def sample_latent(
    mu: Float[Tensor, "n d"], log_variance: Float[Tensor, "n d"], generator: torch.Generator
) -> Float[Tensor, "n d"]:
    """Draw z = mu + sigma * noise; the noise is drawn where the generator lives."""
    noise = torch.randn(mu.shape, generator=generator, device=generator.device, dtype=mu.dtype)
    return mu + torch.exp(0.5 * log_variance) * noise.to(mu.device)


def vfc_loss(
    logits: Float[Tensor, "n k"], labels: Int[Tensor, " n"], kl: Float[Tensor, "n d"], beta: float
) -> Float[Tensor, ""]:
    """Mean cross-entropy of the target on the release + beta * mean over images of the KL summed over dimensions."""
    return cross_entropy(logits, labels) + beta * kl.sum(1).mean()


def latent_gradient(
    decoder: nn.Module, target: nn.Module, z: Float[Tensor, "n d"], labels: Int[Tensor, " n"]
) -> Float[Tensor, "n d"]:
    """dCE/dz of every image by itself, at the latents that the decoder is given. All modules must be in eval mode."""
    leaf = z.detach().requires_grad_()
    with torch.enable_grad():
        loss = cross_entropy(target(decoder(leaf)).float(), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, leaf)
    return gradient


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Eval mode and no parameter gradients inside; every module's mode and parameter's flag is restored after.

    Gradients still flow through the module, to its input.
    """
    modes = [(part, part.training) for part in module.modules()]
    flags = [(parameter, parameter.requires_grad) for parameter in module.parameters()]
    module.eval()
    module.requires_grad_(False)
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
