"""Hooks of the site: links out of this folder become names, because the site holds nothing but this folder."""

import re
from typing import Any

_OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./[^)]+\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page without links to files of the repository."""
    return _OUTSIDE.sub(r"\1", markdown)
