"""How VFC is built and trained; what is left open follows the size of the images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from vfc.core.decoder import STEEPNESS
from vfc.core.encoder import LOG_VARIANCE_LIMIT
from vfc.core.mask import MaskRule

T = TypeVar("T")

SMALL_SIDE = 16
"""Images of up to so many pixels a side are small."""


@dataclass(frozen=True, kw_only=True)
class Recipe(MaskRule):
    """How VFC is built and trained; the fields are options of `VFC` and are explained there."""

    latent: int | None = None
    decoder: str = "transposed"
    output: str = "unbounded"
    steepness: float = STEEPNESS
    width: int | None = None
    decoder_width: int | None = None
    stages: int | None = None
    blocks: int | None = None
    decoder_blocks: int = 0
    log_variance_limit: float = LOG_VARIANCE_LIMIT
    beta: float = 0.003
    betas: tuple[float, ...] = ()
    slack: float = 0.01
    beta_schedule: str = "constant"
    kl_over: str = "kept"
    head_start: float = 0.0
    head_weight: float | None = None
    warmup: float = 1 / 3
    mask_period: int = 2
    mask_images: int | None = None
    epochs: int | None = None
    keep_epoch: str | None = None
    deployment: str = "mean"
    batch: int | None = None
    lr: float | None = None
    lr_schedule: str = "one-cycle"
    weight_decay: float | None = None
    clip: float = 0.0
    averaging: float = 0.0
    augment: str | None = None
    fast: bool | None = None
    precision: str = "float32"

    def latent_for(self, shape: tuple[int, int, int]) -> int:
        """Latent dimensions for images of shape (c, h, w)."""
        return _by_size(self.latent, shape, 32, 128)

    def widths_for(self, shape: tuple[int, int, int]) -> tuple[int, int]:
        """Channels of the outermost stage of encoder and decoder."""
        encoder, decoder = (_by_size(self.width, shape, 32, large) for large in (24, 32))
        return encoder, decoder if self.decoder_width is None else self.decoder_width

    def blocks_for(self, shape: tuple[int, int, int]) -> int:
        """Residual blocks in every stage of the encoder."""
        return _by_size(self.blocks, shape, 0, 1)

    def epochs_for(self, shape: tuple[int, int, int]) -> int:
        """Epochs for images of shape (c, h, w)."""
        return _by_size(self.epochs, shape, 20, 14)

    def mask_images_for(self, shape: tuple[int, int, int]) -> int:
        """On how many training images a mask is computed, at most."""
        return _by_size(self.mask_images, shape, 10**9, 5000)

    def keep_epoch_for(self, shape: tuple[int, int, int]) -> str:
        """Whether the last epoch's network is kept, or the best one's."""
        return _by_size(self.keep_epoch, shape, "last", "best")

    def batch_for(self, shape: tuple[int, int, int]) -> int:
        """Images per step for images of shape (c, h, w)."""
        # Small sets of small images need the steps: 480 digits in batches of 64 are 140 steps, and lose accuracy.
        return _by_size(self.batch, shape, 32, 128)

    def lr_for(self, shape: tuple[int, int, int]) -> float:
        """Peak learning rate."""
        return _by_size(self.lr, shape, 2e-3, 3e-3)

    def weight_decay_for(self, shape: tuple[int, int, int]) -> float:
        """Weight decay of AdamW."""
        return _by_size(self.weight_decay, shape, 0.01, 0.05)

    def head_weight_for(self, shape: tuple[int, int, int]) -> float:
        """Weight of a linear head's cross-entropy beside the target's."""
        return _by_size(self.head_weight, shape, 0.0, 1.0)

    def augment_for(self, shape: tuple[int, int, int]) -> str:
        """How training images are moved. A mirrored letter or digit may be another one, and those are gray."""
        return _by_size(self.augment, shape, "none", "shift" if shape[0] == 1 else "mirror-shift")

    def fast_for(self, shape: tuple[int, int, int]) -> bool:
        """Whether the frozen target is folded and memory is channels-last."""
        return _by_size(self.fast, shape, False, True)


def _by_size(chosen: T | None, shape: tuple[int, int, int], small: T, large: T) -> T:
    if chosen is not None:
        return chosen
    return small if max(shape[1:]) <= SMALL_SIDE else large
