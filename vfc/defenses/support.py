"""What several defenses need: fitted state or a clear error, and settings checked before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from torch import Tensor

from vfc.errors import UserError, unknown

T = TypeVar("T")


def require_fitted(fitted: T | None, name: str) -> T:
    """The fitted part of a defense; raises `UserError` when `fit` was never called."""
    if fitted is None:
        raise UserError(f"expected a fitted {name} defense, got one that was never fitted", "call fit first")
    return fitted


def require_choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise `UserError` unless the value of an option is one of the choices."""
    if value not in choices:
        raise unknown(option, str(value), choices)


def require_range(
    option: str, value: float | int, low: float | int, high: float | int = float("inf"), *, above: bool = False
) -> None:
    """Raise `UserError` unless low <= value <= high (low < value with `above`) and value is finite."""
    if not (low <= value <= high) or value == float("inf") or (above and value == low):
        words = f"above {low:g}" if above else f"at least {low:g}"
        most = "" if high == float("inf") else f" and at most {high:g}"
        raise UserError(f"expected {option} {words}{most}, got {value!r}", f"change {option}")


def require_state(state: Mapping[str, Tensor], name: str) -> Tensor:
    """One tensor of a saved state; raises `UserError` when it is missing."""
    if name not in state:
        known = ", ".join(sorted(state)) or "nothing"
        raise UserError(f"expected a saved tensor {name!r}, got {known}", "save the defense again")
    return state[name]
