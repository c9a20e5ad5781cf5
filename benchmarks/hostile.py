"""What does the command line say of releases that are made to be called safe, and are not?

    python -m benchmarks.hostile --out FOLDER [--only NAME ...] [--dataset digits] [--quick]

Every release of `benchmarks/hostile_defenses.py` is attacked at budget smoke and judged by gates that are false of it:
whoever is told how reads the label from it. Prints a row for each, with the exit code and the flags of its numbers, and
writes FOLDER/hostile.json. A run that is already there is not repeated. Ends with 1 if any of them is called safe.

With the whole ladder a release takes minutes. `--quick` asks in the place of `adaptive.accuracy` for a gate on linkage,
so that four probes alone are compared with the target model; it leaves out releases that those read.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from protocols.cli import run
from reports.model.storage import load

DEFENSES = pathlib.Path(__file__).with_name("hostile_defenses.py")
READ = "adaptive.accuracy <= 0.5"
UNLINKED = "linkage.image.top1 <= 0.9"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A release and what its defender would like to hear.

    Args:
        name: of the class.
        row: what it does, as the table of malicious releases has it.
        gates: false of it.
        protocol: that measures what they are about.
    """

    name: str
    row: str
    gates: tuple[str, ...] = (READ,)
    protocol: str = "adaptive-probe"


INTERACTION, CALL, PUBLIC = "an interaction", "something of the call", "a public nonce"

CLAIMS = (
    Claim(name="ThreeSigns", row=INTERACTION),
    Claim(name="Residue", row=INTERACTION),
    Claim(name="Zeros", row=INTERACTION),
    Claim(name="Mantissa", row=INTERACTION),
    Claim(name="Xored", row=INTERACTION),
    Claim(name="Negative", row="integers with one negative column"),
    Claim(name="CallOffset", row=CALL),
    Claim(name="NeighborPad", row=CALL),
    Claim(name="Nonce", row=PUBLIC),
    Claim(name="Permuted", row=PUBLIC),
    Claim(name="ByHash", row="code for some images by their hash"),
    Claim(name="Remembers", row="a predict that remembers", gates=("target.accuracy >= 0.5", READ)),
    Claim(
        name="NextPicture",
        row="a picture of the next class",
        gates=("transfer.accuracy <= 0.5",),
        protocol="transfer",
    ),
    Claim(
        name="NoisyNextPicture",
        row="a picture of the next class under noise",
        gates=("transfer.accuracy <= 0.5",),
        protocol="transfer",
    ),
    Claim(name="OpenForFew", row="the label in the open for few", gates=("adaptive.exposed@10 <= 0.02",)),
    Claim(name="RowScale", row="a row's own scale"),
    Claim(name="Pairs", row="an index-value list in random order"),
    Claim(name="Infinite", row="rows that are not finite", gates=("target.accuracy >= 0.5", READ)),
)


READ_BY_PROBES = ("ByHash", "OpenForFew", "Zeros")
"""A probe reads as much from these as the target model does; then a gate on linkage is true of them, and may hold."""


def quick(claims: Sequence[Claim]) -> list[Claim]:
    """The same without the ladder, where a claim can be made without it."""
    found = []
    for claim in claims:
        gates = tuple(UNLINKED if gate == READ else gate for gate in claim.gates)
        if claim.protocol != "adaptive-probe":
            found.append(claim)
        elif claim.name not in READ_BY_PROBES:
            found.append(replace(claim, gates=gates, protocol="linkage"))
    return found


def judged(claim: Claim, out: pathlib.Path, more: Sequence[str]) -> dict[str, Any]:
    """Attack one of them and say how it ended.

    Args:
        claim: which, and its gates.
        out: folder of the run.
        more: further options.
    """
    started = time.monotonic()
    command = ["attack", "--release", f"{DEFENSES}:{claim.name}", "--protocol", claim.protocol, "--budget", "smoke"]
    code = run(
        [*command, "--quiet", "--out", str(out), *(word for gate in claim.gates for word in ("--gate", gate)), *more]
    )
    row: dict[str, Any] = {"name": claim.name, "row": claim.row, "gates": claim.gates, "code": code}
    if (out / "report.json").is_file():
        report = load(out)
        control = report.target.control
        flags = {flag for gate in report.gates if gate.observed is not None for flag in gate.observed.flags}
        row |= {
            "outcomes": [gate.outcome for gate in report.gates],
            "reasons": [gate.reason for gate in report.gates],
            "flags": sorted(flags),
            "target": report.target.accuracy.value,
            "control": None if control is None else control.status,
            "strongest": None if control is None or control.accuracy is None else control.accuracy.value,
        }
    return row | {"seconds": round(time.monotonic() - started, 1)}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    head = ("release", "gates", "exit", "outcomes", "target", "strongest, all labels", "flags", "seconds")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in rows:
        numbers = ["-" if row.get(key) is None else f"{row[key]:.3f}" for key in ("target", "strongest")]
        gates, outcomes, flags = (", ".join(map(str, row.get(key) or ())) for key in ("gates", "outcomes", "flags"))
        name = f"`{row['name']}`: {row['row']}"
        cells = [name, f"`{gates}`", str(row["code"]), outcomes, *numbers, flags, str(row["seconds"])]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--only", nargs="*", default=[], help="names; all of them without")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--quick", action="store_true")
    options, more = parser.parse_known_args()
    path = options.out / "hostile.json"
    found = {row["name"]: row for row in (json.loads(path.read_text()) if path.is_file() else [])}
    claims = quick(CLAIMS) if options.quick else CLAIMS
    wanted = [claim for claim in claims if not options.only or claim.name in options.only]
    for claim in wanted:
        if claim.name not in found:
            found[claim.name] = judged(claim, options.out / claim.name, ["--dataset", options.dataset, *more])
            options.out.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(list(found.values()), indent=1))
            print(json.dumps(found[claim.name]), flush=True)
    rows = [found[claim.name] for claim in claims if claim.name in found]
    print(table(rows))
    sys.exit(int(any(row["code"] == 0 for row in rows)))


if __name__ == "__main__":
    main()
