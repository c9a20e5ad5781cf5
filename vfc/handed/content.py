"""A digest of what an object of the user's own computes: its code, its numbers and what it refers to."""

# Structure: calibration does not count it.

from __future__ import annotations

import dis
import hashlib
import re
import types
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from vfc.handed.own_code import OURS, digests_of, files_of, find, is_own, plain_text, with_imports
from vfc.release import tensor_digest

_PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, torch.Size)
_BOOKKEEPING = frozenset(vars(nn.Module())) - {"training"}
"""What every torch module holds, which its parameters, buffers and children say better."""

_UNCOUNTED = (
    *("__module__", "__doc__", "__dict__", "__weakref__"),
    *("__firstlineno__", "__static_attributes__", "__slotnames__"),
)
"""What classes hold and nothing computes with; the last appears when one of them is copied."""


def digest_of_object(value: object) -> str:
    """SHA-256 of what an object is, the same in every process that runs the same code.

    Functions and classes count by their compiled code and by all that it names: functions, classes and values of their
    own module and of other modules of the user's, and the files of those; torch modules by their tensors, children and
    attributes; other objects by their attributes, slots and what a copy would take, so that a generator of random
    numbers counts by its state; everything installed by name.

    Args:
        value: a torch module, a function, or any object.
    """
    content = _Content()
    content.add(value)
    return content.total.hexdigest()


class _Content:
    """Feeds values to one hash; what was fed before counts by its place in the order."""

    def __init__(self) -> None:
        self.total = hashlib.sha256()
        self.seen: dict[int, tuple[int, Any]] = {}
        self.modules: set[tuple[str, tuple[str, ...]]] = set()
        self.own: dict[str, bool] = {}

    def add(self, value: Any) -> None:
        """Feed one value."""
        if isinstance(value, _PLAIN) and self._installed(type(value).__module__):
            self.text(f"{type(value).__name__} {value!r};")
            return
        if isinstance(value, types.ModuleType):
            self.add_module(value, ())
            return
        if id(value) in self.seen:
            self.text(f"again {self.seen[id(value)][0]};")
            return
        self.seen[id(value)] = (len(self.seen), value)  # kept, so that no other object takes its address
        self.text(f"{type(value).__qualname__}(")
        if isinstance(value, torch.Tensor):
            self.text(tensor_digest(value))
        elif isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
            self.total.update(f"{value.dtype}{value.shape}".encode() + value.tobytes())
        elif isinstance(value, Mapping | list | tuple | Set):
            self.add_items(value)
        elif isinstance(value, types.MethodType):
            self.add(value.__func__)
            self.add(value.__self__)
        elif isinstance(value, types.FunctionType):
            self.add_function(value)
        elif isinstance(value, type):
            self.add_class(value)
        else:
            self.add_object(value)
        self.text(")")

    def text(self, words: str) -> None:
        """Feed a text."""
        self.total.update(words.encode())

    def add_items(self, value: Any) -> None:
        """Feed what a container holds, and what a container of the user's own is beside that."""
        if isinstance(value, Mapping):
            for name, item in value.items():
                self.add(name)
                self.add(item)
        elif isinstance(value, Set):
            self.text(repr(sorted(map(plain_text, map(repr, value)))))
        else:
            for item in value:
                self.add(item)
        if not self._installed(type(value).__module__):
            self.add(type(value))
            self.add(_attributes(value))

    def add_class(self, value: type) -> None:
        """Feed a class: its bases and its members, or its name if it is installed."""
        if self._installed(value.__module__):
            self.text(f"{value.__module__}.{value.__qualname__}")
            return
        self.text("class")
        self.add([base for base in value.__mro__[1:] if base is not object])
        for name, item in sorted(vars(value).items()):
            if name not in _UNCOUNTED:
                self.add(name)
                self.add(getattr(item, "__func__", getattr(item, "fget", None) or item))

    def add_object(self, value: Any) -> None:
        """Feed any other object: its class, its attributes, and what a copy of it would take."""
        if isinstance(value, types.BuiltinFunctionType):
            self.text(f"{value.__module__}.{value.__qualname__}")
        else:
            self.add(type(value))
        if isinstance(value, torch.Generator):
            self.add(_drawn(value))
            return
        state = _attributes(value)
        if isinstance(value, nn.Module):
            state = {name: item for name, item in state.items() if name not in _BOOKKEEPING}
            own = [*value.named_parameters(recurse=False), *value.named_buffers(recurse=False)]
            for name, item in (*own, *value.named_children()):
                self.add(name)
                self.add(item)
        if isinstance(value, torch.jit.ScriptModule):
            self.text(_script(value))
            return
        self.add(state)
        if not state or _copies_itself(type(value)):
            self.add_copy(value)

    def add_copy(self, value: Any) -> None:
        """Feed what a copy of an object would be made of; its text where it cannot be copied."""
        try:
            parts = value.__reduce_ex__(4)
        except Exception:  # whatever an object raises that is made of something that cannot be copied
            parts = plain_text(repr(value))
        if isinstance(parts, str):
            self.text(parts)
            return
        for part in parts:
            self.add(list(part) if isinstance(part, Iterator) else part)

    def add_function(self, value: types.FunctionType) -> None:
        """Feed a function: its code, its defaults, what it closes over, and what its code names."""
        module = str(value.__globals__.get("__name__"))
        # One of a library that wraps another takes the name of that; neither alone says whose it is.
        installed = self._installed(str(value.__module__)) and self._installed(module)
        if installed:
            self.text(f"{value.__module__}.{value.__qualname__}")
        else:
            self.add_code(value.__code__)
        self.add([value.__defaults__, value.__kwdefaults__, dict(sorted(vars(value).items()))])
        for cell in value.__closure__ or ():
            try:
                self.add(cell.cell_contents)
            except ValueError:  # not bound yet: a function that names itself
                self.text("empty")
        if installed:
            return
        names = _names(value.__code__)
        for name in names:
            if name in value.__globals__:
                self.add(name)
                item = value.__globals__[name]
                if isinstance(item, types.ModuleType):
                    self.add_module(item, names)
                else:
                    self.add(item)
        imported = sorted({*_imports(value.__code__)})
        package = str(value.__globals__.get("__package__") or "").partition(".")[0]
        for name in (*imported, package) if imported else ():  # one that is relative is in the function's package
            self.add_files(name)

    def add_code(self, code: types.CodeType) -> None:
        """Feed compiled code."""
        self.total.update(code.co_code + repr((code.co_names, code.co_varnames, code.co_freevars)).encode())
        for item in code.co_consts:
            if isinstance(item, types.CodeType):
                self.add_code(item)
            else:
                self.add(item)

    def add_module(self, module: types.ModuleType, names: tuple[str, ...]) -> None:
        """Feed a module: what code may read of it by these names, and its files; its name alone if it is installed."""
        self.text(f"module {module.__name__};")
        if (module.__name__, names) in self.modules or self._installed(module.__name__):
            return
        self.modules.add((module.__name__, names))
        self.add_files(module.__name__)
        for name in names:
            if name in vars(module):
                item = vars(module)[name]
                self.add(name)
                if isinstance(item, types.ModuleType):
                    self.add_module(item, names)
                else:
                    self.add(item)

    def add_files(self, name: str) -> None:
        """Feed the files of a module of the user's own and of all that they import; nothing for any other."""
        top = name.partition(".")[0]
        if (top, ("files",)) in self.modules or not top.isidentifier() or top == "__main__" or self._installed(top):
            return
        self.modules.add((top, ("files",)))
        folder = _folder()
        files = with_imports(files_of(top, find(top, folder)), folder, [top])
        self.text(repr(digests_of(files)))

    def _installed(self, module: str) -> bool:
        """Whether a module comes with a package that has a version, ours included, and is not the user's own."""
        top = module.partition(".")[0]
        if top in (*OURS, "builtins", "torch", "numpy"):
            return True
        if top not in self.own:
            self.own[top] = top == "__main__" or is_own(top, _folder())
        return not self.own[top]


def _folder() -> Path:
    """Where modules may lie beside the path: the working folder."""
    return Path.cwd()


def _attributes(value: Any) -> dict[str, Any]:
    """What an object holds in its dictionary and its slots, by name."""
    found = dict(getattr(value, "__dict__", {}))
    for kind in type(value).__mro__:
        for name, member in vars(kind).items():
            if isinstance(member, types.MemberDescriptorType) and not name.endswith("__"):
                try:
                    found.setdefault(name, member.__get__(value))
                except AttributeError:  # a slot without a value
                    continue
    return dict(sorted(found.items()))


def _copies_itself(kind: type) -> bool:
    """Whether a class says itself what a copy of it takes, because its attributes do not tell."""
    names = ("__reduce__", "__reduce_ex__")
    return any(getattr(kind, name) is not getattr(object, name) for name in names)


def _drawn(generator: torch.Generator) -> torch.Tensor:
    """What a generator would draw next: of equal states not every byte is equal."""
    same = torch.Generator(device=generator.device).set_state(generator.get_state())
    return torch.randint(2**62, (4,), generator=same, device=generator.device)


def _script(module: torch.jit.ScriptModule) -> str:
    """Code and attributes of a scripted module, without the places in which its source lay."""
    return re.sub(r" # \S+:\d+:\d+", "", plain_text(module._c.dump_to_str(True, True, False)))


def _names(code: types.CodeType) -> tuple[str, ...]:
    """Global names that a code object and those inside it may read, and the attributes that it asks for."""
    inner = [name for item in code.co_consts if isinstance(item, types.CodeType) for name in _names(item)]
    return tuple(sorted({*code.co_names, *inner}))


def _imports(code: types.CodeType) -> Iterator[str]:
    """First words of what a code object and those inside it import when they run."""
    for step in dis.get_instructions(code):
        if step.opname == "IMPORT_NAME":
            yield str(step.argval).partition(".")[0]
    for item in code.co_consts:
        if isinstance(item, types.CodeType):
            yield from _imports(item)
