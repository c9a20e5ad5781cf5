"""Verdicts over many seeds on digits at smoke: a null must never break a gate, the identity always must.

`python benchmarks/verdicts.py --seeds 30 --out FOLDER` prints one line per run and a summary, and writes both to
FOLDER/verdicts.json. Every seed trains its own models. A run that is already there is not repeated.
"""

from __future__ import annotations

import argparse
import collections
import json
import pathlib

from protocols.cli import run
from reports.model.storage import load

GATE = "adaptive.leakage <= 0.1"
OUTCOMES = {0: "held", 1: "broken", 3: "inconclusive"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    options = parser.parse_args()
    rows = []
    for seed in range(options.seeds):
        for release in ("identity", "pure-noise"):
            out = options.out / f"{release}-{seed}"
            command = ["attack", "--release", release, "--budget", "smoke", "--seed", str(seed), "--quiet"]
            code = run([*command, "--out", str(out), "--gate", GATE])
            leakage = load(out).metrics["adaptive.leakage"]
            rows.append({"release": release, "seed": seed, "outcome": OUTCOMES.get(code, f"exit {code}"),
                         "leakage": [leakage.low, leakage.value, leakage.high], "flags": leakage.flags})  # fmt: skip
            print(json.dumps(rows[-1]), flush=True)
    counts = collections.Counter((row["release"], row["outcome"]) for row in rows)
    for (release, outcome), count in sorted(counts.items()):
        print(f"{release}: {outcome} {count} of {options.seeds}")
    (options.out / "verdicts.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
