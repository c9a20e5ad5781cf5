"""A defense of one's own: publish a blurred, noisy image, and read it with a classifier of one's own.

`vfc attack --release examples/blurred.py:build` attacks it. Any `torch.nn.Module` that maps images to releases will do;
`stochastic` declares that two releases of one image differ, `target` is the model that the release is meant for, and
`fit` may train on the defender's images.
"""

import torch
from torch import Tensor, nn


class Blurred(nn.Module):
    """Averages 4x4 blocks and adds noise."""

    stochastic = True

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.target = nn.Sequential(nn.Flatten(), nn.LazyLinear(64), nn.ReLU(), nn.Linear(64, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        """Release of shape (n, c, h / 4, w / 4)."""
        small = nn.functional.avg_pool2d(x, 4)
        return small + 0.1 * torch.randn_like(small)

    def fit(self, images: Tensor, labels: Tensor) -> None:
        """Train the target on releases of the defender's images."""
        self.target(self(images[:2]))
        optimizer = torch.optim.Adam(self.target.parameters(), lr=1e-2)
        for _ in range(200):
            loss = nn.functional.cross_entropy(self.target(self(images)), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def build(num_classes: int) -> Blurred:
    """The factory: takes no argument or `num_classes`, returns a `Defense` or a module."""
    return Blurred(num_classes)
