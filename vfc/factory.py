"""What `--release` accepts: a registered name, a run folder, a Python factory, or saved arrays."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import safetensors.torch
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor, nn

from vfc.defense import DEFENSES, Defense
from vfc.errors import HeldElsewhereError, UserError, unknown
from vfc.handed.held import DEFENSES_HELD
from vfc.isolation.user_code import defender_call, user_call
from vfc.wrapper import ModuleDefense, check_values

ARRAY_SUFFIXES = (".npz", ".safetensors")
_NAMES = ("release", "label", "image", "prediction", "clean_prediction")
_FORMS = (
    "give a registered name, a folder of vfc train, mypkg.defense:build, path/to/file.py:build, or .npz/.safetensors"
)


@dataclass(frozen=True, kw_only=True)
class ReleaseSpec:
    """What a `--release` argument names.

    Args:
        kind: which of the four forms it has, or an object of this process.
        text: the argument itself.
        source: registered name, path of the folder or arrays, or module or file of the factory.
        attribute: the factory's name inside its module, or the object's; empty for the other forms.
    """

    kind: Literal["registered", "folder", "factory", "arrays", "object"]
    text: str
    source: str
    attribute: str = ""

    @property
    def name(self) -> str:
        """How reports name it: without the folder that it lies in, which may differ from machine to machine."""
        if self.kind == "registered" or (self.kind == "factory" and not self.source.endswith(".py")):
            return self.text
        if self.kind == "object":
            return self.attribute
        return Path(self.source).resolve().name + (f":{self.attribute}" if self.kind == "factory" else "")


def resolve(spec: str) -> ReleaseSpec:
    """Decide what a `--release` argument names; imports nothing of the user's.

    A registered name wins over a folder of that name; `./name` is the folder.

    Raises:
        UserError: it is none of the four forms, or the file or folder does not exist.
    """
    if not spec:
        raise UserError("expected a release, got an empty text", _FORMS)
    path = Path(spec)
    if spec in DEFENSES_HELD:
        return ReleaseSpec(kind="object", text=spec, source=spec, attribute=spec.split(":")[1])
    if spec in DEFENSES.cards:
        return ReleaseSpec(kind="registered", text=spec, source=spec)
    if path.suffix in ARRAY_SUFFIXES:
        if not path.is_file():
            raise UserError(f"expected a file {spec}, got nothing there", "check the path")
        return ReleaseSpec(kind="arrays", text=spec, source=spec)
    if path.is_dir():
        return ReleaseSpec(kind="folder", text=spec, source=spec)
    source, colon, attribute = spec.rpartition(":")
    if colon and all(part.isidentifier() for part in attribute.split(".")):
        if source.endswith(".py"):
            if not Path(source).is_file():
                raise UserError(f"expected a Python file {source}, got nothing there", "check the path")
            return ReleaseSpec(kind="factory", text=spec, source=source, attribute=attribute)
        if source and all(part.isidentifier() for part in source.split(".")):
            return ReleaseSpec(kind="factory", text=spec, source=source, attribute=attribute)
    if path.suffix == ".py" and path.is_file():
        raise UserError(
            f"expected a factory, got the file {spec} without the name of one",
            f"add the name of a function in it that returns the defense: {spec}:build",
        )
    if os.sep in spec or "/" in spec or ":" in spec:
        raise UserError(f"expected a release, got {spec!r}, which is no folder, file or factory", _FORMS)
    error = unknown("release", spec, DEFENSES.cards)
    raise UserError(error.what, f"{error.fix}; or {_FORMS}")


def call_factory(spec: ReleaseSpec, num_classes: int) -> Defense:
    """Import a factory, call it, and return its defense; a torch module is wrapped in `ModuleDefense`.

    The working folder (for a file: its own folder) is put on `sys.path`, as `python` itself would.

    Args:
        spec: a spec of kind `factory`, or `object`, whose defense is there already.
        num_classes: handed to factories that have a parameter of that name.

    Raises:
        UserError: it cannot be imported, is missing, raises, or returns something else.
        HeldElsewhereError: the object is in the process of the caller, and this is a worker.
    """
    if spec.kind == "object":
        if spec.text not in DEFENSES_HELD:
            raise HeldElsewhereError(spec.text)
        return DEFENSES_HELD[spec.text]
    module = _import(spec)
    found: Any = user_call(spec.text, lambda: _attribute(module, spec))
    # A ready object is as good as a function that returns it.
    if not isinstance(found, (Defense, nn.Module)):
        if not callable(found):
            raise UserError(f"expected {spec.text} to be a function, got {type(found).__name__}", "name a function")
        arguments = _arguments(spec, found, num_classes)
        found = user_call(spec.text, lambda: found(**arguments))
    if isinstance(found, (Defense, nn.Module)):
        defense = found if isinstance(found, Defense) else ModuleDefense(module=found, origin=spec.text)
        # Now, and not after hours: a secret that cannot be read is a mistake.
        defender_call(defense, defense.declared_secret)
        return defense
    hint = "return an object, not its class" if inspect.isclass(found) else "return one of the two"
    words = f"the class {found.__name__}" if inspect.isclass(found) else type(found).__name__
    raise UserError(f"expected {spec.text} to return a vfc Defense or a torch.nn.Module, got {words}", hint)


def load_arrays_release(path: Path) -> dict[str, Tensor]:
    """Saved arrays as tensors, validated; nothing is unpickled.

    Args:
        path: `.npz` or `.safetensors` with `release` (n, ...) and `label` (n,), optionally `image` (n, c, h, w) in
            [0, 1], `prediction` (n,), what the target predicts on the images without a defense as `clean_prediction`
            (n,), and `attr_<name>` (n,).

    Returns:
        The same names; labels, predictions and attributes are int64, images float32.

    Raises:
        UserError: unreadable, truncated, or not of that form.
    """
    arrays = _read_arrays(Path(path))
    for name in ("release", "label"):
        if name not in arrays:
            raise UserError(
                f"expected an array {name!r} in {path}, got {', '.join(sorted(arrays)) or 'none'}",
                "save it under that name",
            )
    rows = len(arrays["release"]) if arrays["release"].ndim else 0
    if rows == 0 or arrays["release"].numel() == 0:
        raise UserError(
            f"expected release rows in {path}, got shape {tuple(arrays['release'].shape)}", "save at least one row"
        )
    for name, values in arrays.items():
        if name not in _NAMES and not (name.startswith("attr_") and len(name) > len("attr_")):
            raise unknown(f"array in {path}", name, (*_NAMES, "attr_<name>"))
        if values.ndim == 0 or len(values) != rows:
            raise UserError(
                f"expected {rows} rows of {name!r} in {path}, got shape {tuple(values.shape)}",
                "save one row per release",
            )
        if values.is_complex():
            raise UserError(f"expected real numbers in {name!r} of {path}, got {values.dtype}", "save real numbers")
        if name == "image":
            arrays[name] = _images(values, path)
        elif name == "release":
            arrays[name] = check_values(values, rows, str(path))
        else:
            arrays[name] = _classes(values, name, path)
    return arrays


def _images(values: Tensor, path: Path) -> Float[Tensor, "n c h w"]:
    if values.ndim != 4 or not values.is_floating_point():
        found = f"{values.dtype} of shape {tuple(values.shape)}"
        raise UserError(f"expected float images (n, c, h, w) in {path}, got {found}", "save floats in [0, 1], NCHW")
    if values.shape[2] != values.shape[3] or values.shape[1] not in (1, 3):
        raise UserError(
            f"expected square images with 1 or 3 channels in {path}, got shape {tuple(values.shape)}",
            "save them as NCHW",
        )
    # Written so that NaN fails too.
    if not bool(((values >= 0) & (values <= 1)).all()):
        found = f"[{float(values.min()):g}, {float(values.max()):g}]"
        raise UserError(f"expected images in [0, 1] in {path}, got {found}", "divide by 255, or remove NaN")
    return values.float()


def _classes(values: Tensor, name: str, path: Path) -> Int[Tensor, " n"]:
    if values.ndim != 1 or values.is_floating_point():
        found = f"{values.dtype} of shape {tuple(values.shape)}"
        raise UserError(
            f"expected integers (n,) in {name!r} of {path}, got {found}",
            f"save {name}.argmax(1)" if values.ndim == 2 and values.shape[1] > 1 else "save class numbers from 0",
        )
    classes = values.long()
    if int(classes.min()) < 0:
        raise UserError(
            f"expected class numbers from 0 in {name!r} of {path}, got {int(classes.min())}",
            "number the classes from 0",
        )
    return classes


def _read_arrays(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load(path.read_bytes())
        # Opened here, because numpy leaves a broken file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: _tensor(archive[name], name, path) for name in archive.files}
    except UserError:
        raise
    # zipfile, zlib, numpy and safetensors each have their own words for a broken file.
    except (Exception, SafetensorError) as error:
        raise UserError(
            f"cannot read arrays from {path}: {type(error).__name__}: {error}", "save the file again"
        ) from error


def _tensor(array: NDArray[Any], name: str, path: Path) -> Tensor:
    if array.dtype.kind not in "biufc" or array.dtype.itemsize > 16:
        raise UserError(
            f"expected numbers in {name!r} of {path}, got dtype {array.dtype}", "save it as float or integer"
        )
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))


def _import(spec: ReleaseSpec) -> ModuleType:
    is_file = spec.source.endswith(".py")
    folder = str(Path(spec.source).resolve().parent if is_file else Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    importlib.invalidate_caches()
    if not is_file:
        return user_call(f"import of {spec.source}", lambda: importlib.import_module(spec.source))
    path = Path(spec.source).resolve()
    # The name holds the whole path: two files called defense.py are two modules.
    name = f"vfc_user_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    description = importlib.util.spec_from_file_location(name, path)
    if description is None or description.loader is None:
        raise UserError(f"expected a Python file, got {spec.source}", "name a .py file")
    module, loader = importlib.util.module_from_spec(description), description.loader
    sys.modules[name] = module
    try:
        user_call(f"import of {spec.source}", lambda: loader.exec_module(module))
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _attribute(module: ModuleType, spec: ReleaseSpec) -> Any:
    found: Any = module
    for part in spec.attribute.split("."):
        if not hasattr(found, part):
            raise unknown(f"factory in {spec.source}", spec.attribute, _callables(module))
        found = getattr(found, part)
    return found


def _arguments(spec: ReleaseSpec, factory: Callable[..., Any], num_classes: int) -> dict[str, int]:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return {}
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [each.name for each in parameters if each.default is each.empty and each.kind not in variadic]
    if [name for name in needed if name != "num_classes"]:
        raise UserError(
            f"expected {spec.text} to take no argument or num_classes, got ({', '.join(needed)})",
            "give the others defaults",
        )
    named = any(parameter.name == "num_classes" for parameter in parameters)
    return {"num_classes": num_classes} if named else {}


def _callables(module: ModuleType) -> list[str]:
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and callable(value) and getattr(value, "__module__", None) == module.__name__
    ]
