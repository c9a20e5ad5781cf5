"""A split network on real images: somebody else's ResNet-20, cut after its second stage, noise on what passes.

    vfc attack --release examples/split_resnet.py:build --dataset npz:cifar10.npz --unintended mlp --budget smoke

takes minutes on two cores with 2,000 images. `--unintended resnet56.safetensors`, `--protocol attribute` with
`--label living=label:2,3,4,5,6,7`, and `--protocol inversion` ask more and take longer; `vfc plan` says how long.

`cifar10.npz` holds `train_images` and `test_images` (n, 32, 32, 3) as bytes, `train_label` and `test_label`, best of
images on which the network was not trained. The weights are read from the file that `SPLIT_RESNET_WEIGHTS` names
(default: `resnet20.safetensors` in the working folder). The device computes the first part and publishes its output
with noise; the server computes the rest.
"""

import os
from pathlib import Path

import torch
from torch import Tensor, nn

from vfc.core.split import SplitAt
from vfc.outside.files import read_classifier

WEIGHTS = Path(os.environ.get("SPLIT_RESNET_WEIGHTS", "resnet20.safetensors"))
STAGE_2 = "body.8"  # layers 0 to 2 are the stem, 3 to 5 the blocks of stage one, 6 to 8 those of stage two
NOISE = 0.2


class Split(nn.Module):
    """The first part of a network, with Gaussian noise on its output; nothing is trained."""

    stochastic = True  # two releases of one image differ

    def __init__(self, network: nn.Module, layer: str, noise: float) -> None:
        super().__init__()
        parts = SplitAt(network, layer)
        self.device_part, self.noise = parts.encoder, noise
        self.target = parts.head  # the intended use: what the server computes from a release
        self.clean_target = network  # the same network without a split, so that its clean accuracy is known

    def forward(self, x: Tensor) -> Tensor:
        """Release of shape (n, 32, h / 2, w / 2)."""
        values: Tensor = self.device_part(x)
        return values + self.noise * torch.randn_like(values)


def build() -> Split:
    """The factory."""
    network = read_classifier(WEIGHTS, "resnet20", shape=(3, 32, 32), classes=10)
    return Split(network, STAGE_2, NOISE)
