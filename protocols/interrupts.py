"""An interruption that cannot get lost. Imports no torch.

Libraries swallow `KeyboardInterrupt` where they try an import, or call back from C; then a run would go on to its end.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType

_asked = threading.Event()


def listen() -> None:
    """Remember interruptions of this process; where they are ignored they stay ignored."""
    here = threading.current_thread() is threading.main_thread()
    if here and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _remember)


def check() -> None:
    """Raise `KeyboardInterrupt` if one was asked for and got lost."""
    if _asked.is_set():
        _asked.clear()
        raise KeyboardInterrupt


def _remember(number: int, frame: FrameType | None) -> None:
    _asked.set()
    signal.default_int_handler(number, frame)
