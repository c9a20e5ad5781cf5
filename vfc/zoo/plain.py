"""The two small bodies: a convolutional one, the default target, and a perceptron."""

from __future__ import annotations

from torch import nn

from vfc.models import MODELS
from vfc.zoo.shape import Shape


@MODELS.register("cnn")
def cnn(shape: Shape) -> tuple[nn.Module, int]:
    """Three 3x3 convolutions (64, 128, 256 channels at full width) with BatchNorm; the default target.

    The last map is averaged to 2x2, not to one pixel, so that the head still knows where things are.
    """
    layers: list[nn.Module] = []
    fan_in = shape.channels
    for index, out in enumerate(shape.scaled(count) for count in (64, 128, 256)):
        layers += [nn.Conv2d(fan_in, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
        if index < 2:
            layers.append(nn.MaxPool2d(2))
        fan_in = out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten()), 4 * fan_in


@MODELS.register("mlp")
def mlp(shape: Shape) -> tuple[nn.Module, int]:
    """Two hidden layers (512 units at full width) with BatchNorm; reads pixels without any sense of place."""
    pixels, hidden = shape.channels * shape.side**2, shape.scaled(512)
    first = [nn.Linear(pixels, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU()]
    second = [nn.Linear(hidden, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU()]
    return nn.Sequential(nn.Flatten(), *first, *second), hidden
