"""Variational Feature Compression (VFC) as a defense."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from vfc.core.augmentation import AUGMENTATIONS
from vfc.core.decoder import DECODERS, OUTPUTS, output_bounds
from vfc.core.history import SCHEDULES
from vfc.core.mask import COMBINATIONS, MASKS, SALIENCIES, SALIENCY_POINTS, SCOPES, SELECTIONS
from vfc.core.network import Network
from vfc.core.noise import NoiseLaw
from vfc.core.recipe import Recipe
from vfc.core.suitability import require_suitable
from vfc.core.trainer import Examples, served, train
from vfc.defense import DEFENSES, Defense, FitData
from vfc.defenses.support import require_choice, require_fitted, require_range, require_state
from vfc.errors import UserError
from vfc.release import Release
from vfc.seeding import seeded

CHOICES: dict[str, tuple[str, ...]] = {
    "decoder": DECODERS,
    "output": OUTPUTS,
    "beta_schedule": ("constant", "linear"),
    "kl_over": ("all", "kept"),
    "mask": MASKS,
    "saliency": SALIENCIES,
    "combination": COMBINATIONS,
    "selection": SELECTIONS,
    "scope": SCOPES,
    "saliency_at": SALIENCY_POINTS,
    "keep_epoch": ("last", "best"),
    "deployment": ("mean", "sample"),
    "lr_schedule": SCHEDULES,
    "augment": AUGMENTATIONS,
    "precision": ("float32", "bf16"),
}
_INFINITY = float("inf")
RANGES: dict[str, tuple[float, float, bool]] = {
    **dict.fromkeys(
        ("latent", "epochs", "width", "decoder_width", "mask_period", "mask_images", "batch"), (1, _INFINITY, False)
    ),
    **dict.fromkeys(
        ("beta", "decoder_blocks", "blocks", "weight_decay", "clip", "revive", "head_weight"), (0, _INFINITY, False)
    ),
    **dict.fromkeys(("cutoff", "warmup", "slack", "head_start"), (0, 1, False)),
    **dict.fromkeys(("lr", "steepness"), (0, _INFINITY, True)),
    "stages": (0, 6, False),
    "log_variance_limit": (0, 80, True),  # exp(88) is the end of float32
    "averaging": (0, 0.99999, False),
}
"""Lowest and highest value of every number, and whether the lowest itself is refused."""

_CHUNK = 512


@DEFENSES.register("vfc", sweep={"beta": (0.001, 0.003, 0.01)})
@dataclass(frozen=True, kw_only=True)
class VFC(Recipe, Defense):
    """Variational Feature Compression: a masked variational latent, decoded for one frozen target model.

    x -> variational encoder -> masked latent -> decoder -> image-shaped release -> frozen target. It is trained with
    the target's cross-entropy and a KL term to N(0, I), and with no pixel loss; after a warm-up a binary mask keeps the
    latent dimensions that serve the task and is recomputed now and then. Training needs the target's gradients;
    publishing needs forward passes only. No attribute and no opponent take part.

    Claims: other models, as they are, fail on the release while the target reads it. Known breaks: attackers who
    retrain on releases, who are out of the paper's scope: a few labelled releases per class take the suppression back,
    new batch statistics some of it without any label. With the mean deployed KL bounds nothing of what is released.
    Cost: training through the target; one forward pass of encoder and decoder per image. An unbounded release is no
    picture.

    The source publishes no code and leaves the settings open: the options and their defaults are ours.

    Where None is said to follow the image, small ones are those of sides up to 16 pixels.

    Args:
        latent: latent dimensions; None = 32 for small images, else 128.
        decoder: transposed, upsample, or linear.
        output: unbounded (not a picture), sigmoid, steep-sigmoid, or clamp.
        steepness: slope of the steep sigmoid.
        width: channels of the outermost stage of encoder and decoder; None = 32, for the encoder of other images than
            small ones 24.
        decoder_width: the decoder's own; None = as width says.
        stages: how often the sides are halved, and doubled again; None = to four pixels or fewer.
        blocks: residual blocks a stage of the encoder, behind a first convolution at full size; 0 = one strided
            convolution a stage and nothing else; None = 0 for small images, else 1.
        decoder_blocks: residual blocks a stage of the decoder.
        log_variance_limit: the encoder's log sigma^2 is cut to +- this.
        beta: weight of the KL term, nats summed over dimensions.
        betas: try each of these instead, and keep the largest one whose accuracy on the defender's validation part is
            within `slack` of the best one's; training takes as many times longer.
        slack: see betas; in [0, 1].
        beta_schedule: constant, or linear (rising from 0 to beta during the warm-up).
        kl_over: dimensions in the KL term: kept (dropped ones stay what they were and can come back), or all (dropped
            ones fall to the prior, and hardly ever come back).
        mask: none, kl, saliency, both, or random (as many dimensions as top-k would keep, drawn once).
        saliency: grad = mean |dCE/dz|, or grad-times-latent = mean |z * dCE/dz| (near 0 for one at the prior).
        saliency_at: masked (the latent that is decoded), or unmasked (the latent before it is masked).
        combination: of KL and saliency, each a share of its largest: sum, product, rank-sum, and (the smaller), or
            (the larger).
        selection: top-k keeps `keep`; threshold keeps scores >= cutoff; percentile those at or above that quantile.
        keep: share of the dimensions in (0, 1], or a count (an integer).
        cutoff: threshold or quantile, in [0, 1].
        revive: what dropped dimensions get on top of their score at a renewal, as a share of the mean score of kept
            ones; 0 = nothing.
        scope: global, or sample (one mask per image, from its own KL and the average training gradient, with
            grad-times-latent from its own latent too).
        head_start: share of the epochs, in [0, 1], in which the encoder learns through a linear head on the latent in
            the place of decoder and target, which is cheaper; the last epoch always asks the target.
        head_weight: weight of such a head's cross-entropy beside the target's afterwards, ours alone: the gradient
            through the target teaches an encoder slowly. 0 = no head, as the source has it; None = 0 for small images,
            else 1. No head is part of what is deployed.
        warmup: share of the epochs (that ask the target) without a mask, in [0, 1]; the last one always has one.
        mask_period: epochs between two mask updates.
        mask_images: training images, drawn anew, that a mask is computed on, at most; None = all for small images, else
            5,000.
        epochs: None = 20 for small images, else 14.
        keep_epoch: last, or best (of those with a mask, on up to 2,000 of the defender's validation images); None =
            last for small images, else best.
        deployment: mean (deterministic; then KL bounds nothing of what is released), or sample (stochastic).
        batch: images per step; None = 32 for small images, else 128.
        lr: peak learning rate of AdamW; None = 0.002 for small images, else 0.003.
        lr_schedule: one-cycle (a tenth of the steps up, then down), cosine (down), or constant.
        weight_decay: of AdamW; None = 0.01 for small images, else 0.05.
        clip: gradients are scaled down to this Euclidean norm; 0 = never.
        averaging: share of the running average of weights that stays at every step; 0 = no average.
        augment: none, shift (each image by its own offset), or mirror-shift; None = none for small images, shift for
            gray ones, else mirror-shift.
        fast: fold the target's BatchNorm and use channels-last memory: the same but for rounding; None = for all but
            small images.
        precision: float32, or bf16 (autocast) while training; a CPU without bf16 units takes longer for it.

    Source: Guo et al., Variational Feature Compression, 2026, arXiv 2604.06644.
    """

    fitted: Network | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        for option, choices in CHOICES.items():
            if (value := getattr(self, option)) is not None:
                require_choice(option, value, choices)
        for option, (low, high, above) in RANGES.items():
            if (value := getattr(self, option)) is not None:
                require_range(option, value, low, high, above=above)
        for beta in self.betas:
            require_range("betas", beta, 0)
        if isinstance(self.keep, int):
            require_range("keep", self.keep, 1)
        else:
            require_range("keep", self.keep, 0, 1, above=True)
        drawn_masks = self.mask == "random" and self.scope == "sample"
        # A frozen dataclass; the declaration depends on the settings and is itself no setting.
        object.__setattr__(self, "stochastic", self.deployment == "sample" or drawn_masks)

    def fit(self, data: FitData, generator: torch.Generator) -> VFC:
        """Train encoder, mask and decoder for `data.target`, on its device; the target does not change.

        Raises:
            UserError: fewer than two images, a target that cannot be served, or the loss became infinite.
        """
        if len(data.images) < 2:
            raise UserError(f"expected at least 2 images to fit vfc on, got {len(data.images)}", "use more images")
        require_suitable(data.target, data.images, data.labels, data.num_classes)
        tried = [self._trained(data, beta, generator) for beta in sorted(self.betas or (self.beta,), reverse=True)]
        enough = max(accuracy for _, _, accuracy in tried) - self.slack
        beta, network = next((beta, network) for beta, network, accuracy in tried if accuracy >= enough)
        return self._replace(target=data.target, fitted=network.requires_grad_(False), beta=beta, betas=())

    def _trained(self, data: FitData, beta: float, generator: torch.Generator) -> tuple[float, Network, float]:
        """The weight of the KL term, a network trained with it, and how it serves the target on the validation part."""
        c, h, w = data.images.shape[1:]
        recipe = self._replace(beta=beta)
        network = seeded(lambda: Network((c, h, w), recipe), generator).to(_device(data.target, data.images.device))
        held = Examples(images=data.validation_images, labels=data.validation_labels)
        train(network, data.target, data.images, data.labels, recipe, generator, validation=held)
        return beta, network, served(network, data.target, held, generator) if len(self.betas) > 1 else 0.0

    def publish(self, x: Float[Tensor, "n c h w"], generator: torch.Generator) -> Release:
        """Encode, mask, decode: forward passes only. Differentiable when `x` requires a gradient."""
        network = require_fitted(self.fitted, "vfc")
        self._check_shape(network, x)
        device = next(network.parameters()).device
        values, masks = [], []
        for rows in torch.split(x, _CHUNK):
            release, _, kept = network(rows.to(device), generator, sample=self.deployment == "sample")
            values.append(release.to(x.device))
            masks.append(kept.to(x.device))
        mask = None
        if self.mask != "none":
            mask = masks[0][0] if self.scope == "global" else torch.cat(masks).expand(len(x), -1)
        return Release(values=torch.cat(values), mask=mask, bounds=output_bounds(self.output))

    def predict(self, values: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n classes"] | None:
        """The frozen target's logits on a release."""
        if self.target is None:
            return None
        logits: Tensor = self.target(values.to(_device(self.target, values.device)))
        return logits.to(values.device)

    def noise_law(self) -> NoiseLaw | None:
        """The latent's law if a sample of it is what gets decoded; None when its mean is published."""
        return self.latent_law() if self.deployment == "sample" else None

    def latent_law(self) -> NoiseLaw | None:
        """q(z|x) of the latent dimensions that the mask keeps; None for masks that depend on the image or on chance.

        Such a mask is published with the release and tells of the image more than the noisy latent does.
        """
        network = require_fitted(self.fitted, "vfc")
        if self.scope == "sample" and self.mask != "none":
            return None
        device, kept = next(network.parameters()).device, network.mask.kept

        def statistics(x: Tensor) -> tuple[Tensor, Tensor]:
            mu, log_variance = network.encoder(x.to(device))
            return mu[:, kept].to(x.device), log_variance[:, kept].to(x.device)

        return NoiseLaw(where="latent", statistics=statistics)

    def undefended(self) -> VFC:
        """The same network trained with beta 0 and no mask, unfitted."""
        return self._replace(beta=0.0, betas=(), mask="none", fitted=None, target=None)

    def state(self) -> dict[str, Tensor]:
        """Weights, statistics and mask of the network, and the image shape (c, h, w)."""
        network = require_fitted(self.fitted, "vfc")
        return {**network.state_dict(), "shape": torch.tensor(network.shape)}

    def with_state(self, state: Mapping[str, Tensor], target: nn.Module) -> VFC:
        """The fitted defense that `state` was taken from, on the target's device.

        Raises:
            UserError: the tensors do not fit these settings.
        """
        c, h, w = require_state(state, "shape").tolist()
        network = seeded(lambda: Network((c, h, w), self), torch.Generator().manual_seed(0))
        try:
            network.load_state_dict({name: value for name, value in state.items() if name != "shape"})
        except RuntimeError as error:
            raise UserError(
                f"expected weights of vfc with these settings, got others: {str(error)[:300]}", "fit it again"
            ) from error
        network.to(_device(target, torch.device("cpu"))).eval().requires_grad_(False)
        return self._replace(target=target, fitted=network)

    @staticmethod
    def _check_shape(network: Network, x: Float[Tensor, "n c h w"]) -> None:
        if tuple(x.shape[1:]) != network.shape:
            raise UserError(f"expected images of shape {network.shape}, got {tuple(x.shape[1:])}", "use that size")


def _device(module: nn.Module, default: torch.device) -> torch.device:
    return next((parameter.device for parameter in module.parameters()), default)
