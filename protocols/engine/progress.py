"""Progress of long work on standard error: one bar for all fits of a run, elsewhere a plain line every half minute."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

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
        self.whole: Whole | None = None
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

    def expect(self, fits: int) -> None:
        """So many fits are expected in all, from now on."""
        self.whole = Whole(expected=fits)

    @contextmanager
    def stage(self, name: str, total: int, *, fits: bool = False) -> Iterator[Stage]:
        """A counted stage; advance it once for every finished job.

        Args:
            name: what is being done.
            total: how many jobs it has.
            fits: whether they are of those that the whole run is expected to take.
        """
        if fits and self.whole is not None:
            self.whole.begin()
        whole = self.whole if fits else None
        if self.quiet or total == 0 or not self.console.is_terminal:
            stage = Stage(self, name, total, None, whole)
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
            TextColumn("{task.fields[left]}"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self.console, transient=True) as bar:
            yield Stage(self, name, total, bar, whole)


@dataclass(kw_only=True)
class Whole:
    """How far a whole run is, in fits.

    Args:
        expected: how many it takes, as far as is known before; further checks may come on top.
        done: how many are done, those that an earlier run had finished among them.
        resumed: those.
        started: when the first of this run was begun, seconds of the monotonic clock.
    """

    expected: int
    done: int = 0
    resumed: int = 0
    started: float | None = None

    def begin(self) -> None:
        """Fits are run from now on."""
        if self.started is None:
            self.started = time.monotonic()

    def skip(self, count: int) -> None:
        """So many are done already."""
        self.done += count
        self.resumed += count

    @property
    def left(self) -> str:
        """How long the rest takes, if it goes on as it did; empty before anything is done."""
        own = self.done - self.resumed
        if self.started is None or own < 1 or self.expected <= self.done:
            return ""
        seconds = (time.monotonic() - self.started) / own * (self.expected - self.done)
        return f"about {seconds / 60:.0f} min left" if seconds >= 90 else f"about {seconds:.0f} s left"


class Stage:
    """One counted stretch of work, on a terminal within the bar of the whole run.

    Without a terminal a thread says every half minute how far it is.
    """

    def __init__(self, reporter: Reporter, name: str, total: int, bar: Progress | None, whole: Whole | None) -> None:
        self._reporter, self._name, self._total, self._bar, self._whole = reporter, name, total, bar, whole
        self._done = 0
        self._task = bar.add_task(name, total=total, left="") if bar is not None else None
        self._started = time.monotonic()
        self._over = threading.Event()
        if bar is None and total > 0:
            threading.Thread(target=self._speak, daemon=True).start()
        self._show()

    def advance(self, text: str = "") -> None:
        """One more job is done; `text` says which."""
        self._done += 1
        if self._whole is not None:
            self._whole.done += 1
        if text:
            self._reporter.detail(f"  {text}")
        self._show()

    def close(self) -> None:
        """The stage is over."""
        self._over.set()
        if self._bar is None and self._done:
            self._say()

    def _show(self) -> None:
        if self._bar is None or self._task is None:
            return
        if (whole := self._whole) is None:
            self._bar.update(self._task, completed=self._done)
            return
        total = self._in_all(whole)
        name = f"{self._name} {self._done}/{self._total}"
        self._bar.update(self._task, description=name, completed=whole.done, total=total, left=whole.left)

    def _in_all(self, whole: Whole) -> int:
        """Jobs of the whole run; more than was expected are done all the same."""
        return max(whole.expected, whole.done + self._total - self._done)

    def _speak(self) -> None:
        while not self._over.wait(_LOOK):
            self._say()

    def _say(self) -> None:
        elapsed = time.monotonic() - self._started
        further = ""
        if (whole := self._whole) is not None:
            further = f"; {whole.done}/{self._in_all(whole)} in all" + (f"; {whole.left}" if whole.left else "")
        self._reporter.progress(f"{self._name}: {self._done}/{self._total} after {elapsed:.0f} s{further}")
