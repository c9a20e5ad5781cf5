"""Looking for the original of a reconstruction in a gallery of images.

Axes: m reconstructions, which stand for the first m of g gallery images, c channels, h and w pixels, d pixels of one.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from adversaries.goals.image_metrics import MSE_FLOOR
from adversaries.learning.kernels import wide

GALLERY = 1000
"""Identification looks among so many images, at most."""

RULES = ("nearest", "direction")
"""How an original is looked for: by Euclidean distance, or by the cosine about the mean of those that compete."""


def ranks(
    rebuilt: Float[Tensor, "m c h w"], gallery: Float[Tensor, "g c h w"], prediction: Int[Tensor, " g"] | None
) -> dict[str, Int[Tensor, " m"]]:
    """By rule, how many gallery images are as near as the own original (row i of the gallery) or nearer.

    Only images with the same prediction compete, and none that equals the original.
    """
    x, y = (values.flatten(1).to(wide(values.device)) for values in (rebuilt, gallery))
    alike = alike_rows(len(y), prediction)[: len(x)].to(y.device)
    content = torch.unique(gallery.flatten(1), dim=0, return_inverse=True)[1]
    rivals = alike & (content[: len(x), None] != content[None])
    # About the mean of those that compete, or every image points the same way.
    groups = torch.zeros(len(y), dtype=torch.long, device=y.device) if prediction is None else prediction
    sums = torch.zeros(int(groups.max()) + 1, y.shape[1], dtype=y.dtype, device=y.device).index_add_(0, groups, y)
    means = sums / torch.bincount(groups).clamp_min(1)[:, None]
    near = -squared_distances(x, y)
    along = torch.nn.functional.normalize(x - means[groups[: len(x)]], dim=1)
    direction = along @ torch.nn.functional.normalize(y - means[groups], dim=1).T
    found = {}
    for rule, score in zip(RULES, (near, direction), strict=True):
        own = score.diagonal()[:, None]
        found[rule] = ((score >= own) & rivals).sum(1)
    return found


def squared_distances(x: Float[Tensor, "m d"], y: Float[Tensor, "g d"]) -> Float[Tensor, "m g"]:
    """Squared Euclidean distances of rows; give double precision where differences are small."""
    return (x.square().sum(1)[:, None] + y.square().sum(1)[None] - 2 * x @ y.T).clamp_min(0)


def alike_rows(count: int, prediction: Int[Tensor, " g"] | None) -> Bool[Tensor, "g g"]:
    """Which of `count` gallery images have the same prediction as which; all of them without predictions."""
    if prediction is None:
        return torch.ones(count, count, dtype=torch.bool)
    return prediction[:count, None] == prediction[None, :count]


def beside(
    rebuilt: Float[Tensor, "m c h w"], gallery: Float[Tensor, "g c h w"], alike: Bool[Tensor, "m g"]
) -> Float[Tensor, " m"]:
    """Mean PSNR against the others that are alike."""
    x, y = rebuilt.flatten(1).double(), gallery.flatten(1).double()
    decibels = -10 * torch.log10((squared_distances(x, y) / x.shape[1]).clamp_min(MSE_FLOOR))
    others = alike & ~torch.eye(len(y), dtype=torch.bool)[: len(x)]
    return ((decibels * others).sum(1) / others.sum(1)).float()


def match_rate(count: int, prediction: Int[Tensor, " n"] | None) -> Float[Tensor, " g"]:
    """Per image of the gallery, the rate at which a random member with the same prediction is the right one.

    Args:
        count: target images, of which the gallery holds the first.
        prediction: what the target predicts on their releases, or None.
    """
    return (1 / alike_rows(min(GALLERY, count), prediction).sum(1)).double()
