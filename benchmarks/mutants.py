"""Which small faults would the tests not see? Plants sampled faults, one at a time, and lists those that live.

    python -m benchmarks.mutants [--sample 60] [--seed 0] [--minutes 25] [--jobs 2] [--list] [PREFIX ...]

A mutant is one file with one change (`benchmarks/mutations.py`). The sample is drawn with the seed from all mutants of
the files under the prefixes (paths; default: all that `TESTS` knows). Each mutant stands in a temporary copy of the
tree, and only the tests that `TESTS` names for its file are run, until the first failure. A mutant that no test fails
on is a survivor: a missing test, or a change that changes nothing ("equivalent"). A run that takes SLOWER times as long
as without the mutant counts as seen, and is said.

This is no part of the test suite. `benchmarks/README.md` holds what was run, and why each survivor lives.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from benchmarks.mutations import Mutant, mutants_of, mutated

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("vfc", "adversaries", "protocols", "reports", "tests", "benchmarks", "pyproject.toml")
SLOWER, LEAST_SECONDS = 5, 60

_BOARDS = tuple(
    f"tests/protocols/test_{name}.py"
    for name in ("statistic", "leaderboard", "label_metrics", "flags", "pairs_leaderboard", "cross_protocol", "arms")
)
_CORE = tuple(f"tests/vfc/test_{name}.py" for name in ("latents", "mask", "objective", "vfc_core"))
_STATS = ("tests/adversaries/test_stats.py", "tests/adversaries/test_difference.py")
_LABEL = ("tests/adversaries/test_goal.py", "tests/adversaries/test_masked.py", "tests/protocols/test_flags.py")

TESTS: dict[str, tuple[str, ...]] = {
    **{f"vfc/core/{name}.py": _CORE for name in ("decoder", "encoder", "mask", "objective", "trainer")},
    "adversaries/statistics/estimates.py": (*_STATS, *_BOARDS[:4]),
    "adversaries/statistics/intervals.py": _STATS,
    "adversaries/statistics/levels.py": (*_STATS, *_BOARDS[:5]),
    "adversaries/statistics/rank_correlation.py": ("tests/adversaries/test_rank_correlation.py",),
    "adversaries/statistics/special.py": ("tests/adversaries/test_special.py", *_STATS),
    "adversaries/statistics/training_course.py": (
        "tests/adversaries/test_training_course.py",
        "tests/reports/test_overtraining_findings.py",
    ),
    "adversaries/statistics/worst_class.py": ("tests/adversaries/test_worst_class.py", *_STATS),
    "adversaries/goals/assess.py": _LABEL,
    "adversaries/goals/evasion.py": ("tests/adversaries/test_evasion.py",),
    "adversaries/goals/gallery.py": ("tests/adversaries/test_gallery.py",),
    "adversaries/goals/image_metrics.py": ("tests/adversaries/test_image_metrics.py",),
    "adversaries/goals/label.py": _LABEL,
    "adversaries/goals/matching.py": ("tests/adversaries/test_matching.py",),
    "adversaries/goals/membership.py": ("tests/adversaries/test_membership.py",),
    "adversaries/goals/membership_grading.py": ("tests/adversaries/test_membership.py",),
    "adversaries/goals/reconstruction.py": ("tests/adversaries/test_reconstruction.py",),
    **{
        f"protocols/evaluation/{name}.py": _BOARDS
        for name in ("flags", "label_evaluation", "leaderboard", "metrics", "pairs", "results", "schedule", "statistic")
    },
    "protocols/evaluation/checks/bound_check.py": ("tests/protocols/test_bound_check.py",),
    "protocols/evaluation/cross_protocol.py": ("tests/protocols/test_cross_protocol.py",),
    "protocols/evaluation/protocol.py": ("tests/protocols/test_cross_protocol.py",),
}
"""The tests of each file, quick ones first; a file that is not here is not mutated."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the tests said of a mutant: `killed`, `timeout`, `survived`, or `not run`."""

    mutant: Mutant
    outcome: str


def sampled(root: Path, prefixes: Iterable[str], count: int, seed: int) -> tuple[list[Mutant], int]:
    """`count` of all mutants under the prefixes, and how many there are in all."""
    files = [file for file in sorted(TESTS) if any(file.startswith(prefix) for prefix in prefixes)]
    everything = [mutant for file in files for mutant in mutants_of((root / file).read_text("utf-8"), file)]
    return random.Random(seed).sample(everything, min(count, len(everything))), len(everything)


def copied(root: Path, to: Path) -> Path:
    """A copy of the tree in which mutants can stand."""
    to.mkdir()
    for name in COPIED:
        if (root / name).is_dir():
            shutil.copytree(root / name, to / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        elif (root / name).is_file():
            shutil.copy2(root / name, to / name)
    return to


def run_tests(tree: Path, tests: Iterable[str], seconds: float | None) -> str:
    """`survived` if all tests pass in a tree, `killed` if not, or `timeout`."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return "timeout"
    return "killed" if done.returncode else "survived"


def judged(tree: Path, mutant: Mutant, tests: Iterable[str], seconds: float | None) -> str:
    """Put a mutant in a copy of the tree, run its tests, and take it away again."""
    file = tree / mutant.file
    original = file.read_text("utf-8")
    try:
        _write(file, mutated(original, mutant))
        return run_tests(tree, tests, seconds)
    finally:
        _write(file, original)


def _write(file: Path, source: str) -> None:
    file.write_text(source, "utf-8")
    # Of two sources of one size, written in the same second, Python would run what it compiled first.
    for stale in (file.parent / "__pycache__").glob(f"{file.stem}.*.pyc"):
        stale.unlink()


def evaluate(root: Path, mutants: list[Mutant], jobs: int, until: float) -> list[Verdict]:
    """Judge every mutant, in as many copies of the tree as there are jobs; after `until` none is begun.

    Raises:
        SystemExit: the tests fail without any mutant.
    """
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        trees: SimpleQueue[Path] = SimpleQueue()
        for job in range(jobs):
            trees.put(copied(root, Path(folder) / str(job)))
        seconds = {tests: _limit(Path(folder) / "0", tests) for tests in {TESTS[mutant.file] for mutant in mutants}}

        def judge(mutant: Mutant) -> Verdict:
            if time.monotonic() > until:
                return Verdict(mutant=mutant, outcome="not run")
            tree, tests = trees.get(), TESTS[mutant.file]
            try:
                outcome = judged(tree, mutant, tests, seconds[tests])
            finally:
                trees.put(tree)
            print(f"{outcome:9s} {_line(mutant)}", flush=True)
            return Verdict(mutant=mutant, outcome=outcome)

        return list(pool.map(judge, mutants))


def _limit(tree: Path, tests: tuple[str, ...]) -> float:
    """Seconds that the tests of a mutant may take, from how long they take without."""
    started = time.monotonic()
    if run_tests(tree, tests, None) != "survived":
        raise SystemExit(f"expected the tests to pass without a mutant: {' '.join(tests)}")
    return max(LEAST_SECONDS, SLOWER * (time.monotonic() - started))


def _line(mutant: Mutant) -> str:
    return f"{mutant.file}:{mutant.line}  {_short(mutant.before)}  ->  {_short(mutant.after)}"


def _short(code: str, most: int = 70) -> str:
    return code if len(code) <= most else code[: most - 3] + "..."


def table(verdicts: Iterable[Verdict]) -> str:
    """The survivors as a Markdown table."""
    lines = ["| where | before | after |", "|---|---|---|"]
    for mutant in (each.mutant for each in verdicts if each.outcome == "survived"):
        before, after = (_short(code).replace("|", "\\|") for code in (mutant.before, mutant.after))
        lines.append(f"| {mutant.file}:{mutant.line} | `{before}` | `{after}` |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prefixes", nargs="*", default=[""], metavar="PREFIX")
    parser.add_argument("--sample", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=25.0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--list", action="store_true", help="show the sample and run nothing")
    options = parser.parse_args()
    mutants, of = sampled(ROOT, options.prefixes, options.sample, options.seed)
    print(f"{len(mutants)} of {of} mutants, seed {options.seed}")
    if options.list:
        print("\n".join(map(_line, mutants)))
        return
    verdicts = evaluate(ROOT, mutants, options.jobs, time.monotonic() + 60 * options.minutes)
    outcomes = [each.outcome for each in verdicts]
    print(", ".join(f"{outcomes.count(name)} {name}" for name in ("killed", "timeout", "survived", "not run")))
    print(table(verdicts))


if __name__ == "__main__":
    main()
