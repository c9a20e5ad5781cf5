"""Do two revisions give the same numbers, bit for bit? Runs every protocol with both and compares what they wrote.

    python -m benchmarks.same_numbers REV                               # REV against the working tree as it is now
    python -m benchmarks.same_numbers REV --reference reference/       # keep the results of REV and use them again
    python -m benchmarks.same_numbers REV --only digits-noise --only arrays-all --keep current/
    python -m benchmarks.same_numbers REV OTHER                         # two commits
    python -m benchmarks.same_numbers REV --list

Both use this interpreter, one thread, their own tree first on the path and a cache of their own: what cases of one
revision have trained they share, every cell is computed. Compared are all numbers, statuses, flags, choices and exit
codes, whatever their order, and all arrays: by key, and where keys differ by content. Not compared are sentences,
digests, costs, provenance, and settings beyond those that identify evidence. What is called differently on purpose is
declared below. Ends with the time that each case took; exits with 1 if any differs or fails. Who is calibrated depends
on the text of the code: `--ignore UNCALIBRATED --ignore calibration` leaves it out.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shlex
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from benchmarks.same_numbers.cases import cases
from benchmarks.same_numbers.revisions import Revision, checked_out

Names = Mapping[str, str | None]
KEYS: Names = {}
"""Keys of JSON objects (metrics, fields, settings of evidence) in REV, and what they are now; None: left out."""
WORDS: Names = {}
"""Whole texts (names, goals, flags) in REV, and what they are now; None: left out of lists."""
ARRAYS: Names = {}
"""Parts of `file:key` of arrays in REV, and what they are now."""

ADDED = (r":membership/membership/", r"evidence\[\"membership\" .*\.arms\.attack\.rows$")
"""Patterns of what REV lacked and the other side adds on purpose: the calls of every membership adversary."""

SHOWN = 20
UNCOMPARED = {"tool", "schema", "cpu_seconds", "command", "settings", "provenance", "cost", "source", "title"}
UNCOMPARED |= {"reason", "method", "notes", "missing"}
SKIPPED = {"inputs", "about.json", "settings.json", "manifest.json", "run.json"}


Found = tuple[dict[str, Any], dict[str, Any]]
"""The leaves of JSON files by path, and arrays by file and key."""


def read(folder: Path, keys: Names | None = None, words: Names | None = None, arrays: Names | None = None) -> Found:
    """What a case wrote, with other names as in KEYS, WORDS and ARRAYS."""
    values: dict[str, Any] = {}
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*.*")):
        name = path.relative_to(folder).as_posix()
        if SKIPPED & set(name.split("/")):
            continue
        if path.suffix == ".safetensors":
            for key, rows in load_file(path).items():
                key = f"{name}:{key}"
                for old, new in (arrays or {}).items():
                    key = key.replace(old, new or "")
                found[key] = rows
        elif path.suffix == ".json":
            beside = path.with_suffix(".safetensors")
            digests = {key: content(rows) for key, rows in load_file(beside).items()} if beside.exists() else {}
            data = _renamed(json.loads(path.read_text(encoding="utf-8")), keys or {}, words or {})
            values |= {f"{name}{at}": leaf for at, leaf in leaves(data, digests)}
    return values, found


def _renamed(data: Any, keys: Names, words: Names) -> Any:
    if isinstance(data, dict):
        pairs = [(keys.get(key, key), _renamed(value, keys, words)) for key, value in data.items()]
        return {key: value for key, value in pairs if key is not None}
    if isinstance(data, list):
        return [_renamed(each, keys, words) for each in data if not isinstance(each, str) or words.get(each, each)]
    return words.get(data, data) if isinstance(data, str) else data


def content(rows: Any) -> str:
    """Digest of an array with its type and shape."""
    return hashlib.sha256(f"{rows.dtype} {rows.shape} ".encode() + rows.tobytes()).hexdigest()[:16]


def leaves(data: Any, digests: Mapping[str, str], at: str = "") -> Iterator[tuple[str, Any]]:
    """What is compared of JSON, by paths in which objects of lists are called by what identifies them.

    Args:
        data: an object, a list or a leaf.
        digests: of the arrays beside it by key, which stand for their keys.
        at: path of the data.
    """
    if (
        isinstance(data, dict)
        and data
        and all(isinstance(each, dict) and "adversary" in each for each in data.values())
    ):
        data = list(data.values())  # those of a calibration, by digest
    if isinstance(data, dict):
        for key, value in data.items():
            if key == "rows" and isinstance(value, str):
                yield f"{at}.rows", [digests.get(each, "absent") for each in value.split(",")]
            elif key not in UNCOMPARED and not key.endswith("digest"):
                yield from leaves(value, digests, f"{at}.{key}")
    elif isinstance(data, list) and any(isinstance(each, dict) for each in data):
        seen: Counter[str] = Counter()
        for name, each in [(_identity(each), each) for each in data]:
            seen[name] += 1
            yield from leaves(each, digests, f"{at}[{name} {seen[name]}]")
    elif data is not None and data not in ([], {}):
        texts = isinstance(data, list) and all(isinstance(each, str) for each in data)
        yield at, json.dumps(sorted(data) if texts else data)


def _identity(each: Any) -> str:
    """What tells an object of a list from the others; empty if its place does."""
    threat = each.get("threat", {})
    budget = {key: value for key, value in threat.get("budget", {}).items() if key not in ("steps", "queries")}
    names = ("protocol", "adversary", "goal", "seed", "settings", "expr", "name", "variant", "diagnostic", "measured")
    facts = [*[each.get(name) for name in names], threat.get("level"), budget]
    return " ".join(json.dumps(fact, sort_keys=True) for fact in facts if fact not in (None, {}))


def compare(old: Found, new: Found) -> list[str]:
    """Every difference between two results, as a line."""
    found = []
    for at in sorted({*old[0], *new[0]}):
        one, other = (side[0].get(at, "absent") for side in (old, new))
        if one != other and not (one == "absent" and _added(at)):
            found.append(f"{at}: {one[:80]}, now {other[:80]}")
    for key in sorted({*old[1]} & {*new[1]}):
        one, other = old[1][key], new[1][key]
        if (one.dtype, one.shape) != (other.dtype, other.shape):
            found.append(f"{key}: {one.dtype} {one.shape}, now {other.dtype} {other.shape}")
        elif content(one) != content(other):
            gap = np.abs(one.astype(np.float64) - other).max()
            found.append(f"{key}: {int((one != other).sum())} of {one.size} values differ, by at most {gap:.3g}")
    # Whatever has a key of its own on either side may have another name on the other.
    alone = [{key: content(one[1][key]) for key in {*one[1]} - {*other[1]}} for one, other in ((old, new), (new, old))]
    for mine, theirs, side in ((alone[0], alone[1], "the reference"), (alone[1], alone[0], "the other side")):
        more = Counter(mine.values()) - Counter(theirs.values())
        for key in sorted(mine):
            if more[mine[key]] > 0 and not (side == "the other side" and _added(key)):
                more[mine[key]] -= 1
                found.append(f"{key}: an array that only {side} has")
    return found


def _added(name: str) -> bool:
    return any(re.search(pattern, name) for pattern in ADDED)


def judge(case: str, old: Revision, new: Revision, ignored: Names) -> tuple[list[str], str, list[dict[str, Any]]]:
    """Run a case with both: differences and failures, how much was compared, and how it went."""
    went = [old.run(case), new.run(case)]
    was = read(old.folder / case, {**KEYS, **ignored}, {**WORDS, **ignored}, ARRAYS)
    is_now = read(new.folder / case, ignored, ignored)
    found = [] if went[0]["codes"] == went[1]["codes"] else [f"exit codes {went[0]['codes']}, now {went[1]['codes']}"]
    # 0, 1 and 3 are verdicts.
    if bad := {code for each in went for code in each["codes"]} - {0, 1, 3}:
        log = (new.folder / case / "log.txt").read_text(encoding="utf-8").splitlines()
        found += [f"FAILED with exit codes {sorted(bad)}; the log ends with", *log[-3:]]
    if not was[0] or not is_now[0]:
        found.append("FAILED: there is no report")
    return found + compare(was, is_now), f"{len(is_now[0])} values, {len(is_now[1])} arrays", went


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "revision", metavar="REV", nargs="?", default="HEAD", help="whose numbers count [default: HEAD]"
    )
    parser.add_argument("other", nargs="?", help="a commit that is compared with it [default: the working tree]")
    parser.add_argument("--only", action="append", choices=cases(), metavar="CASE", help="repeatable")
    parser.add_argument("--list", action="store_true", help="show the commands of every case")
    parser.add_argument("--reference", type=Path, help="folder to keep the results of REV in, and to use them again")
    parser.add_argument("--keep", type=Path, help="folder to keep the results of the other side in")
    parser.add_argument("--ignore", action="append", default=[], metavar="NAME", help="a flag or JSON key; repeatable")
    parser.add_argument("--jobs", type=int, default=1, help="cases at a time [default: 1]")
    asked = parser.parse_args()
    chosen = [case for case in cases() if case in (asked.only or cases())]
    if asked.list:
        print("\n".join(f"{case}: vfc {shlex.join(words)}" for case in chosen for words in cases()[case]))
        return 0
    # So that worktrees are removed then too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("interrupted"))
    wrong, rows = 0, list[str]()
    with (
        checked_out(asked.revision, asked.reference, reuse=asked.reference is not None) as old,
        checked_out(asked.other, asked.keep) as new,
        ThreadPoolExecutor(asked.jobs) as pool,
    ):
        ignored = dict.fromkeys(asked.ignore)
        judged = pool.map(lambda case: judge(case, old, new, ignored), chosen)
        for case, (found, counts, went) in zip(chosen, judged, strict=True):
            wrong += bool(found)
            print(f"{case}: " + (f"{len(found)} DIFFERENCES in {counts}" if found else f"equal ({counts})"))
            print("".join(f"  {line}\n" for line in found[:SHOWN]), end="", flush=True)
            seconds = [f"{sum(each['wall']):8.1f} {sum(each['cpu']):8.1f}{each['kept']}" for each in went]
            rows.append(f"{case:32} {seconds[0]} {seconds[1]}")
    print(
        f"\n{'seconds by clock, by CPU':32} {old.folder.name:>17}  {new.folder.name:>17}", *rows, "(*: kept)", sep="\n"
    )
    print(f"{wrong} of {len(chosen)} cases differ" if wrong else f"all {len(chosen)} cases are equal")
    return int(wrong > 0)
