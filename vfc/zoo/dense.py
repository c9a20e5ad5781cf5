"""torchvision's densely connected network."""

from __future__ import annotations

from torch import nn

from vfc.models import MODELS
from vfc.zoo.shape import Shape


@MODELS.register("densenet121")
def densenet121(shape: Shape) -> tuple[nn.Module, int]:
    """torchvision's DenseNet-121 with a 3x3 stem and no pooling after it (Huang et al., 2017, arXiv 1608.06993)."""
    from torchvision.models.densenet import DenseNet

    growth = shape.scaled(32)
    body = DenseNet(growth, (6, 12, 24, 16), 2 * growth)
    body.features.conv0, body.features.pool0 = shape.stem(2 * growth), nn.Identity()
    for index in range(1, 4 - min(3, shape.halvings)):
        body.features.get_submodule(f"transition{index}").pool = nn.Identity()
    features = body.classifier.in_features
    body.classifier = nn.Identity()
    return body, features
