"""Fashion-MNIST, read by torchvision."""

from __future__ import annotations

from vfc.data import DATASETS, DataOptions, Dataset, image_set, no_argument
from vfc.datasets.torchvision_files import said_plainly


@DATASETS.register("fashion-mnist")
def fashion_mnist(argument: str, options: DataOptions) -> Dataset:
    """Fashion-MNIST: 60,000 + 10,000 gray images of 1x28x28; label `label` (10 kinds of clothes).

    Source: Xiao, Rasul, Vollgraf, 2017, arXiv 1708.07747.
    """
    no_argument("fashion-mnist", argument)
    from torchvision.datasets import FashionMNIST

    parts = []
    with said_plainly("fashion-mnist", options):
        for train in (True, False):
            data = FashionMNIST(options.folder, train=train, download=options.download)
            parts.append(image_set(data.data.numpy()[..., None], {"label": data.targets.numpy()}, "fashion-mnist"))
    return Dataset(
        name="fashion-mnist",
        task="label",
        train=parts[0],
        test=parts[1],
        classes={"label": 10},
        class_names={"label": tuple(data.classes)},
    )
