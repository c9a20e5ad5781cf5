"""What went wrong, said so that the user can change it. Imports nothing heavy."""

# Structure: calibration does not count it.

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """The user must change something: exit code 2, one line, no traceback.

    Example:
        ```python
        try:
            vfc.attack("identiti")
        except vfc.errors.UserError as error:
            fix = error.fix
        ```

    Args:
        what: what was expected and what was found instead.
        fix: what to do about it.
    """

    def __init__(self, what: str, fix: str) -> None:
        self.what = " ".join(what.split())
        self.fix = " ".join(fix.split())
        super().__init__(f"{self.what}; {self.fix}")

    def __reduce__(self) -> tuple[type[UserError], tuple[str, str]]:
        """Two arguments, or one raised in a worker process could not be read in this one, which took it for dead."""
        return type(self), (self.what, self.fix)


class NotApplicableError(Exception):
    """The question has no meaning for this release; the reason goes into the evidence. Never a success."""


class KnowledgeError(Exception):
    """An adversary asked for something that its threat model does not grant: a bug in that adversary."""


class HeldElsewhereError(Exception):
    """A process was asked for an object that only the process of the caller holds."""


NEAREST = 5
"""Names that an error lists; of more it says where the rest can be read."""

_LISTED = {
    "protocol": "vfc list protocols",
    "adversary": "vfc list adversaries",
    "required adversary": "vfc list adversaries",
    "defense": "vfc list defenses",
    "release": "vfc list defenses",
    "data set": "vfc list datasets",
    "dataset": "vfc list datasets",
    "model": "vfc list models",
    "architecture": "vfc list models",
    "metric": "vfc list metrics",
    "option": "--help",
}
"""Where all names of a kind are listed."""


def unknown(kind: str, name: str, known: Iterable[str], listed: str = "") -> UserError:
    """The error for a name nobody registered: says which is meant, the nearest ones, and how to list the rest.

    Args:
        kind: what the name should have been.
        name: what was given.
        known: all names.
        listed: where they can be read; by default where the command line lists them.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    if len(names) <= 2 * NEAREST:
        return UserError(f"unknown {kind} {name!r}", f"{hint}known: {', '.join(names) or 'none'}")
    nearest = difflib.get_close_matches(name, names, n=NEAREST, cutoff=0.0)
    listed = listed or _LISTED.get(kind, "")
    where = f"{listed} has all {len(names)}" if listed else f"and {len(names) - NEAREST} more"
    return UserError(f"unknown {kind} {name!r}", f"{hint}nearest: {', '.join(nearest)}; {where}")
