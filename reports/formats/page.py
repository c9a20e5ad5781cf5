"""Pages from templates: escaped, without scripts, and harmless whatever a text holds. Imports no torch."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from reports.model.harmless import clean


def render_page(template: str, page: object, *, cleaned: bool = False) -> str:
    """A page. Texts are escaped and made harmless on the way; only `Markup` is trusted.

    Args:
        template: its name without `.html.j2`.
        page: what the template asks for, as `page`.
        cleaned: whether every text in it is harmless already; twice cleaned, a shortened one would be cut again.
    """
    return _environment(cleaned=cleaned).get_template(f"{template}.html.j2").render(page=page)


@cache
def _environment(*, cleaned: bool) -> Environment:
    """Templates are compiled once."""
    return Environment(
        loader=PackageLoader("reports.formats"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True, finalize=None if cleaned else _harmless,
    )  # fmt: skip


def _harmless(found: object) -> object:
    """Texts may come from anywhere."""
    return clean(found) if isinstance(found, str) and not isinstance(found, Markup) else found
