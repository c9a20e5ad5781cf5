"""Do the attack-free numbers predict the attacks? All registered defenses in several settings, on digits.

    python -m benchmarks.prediction --out DIR [--only vfc] [--skip-runs]

Every release is measured by `vfc attack` in a folder of its own, one process and one thread, with the protocols
leakage, inversion, attribute (ink) and adaptive-probe at budget smoke; membership at budget standard for VFC, because
the others fit nothing. The same command again reuses what is finished. Ends with the table of `vfc predict` over all of
them, as DIR/prediction.md, .csv and .json. About 25 minutes on one core.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from protocols.cli import run

ROOT = Path(__file__).resolve().parents[1]
SMOKE = [
    *("--protocol", "leakage", "--protocol", "inversion", "--protocol", "attribute", "--protocol", "adaptive-probe"),
    *("--attribute", "ink", "--budget", "smoke"),
]
MEMBERSHIP = ["--protocol", "membership", "--budget", "standard"]
SHARED = ["--unintended", "mlp", "--threads", "1", "--executor", "local", "--quiet"]

SETTINGS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "identity": ({},),
    **dict.fromkeys(("cem", "cfb", "ci", "disco", "fmd", "maxent-arl", "nopeek", "pan", "prifu", "ran"), ({},)),
    "constant": ({},),
    "pure-noise": ({},),
    "label-release": ({},),
    "negated": ({},),
    "pixel-permutation": ({},),
    "orthogonal-mixing": ({},),
    "sealed": ({},),
    "linear-mask": ({},),
    "shufflebits": tuple({"lifetime": lifetime} for lifetime in ("dataset", "release", "value")),
    "gaussian-noise": tuple({"sigma": sigma} for sigma in (0.05, 0.1, 0.25, 0.5)),
    "quantization": tuple({"bits": bits} for bits in (1, 2, 4)),
    "nte": ({"near_null": 0.6},),  # the default target has no null space
    "svd": ({}, {"keep": 0.25}),
    "pca": ({}, {"keep": 8}),
    "shredder": ({}, {"scale": 0.5}),
    "vfc": (
        {},
        {"beta": 0},
        {"beta": 0.03},
        {"keep": 0.125},
        {"latent": 8},
        {"mask": "none"},
        {"deployment": "sample"},
        {"deployment": "sample", "beta": 0.03},
    ),
}
"""Settings by defense; every registered one is here (tests/benchmarks/test_prediction_runs.py)."""


def runs(only: str | None = None) -> Iterator[tuple[str, list[str]]]:
    """Folder name and options of every run."""
    for defense, variants in SETTINGS.items():
        for options in variants if only in (None, defense) else ():
            name = "-".join([defense, *(f"{key}-{value}" for key, value in options.items())])
            words = ["--release", defense]
            words += [word for key, value in options.items() for word in ("--set", f"{defense}.{key}={value}")]
            yield name, [*words, *SMOKE, *SHARED]
            if defense == "vfc":
                yield f"{name}-membership", [*words, *MEMBERSHIP, *SHARED]


def main() -> int:
    """Measure what is not measured yet, then show the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", choices=SETTINGS, help="one defense")
    parser.add_argument("--skip-runs", action="store_true", help="only the table, of the runs that are finished")
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    folders = []
    for name, words in runs(arguments.only):
        folder = out / name
        if not arguments.skip_runs:
            started = time.monotonic()
            command = [sys.executable, "-m", "vfc", "attack", *words, "--out", str(folder)]
            done = subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
            print(f"{name}: exit code {done.returncode}, {time.monotonic() - started:.0f} s", flush=True)
        if (folder / "report.json").exists():
            folders.append(str(folder))
    endings = {"markdown": "md", "csv": "csv", "json": "json"}
    files = [word for kind, end in endings.items() for word in (f"--{kind}", str(out / f"prediction.{end}"))]
    return run(["predict", *folders, *files]) or run(["predict", *folders])


if __name__ == "__main__":
    sys.exit(main())
