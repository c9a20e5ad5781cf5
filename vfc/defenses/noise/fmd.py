"""FMD: images changed within a small range until only the authorized model still reads them.

Axes: n images, c channels, h and w pixels, k classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vfc.core.objective import frozen
from vfc.defense import DEFENSES, Defense, FitData
from vfc.defenses.support import require_choice, require_fitted, require_range, require_state
from vfc.errors import NotApplicableError, UserError
from vfc.release import Release

Labels = Literal["predicted", "oracle"]
LABELS: tuple[str, ...] = get_args(Labels)
_CHUNK = 256


@DEFENSES.register("fmd", sweep={"weight": (0.1, 0.5, 0.9)})
@dataclass(frozen=True, kw_only=True)
class FeatureMapDistortion(Defense):
    """FMD: pushes the features of an image as far as a small change of pixels can, while the target stays right.

    Maximizes w * MSE(features of the image, features of the release) - (1 - w) * CE_target(release, label) inside an
    l-infinity ball, by sign steps from a random start; features are those of a layer of the target. The release is an
    image in [0, 1].

    Claims: models other than the target fail on the release. Known breaks: it is an image with small noise, so any
    model that is trained on releases reads them, and cleaning (blur, JPEG) helps frozen ones. With `labels=oracle` the
    release carries the true label in: the target's accuracy then says nothing of what it would be.
    Cost: one forward and backward pass of the target per step and image, at every release.

    Args:
        labels: whose label the target must keep. predicted: the target's own, which is all that a defender knows of
            an image that arrives. oracle: the true label of that image, which the paper's results need: an attack
            grants those of all images that are published, the targets among them, and no gate holds (`TRUE_LABELS`);
            who asks for further releases gets those of the target's own labels.
        eps: largest change of a pixel, in units of the range [0, 1].
        alpha: size of one step.
        steps: how many.
        weight: w above, in [0, 1]; the paper's lambda is (1 - w) / w.
        layer: name of the layer; None for the last convolution.

    Source: Chai et al., Only my model on my data, 2024, arXiv 2402.09316; eps, alpha and steps are the paper's, the
    sign steps, lambda and the default layer ours.
    """

    stochastic: ClassVar[bool] = True

    labels: Labels = "predicted"
    eps: float = 16 / 255
    alpha: float = 4 / 255
    steps: int = 100
    weight: float = 0.5
    layer: str | None = None
    fitted: Mapping[bytes, int] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_choice("labels", self.labels, LABELS)
        require_range("eps", self.eps, 0, 1)
        require_range("alpha", self.alpha, 0, 1, above=True)
        require_range("steps", self.steps, 1)
        require_range("weight", self.weight, 0, 1)

    @property
    def oracle(self) -> bool:
        """Whether labels are to be true ones."""
        return self.labels == "oracle"

    def fit(self, data: FitData, generator: torch.Generator) -> FeatureMapDistortion:  # noqa: ARG002
        """Keep the target, and the labels of the defender's own images where labels are to be true ones.

        Raises:
            NotApplicableError: no layer was named, and the target has no convolution.
            UserError: the target has no such layer.
        """
        _layer(data.target, self.layer)
        fitted = self._replace(target=data.target, fitted={})
        if self.labels == "oracle":
            fitted = fitted.granted(data.images, data.labels)
            fitted = fitted.granted(data.validation_images, data.validation_labels)
        return fitted

    def granted(self, images: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"]) -> FeatureMapDistortion:
        """A copy that knows the true labels of further images.

        Raises:
            UserError: labels are not to be true ones, or it was never fitted.
        """
        known = require_fitted(self.fitted, "fmd")
        if self.labels != "oracle":
            raise UserError("expected fmd with labels=oracle to be granted labels, got predicted", "set it to oracle")
        return self._replace(fitted={**known, **dict(zip(_hashes(images), labels.tolist(), strict=True))})

    def publish(self, x: Float[Tensor, "n c h w"], generator: torch.Generator) -> Release:
        """Changed images, from a random start in the ball."""
        known = require_fitted(self.fitted, "fmd")
        target = require_fitted(self.target, "fmd")
        device = next((parameter.device for parameter in target.parameters()), x.device)
        pieces = []
        with frozen(target):
            for rows in torch.split(x.detach(), _CHUNK):
                start = torch.rand(rows.shape, generator=generator, device=generator.device, dtype=rows.dtype)
                found = [known.get(each, -1) for each in _hashes(rows)] if known else [-1] * len(rows)
                changed = self._changed(target, rows.to(device), start.to(device), torch.tensor(found, device=device))
                pieces.append(changed.to(x.device))
        return Release(values=torch.cat(pieces), bounds=(0.0, 1.0))

    def state(self) -> dict[str, Tensor]:
        """Hashes of the images whose labels are known, and those labels."""
        known = require_fitted(self.fitted, "fmd")
        hashes = torch.tensor([list(each) for each in known], dtype=torch.uint8).reshape(-1, 32)
        return {"hashes": hashes, "labels": torch.tensor(list(known.values()), dtype=torch.long)}

    def with_state(self, state: Mapping[str, Tensor], target: nn.Module) -> FeatureMapDistortion:
        """The same labels again."""
        hashes, labels = require_state(state, "hashes"), require_state(state, "labels")
        known = {bytes(row): label for row, label in zip(hashes.tolist(), labels.tolist(), strict=True)}
        return self._replace(target=target, fitted=known)

    def _changed(self, target: nn.Module, x: Tensor, start: Tensor, granted: Tensor) -> Tensor:
        """Images (n, c, h, w) after all steps, from a start in [0, 1); labels of -1 are the target's own."""
        low, high = (x - self.eps).clamp_min(0), (x + self.eps).clamp_max(1)
        features, logits = _look(target, self.layer, x)
        labels = torch.where(granted < 0, logits.argmax(1), granted)
        release = (x + self.eps * (2 * start - 1)).clamp(low, high)
        for _ in range(self.steps):
            leaf = release.requires_grad_()
            with torch.enable_grad():
                seen, answer = _look(target, self.layer, leaf)
                # Per image, so that a release does not depend on the images beside it.
                far = (seen - features).square().flatten(1).mean(1).sum()
                gain = self.weight * far - (1 - self.weight) * cross_entropy(answer, labels, reduction="sum")
                (gradient,) = torch.autograd.grad(gain, leaf)
            release = (release.detach() + self.alpha * gradient.sign()).clamp(low, high)
        return release.detach()


def feature_distance(
    target: nn.Module, layer: str | None, x: Float[Tensor, "n c h w"], release: Float[Tensor, "n c h w"]
) -> Float[Tensor, " n"]:
    """Mean squared difference of the features of images and releases, at a layer (None: the last convolution)."""
    with torch.no_grad():
        one, two = _look(target, layer, x)[0], _look(target, layer, release)[0]
    return (one - two).square().flatten(1).mean(1)


def _look(target: nn.Module, layer: str | None, x: Tensor) -> tuple[Tensor, Tensor]:
    """Features and logits."""
    seen: list[Tensor] = []
    hook = _layer(target, layer).register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    try:
        logits = target(x)
    finally:
        hook.remove()
    if len(seen) != 1 or not isinstance(seen[0], Tensor):
        raise UserError(f"expected layer {layer} of the target to return one tensor once, got another", "name another")
    return seen[0], logits


def _layer(target: nn.Module, name: str | None) -> nn.Module:
    modules: dict[str, nn.Module] = dict(target.named_modules())
    if name is None:
        convolutions: list[nn.Module] = [module for module in modules.values() if isinstance(module, nn.Conv2d)]
        if not convolutions:
            raise NotApplicableError("the target has no convolution; fmd.layer names another layer of it")
        return convolutions[-1]
    if name not in modules or not name:
        raise UserError(f"expected a layer of the target, got {name!r}", "see named_modules of the target")
    return modules[name]


def _hashes(images: Float[Tensor, "n c h w"]) -> list[bytes]:
    """SHA-256 of the bytes of every image."""
    rows = images.detach().cpu().contiguous().numpy()
    return [hashlib.sha256(row.tobytes()).digest() for row in rows]
