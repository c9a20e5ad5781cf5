"""The user's code, run so that what it raises becomes one line with its type, message and place."""

from __future__ import annotations

import contextlib
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NoReturn, TypeVar

import torch

from vfc.defense import Defense
from vfc.errors import NotApplicableError, UserError
from vfc.isolation.guard import kept_place, limits, no_exit, time_limit

T = TypeVar("T")


def user_call(origin: str, call: Callable[[], T], *, limit: Literal["fit", "call"] = "call") -> T:
    """Run the user's code; what it raises becomes one line with its type, message and place.

    Args:
        origin: how errors name the code.
        call: runs it.
        limit: which of the process's limits on seconds holds.

    Raises:
        UserError: it raises, asks for the end of the process, or takes too long.
    """
    try:
        with no_exit(), kept_place(), _kept_torch(), time_limit(getattr(limits(), limit), f"{limit}-limit"):
            return call()
    except (UserError, NotApplicableError, KeyboardInterrupt):
        raise
    except BaseException as error:
        _blame(origin, error)


@contextlib.contextmanager
def _kept_torch() -> Iterator[None]:
    """Afterwards, torch computes in the type and with the threads that it had: numbers of others depend on them."""
    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)


def defender_call(defense: Defense, call: Callable[[], T], *, limit: Literal["fit", "call"] = "call") -> T:
    """Call a defense: as the user's code, unless its class is the toolkit's own."""
    kind = type(defense)
    if kind.__module__.partition(".")[0] == "vfc":
        return call()
    return user_call(f"the defense {kind.__qualname__}", call, limit=limit)


def _blame(origin: str, error: BaseException) -> NoReturn:
    """Raise a `UserError` that names the last line of the user's code on the way to the error."""
    installed = ("<", sysconfig.get_path("stdlib"), str(Path(__file__).parents[1]))
    place = ""
    if isinstance(error, SyntaxError) and error.filename:
        place, message = f" at {error.filename}:{error.lineno}", error.msg
    else:
        message = _text(error)
        for frame in traceback.extract_tb(error.__traceback__):
            if "site-packages" not in frame.filename and not frame.filename.startswith(installed):
                place = f" at {frame.filename}:{frame.lineno}"
    raise UserError(f"{origin} raised {type(error).__name__}: {message}{place}", "correct it there") from error


def _text(error: BaseException) -> str:
    try:
        return " ".join(str(error).split())[:300]
    except BaseException:  # whoever raises may write its own words, and raise again
        return "without words"
