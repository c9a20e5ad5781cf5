"""Writing to standard output and standard error so that the exit code stays the verdict's."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

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
    except SystemExit as error:
        # rich and click leave in this way when the reader of a pipe is gone; any other end is none of ours.
        if not isinstance(error.__context__, BrokenPipeError):
            raise
        _silence(sys.stdout)
    except OSError as error:
        _silence(sys.stdout)
        if not isinstance(error, BrokenPipeError) and error.errno != errno.EPIPE:
            raise UserError(f"cannot write to standard output: {error.strerror}", "send it elsewhere") from error


def complain(text: str) -> None:
    """Write to standard error; that nobody reads it changes no exit code."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        _silence(sys.stderr)


def open_standard_streams() -> None:
    """Send what is written to a closed stream (`>&-`) nowhere; otherwise the next file would take its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))


def _silence(stream: TextIO) -> None:
    """Let what is still buffered go nowhere, so that the interpreter does not complain when it flushes."""
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
