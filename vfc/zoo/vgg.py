"""VGG with BatchNorm and one linear head (Simonyan and Zisserman, 2015, arXiv 1409.1556).

Its plan is short, and torchvision's cannot be narrowed and brings three wide linear layers, so it is written here.
"""

from __future__ import annotations

from torch import nn

from vfc.models import MODELS
from vfc.zoo.shape import Shape


def stack(shape: Shape, plan: tuple[tuple[int, ...], ...]) -> tuple[nn.Module, int]:
    """Stages of 3x3 convolutions, each ended by a pooling layer unless only one pixel is left."""
    layers: list[nn.Module] = []
    fan_in, side = shape.channels, shape.side
    for stage in plan:
        for out in (shape.scaled(count) for count in stage):
            convolution = nn.Conv2d(fan_in, out, 3, padding=1)
            layers += [convolution, nn.BatchNorm2d(out), nn.ReLU()]
            nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
            fan_in = out
        if side > 1:
            layers.append(nn.MaxPool2d(2))
            side //= 2
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), fan_in


@MODELS.register("vgg11")
def vgg11(shape: Shape) -> tuple[nn.Module, int]:
    """VGG-11 with BatchNorm and one linear head (Simonyan and Zisserman, 2015, arXiv 1409.1556)."""
    return stack(shape, ((64,), (128,), (256, 256), (512, 512), (512, 512)))


@MODELS.register("vgg16")
def vgg16(shape: Shape) -> tuple[nn.Module, int]:
    """VGG-16 with BatchNorm and one linear head (Simonyan and Zisserman, 2015, arXiv 1409.1556)."""
    return stack(shape, ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3))
