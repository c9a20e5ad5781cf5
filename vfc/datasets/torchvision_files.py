"""What torchvision's loaders have in common: where files are, and what to say when they are missing or altered."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from vfc.data import DataOptions
from vfc.errors import UserError


@contextlib.contextmanager
def said_plainly(name: str, options: DataOptions) -> Iterator[None]:
    """Turn what torchvision raises for missing, truncated or altered files into a `UserError`."""
    try:
        yield
    except (RuntimeError, OSError, ValueError, AssertionError, EOFError, KeyError, IndexError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{name} cannot be read from {options.folder} ({reason})",
            "the download failed" if options.download else "give its folder with --data-root, or add --download",
        ) from error
