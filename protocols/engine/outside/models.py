"""Models that are not trained here: read, named by their content, and refused before anything is trained."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from protocols.engine.identity import code_of_factory
from protocols.engine.settings import digest_of
from vfc.artifact import is_whole, load_json, save_json, save_model, whole_folder
from vfc.data import Dataset
from vfc.errors import UserError
from vfc.factory import ReleaseSpec
from vfc.outside.check import Measured, check_classifier
from vfc.outside.files import read_classifier
from vfc.outside.made import from_factory
from vfc.outside.names import ModelName, model_name
from vfc.registries import MODELS
from vfc.release import tensor_digest

MEASURED = "measured.json"
"""Beside a model from outside: how it did on clean images."""


@dataclass(frozen=True, kw_only=True)
class OutsideModel:
    """A model from a file or a factory.

    Args:
        text: how the user named it.
        name: its architecture or factory, and the beginning of its digest; the same wherever its files lie.
        digest: of its architecture, its weights and, for a factory, its code.
        architecture: of the zoo, so that others of its kind can be trained; empty if it is none of those.
        width: channel multiplier of that architecture.
        module: images in [0, 1] to logits, frozen, on the CPU; its `arch` says how to make it again.
    """

    text: str
    name: str
    digest: str
    architecture: str
    width: float
    module: nn.Module = field(repr=False, compare=False)


def outside_model(text: str, dataset: Dataset) -> OutsideModel | None:
    """Read a model that is not of the zoo; None for a name of the zoo.

    Args:
        text: what `--target` or `--unintended` say.
        dataset: whose images it reads and whose task it tells apart.

    Raises:
        UserError: there is no such model, or it is for other images or classes.
    """
    named = model_name(text)
    if named.kind == "zoo":
        return None
    return _read(named, _content(named), dataset.shape, dataset.classes[dataset.task])


def contents_of(texts: Sequence[str], dataset: Dataset) -> list[str] | None:
    """Models as a run's identity names them: those from outside by their content; None if all are of the zoo."""
    found = [outside_model(text, dataset) for text in texts]
    if not any(found):
        return None
    return [text if each is None else f"outside {each.digest}" for text, each in zip(texts, found, strict=True)]


def keep(model: OutsideModel, path: Path, images: Tensor, labels: Tensor, classes: int, device: str) -> Measured:
    """Measure a model from outside on clean images and write it, unless that was done before.

    Args:
        model: the model.
        path: its file; the folder's name says which model and which images.
        images, labels: of its owner's validation part.
        classes: of the task.
        device: where to compute.

    Raises:
        UserError: it is no classifier of such images.
    """
    if not is_whole(path.parent):
        found = check_classifier(copy.deepcopy(model.module).to(device), images, labels, classes, model.text)
        with whole_folder(path.parent) as folder:
            save_model(model.module, folder / path.name)
            save_json(asdict(found), folder / MEASURED)
    return Measured(**load_json(path.parent / MEASURED))


def check_code(arch: object, where: str) -> None:
    """Refuse a kept model whose factory's code is another by now.

    Args:
        arch: what was written beside its weights.
        where: the file, for the error.

    Raises:
        UserError: the code is another, or gone.
    """
    if not isinstance(arch, dict) or "factory" not in arch:
        return
    source, attribute = str(arch.get("source")), str(arch.get("attribute"))
    if source.endswith(".py") and not Path(source).is_file():
        raise UserError(f"expected the factory of {where} in {source}, got nothing there", "restore it, or train again")
    if code_of_factory(_spec(source, attribute)) != arch.get("code"):
        raise UserError(
            f"expected the code of {arch['factory']} with which {where} was made, got other code",
            "restore it, or train again",
        )


def _spec(source: str, attribute: str) -> ReleaseSpec:
    return ReleaseSpec(kind="factory", text=f"{source}:{attribute}", source=source, attribute=attribute)


def _content(named: ModelName) -> str:
    """What decides whether a model must be read again."""
    if named.kind == "factory":
        return code_of_factory(_spec(named.source, named.attribute))
    try:
        return hashlib.sha256(Path(named.source).read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(
            f"cannot read {named.source}: {error.strerror or error}", "check the file and your rights"
        ) from error


@lru_cache(maxsize=16)
def _read(named: ModelName, content: str, shape: tuple[int, ...], classes: int) -> OutsideModel:
    module: nn.Module
    if named.kind == "factory":
        made = from_factory(named, classes, code=content)
        module, arch = made, made.arch
        # Neither the file's name nor its place makes it another model.
        facts: dict[str, Any] = {key: arch[key] for key in ("attribute", "num_classes", "code")}
        architecture, short = "", named.attribute.rpartition(".")[2]
    else:
        classifier = read_classifier(Path(named.source), named.architecture, shape, classes).requires_grad_(False)
        module, arch, facts = classifier, classifier.arch, dict(classifier.arch)
        architecture = str(arch["name"]) if arch["name"] in MODELS.cards else ""
        short = str(arch["name"]).replace(":", "-")
    state = module.state_dict()
    digest = digest_of([facts, sorted(state), tensor_digest(*(state[name] for name in sorted(state)))])
    return OutsideModel(
        text=named.text,
        name=f"{short}-{digest[:6]}",
        digest=digest,
        architecture=architecture,
        width=float(arch.get("width", 1.0)),
        module=module,
    )
