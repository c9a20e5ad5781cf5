"""Whether the packages above this one are ours, or the user's own packages of the same names. Imports none of them."""

# Structure: calibration does not count it.

from __future__ import annotations

import os
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

from vfc.errors import UserError

NAMES = ("adversaries", "protocols", "reports")
"""Packages that are installed beside `vfc`."""


def require_own_packages() -> None:
    """Look up, without importing, what `import protocols` and its like would find.

    Raises:
        UserError: something else of that name comes first on the module search path.
    """
    ours = Path(__file__).resolve().parents[1]
    for name in NAMES:
        spec = find_spec(name)
        found = _place(spec) if spec is not None else "nothing"
        if found != str(ours / name):
            raise UserError(
                f"expected the package {name!r} that comes with vfc, got {found}",
                f"vfc cannot run while another {name!r} comes first on the module search path: rename it, "
                "or start vfc from another folder",
            )


def _place(spec: ModuleSpec) -> str:
    """The folder of a package, or the file of a module."""
    folders = list(spec.submodule_search_locations or ())
    return os.path.realpath(folders[0] if folders else str(spec.origin))
