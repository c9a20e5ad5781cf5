"""Texts from outside made harmless: no control characters, no marks that turn others around, not too long."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

LONGEST = 400
"""Texts from outside are shown up to this many characters."""

SENTENCES = 4000
"""Sentences of ours are, in which every text from outside is a short name."""


def clean(text: str, *, plain: bool = False, longest: int | None = None) -> str:
    """Text from outside with everything that does not print shown as an escape, and shortened.

    Args:
        text: anything.
        plain: escape everything beyond ASCII too.
        longest: characters that are shown; None stands for LONGEST.
    """
    longest = LONGEST if longest is None else longest
    if len(text) <= longest and text.isascii() and text.isprintable():
        return text
    shown = "".join(c if prints(c, plain) else escape(c) for c in text[:longest])
    return shown if len(text) <= longest else f"{shown}... ({len(text):,} characters)"


def cleaned(data: Any, *, plain: bool = False) -> Any:
    """JSON-like data with every text in it, keys too, made harmless by `clean`."""
    if isinstance(data, str):
        return clean(data, plain=plain)
    if isinstance(data, Mapping):
        return {cleaned(key, plain=plain): cleaned(value, plain=plain) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [cleaned(item, plain=plain) for item in data]
    return data


_COMMAND = re.compile(r"(\A|[\r\n])((?:\x1b\[[0-9;?]*[A-Za-z]|\s)*)::")


def no_commands(text: str) -> str:
    """Text none of whose lines starts with `::`, which CI servers would take for a command to them."""
    return _COMMAND.sub(r"\1\2;:", text) if "::" in text else text


def short(name: str, longest: int = 24) -> str:
    """A name for a narrow column."""
    return name if len(name) <= longest else name[: longest - 3] + "..."


def prints(character: str, plain: bool) -> bool:
    """Whether a character takes a place of its own: no controls, no marks that join or turn others around."""
    if character.isascii() or plain:
        return character.isascii() and character.isprintable()
    return character.isprintable() and unicodedata.category(character)[0] != "M"


def escape(character: str) -> str:
    """A character that does not print, as an escape that does."""
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was no UTF-8 on the way in
        code -= 0xDC00
    named = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
    if character in named:
        return named[character]
    if code < 0x80 or ord(character) != code:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
