"""What was found out about the adversaries' power, as package data. Imports no torch.

`results.json` holds, for every data set, `n` graded targets, the `protocols` (who is chosen there finds which leak) and
the `adversaries` by digest. Counts are pairs: alarms, and runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from adversaries.calibration.digest import digest_of
from adversaries.health import OF

SCHEMA = 1
FILE = Path(__file__).with_name("results.json")
MUCH_SMALLER = 0.5
"""Fewer targets than this share of those calibrated on: what was found out does not carry over."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is known about one adversary at some settings.

    Args:
        digest: of its code and settings.
        status: `calibrated`, or `uncalibrated`: nobody was with this digest, or only on far more targets, or in fewer
            runs than count.
        finds: alarms and runs by leak and strength, on which data set and how many targets; None if unknown.
        false_alarms: alarms and runs over all nulls; None if unknown.
    """

    digest: str
    status: str
    finds: dict[str, Any] | None = None
    false_alarms: dict[str, Any] | None = None


def look_up(
    adversary: str, settings: Mapping[str, Any], *, n: int, dataset: str, results: Mapping[str, Any] | None = None
) -> Record:
    """What is known about an adversary.

    Args:
        adversary: registered name.
        settings: its options.
        n: how many targets it was graded on.
        dataset: name of the data set; its own calibration is preferred.
        results: as `load` returns them, which is the default.
    """
    digest = digest_of(adversary, settings)
    sets = dict((load() if results is None else results)["datasets"])
    order = sorted(sets, key=lambda name: (name != dataset, sets[name]["n"]))
    fitting = [name for name in order if digest in sets[name]["adversaries"] and n >= MUCH_SMALLER * sets[name]["n"]]
    if not fitting:
        return Record(digest=digest, status="uncalibrated")
    name = fitting[0]
    found = sets[name]["adversaries"][digest]
    return Record(
        digest=digest,
        status="calibrated" if _often_enough(sets[name]) else "uncalibrated",
        finds={"dataset": name, "n": sets[name]["n"], "leaks": found["leaks"]},
        false_alarms={"alarms": found["nulls"][0], "runs": found["nulls"][1]},
    )


def _often_enough(results: Mapping[str, Any]) -> bool:
    """Whether every leak was planted at full strength with as many seeds as a verdict needs.

    An adversary that starts from several models has more runs than there are seeds.
    """
    seeds = [strengths["1"][1] for facts in results["protocols"].values() for strengths in facts["leaks"].values()]
    return bool(seeds) and min(seeds) >= OF


@cache
def load(path: Path = FILE) -> dict[str, Any]:
    """The shipped results; without any, no data set.

    Raises:
        ValueError: the file is of another schema.
    """
    if not path.is_file():
        return {"schema": SCHEMA, "datasets": {}}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if found.get("schema") != SCHEMA:
        raise ValueError(f"expected calibration results of schema {SCHEMA}, got {found.get('schema')!r}")
    return found


def save(results: Mapping[str, Any], path: Path = FILE) -> None:
    """Write results; data sets that they do not speak of are kept as they are.

    Raises:
        OSError: the place cannot be written to.
    """
    kept = load.__wrapped__(path)["datasets"]
    merged = {"schema": SCHEMA, "datasets": {**kept, **results["datasets"]}}
    text = json.dumps(merged, indent=1, sort_keys=True, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
    load.cache_clear()
