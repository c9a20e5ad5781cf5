"""Recipes of published tables, as data: which commands make the numbers, and what was published. Imports no torch.

A recipe is a TOML file of this folder: the commands of each scale (words in braces are filled in), and the rows of the
table, each a metric of a report that those commands write, beside the published number.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reports.studies.reproduction.data import Wanted
from vfc.config import parse_toml
from vfc.errors import UserError, unknown

Scale = Literal["small", "paper"]
FOLDER = "recipes"
_BLANK = re.compile(r"\{(\w+)\}")


class Step(BaseModel):
    """One command of a recipe.

    Args:
        name: how progress calls it, and its folder below the seed's.
        run: the words behind `vfc`, without `--out` and `--seed`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    run: str


class ScaleOf(BaseModel):
    """What one scale takes.

    Args:
        needs: hardware and time, in words.
        seeds: how many seeds by default.
        steps: in order.
        defaults: of the words in braces that the user may set.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    needs: str
    seeds: int = Field(default=1, ge=1)
    steps: tuple[Step, ...] = Field(min_length=1)
    defaults: Mapping[str, str] = {}


class Recipe(BaseModel):
    """A published table.

    Args:
        title: what it shows.
        source: authors, year, title, identifier.
        differs: what is not as it was published, one sentence each.
        scales: by name.
        rows: of the table.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    title: str
    source: str
    differs: tuple[str, ...]
    scales: Mapping[Scale, ScaleOf]
    rows: tuple[Wanted, ...] = Field(min_length=1)

    def scale(self, name: Scale) -> ScaleOf:
        """One of its scales.

        Raises:
            UserError: it has none of that name.
        """
        if name not in self.scales:
            raise UserError(f"expected a scale of this table, got {name}", f"there is {', '.join(self.scales)}")
        return self.scales[name]


def recipes() -> dict[str, str]:
    """The text of every recipe, by name."""
    found = (files("protocols.reproduction") / FOLDER).iterdir()
    return {
        file.name.removesuffix(".toml"): file.read_text(encoding="utf-8")
        for file in sorted(found, key=lambda file: file.name)
        if file.name.endswith(".toml")
    }


def recipe_of(name: str) -> Recipe:
    """A recipe by its name, or from a TOML file of the user's.

    Raises:
        UserError: there is no such recipe, or the file is none.
    """
    known = recipes()
    if name in known:
        text = known[name]
    elif name.endswith(".toml"):
        try:
            text = Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot read {name}: {error}", "name a recipe: " + ", ".join(known)) from error
    else:
        raise unknown("recipe", name, list(known))
    said = parse_toml(text, name)
    try:
        return Recipe.model_validate(said)
    except (ValidationError, RecursionError) as error:
        first = str(error).replace("\n", " ")[:300]
        raise UserError(f"expected a recipe in {name}, got: {first}", "see protocols/reproduction/recipes") from error


def words_of(step: Step, given: Mapping[str, str], *, seed: int, out: Path) -> list[str]:
    """The command of a step, as words behind `vfc`.

    Args:
        step: with words in braces.
        given: what they stand for; `out` is the seed's folder, in which other steps have theirs.
        seed: of everything.
        out: the seed's folder.

    Raises:
        UserError: a word in braces that nobody has given.
    """
    filled = {**given, "out": str(out), "seed": str(seed)}

    def fill(found: re.Match[str]) -> str:
        if found[1] not in filled:
            raise UserError(f"expected a value of {found[1]}, got none", f"give --with {found[1]}=...")
        return filled[found[1]]

    words = [_BLANK.sub(fill, word) for word in shlex.split(step.run)]
    return [*words, "--seed", str(seed), "--out", str(out / step.name)]
