"""A parent that vouches for the exit code: what the defender's code does to the process of a run is never a verdict.

The program works in a forked child that tells its exit code through a pipe when it has come to its end. Whoever ends
the child in another way, `_exit(0)` in C say, leaves the pipe empty. Imports nothing heavy.
"""

# Structure: calibration does not count it.

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

_USAGE, _BUG, _INTERRUPTED = 2, 4, 130
_FORWARDED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")
"""What somebody may send to end the program; a terminal sends it to the child too."""


def can_guard() -> bool:
    """Whether this system has what a guardian needs."""
    return sys.platform.startswith("linux")


def guarded(work: Callable[[], object], called: str) -> int:
    """The exit code that some work ends with by itself; 2, with a sentence, where something else ended its process.

    Args:
        work: ends in `SystemExit`. It runs in a child, so that nothing of what it does is seen here.
        called: name of the program, for the sentence.
    """
    reader, writer = os.pipe()
    forwarded = {getattr(signal, name) for name in _FORWARDED}
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where it is ignored, nobody hears how a child ended
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*forwarded, signal.SIGCHLD})
    parent, child = os.getpid(), os.fork()
    if child == 0:
        os.close(reader)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        _end_with(parent)
        _told(work, writer)
    os.close(writer)
    code = os.waitstatus_to_exitcode(_ended(child, forwarded))
    os.set_blocking(reader, False)
    with contextlib.suppress(BlockingIOError):
        if mark := os.read(reader, 1):
            return mark[0]
    if code == -signal.SIGINT:
        return _INTERRUPTED
    if -code in forwarded:
        _die_of(-code)
    _complain(f"{called}: error: {_reason(code)}\n")
    return _USAGE


def _told(work: Callable[[], object], writer: int) -> NoReturn:
    """Do the work and tell its exit code, whatever happens afterwards."""
    code = _BUG
    try:
        work()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else _BUG
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except BaseException:
        _complain(f"{traceback.format_exc()}this is a bug in vfc\n")
    os.write(writer, bytes([code & 255]))
    sys.exit(code)


def _end_with(parent: int) -> None:
    """Let the child die with its guardian, or a run that was killed would go on."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def _ended(child: int, forwarded: set[signal.Signals]) -> int:
    """How the child ended. Until then it is told what only this process was told."""
    while True:
        heard = signal.sigwaitinfo({*forwarded, signal.SIGCHLD})
        if heard.si_signo == signal.SIGCHLD:
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                return status
        elif heard.si_code <= 0:  # sent by a process; what a terminal sends has reached the child already
            os.kill(child, heard.si_signo)


def _die_of(number: int) -> None:
    """End as the child did, so that a shell sees the same."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})


def _reason(code: int) -> str:
    """The sentence for a process that ended before the run did."""
    how = f"ended (exit code {code})" if code >= 0 else f"was killed by signal {-code}"
    memory = " (out of memory?)" if code == -signal.SIGKILL else ""
    return (
        f"the process of the run {how}{memory} before there was a verdict; "
        "a defense must leave its process alone, correct it there, or give it more memory"
    )


def _complain(text: str) -> None:
    with contextlib.suppress(OSError):
        os.write(2, text.encode(errors="replace"))
