"""Any adversary behind a fixed transform of the release."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, interpolate, pad

from adversaries.adversary import ADVERSARIES, Adversary, Attack
from adversaries.goals.label import Scores
from adversaries.knowledge import Knowledge
from adversaries.learning.kernels import as_float
from adversaries.threat import Level
from vfc.defense import Defense
from vfc.errors import NotApplicableError

TransformName = Literal["gray", "jpeg", "blur", "flip", "down-up"]
_LUMA = (0.299, 0.587, 0.114)
_QUALITY = 10


def _gray(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """Luma (three channels) or the mean of the channels, in every channel."""
    weights = x.new_tensor(_LUMA) if x.shape[1] == 3 else x.new_full((x.shape[1],), 1 / x.shape[1])
    return (x * weights[:, None, None]).sum(1, keepdim=True).expand_as(x).contiguous()


def _blur(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """Gaussian, sigma 1 pixel, 5 x 5, borders repeated."""
    line = torch.exp(-0.5 * torch.arange(-2.0, 3.0, device=x.device).square())
    kernel = torch.outer(line, line) / line.sum().square()
    channels = x.shape[1]
    weight = kernel.expand(channels, 1, 5, 5).contiguous()
    return conv2d(pad(x, (2, 2, 2, 2), mode="replicate"), weight, groups=channels)


def _flip(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """Left and right exchanged."""
    return x.flip(-1)


def _down_up(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """Averaged to half the side, and bilinearly back."""
    size = (x.shape[2], x.shape[3])
    return interpolate(avg_pool2d(x, 2, ceil_mode=True), size=size, mode="bilinear", align_corners=False)


def _jpeg(x: Float[Tensor, "n c h w"], low: float, high: float) -> Float[Tensor, "n c h w"]:
    """Rescaled from [low, high] to 8 bit, written as JPEG of quality 10, read, and rescaled back."""
    span = (high - low) or 1.0
    codes = ((x.double().cpu() - low) / span * 255).round().clamp(0, 255).to(torch.uint8).numpy()
    color = x.shape[1] == 3
    pictures = codes.transpose(0, 2, 3, 1) if color else codes.reshape(-1, *codes.shape[2:])
    decoded = []
    for picture in pictures:
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(picture)).save(buffer, format="JPEG", quality=_QUALITY)
        decoded.append(np.asarray(Image.open(buffer)))
    back = np.stack(decoded)
    back = back.transpose(0, 3, 1, 2) if color else back.reshape(codes.shape)
    return (torch.from_numpy(back.copy()).double() / 255 * span + low).float().to(x.device)


_PLAIN: dict[str, Callable[[Tensor], Tensor]] = {"gray": _gray, "blur": _blur, "flip": _flip, "down-up": _down_up}


class TransformedView(Knowledge):
    """What another view grants, every release transformed; images and models stay as they are.

    Args:
        view: the view to read.
        transform: applied to every release.
    """

    def __init__(self, view: Knowledge, transform: Callable[[Tensor], Tensor]) -> None:
        self._view, self._transform = view, transform
        self.threat, self.label = view.threat, view.label

    @property
    def num_classes(self) -> int:
        """How many values the attacked label has."""
        return self._view.num_classes

    @property
    def release_shape(self) -> tuple[int, ...]:
        """Shape of one release, which no transform changes."""
        return self._view.release_shape

    @property
    def image_shape(self) -> tuple[int, ...] | None:
        """Shape of one image, or None when images are unknown."""
        return self._view.image_shape

    @property
    def image_shaped(self) -> bool:
        """Whether the clean models can read a release."""
        return self._view.image_shaped

    @property
    def release_range(self) -> tuple[float, float]:
        """Range of the published values, before the transform."""
        return self._view.release_range

    @property
    def images(self) -> tuple[Float[Tensor, "n c h w"], Int[Tensor, " n"]]:
        """The attacker's own clean images."""
        return self._view.images

    @property
    def model_names(self) -> tuple[str, ...]:
        """Names of the unintended models."""
        return self._view.model_names

    def model(self, name: str) -> nn.Module:
        """A fresh copy of an unintended model."""
        return self._view.model(name)

    @property
    def unlabelled(self) -> Shaped[Tensor, "n ..."]:
        """Transformed releases of the pool."""
        return self._transform(self._view.unlabelled)

    @property
    def unlabelled_calls(self) -> Int[Tensor, " n"] | None:
        """Which call each of them was published in."""
        return self._view.unlabelled_calls

    @property
    def labelled_calls(self) -> Int[Tensor, " m"] | None:
        """The same for the labelled releases."""
        return self._view.labelled_calls

    @property
    def labelled(self) -> tuple[Shaped[Tensor, "m ..."], Int[Tensor, " m"]]:
        """Transformed labelled releases."""
        release, y = self._view.labelled
        return self._transform(release), y

    @property
    def own_labels(self) -> Int[Tensor, " n"]:
        """The attacked label of the attacker's own images."""
        return self._view.own_labels

    @property
    def knows_prediction(self) -> bool:
        """Whether the attacker is told what the target predicts."""
        return self._view.knows_prediction

    @property
    def own_predictions(self) -> Int[Tensor, " n"] | None:
        """The target's predictions on the releases as they were published."""
        return self._view.own_predictions

    @property
    def labelled_predictions(self) -> Int[Tensor, " m"] | None:
        """The same for the labelled releases."""
        return self._view.labelled_predictions

    @property
    def pairs(self) -> tuple[Shaped[Tensor, "n ..."], Float[Tensor, "n c h w"]]:
        """Transformed releases with the images they stand for."""
        release, images = self._view.pairs
        return self._transform(release), images

    @property
    def labelled_pairs(self) -> Int[Tensor, " m"]:
        """Which of all pairs the labelled releases are."""
        return self._view.labelled_pairs

    @property
    def pair_predictions(self) -> Int[Tensor, " n"] | None:
        """The target's predictions on the releases of `pairs` as they were published."""
        return self._view.pair_predictions

    def ask(self, images: Float[Tensor, "m c h w"], generator: torch.Generator) -> Shaped[Tensor, "m ..."]:
        """What the defense publishes, as it is published."""
        return self._view.ask(images, generator)

    def longer(self, answers: Shaped[Tensor, "m ..."], images: Float[Tensor, "m c h w"], rows: Tensor) -> Knowledge:
        """The same with answers to queries, which are transformed as everything is."""
        return TransformedView(self._view.longer(answers, images, rows), self._transform)

    @property
    def defense(self) -> Defense:
        """The fitted defense, which publishes as ever."""
        return self._view.defense


@dataclass(frozen=True, kw_only=True)
class TransformedAttack(Attack):
    """Transforms, then asks the inner attack."""

    inner: Attack
    transform: Callable[[Tensor], Tensor]
    gradient_steps: int
    flags: frozenset[str]
    scale: Scores

    def guess(self, release: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n k"]:
        """The inner attack's scores on the transformed release."""
        return self.inner.guess(self.transform(release))

    def guess_knowing(self, release: Shaped[Tensor, "n ..."], prediction: Int[Tensor, " n"]) -> Float[Tensor, "n k"]:
        """The same where the inner attack reads the target's predictions."""
        return self.inner.guess_knowing(self.transform(release), prediction)


@ADVERSARIES.register("input-transform")
@dataclass(frozen=True, kw_only=True)
class InputTransform(Adversary):
    """Another adversary behind a fixed transform of every release, in fitting and in guessing.

    Knows: what the inner adversary knows.
    Does: gray (not with one channel), JPEG of quality 10 on the picture rescaled from the pool's range, Gaussian blur,
    mirror image, or half the resolution and back; only for releases shaped like images.
    Source: Liu, Zhao, Larson, "Image Shortcut Squeezing: Countering Perturbative Availability Poisons with
    Compression", ICML 2023, arXiv 2301.13838 (gray and JPEG).

    Args:
        inner: another adversary, or its registered name.
        options: settings of the inner adversary where it is given by name.
        transform: `gray`, `jpeg`, `blur`, `flip` or `down-up`.
    """

    level: ClassVar[Level] = "L2"
    needs_image_shape: ClassVar[bool] = True

    inner: Adversary | str = "cnn"
    options: Mapping[str, Any] = field(default_factory=dict)
    transform: TransformName = "jpeg"

    def fit(self, view: Knowledge, generator: torch.Generator) -> TransformedAttack:
        """Fit the inner adversary on transformed releases; raises what it raises."""
        apply = self._function(view)
        attack = self.adversary().fit(TransformedView(view, apply), generator)
        return TransformedAttack(
            inner=attack,
            transform=apply,
            gradient_steps=attack.gradient_steps,
            flags=attack.flags,
            scale=attack.scale,
        )

    @property
    def uses_prediction(self) -> bool:
        """Whether the inner adversary does."""
        return self.adversary().uses_prediction

    def adversary(self) -> Adversary:
        """The inner adversary."""
        if isinstance(self.inner, Adversary):
            return self.inner
        return ADVERSARIES.get(self.inner)(**self.options)

    def doubled(self) -> InputTransform | None:
        """The same around the inner adversary with twice the training; None if that does not train."""
        inner = self.adversary().doubled()
        return None if inner is None else replace(self, inner=inner, options={})

    def settings(self) -> dict[str, Any]:
        """The settings as JSON-ready data, those of the inner adversary inside."""
        inner = self.adversary()
        name = self.inner if isinstance(self.inner, str) else type(inner).__name__
        return {"inner": name, "options": inner.settings(), "transform": self.transform}

    def _function(self, view: Knowledge) -> Callable[[Tensor], Tensor]:
        if self.transform == "gray" and view.release_shape[0] == 1:
            raise NotApplicableError("the release has one channel, so it is gray already")
        if self.transform == "jpeg":
            low, high = view.release_range
            return lambda release: _jpeg(as_float(release), low, high)
        plain = _PLAIN[self.transform]
        return lambda release: plain(as_float(release))
