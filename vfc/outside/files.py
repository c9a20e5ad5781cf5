"""Classifiers from files of weights: ours with the manifest beside them, and state dicts of published architectures."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from vfc.artifact import MANIFEST, contents, load_model
from vfc.checkpoints import read_state
from vfc.errors import UserError, unknown
from vfc.models import Classifier, build_model
from vfc.registries import MODELS
from vfc.zoo.published import PREFIX, head_of_torchvision

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""What published weights for RGB images expect to be subtracted and divided by."""

_DEPTHS = {3: "resnet20", 9: "resnet56"}
"""Architectures of He et al. for CIFAR by blocks in a stage."""

_BLOCK = re.compile(r"layer([123])\.(\d+)\.(conv1|bn1|conv2|bn2)\.(\w+)")
_INSIDE = {"conv1": "first.0", "bn1": "first.1", "conv2": "second.0", "bn2": "second.1"}


def read_classifier(file: Path, architecture: str, shape: Sequence[int], classes: int) -> Classifier:
    """A classifier from a file of weights, in eval mode on the CPU.

    Args:
        file: written by `vfc train`, with its manifest beside it; or a state dict.
        architecture: `resnet20`, `resnet56`, `torchvision:NAME`; empty to take it from the file's metadata
            (`architecture`) or, for He's networks for CIFAR, from the names of its tensors. Metadata may also say
            `mean` and `std`, each a JSON list of one number a channel; without them ImageNet's are meant.
        shape: (c, h, w) of the images that it will read.
        classes: how many classes it must tell apart.

    Raises:
        UserError: it cannot be read, is of an unknown architecture, or reads other images or tells other classes apart.
    """
    if (file.parent / MANIFEST).is_file() and contents(file.parent).get(file.name, {}).get("kind") == "model":
        model = load_model(file)
        if not isinstance(model, Classifier):
            raise UserError(f"expected weights in {file}, got those of a factory", "name the factory itself")
        _check_shape(file, model.arch, shape, classes)
        return model
    said = _metadata(file)
    state = {name.removeprefix("module."): value for name, value in read_state(file).items()}
    named = architecture or said.get("architecture", "") or _recognized(state)
    if not named:
        raise UserError(
            f"expected to know the architecture of {file}, got a state dict of {len(state)} tensors that says nothing",
            f"write {file}:resnet20 or {file}:{PREFIX}resnet18, put `architecture` into its metadata, or use a factory",
        )
    ours = named in MODELS.cards
    if not ours and not named.startswith(PREFIX):
        raise unknown("architecture", named, (*_DEPTHS.values(), f"{PREFIX}NAME"))
    if ours and named not in _DEPTHS.values():
        raise UserError(
            f"expected {', '.join(_DEPTHS.values())} or {PREFIX}NAME as architecture of somebody else's file, got "
            f"{named!r}, whose names of tensors are ours alone",
            "name the file in its run folder, or use a factory",
        )
    state = _renamed(state) if ours else _cut(state, named)
    return _built(file, named, state, said, shape, classes)


def _built(
    file: Path, named: str, state: dict[str, Tensor], said: Mapping[str, str], shape: Sequence[int], classes: int
) -> Classifier:
    """The architecture with the weights."""
    head = state.get("head.weight")
    first = state.get("body.0.weight")  # of He's networks; those of torchvision read three channels, all of them
    found = {
        "num_classes": classes if head is None else len(head),
        "channels": shape[0] if first is None or first.ndim != 4 else first.shape[1],
        "side": shape[1],
    }
    _check_shape(file, found, shape, classes)
    model = build_model(
        named,
        channels=shape[0],
        side=shape[1],
        num_classes=classes,
        mean=_numbers(said, "mean", IMAGENET_MEAN, shape[0], file),
        std=_numbers(said, "std", IMAGENET_STD, shape[0], file),
        generator=torch.Generator().manual_seed(0),
    )
    whole = {**state, "normalize.mean": model.normalize.mean, "normalize.std": model.normalize.std}
    wanted = model.state_dict()
    # Counters of batches change nothing, and some files leave them out.
    whole |= {n: v for n, v in wanted.items() if n.endswith("num_batches_tracked") and n not in whole}
    odd = sorted(set(whole) ^ set(wanted)) or [n for n, v in wanted.items() if v.shape != whole[n].shape]
    if odd:
        raise UserError(
            f"expected the weights of {named} in {file}, got another network: {len(odd)} tensors differ, such as "
            f"{odd[0]}",
            "name the architecture that it holds, or use a factory",
        )
    model.load_state_dict(whole)
    return model.float().eval()


def _check_shape(file: Path, found: Mapping[str, Any], shape: Sequence[int], classes: int) -> None:
    """Refuse weights for other images or other classes than the data's."""
    wanted = {"num_classes": classes, "channels": shape[0], "side": shape[1]}
    words = {"num_classes": "classes", "channels": "channels", "side": "pixels a side"}
    for name, value in wanted.items():
        if found.get(name) != value:
            raise UserError(
                f"expected a model for {value} {words[name]}, got {file} for {found.get(name)}",
                "choose data that it was trained for, or adapt it in a factory",
            )


def _metadata(file: Path) -> dict[str, str]:
    if file.suffix != ".safetensors":
        return {}
    try:
        with safe_open(file, "pt") as opened:
            return dict(opened.metadata() or {})
    except Exception:  # reading its tensors says what is wrong
        return {}


def _numbers(said: Mapping[str, str], name: str, usual: tuple[float, ...], channels: int, file: Path) -> list[float]:
    """The mean or deviation that a file's metadata names, else ImageNet's; their average for gray images."""
    if name not in said:
        return list(usual) if channels == len(usual) else [sum(usual) / len(usual)] * channels
    try:
        found = json.loads(said[name])
        return [float(value) for value in found]
    except (ValueError, TypeError) as error:
        raise UserError(
            f"expected a JSON list of {channels} numbers as {name} in the metadata of {file}, got {said[name][:60]!r}",
            "for instance [0.5, 0.5, 0.5]",
        ) from error


def _recognized(state: Mapping[str, Tensor]) -> str:
    """Which of He's networks for CIFAR a state dict holds, by its blocks; empty for anything else."""
    blocks = {(match[1], int(match[2])) for name in state if (match := _BLOCK.fullmatch(name))}
    counts = {sum(stage == which for which, _ in blocks) for stage in "123"}
    first = state.get("conv1.weight")
    small = first is not None and first.ndim == 4 and first.shape[2] == 3
    # torchvision's networks have the same names, a fourth stage and a stem of 7x7.
    if len(counts) != 1 or not small or any(name.startswith("layer4.") for name in state):
        return ""
    return _DEPTHS.get(counts.pop(), "")


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of He's networks under the names that they have here."""
    blocks = sorted({(int(m[1]), int(m[2])) for name in state if (m := _BLOCK.fullmatch(name))})
    place = {block: 3 + position for position, block in enumerate(blocks)}
    outer = {"conv1": "body.0", "bn1": "body.1", "linear": "head", "fc": "head"}
    found = {}
    for name, value in state.items():
        part, _, rest = name.partition(".")
        if match := _BLOCK.fullmatch(name):
            new = f"body.{place[int(match[1]), int(match[2])]}.{_INSIDE[match[3]]}.{match[4]}"
        else:
            new = f"{outer[part]}.{rest}" if part in outer else name
        found[new] = value
    return found


def _cut(state: Mapping[str, Tensor], named: str) -> dict[str, Tensor]:
    """Tensors of a network of torchvision's, with its last linear layer apart."""
    head = head_of_torchvision(named)
    return {
        f"head.{name.removeprefix(f'{head}.')}" if name.startswith(f"{head}.") else f"body.{name}": value
        for name, value in state.items()
    }
