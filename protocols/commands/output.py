"""Writing to standard output so that the exit code stays the verdict's."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from vfc.errors import UserError


@contextmanager
def printing() -> Iterator[None]:
    """Inside, a reader that goes away (`| head`) ends the printing and nothing else.

    Raises:
        UserError: the output cannot be written for another reason, a full disk say.
    """
    try:
        yield
        sys.stdout.flush()
    except SystemExit:
        # rich leaves in this way when the reader of a pipe is gone; nobody else does in here.
        _silence()
    except OSError as error:
        _silence()
        if not isinstance(error, BrokenPipeError) and error.errno != errno.EPIPE:
            raise UserError(f"cannot write to standard output: {error.strerror}", "send it elsewhere") from error


def _silence() -> None:
    """Let what is still buffered go nowhere, so that the interpreter does not complain when it flushes."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
