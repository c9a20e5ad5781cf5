"""Gates and ready-made gates under one word. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Sequence

from reports.gate.presets import PRESETS
from vfc.errors import UserError, unknown

_FORM = "or write a gate as 'METRIC OP NUMBER', such as 'transfer.accuracy <= 0.5'"


def split_gates(texts: Sequence[str], preset: str | None = None) -> tuple[tuple[str, ...], str | None]:
    """Gates as they were written, and the preset that one of them names, or that was named beside them.

    Args:
        texts: gates, `METRIC OP NUMBER`, and names of ready-made ones: paper, standard or strict.
        preset: as named elsewhere.

    Raises:
        UserError: a preset that does not exist, or more than one.
    """
    words = [text.strip() for text in texts if re.fullmatch(r"\s*[\w-]+\s*", text)]
    for word in (*words, *(() if preset is None else (preset,))):
        if word not in PRESETS:
            error = unknown("preset of gates", word, PRESETS)
            raise UserError(error.what, f"{error.fix}; {_FORM}")
    named = list(dict.fromkeys([*(() if preset is None else (preset,)), *words]))
    if len(named) > 1:
        raise UserError(f"expected one preset of gates, got {named[0]!r} and {named[1]!r}", "keep one of them")
    return tuple(text for text in texts if text.strip() not in PRESETS), named[0] if named else None
