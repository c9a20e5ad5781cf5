"""Whether the attack libraries are there. They are an extra, so nothing here imports them."""

from __future__ import annotations

from importlib.metadata import version
from importlib.util import find_spec

LIBRARIES = ("torchattacks", "foolbox")


def missing() -> tuple[str, ...]:
    """Libraries that are not installed."""
    return tuple(name for name in LIBRARIES if find_spec(name) is None)


def versions() -> dict[str, str]:
    """Versions of the installed libraries, part of what a result depends on."""
    return {name: version(name) for name in LIBRARIES if name not in missing()}
