"""Writing to standard output and standard error so that the exit code stays the verdict's."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from reports.model.files import REPORT, write_all
from reports.model.harmless import no_commands
from vfc.errors import UserError


class LineGuard:
    """A text stream none of whose lines starts with `::`, wherever a terminal's width broke them."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._within = stream, False

    def write(self, text: str) -> int:
        """Write text; returns its length."""
        within, self._within = self._within, not text.endswith("\n") and (self._within or bool(text))
        self._stream.write(no_commands(f"-{text}")[1:] if within else no_commands(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def guarded_streams() -> Iterator[None]:
    """Inside, standard output and error are guarded and never missing, and a terminal without a width has the usual."""
    for name in ("COLUMNS", "LINES"):
        size = os.environ.get(name, "80")
        if not (size.isascii() and size.isdigit() and len(size) < 6 and int(size) > 0):
            del os.environ[name]
    kept = {name: getattr(sys, name) for name in ("stdout", "stderr")}
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        guards = {name: LineGuard(nowhere if stream is None else stream) for name, stream in kept.items()}
        for name, guard in guards.items():
            setattr(sys, name, guard)
        try:
            yield
        finally:
            for name, guard in guards.items():
                if getattr(sys, name) is guard:
                    setattr(sys, name, kept[name])


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
    except ValueError as error:
        if not getattr(sys.stdout, "closed", False):
            raise
        raise UserError("cannot write to standard output: it was closed", "send it elsewhere") from error
    except OSError as error:
        _silence(sys.stdout)
        if not isinstance(error, BrokenPipeError) and error.errno != errno.EPIPE:
            raise UserError(f"cannot write to standard output: {error.strerror}", "send it elsewhere") from error


def write_formats(reports: Sequence[str], files: Mapping[str, str], renderers: Mapping[str, Callable[[], str]]) -> None:
    """Write the formats asked for, all or none, and say so.

    Args:
        reports: the files that they are made of, or the folders that hold them; none of them is overwritten.
        files: file by format.
        renderers: the text of every format.

    Raises:
        UserError: a file is named twice, is one of the reports, or cannot be written.
    """
    targets = [Path(file).resolve() for file in files.values()]
    sources = {((Path(path) / REPORT) if Path(path).is_dir() else Path(path)).resolve() for path in reports}
    sources |= {source.with_suffix(".safetensors") for source in sources}
    if len(set(targets)) < len(targets) or set(targets) & sources:
        raise UserError("expected a file of its own for every format, got one twice", "name different files")
    write_all({Path(file): renderers[name]().encode() for name, file in files.items()})
    for file in files.values():
        sys.stderr.write(f"wrote {''.join(c if c.isprintable() else '?' for c in file)}\n")


def complain(text: str) -> None:
    """Write to standard error; that nobody reads it, or that it is missing or closed, changes no exit code."""
    try:
        sys.stderr.write(no_commands(text))
        sys.stderr.flush()
    except OSError:
        _silence(sys.stderr)
    except (AttributeError, ValueError):
        return


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
