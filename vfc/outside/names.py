"""What `--target` and `--unintended` accept: a name of the zoo, a file of weights, or a factory. Imports no torch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vfc.errors import UserError, unknown
from vfc.registries import MODELS

SUFFIXES = (".safetensors", ".pt", ".pth")
"""Files of weights."""

FORMS = (
    "give a name of vfc list models, FILE.safetensors or FILE.safetensors:ARCHITECTURE, or a factory, mypkg:build or "
    "path/to/file.py:build"
)
_FILE = re.compile(rf"(?P<file>.+(?:{'|'.join(map(re.escape, SUFFIXES))}))(?::(?P<architecture>.*))?", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class ModelName:
    """What an argument names.

    Args:
        kind: which of the three forms it has.
        text: the argument itself.
        source: name of the zoo, path of the file, or module or file of the factory.
        architecture: what the argument says that a file holds; empty if it says nothing.
        attribute: the factory's name inside its module.
    """

    kind: Literal["zoo", "file", "factory"]
    text: str
    source: str
    architecture: str = ""
    attribute: str = ""


def model_name(text: str) -> ModelName:
    """Decide what an argument names; reads no file and imports nothing of the user's.

    Raises:
        UserError: it is none of the three forms, or the file does not exist.
    """
    if text in MODELS.cards:
        return ModelName(kind="zoo", text=text, source=text)
    if found := _FILE.fullmatch(text):
        file, architecture = found["file"], found["architecture"]
        if not Path(file).is_file():
            raise UserError(f"expected a file of weights {file}, got nothing there", "check the path")
        if architecture == "":
            raise UserError(f"expected an architecture behind the colon of {text!r}, got none", FORMS)
        return ModelName(kind="file", text=text, source=str(Path(file).resolve()), architecture=architecture or "")
    source, colon, attribute = text.rpartition(":")
    if source == "torchvision":
        raise UserError(
            f"expected weights for {text}, got none: nothing is downloaded here", f"write FILE.safetensors:{text}"
        )
    if colon and all(part.isidentifier() for part in attribute.split(".")):
        if source.endswith(".py"):
            if not Path(source).is_file():
                raise UserError(f"expected a Python file {source}, got nothing there", "check the path")
            # Absolute, because run folders name it and are used from anywhere.
            return ModelName(kind="factory", text=text, source=str(Path(source).resolve()), attribute=attribute)
        if source and all(part.isidentifier() for part in source.split(".")):
            return ModelName(kind="factory", text=text, source=source, attribute=attribute)
    if any(sign in text for sign in "/:\\") or text.endswith(".py"):
        raise UserError(f"expected a model, got {text!r}, which is no file of weights and no factory", FORMS)
    error = unknown("model", text, MODELS.cards)
    raise UserError(error.what, f"{error.fix}; or a file of weights, or a factory")
