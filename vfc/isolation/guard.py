"""What code of a defender may not do to its process: end it, or take forever. Imports no torch."""

# Structure: calibration does not count it.

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from os import _exit  # bound now: while the defender's code runs, `os._exit` is another
from typing import Any, NoReturn

_AGAIN = 5.0
"""Seconds after which code that went on all the same is told again."""

_RINGS = 3
"""How often it is told before the process ends."""

_ENDS = ("_exit", "execv", "execve", "abort")
"""Calls that end a program at once, with any exit code, 0 too."""


class EndedError(BaseException):
    """The defender's code asked for the end of the process, or took too long. Its own `except Exception` misses it."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How many seconds a call of the defender's code may take.

    Args:
        fit: fitting a defense.
        call: everything else.
    """

    fit: float = 7200.0
    call: float = 600.0


_limits = Limits()


def limits() -> Limits:
    """The limits of this process."""
    return _limits


def set_limits(new: Limits) -> None:
    """Change the limits of this process."""
    global _limits
    _limits = new


def refuse_exits() -> list[tuple[Any, str, Any]]:
    """From now on `os._exit` and its like raise in this process; in a forked child they work.

    Returns:
        Module, name and value of everything that was replaced.
    """
    places: list[Any] = [os, *(sys.modules[name] for name in ("posix", "nt") if name in sys.modules)]
    before = [(place, name, getattr(place, name)) for place in places for name in _ENDS if hasattr(place, name)]
    for place, name, real in before:
        setattr(place, name, _refusal(name, real, os.getpid()))
    return before


@contextlib.contextmanager
def no_exit() -> Iterator[None]:
    """The same for a while. A forked child that comes back ends here: two processes would go on with one run."""
    before, here = refuse_exits(), os.getpid()
    try:
        yield
    finally:
        if os.getpid() != here:
            _exit(1)
        for place, name, real in before:
            setattr(place, name, real)


@functools.lru_cache(maxsize=64)
def _refusal(name: str, real: Callable[..., Any], here: int) -> Callable[..., Any]:
    def refuse(*arguments: Any) -> Any:
        if os.getpid() != here:
            return real(*arguments)
        raise EndedError(f"it called os.{name}({', '.join(map(repr, arguments))[:60]})")

    return refuse


@contextlib.contextmanager
def kept_place() -> Iterator[None]:
    """Afterwards, working folder and depth of recursion are what they were: relative paths still mean the same."""
    folder, depth = os.getcwd(), sys.getrecursionlimit()
    try:
        yield
    finally:
        sys.setrecursionlimit(depth)
        with contextlib.suppress(OSError):
            os.chdir(folder)


@dataclass
class _Alarm:
    """What an alarm that rings does: raise; the third time, end the process."""

    words: str
    rings: int = 0

    def __call__(self, *_: object) -> NoReturn:
        self.rings += 1
        if self.rings == _RINGS:
            with contextlib.suppress(BaseException):
                os.write(2, f"vfc: error: the defender's code does not stop: {self.words}\n".encode())
            _exit(2)
        raise EndedError(self.words)


@contextlib.contextmanager
def time_limit(seconds: float, name: str) -> Iterator[None]:
    """Inside, code that runs longer is stopped where it is by an `EndedError`.

    Only in the main thread, and where the system has alarms; a stricter alarm that is set already stays. Code that
    catches the error and goes on is told again, and then the process ends. A call into C that never comes back cannot
    be stopped in this way.

    Args:
        seconds: the limit.
        name: option that sets it.
    """
    alarms = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if not alarms or 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= seconds:
        yield
        return
    began = time.monotonic()
    ring = _Alarm(words=f"it took longer than {seconds:g} seconds (--{name})")
    handler = signal.signal(signal.SIGALRM, ring)
    before, every = signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL if handler is None else handler)
        if before:
            signal.setitimer(signal.ITIMER_REAL, max(before - (time.monotonic() - began), 1e-3), every)
