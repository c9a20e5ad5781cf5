"""Networks of depthwise convolutions, from torchvision, with a stride-1 stem and fewer strides."""

from __future__ import annotations

from torch import nn

from vfc.models import MODELS
from vfc.zoo.shape import Shape


@MODELS.register("mobilenetv2")
def mobilenetv2(shape: Shape) -> tuple[nn.Module, int]:
    """torchvision's MobileNetV2, stride-1 stem, the first strides left out (Sandler et al., 2018, arXiv 1801.04381)."""
    from torchvision.models.mobilenetv2 import MobileNetV2

    expand, channels, repeats = (1, 6, 6, 6, 6, 6, 6), (16, 24, 32, 64, 96, 160, 320), (1, 2, 3, 4, 3, 3, 1)
    strides = [1] * 7
    for stage in (5, 3, 2, 1)[: shape.halvings]:
        strides[stage] = 2
    settings = [list(row) for row in zip(expand, channels, repeats, strides, strict=True)]
    body = MobileNetV2(width_mult=shape.width, inverted_residual_setting=settings, dropout=0.0)
    body.features[0][0] = shape.stem(body.features[0][0].out_channels)
    # torchvision keeps 1,280 features at every width below one; a narrow network has a narrow head here.
    last = shape.scaled(1280, 8)
    final = body.features[-1]
    final[0] = nn.Conv2d(final[0].in_channels, last, 1, bias=False)
    final[1] = nn.BatchNorm2d(last)
    body.classifier = nn.Identity()
    return body, last


@MODELS.register("shufflenetv2")
def shufflenetv2(shape: Shape) -> tuple[nn.Module, int]:
    """torchvision's ShuffleNetV2 x1.0, stride-1 stem, no pooling after it (Ma et al., 2018, arXiv 1807.11164)."""
    from torchvision.models.shufflenetv2 import ShuffleNetV2

    widths = [shape.scaled(count) for count in (24, 116, 232, 464, 1024)]
    body = ShuffleNetV2([4, 8, 4], widths)
    body.conv1[0], body.maxpool = shape.stem(widths[0]), nn.Identity()
    for stage in (body.stage2, body.stage3)[: max(0, 3 - shape.halvings)]:
        # The block keeps its two convolved branches; only their step is changed.
        for convolution in (stage[0].branch1[0], stage[0].branch2[3]):
            convolution.stride = (1, 1)
    body.fc = nn.Identity()
    return body, widths[-1]
