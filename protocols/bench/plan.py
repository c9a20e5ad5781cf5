"""Which rows a bench has, and with which settings each is graded."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from protocols.engine.prepare import named_by_content
from protocols.engine.settings import Settings, parse_override
from vfc.config import checked_options
from vfc.data import Dataset
from vfc.errors import UserError, unknown
from vfc.factory import ReleaseSpec, resolve
from vfc.registries import DEFENSES

PROTOCOLS = ("adaptive-probe", "attribute", "inversion", "linkage")
"""What every row is graded by; adaptive probing includes transfer."""

LEVELS = (("attribute", "L3"),)
"""Protocols whose attackers know more in a bench than by default: who was trained against an adversary of an attribute
is judged by attackers who map releases to the features of networks that were not (`decensor`), which takes pairs."""

ALL = "all"

PRIVATE: Mapping[str, tuple[str, ...]] = {"digits": ("ink",)}
"""Attributes that a bench asks for where nobody names any, by data set; elsewhere all.

On digits, parity and size follow from the digit: whoever reads the task label has them, so they say nothing more.
"""


def with_attributes(settings: Settings, dataset: Dataset) -> Settings:
    """The settings with the attributes that a bench of such data asks for, unless some were named."""
    names = tuple(name for name in PRIVATE.get(dataset.name, ()) if name in dataset.attributes)
    return settings if settings.attributes or not names else replace(settings, attributes=names)


def with_levels(settings: Settings) -> Settings:
    """The settings with the levels of a bench, unless the user named one for everybody."""
    return settings if settings.threat is not None else replace(settings, levels=LEVELS)


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One row before it is graded.

    Args:
        name: of the row.
        folder: of its report, below the bench's.
        spec: the defense.
        settings: those with which `vfc attack` would grade it alone.
        point: the options that a sweep sets.
    """

    name: str
    folder: str
    spec: ReleaseSpec
    settings: Settings
    point: Mapping[str, float] = field(default_factory=dict)


def names_of(text: str, *, variants: bool = False) -> tuple[str, ...]:
    """The defenses that `--defenses` names, each once; `all` is every registered one.

    Args:
        text: names with commas between them; one may be followed by options, `fmd[labels=oracle,steps=10]`.
        variants: whether `all` also holds the variants on their cards.

    Raises:
        UserError: none is named.
    """
    names: list[str] = []
    for name in filter(None, (word.strip() for word in re.split(r",(?![^\[]*\])", text))):
        names += _everybody(variants=variants) if name == ALL else [name]
    if not names:
        raise UserError("expected names as --defenses, got none", "--defenses all, or identity,vfc")
    return tuple(dict.fromkeys(names))


def _everybody(*, variants: bool) -> list[str]:
    """Every registered defense, and its variants behind it."""
    found = []
    for name, card in DEFENSES.cards.items():
        further: Any = card.facts.get("variants", ()) if variants else ()
        found += [name, *(f"{name}[{','.join(f'{key}={value}' for key, value in each.items())}]" for each in further)]
    return found


def parted(name: str) -> tuple[str, dict[str, Any]]:
    """A name and the options in brackets behind it, as overrides: `fmd[labels=oracle]`.

    Raises:
        UserError: the brackets hold no options, or the defense has no such option.
    """
    base, bracket, rest = name.partition("[")
    if not bracket or not rest.endswith("]") or base not in DEFENSES.cards:
        return name, {}
    given = dict(parse_override(f"{base}.{pair.strip()}") for pair in rest[:-1].split(","))
    options = {key.partition(".")[2]: value for key, value in given.items()}
    checked_options(DEFENSES.get(base), options, base)
    return base, given


def specs_of(names: Sequence[str]) -> dict[str, ReleaseSpec]:
    """What the names mean, before anything is loaded.

    Raises:
        UserError: there is no such defense, it has no such option, or it cannot be fitted on the bench's data.
    """
    found = {}
    for name in names:
        base, _ = parted(name)
        if base not in DEFENSES.cards and not any(sign in base for sign in ":/."):
            raise unknown("defense", base, [*DEFENSES.cards, ALL])
        spec = resolve(base)
        if spec.kind not in ("registered", "factory", "object"):
            raise UserError(
                f"expected defenses that are fitted on the same data, got {name!r}, which brings its own",
                "name registered defenses or factories, and attack this one with vfc attack",
            )
        found[name] = spec
    return found


def planned(
    settings: Settings,
    specs: Mapping[str, ReleaseSpec],
    dataset: Dataset,
    *,
    sweep: bool,
    protocols: tuple[str, ...] = PROTOCOLS,
    names: Mapping[str, str] | None = None,
) -> list[Planned]:
    """All rows, in the order in which they are graded.

    Args:
        settings: of the bench.
        specs: the defenses by name.
        dataset: what they are fitted on.
        sweep: a row for every point of the grids that defenses declare.
        protocols: what every row is graded by.
        names: what rows are called, by the text of their spec; others by their defense, with -1, -2 where several are
            called the same.

    Raises:
        UserError: two rows would share a folder, a name means several defenses, or an option is both swept and set.
    """
    settings = replace(settings, protocols=protocols)
    called = _titles(specs, names or {})
    rows = [
        row
        for name, spec in specs.items()
        for row in _of(settings, name, spec, dataset, called[name], points_of(name, sweep=sweep))
    ]
    taken: dict[str, str] = {}
    for row in rows:
        if row.folder in taken:
            raise UserError(f"expected different names, got {taken[row.folder]!r} and {row.name!r}", "rename one")
        taken[row.folder] = row.name
    return rows


def _titles(specs: Mapping[str, ReleaseSpec], names: Mapping[str, str]) -> dict[str, str]:
    """What the rows of every spec are called; raises `UserError` for a name of several defenses."""
    for text in names.keys() - specs.keys():
        raise UserError(f"expected one defense as {names[text]!r}, got {text!r}", "name each by itself")
    bracketed = {text: text for text in specs if parted(text)[1]}
    titles = {text: {**bracketed, **names}.get(text, spec.name) for text, spec in specs.items()}
    several = Counter(titles.values())
    count: Counter[str] = Counter()
    for text, title in titles.items():
        if text not in names and several[title] > 1:
            count[title] += 1
            titles[text] = f"{title}-{count[title]}"
    return titles


def points_of(name: str, *, sweep: bool) -> list[dict[str, float]]:
    """The points at which a defense is graded: those of the grid on its card, else its defaults alone."""
    card = DEFENSES.cards.get(parted(name)[0])
    grid: Any = card.facts.get("sweep", {}) if card is not None and sweep else {}
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def _of(
    settings: Settings,
    name: str,
    spec: ReleaseSpec,
    dataset: Dataset,
    title: str,
    points: Sequence[Mapping[str, float]],
) -> list[Planned]:
    """The rows of one defense."""
    rows = []
    base, own_options = parted(name)
    for point in points:
        given = {key: value for key, value in settings.overrides if _concerns(key, base)} | own_options
        for option, value in point.items():
            if f"{base}.{option}" in given:
                raise UserError(
                    f"expected no --set {base}.{option} beside --sweep, which sets it, got both", "drop one"
                )
            given[f"{base}.{option}"] = value
        words = "".join(f" {option}={value:g}" for option, value in point.items())
        own = replace(
            settings,
            release=spec.text,
            overrides=tuple((key, given[key]) for key in sorted(given)),
        )
        rows.append(
            Planned(
                name=title + words,
                folder=re.sub(r"[^\w.-]+", "-", title + words).strip(".-") or "row",
                spec=spec,
                settings=named_by_content(own, spec, dataset),
                point=dict(point),
            )
        )
    return rows


def _concerns(key: str, name: str) -> bool:
    """Whether an override can change a row: those of other defenses cannot, so that they leave its folder alone."""
    owner = key.partition(".")[0]
    return owner == name or owner not in DEFENSES.cards


def placed_in(row: Planned, out: Path) -> Planned:
    """The row with its folder below the bench's."""
    return replace(row, settings=replace(row.settings, out=str(out / row.folder)))
