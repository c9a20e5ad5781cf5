"""What is written to disk: run folders of safetensors and JSON with a manifest of hashes. Nothing is unpickled.

Every file is written beside its place and then moved there, so a killed run leaves the old file or the new one. Reading
checks the SHA-256 in the folder's `manifest.json`, so damage is an error and never a wrong number. One process writes
to a folder at a time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor, nn

from vfc.defense import DEFENSES, Defense
from vfc.errors import UserError

MANIFEST = "manifest.json"
SCHEMA = 1


def write_bytes(data: bytes, path: Path) -> None:
    """Write a file atomically, making its folder; raises `UserError` when that is impossible."""
    with _placed(path) as temporary:
        temporary.write_bytes(data)


@contextlib.contextmanager
def _placed(path: Path) -> Iterator[Path]:
    """A file to be written, which then takes its place at once; raises `UserError` (disk full, no right)."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        try:
            yield temporary
            os.fsync(handle)
        finally:
            os.close(handle)
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()
        raise UserError(
            f"cannot write {path}: {getattr(error, 'strerror', None) or error}", "free space or choose another folder"
        ) from error


def save_json(data: Any, path: Path) -> None:
    """Save JSON-ready data (no NaN) and enter it into its folder's manifest."""
    _save(_dump(data), path, {"kind": "json"})


def load_json(path: Path) -> Any:
    """Data saved by `save_json`; raises `UserError` when it is missing or damaged."""
    try:
        return json.loads(_load(path, "json")[0])
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged: {str(error)[:300]}", "make the folder again") from error


def save_arrays(arrays: Mapping[str, Tensor | NDArray[Any]], path: Path) -> None:
    """Save named tensors or arrays as safetensors and enter the file into its folder's manifest.

    They go to the file one after the other, so that large arrays need no memory besides their own.
    """
    path = Path(path)
    with _placed(path) as temporary:
        safetensors.torch.save_file(_tensors(arrays), temporary)
        digest, size = file_digest(temporary), temporary.stat().st_size
    _enter(path, {"kind": "arrays", "sha256": digest, "bytes": size})


def load_arrays(path: Path) -> dict[str, Tensor]:
    """Tensors saved by `save_arrays`, on the CPU; raises `UserError` when the file is missing or damaged."""
    return _unpack(path, _load(path, "arrays")[0])


def mapped_arrays(path: Path) -> dict[str, Tensor]:
    """The same, mapped into memory: processes share what they read, and what one of them writes is its own copy.

    Raises:
        UserError: the file is missing or damaged.
    """
    _load(path, "arrays", read=False)
    return _unpack(path)


def save_model(model: nn.Module, path: Path, *, split_seed: int | None = None) -> None:
    """Save a classifier's weights, and its `arch`, from which it is rebuilt.

    Args:
        model: a `vfc.models.Classifier`, or a factory's `vfc.outside.made.Made`.
        path: the file, by convention `<name>.safetensors`.
        split_seed: salt of the split whose images it was trained on; None where nobody needs to know.
    """
    arch = getattr(model, "arch", None)
    if not isinstance(arch, dict):
        raise UserError(f"expected a Classifier with an arch, got {type(model).__name__}", "save its arrays instead")
    salt = {} if split_seed is None else {"split_seed": split_seed}
    _save(_pack(model.state_dict()), path, {"kind": "model", "arch": arch, **salt})


def load_model(path: Path) -> nn.Module:
    """A classifier saved by `save_model`, in eval mode on the CPU.

    Raises:
        UserError: the file is missing or damaged, or its architecture no longer exists.
    """
    from vfc.models import rebuild
    from vfc.outside.made import remade

    data, entry = _load(path, "model")
    arrays, arch = _unpack(path, data), entry.get("arch")
    if not isinstance(arch, dict) or any(type(n) is int and n > len(data) for n in arch.values()):
        raise UserError(f"expected an architecture of the size of {path}, got {str(arch)[:300]}", "train it again")
    try:
        # A factory's network is made by the user's own code.
        model: nn.Module = remade(arch) if "factory" in arch else rebuild(arch)
        model.load_state_dict(arrays)
    except UserError:
        raise
    except Exception as error:  # whatever an edited description makes of it
        raise UserError(f"{path} does not fit its architecture: {str(error)[:300]}", "train it again") from error
    return model.eval()


def save_defense(defense: Defense, name: str, folder: Path, *, file: str = "defense") -> None:
    """Save a fitted, registered defense: settings and `state`, without the target.

    Args:
        defense: what to save.
        name: its registered name.
        folder: the run folder.
        file: stem of the file, for folders that hold several defenses.
    """
    entry = {"kind": "defense", "name": name, "settings": defense.settings()}
    _save(_pack(defense.state()), Path(folder) / f"{file}.safetensors", entry)


def load_defense(folder: Path, target: nn.Module, *, file: str = "defense") -> Defense:
    """A defense saved by `save_defense`, fitted, with its target.

    Raises:
        UserError: the file is missing or damaged, or this version knows no such defense or setting.
    """
    path = Path(folder) / f"{file}.safetensors"
    data, entry = _load(path, "defense")
    arrays = _unpack(path, data)
    name, stored = str(entry.get("name")), entry.get("settings")
    kind: Any = DEFENSES.get(name)
    if not isinstance(stored, dict) or any(type(n) is int and n > max(len(data), 10**6) for n in stored.values()):
        raise UserError(f"expected settings of the size of {path}, got {str(stored)[:300]}", "train it again")
    settings = {key: tuple(value) if isinstance(value, list) else value for key, value in stored.items()}
    try:
        fitted: Defense = kind(**settings).with_state(arrays, target)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{path} does not fit {name} with its settings: {str(error)[:300]}", "train it again"
        ) from error
    return fitted


def contents(folder: Path) -> dict[str, dict[str, Any]]:
    """What a run folder holds by its manifest: file name to `kind`, `sha256` and the rest of its entry.

    Raises:
        UserError: there is no manifest, or it is damaged.
    """
    path = Path(folder) / MANIFEST
    fix = "make the folder again with vfc train"
    try:
        manifest = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise UserError(f"expected a run folder with a {MANIFEST}, got {folder}", fix) from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}", "check the file and your rights") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged: it is not JSON", fix) from error
    listed = manifest.get("files") if isinstance(manifest, dict) else None
    if not isinstance(listed, dict) or not all(
        isinstance(entry, dict) and isinstance(entry.get("sha256"), str) for entry in listed.values()
    ):
        raise UserError(f"{path} is damaged: it lists no files", fix)
    if manifest.get("schema") != SCHEMA:
        raise UserError(f"expected {path} of schema {SCHEMA}, got {manifest.get('schema')!r}", fix)
    files: dict[str, dict[str, Any]] = listed
    try:
        digest = _digest(_dump(files))
    except ValueError:  # NaN, or text that no file can hold
        digest = ""
    if manifest.get("digest") != digest:
        raise UserError(f"{path} is damaged or edited: its digest does not match", fix)
    return files


def is_whole(folder: Path) -> bool:
    """Whether a folder is there with every byte that its manifest describes."""
    try:
        return all(file_digest(folder / name) == entry["sha256"] for name, entry in contents(folder).items())
    except (UserError, OSError, KeyError):
        return False


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder that appears under its name only when everything is in it; another run's equal one may win."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    except OSError as error:
        raise UserError(
            f"cannot write {path.parent}: {error.strerror or error}", "set VFC_CACHE_DIR, or use --no-cache"
        ) from error
    try:
        yield temporary
        shutil.rmtree(path, ignore_errors=True)
        with contextlib.suppress(OSError):
            temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, as hexadecimal text."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _save(data: bytes, path: Path, entry: dict[str, Any]) -> None:
    write_bytes(data, Path(path))
    _enter(Path(path), {**entry, "sha256": _digest(data), "bytes": len(data)})


def _enter(path: Path, entry: dict[str, Any]) -> None:
    """Enter a written file into its folder's manifest."""
    files = {**(contents(path.parent) if (path.parent / MANIFEST).exists() else {}), path.name: entry}
    manifest = {"schema": SCHEMA, "digest": _digest(_dump(files)), "files": files}
    write_bytes(_dump(manifest), path.parent / MANIFEST)


def _load(path: Path, kind: str, *, read: bool = True) -> tuple[bytes, dict[str, Any]]:
    """A file's content, empty unless it is to be read, and the manifest's entry, which describes these very bytes.

    Raises:
        UserError: there is no such file of that kind, or it is damaged.
    """
    path = Path(path)
    entry = contents(path.parent).get(path.name)
    if entry is None or entry.get("kind") != kind:
        raise UserError(
            f"expected {path.name} ({kind}) in {path.parent}, got {_listing(path.parent)}",
            "train again, or restore the file",
        )
    try:
        data = path.read_bytes() if read else b""
        digest, size = (_digest(data), len(data)) if read else (file_digest(path), path.stat().st_size)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}", "make the folder again") from error
    if digest != entry["sha256"]:
        raise UserError(
            f"{path} is damaged: expected {entry.get('bytes')} bytes as {MANIFEST} describes, got {size} others",
            "make the folder again",
        )
    return data, entry


def _listing(folder: Path) -> str:
    return ", ".join(f"{name} ({entry.get('kind')})" for name, entry in sorted(contents(folder).items())) or "nothing"


def _pack(arrays: Mapping[str, Tensor | NDArray[Any]]) -> bytes:
    return safetensors.torch.save(_tensors(arrays))


def _tensors(arrays: Mapping[str, Tensor | NDArray[Any]]) -> dict[str, Tensor]:
    """On the CPU, by name in order; copies only of what shares memory, which safetensors refuses."""
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, value in sorted(arrays.items()):
        tensor = torch.as_tensor(value).detach().cpu().contiguous()
        whole = tensor.untyped_storage().nbytes() == tensor.numel() * tensor.itemsize
        place = tensor.untyped_storage().data_ptr()
        found[name] = tensor if whole and place not in seen else tensor.clone()
        seen.add(place)
    return found


def _unpack(path: Path, data: bytes | None = None) -> dict[str, Tensor]:
    """The tensors in the bytes of a file; without them, mapped from it."""
    try:
        return safetensors.torch.load_file(path) if data is None else safetensors.torch.load(data)
    except (SafetensorError, ValueError) as error:
        raise UserError(f"{path} is no safetensors file: {error}", "make the folder again") from error


def _dump(data: Any) -> bytes:
    return json.dumps(data, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False).encode()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
