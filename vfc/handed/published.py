"""Published values from memory as a file of saved arrays."""

# Structure: calibration does not count it.

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vfc.artifact import save_arrays
from vfc.datasets.labels import check_from_zero
from vfc.errors import UserError
from vfc.handed.arrays import as_classes, as_images, as_release
from vfc.isolation.user_code import user_call

_CHUNK = 512


def save_published(
    path: Path, release: object, labels: object, images: object, attributes: object, target: object
) -> Path:
    """Write releases with what is known beside them.

    Args:
        path: of the file.
        release: numpy array or tensor, shape (n, ...), integers or floats.
        labels: classes from 0, shape (n,).
        images: the originals, shape (n, c, side, side) in [0, 1]; None if they are unknown.
        attributes: further labels by name, each (n,); None for none.
        target: a torch module or a function from releases to logits (n, classes), or its predictions (n,).

    Returns:
        The path.

    Raises:
        UserError: something has another form.
    """
    if isinstance(release, tuple):
        raise UserError("expected one array as release, got a tuple", "hand over what is published: release[0]")
    values = as_release(release)
    rows = len(values)
    found: dict[str, Tensor] = {"release": values, "label": as_classes(labels, rows)}
    if images is not None:
        found["image"] = as_images(images)
    if attributes is not None and not isinstance(attributes, Mapping):
        raise UserError("expected attributes as a mapping of names to arrays", "attributes={'gender': gender}")
    check_from_zero("label 'label'", found["label"].numpy(), "hand over labels")
    found |= {f"attr_{name}": as_classes(row, rows, str(name)) for name, row in (attributes or {}).items()}
    if target is not None:
        found["prediction"] = _predicted(values, target) if callable(target) else as_classes(target, rows, "prediction")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_arrays(found, path)
    return path


def _predicted(values: Tensor, target: Any) -> Tensor:
    """The classes that the target names on releases."""
    if isinstance(target, nn.Module) and target.training:
        raise UserError("expected the target in eval mode, got one in training mode", "call target.eval()")

    @torch.no_grad()
    def run() -> list[Any]:
        device = (
            next((p.device for p in target.parameters()), values.device) if isinstance(target, nn.Module) else "cpu"
        )
        return [target(chunk.to(device)) for chunk in torch.split(values, _CHUNK)]

    pieces = user_call("the target", run)
    if not all(isinstance(each, Tensor) and each.ndim == 2 for each in pieces):
        raise UserError(
            f"expected logits of shape (n, classes) from the target, got {type(pieces[0]).__name__}", "return them"
        )
    return torch.cat(pieces).argmax(1).cpu()
