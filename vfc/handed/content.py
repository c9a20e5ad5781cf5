"""A digest of what an object of the user's own computes: its code, its numbers and what it refers to."""

# Structure: calibration does not count it.

from __future__ import annotations

import hashlib
import re
import sys
import sysconfig
import types
from collections.abc import Mapping, Set
from typing import Any

import numpy as np
import torch
from torch import nn

from vfc.release import tensor_digest

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, torch.Size)
_BOOKKEEPING = frozenset(vars(nn.Module())) - {"training"}
"""What every torch module holds, which its parameters, buffers and children say better."""


def digest_of_object(value: object) -> str:
    """SHA-256 of what an object is, the same in every process that runs the same code.

    Functions and classes count by their compiled code and by the functions, classes and plain values of their own
    module that the code names; torch modules by their tensors, children and attributes; everything installed by name.

    Args:
        value: a torch module, a function, or any object.
    """
    total = hashlib.sha256()
    _add(value, total, {})
    return total.hexdigest()


def _add(value: Any, total: Any, seen: dict[int, Any]) -> None:
    """Feed one value to the hash; what was fed before counts by its place in the order."""
    if isinstance(value, _PLAIN):
        total.update(f"{type(value).__name__} {value!r};".encode())
        return
    if id(value) in seen:
        total.update(f"again {list(seen).index(id(value))};".encode())
        return
    seen[id(value)] = value  # kept, so that no other object takes its address
    total.update(f"{type(value).__qualname__}(".encode())
    if isinstance(value, torch.Tensor):
        total.update(tensor_digest(value).encode())
    elif isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        total.update(f"{value.dtype}{value.shape}".encode() + value.tobytes())
    elif isinstance(value, Mapping):
        for name, item in value.items():
            _add(name, total, seen)
            _add(item, total, seen)
    elif isinstance(value, list | tuple):
        for item in value:
            _add(item, total, seen)
    elif isinstance(value, Set):
        total.update(repr(sorted(map(repr, value))).encode())
    else:
        _add_object(value, total, seen)
    total.update(b")")


def _add_object(value: Any, total: Any, seen: dict[int, Any]) -> None:
    """Feed code, a torch module or any other object to the hash."""
    if isinstance(value, types.MethodType):
        _add(value.__func__, total, seen)
        _add(value.__self__, total, seen)
    elif isinstance(value, types.FunctionType):
        _add_function(value, total, seen)
    elif isinstance(value, type):
        total.update(f"{value.__module__}.{value.__qualname__}".encode() if _installed(value) else b"class")
        if not _installed(value):
            _add([base for base in value.__mro__[1:] if base is not object], total, seen)
            members = {name: item for name, item in sorted(vars(value).items()) if not name.startswith("__weakref")}
            for name, item in members.items():
                if name not in ("__module__", "__doc__", "__dict__", "__firstlineno__", "__static_attributes__"):
                    _add(name, total, seen)
                    _add(getattr(item, "__func__", getattr(item, "fget", None) or item), total, seen)
    elif hasattr(value, "__dict__") and not isinstance(value, types.ModuleType):
        _add(type(value), total, seen)
        state = dict(vars(value))
        if isinstance(value, nn.Module):
            state = {name: item for name, item in state.items() if name not in _BOOKKEEPING}
            own = [*value.named_parameters(recurse=False), *value.named_buffers(recurse=False)]
            for name, item in (*own, *value.named_children()):
                _add(name, total, seen)
                _add(item, total, seen)
        _add(dict(sorted(state.items())), total, seen)
    else:
        total.update(_ADDRESS.sub("", repr(value)).encode())


def _add_function(value: types.FunctionType, total: Any, seen: dict[int, Any]) -> None:
    """Feed a function: its code, its defaults, what it closes over, and what of its own module it names."""
    if _installed(value):
        total.update(f"{value.__module__}.{value.__qualname__}".encode())
        return
    _add_code(value.__code__, total, seen)
    _add([value.__defaults__, value.__kwdefaults__], total, seen)
    for cell in value.__closure__ or ():
        try:
            _add(cell.cell_contents, total, seen)
        except ValueError:  # not bound yet: a function that names itself
            total.update(b"empty")
    for name in _names(value.__code__):
        if name in value.__globals__ and not isinstance(value.__globals__[name], types.ModuleType):
            _add(name, total, seen)
            _add(value.__globals__[name], total, seen)


def _add_code(code: types.CodeType, total: Any, seen: dict[int, Any]) -> None:
    total.update(code.co_code + repr((code.co_names, code.co_varnames, code.co_freevars)).encode())
    for item in code.co_consts:
        if isinstance(item, types.CodeType):
            _add_code(item, total, seen)
        else:
            _add(item, total, seen)


def _names(code: types.CodeType) -> list[str]:
    """Global names that a code object and those inside it may read."""
    inner = [name for item in code.co_consts if isinstance(item, types.CodeType) for name in _names(item)]
    return sorted({*code.co_names, *inner})


def _installed(value: Any) -> bool:
    """Whether it comes with a package that has a version, ours included, and not from the user's own files."""
    top = str(getattr(value, "__module__", "")).partition(".")[0]
    if top in ("vfc", "adversaries", "protocols", "reports", "builtins", "torch", "numpy"):
        return True
    file = str(getattr(sys.modules.get(str(value.__module__)), "__file__", "") or "")
    return top in sys.stdlib_module_names - {"__main__"} or file.startswith(sysconfig.get_path("purelib"))
