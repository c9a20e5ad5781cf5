"""The pipeline as it is deployed, x -> r -> target, in the shape that attack libraries want.

Axes: n images, c channels, h and w pixels, k classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vfc.defense import Defense
from vfc.errors import NotApplicableError
from vfc.seeding import derive_seed

Use = Callable[[Tensor, torch.Generator], Tensor]
"""From images and randomness to the logits of the intended use."""


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """A fitted defense followed by its intended use.

    Args:
        defense: with a target.
        straight: pass the gradient with respect to the release on to the image unchanged, for defenses that have no
            useful gradient of their own (Athalye et al., Obfuscated gradients give a false sense of security, 2018,
            arXiv 1802.00420). Values stay those of the real defense.
    """

    defense: Defense
    straight: bool = False

    def __call__(self, x: Float[Tensor, "n c h w"], generator: torch.Generator) -> Float[Tensor, "n k"]:
        """Publish and predict.

        Raises:
            NotApplicableError: there is no target; or `straight`, and the release is not shaped like the image.
        """
        release = self.defense.publish(x.detach() if self.straight else x, generator).values
        if self.straight:
            if release.shape != x.shape or not release.is_floating_point():
                raise NotApplicableError("the release is not shaped like the image")
            release = x + (release - x).detach()
        logits = self.defense.predict(release)
        if logits is None:
            raise NotApplicableError("the release names no target model")
        return logits

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """Every torch module of the defense, its target among them."""
        return tuple(value for value in vars(self.defense).values() if isinstance(value, nn.Module))


@dataclass(frozen=True, kw_only=True)
class Bare:
    """The target on the images themselves: what the attacks must be able to fool.

    Args:
        target: images to logits.
    """

    target: nn.Module

    def __call__(self, x: Float[Tensor, "n c h w"], generator: torch.Generator) -> Float[Tensor, "n k"]:  # noqa: ARG002
        """The target's logits."""
        logits: Tensor = self.target(x)
        return logits

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """The target."""
        return (self.target,)


@dataclass
class Meter:
    """What was asked of a pipeline, counted where it is answered.

    Args:
        calls: batches.
        queries: images, each as often as its randomness was drawn.
        gradients: batches whose gradient may have been taken.
    """

    calls: int = 0
    queries: int = 0
    gradients: int = 0


class Pipeline(nn.Module):
    """A pipeline that attack libraries can call: a module in eval mode, float32 in and out, metered.

    Args:
        use: what is deployed.
        seed: of its randomness.
        draws: how many times its randomness is drawn for one call; the logits are averaged.
        repeat: draw the same randomness in every call, so that the outputs are a function of the image. Attacks that
            only ask for decisions need that; those that follow gradients get fresh randomness in every call.
        pool: images that the attacker owns, from which attacks may start.
        device: where to compute.
        meter: what counts; a new one by default.
    """

    def __init__(
        self,
        use: Deployed | Bare,
        *,
        seed: int,
        draws: int = 1,
        repeat: bool = False,
        pool: Float[Tensor, "m c h w"] | None = None,
        device: str | torch.device = "cpu",
        meter: Meter | None = None,
    ) -> None:
        super().__init__()
        self.use, self.seed, self.draws, self.repeat, self.pool = use, seed, draws, repeat, pool
        self.meter = meter or Meter()
        # Libraries ask a model's parameters where it lives. Not registering the defense itself keeps its modules out
        # of the reach of `train()`.
        self.anchor = nn.Parameter(torch.zeros((), device=device), requires_grad=False)
        self.eval()

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        """Logits, averaged over the randomness; their gradient is exactly zero where the defense gives none."""
        self.meter.calls += 1
        self.meter.queries += len(x) * self.draws
        self.meter.gradients += x.requires_grad
        call = 0 if self.repeat else self.meter.calls
        pieces = []
        for draw in range(self.draws):
            generator = torch.Generator().manual_seed(derive_seed("evasion", self.seed, call, draw))
            pieces.append(self.use(x.float(), generator).float())
        logits = torch.stack(pieces).mean(0) if len(pieces) > 1 else pieces[0]
        if x.requires_grad and not logits.requires_grad:
            # Libraries crash without a graph; nothing is what this gradient truly is.
            logits = logits + 0.0 * x.flatten(1).sum(1, keepdim=True)
        return logits

    def followed(self, gradient: str) -> Pipeline:
        """The pipeline, with the same meter, whose gradient an attack follows.

        Args:
            gradient: `exact`; `straight-through`, which passes the defense unchanged; or `target`, that of the target
                on the image itself.

        Raises:
            NotApplicableError: there is no target that reads images.
        """
        use = self.use
        if gradient == "exact" or isinstance(use, Bare):
            return self
        stand_in: Deployed | Bare = Deployed(defense=use.defense, straight=True)
        if gradient == "target":
            if use.defense.target is None or not self._reads_images(use.defense.target):
                raise NotApplicableError("there is no target that reads images")
            stand_in = Bare(target=use.defense.target)
        return Pipeline(
            stand_in,
            seed=self.seed,
            draws=self.draws,
            repeat=self.repeat,
            pool=self.pool,
            device=self.anchor.device,
            meter=self.meter,
        )

    @torch.no_grad()
    def _reads_images(self, target: nn.Module) -> bool:
        """Whether a target takes an image where it is meant for releases."""
        if self.pool is None:
            return True
        try:
            target(self.pool[:1].to(self.anchor.device))
        except Exception:  # whatever a third party's module raises means no
            return False
        return True

    def train(self, mode: bool = True) -> Pipeline:  # noqa: ARG002
        """Stay in eval mode, whatever a library asks for."""
        return super().train(False)


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What the real pipeline makes of some images.

    Args:
        right: share of the draws in which the label is predicted, in [0, 1].
        margin: the label's logit minus the largest other, mean over draws; wrong below 0.
    """

    right: Float[Tensor, " n"]
    margin: Float[Tensor, " n"]


@torch.no_grad()
def score(
    use: Use,
    images: Float[Tensor, "n c h w"],
    labels: Int[Tensor, " n"],
    *,
    draws: int,
    seed: int,
    device: str | torch.device = "cpu",
    chunk: int = 512,
) -> Scores:
    """Ask the pipeline itself, outside any library; logits that are not finite count as 0, as everywhere.

    Args:
        use: the pipeline.
        images, labels: of the targets.
        draws: how many times to publish each image.
        seed: of the randomness.
        device: where to compute; the scores are on the CPU.
    """
    right, margin = torch.zeros(len(images)), torch.zeros(len(images))
    for draw in range(draws):
        generator = torch.Generator().manual_seed(derive_seed("evasion score", seed, draw))
        pieces = [use(part.to(device), generator).float().cpu() for part in torch.split(images, chunk)]
        logits = torch.cat(pieces).nan_to_num(posinf=3e38, neginf=-3e38)
        right += (logits.argmax(1) == labels.cpu()).float() / draws
        own = logits.gather(1, labels.cpu()[:, None])[:, 0]
        others = logits.scatter(1, labels.cpu()[:, None], -torch.inf).amax(1)
        margin += (own - others).clamp(-1e30, 1e30) / draws
    return Scores(right=right, margin=margin)


def zero_gradients(
    pipeline: Pipeline, images: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"], *, loss: str
) -> Bool[Tensor, " n"]:
    """For which images the gradient of a loss is exactly zero, or not finite, everywhere.

    Args:
        pipeline: what is attacked.
        images, labels: of the targets.
        loss: `entropy` (cross-entropy, which saturates) or `margin` (difference of logits, which does not).
    """
    leaf = images.detach().clone().requires_grad_()
    with torch.enable_grad():
        logits = pipeline(leaf)
        if loss == "entropy":
            total = nn.functional.cross_entropy(logits, labels.to(logits.device), reduction="sum")
        else:
            own = logits.gather(1, labels.to(logits.device)[:, None])[:, 0]
            others = logits.scatter(1, labels.to(logits.device)[:, None], -torch.inf).amax(1)
            total = (others - own).sum()
        (gradient,) = torch.autograd.grad(total, leaf)
    flat = gradient.flatten(1)
    return ~torch.isfinite(flat).all(1) | (flat == 0).all(1)
