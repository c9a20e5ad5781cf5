"""Which functions have the types and shapes in their signatures checked while tests run."""

from collections.abc import Callable
from typing import Any

from beartype import beartype


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """All but those inside other functions: they are made anew at every call, and a check costs more than they do."""
    return function if "<locals>" in function.__qualname__ else beartype(function)
