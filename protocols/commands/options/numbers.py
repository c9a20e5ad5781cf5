"""Numbers that options take. Imports no torch."""

from __future__ import annotations

import math
from typing import Any

import rich_click as click


class FiniteRange(click.FloatRange):
    """A range of numbers; NaN, which is neither below nor above anything, is in none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A finite number in the range."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number
