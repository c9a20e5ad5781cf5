"""Progress of long work on standard error: a live bar on a terminal, elsewhere a plain line every half minute."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

_EVERY = 30.0
"""Seconds between two lines of progress in a log."""
_LOOK = 1.0


class Reporter:
    """Says what is going on.

    Args:
        console: where to; standard error by default.
        quiet: say nothing.
        verbose: say a line for every finished job.
    """

    def __init__(self, console: Console | None = None, *, quiet: bool = False, verbose: bool = False) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self.quiet, self.verbose = quiet, verbose
        self._told = time.monotonic()

    def note(self, text: str) -> None:
        """One line, now."""
        if not self.quiet:
            # Whoever reads progress may go away; the run goes on.
            with suppress(OSError, SystemExit, ValueError):
                self.console.print(text, style="dim", markup=False)

    def progress(self, text: str) -> None:
        """One line, unless the last of its kind was a moment ago; what nobody waits for says nothing."""
        now = time.monotonic()
        if now - self._told >= _EVERY:
            self._told = now
            self.note(text)

    def detail(self, text: str) -> None:
        """One line that only `--verbose` shows."""
        if self.verbose:
            self.note(text)

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Stage]:
        """A counted stage; advance it once for every finished job."""
        if self.quiet or total == 0 or not self.console.is_terminal:
            stage = Stage(self, name, total, None)
            try:
                yield stage
            finally:
                stage.close()
            return
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self.console, transient=True) as bar:
            yield Stage(self, name, total, bar)


class Stage:
    """One counted stretch of work. Without a terminal a thread says every half minute how far it is."""

    def __init__(self, reporter: Reporter, name: str, total: int, bar: Progress | None) -> None:
        self._reporter, self._name, self._total, self._bar = reporter, name, total, bar
        self._task = bar.add_task(name, total=total) if bar is not None else None
        self._done = 0
        self._started = time.monotonic()
        self._over = threading.Event()
        if bar is None and total > 0:
            threading.Thread(target=self._speak, daemon=True).start()

    def advance(self, text: str = "") -> None:
        """One more job is done; `text` says which."""
        self._done += 1
        if text:
            self._reporter.detail(f"  {text}")
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task)

    def close(self) -> None:
        """The stage is over."""
        self._over.set()
        if self._bar is None and self._done:
            self._say()

    def _speak(self) -> None:
        while not self._over.wait(_LOOK):
            self._say()

    def _say(self) -> None:
        elapsed = time.monotonic() - self._started
        self._reporter.progress(f"{self._name}: {self._done}/{self._total} after {elapsed:.0f} s")
