"""Residual networks: the one made for CIFAR, and torchvision's."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from vfc.models import MODELS
from vfc.zoo.shape import Shape


class PaddedBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut without parameters: every other pixel, new channels zero."""

    def __init__(self, fan_in: int, out: int, stride: int) -> None:
        super().__init__()
        self.stride, self.grow, self.out = stride, out - fan_in, out
        self.skip: nn.Module | None = None  # what others may put on the shortcut
        self.first = nn.Sequential(nn.Conv2d(fan_in, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d hh ww"]:
        """Add the branch to the shortcut."""
        shortcut = x[:, :, :: self.stride, :: self.stride]
        shortcut = nn.functional.pad(shortcut, (0, 0, 0, 0, self.grow // 2, self.grow - self.grow // 2))
        shortcut = shortcut if self.skip is None else self.skip(shortcut)
        return nn.functional.relu(self.second(self.first(x)) + shortcut)


def _three_stages(shape: Shape, blocks: int) -> tuple[nn.Module, int]:
    """Stages of 16, 32 and 64 channels with so many blocks each: depth 6 x blocks + 2."""
    fan_in = shape.scaled(16)
    layers: list[nn.Module] = [shape.stem(fan_in), nn.BatchNorm2d(fan_in), nn.ReLU()]
    for stage, out in enumerate(shape.scaled(count) for count in (16, 32, 64)):
        for block in range(blocks):
            layers.append(PaddedBlock(fan_in, out, 2 if stage and not block else 1))
            fan_in = out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), fan_in


@MODELS.register("resnet20")
def resnet20(shape: Shape) -> tuple[nn.Module, int]:
    """ResNet-20 for CIFAR, shortcuts without parameters (He et al., 2016, arXiv 1512.03385, section 4.2)."""
    return _three_stages(shape, 3)


@MODELS.register("resnet56")
def resnet56(shape: Shape) -> tuple[nn.Module, int]:
    """ResNet-56 for CIFAR, shortcuts without parameters (He et al., 2016, arXiv 1512.03385, section 4.2)."""
    return _three_stages(shape, 9)


@MODELS.register("resnet18")
def resnet18(shape: Shape) -> tuple[nn.Module, int]:
    """torchvision's ResNet-18 with a 3x3 stem and no pooling after it (He et al., 2016, arXiv 1512.03385)."""
    from torchvision.models.resnet import BasicBlock, ResNet

    class Narrow(ResNet):  # type: ignore[misc]
        """Scales the planes of every stage as they are made; the stem is replaced afterwards."""

        def _make_layer(
            self, block: type[BasicBlock], planes: int, blocks: int, stride: int = 1, dilate: bool = False
        ) -> nn.Sequential:
            if planes == 64:
                self.inplanes = shape.scaled(64)
            made: nn.Sequential = super()._make_layer(block, shape.scaled(planes), blocks, stride, dilate)
            return made

    body = Narrow(BasicBlock, [2, 2, 2, 2])
    stem = shape.scaled(64)
    body.conv1, body.bn1, body.maxpool = shape.stem(stem), nn.BatchNorm2d(stem), nn.Identity()
    body.fc = nn.Identity()
    return body, shape.scaled(512)
