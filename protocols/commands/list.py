"""`vfc list`: what there is, with a card for each. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from adversaries.entries import Entry
from adversaries.registries import ADVERSARIES
from protocols.commands.output import printing
from protocols.evaluation.registry import PROTOCOLS
from reports.model.catalog import metrics
from vfc.core.secret import parse_secret
from vfc.errors import unknown
from vfc.registries import DATASETS, DEFENSES, MODELS
from vfc.registry import Card

Listing = Callable[[], Mapping[str, Card]]

_ARROWS = {"up": "↑", "down": "↓", None: " "}


def _metrics() -> dict[str, Card]:
    return {
        metric.name: Card(
            name=metric.name,
            module=", ".join(metric.protocols),
            summary=f"{_ARROWS[metric.better]} {metric.meaning}",
            text=f"{metric.meaning} ({metric.unit}).\n\nBetter for the defender: {metric.better or 'no direction'}.",
        )
        for metric in metrics()
    }


LISTINGS: dict[str, Listing] = {
    "protocols": lambda: PROTOCOLS.cards,
    "adversaries": lambda: ADVERSARIES.cards,
    "defenses": lambda: DEFENSES.cards,
    "datasets": lambda: DATASETS.cards,
    "models": lambda: MODELS.cards,
    "metrics": _metrics,
}


def run_list(kind: str | None, name: str | None, console: Console | None = None) -> int:
    """Print names with one line each, or the whole card of one.

    Raises:
        UserError: there is no such kind or name.
    """
    with printing():
        _show(kind, name, console or Console(highlight=False))
    return 0


def _show(kind: str | None, name: str | None, console: Console) -> None:
    if kind is None:
        for each in LISTINGS:
            _table(console, each)
        return
    if kind not in LISTINGS:
        raise unknown("kind of thing to list", kind, LISTINGS)
    if name is None:
        _table(console, kind)
        return
    cards = LISTINGS[kind]()
    if name not in cards:
        raise unknown(kind.removesuffix("s") if kind != "adversaries" else "adversary", name, cards)
    card = cards[name]
    console.print(f"[bold]{escape(card.name)}[/bold]  [dim]{escape(card.module)}[/dim]\n\n{escape(card.text)}")
    if kind == "defenses" and (words := _secret(card)):
        console.print(f"\n[dim]secret:[/dim] {escape(words)}")
    if kind == "adversaries":
        console.print()
        for fact, words in _competes(card).items():
            console.print(f"[dim]{fact}:[/dim] {escape(words)}")


def _competes(card: Card) -> dict[str, str]:
    """For which goals an adversary competes, from which level of knowledge, and as which candidates."""
    entry = Entry.of(card)
    # A level that the class inherits is not in its source.
    level = card.attributes.get("level") or ADVERSARIES.get(card.name).level
    variants = [", ".join(f"{name}={value}" for name, value in each.items()) or "as it is" for each in entry.variants]
    return {
        "goals": ", ".join(entry.goals) or "none: it takes part where a protocol names it",
        "level": str(level),
        "variants": "; ".join(variants),
    }


def _secret(card: Card) -> str:
    """The secret that a defense declares, in words; empty without one."""
    secret = parse_secret(card.attributes.get("secret"), card.name)
    if secret.kind == "none":
        return ""
    bits = "" if secret.bits is None else f", {secret.bits:g} bits"
    return f"{secret.kind}, {secret.what or 'not said what'}{bits}, per {secret.lifetime}"


def _table(console: Console, kind: str) -> None:
    table = Table(title=kind, title_justify="left", title_style="bold", box=None, show_header=False, pad_edge=False)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column()
    for card in LISTINGS[kind]().values():
        secret = f" Secret: {words}." if kind == "defenses" and (words := _secret(card)) else ""
        table.add_row(escape(card.name), escape(card.summary + secret))
    console.print(table)
    console.print()
