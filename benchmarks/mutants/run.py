"""Which small faults would the tests not see? Plants sampled faults, one at a time, and lists those that live.

    python -m benchmarks.mutants [--sample 60] [--seed 0] [--minutes 14] [--seconds 20] [--list] [PREFIX ...]

A mutant is one file with one change (`mutations.py`). The sample is drawn with the seed from all mutants of
the files under the prefixes that are not in the record yet. Each mutant stands in a temporary copy of the tree, and
meets the tests that run its line (`lines_of_tests.py`), the file's own first, as many as take `--seconds`
together, until one fails, in a fork of this process (`forked.py`). Outcomes:

- `killed`: a test failed, which passes without any mutant (all such tests are run again in the end);
- `timeout`: the tests took SLOWER times as long as without the mutant, which counts as seen;
- `survived`: all tests passed; a missing test, or a change that changes nothing;
- `unsure`: the test that failed fails without a mutant as well.

What was run is in `mutants.tsv`, and what became of each survivor is in its last column: why it may live, or
the name of a test that was written since. `--again` tries those tests on their mutants and then says `killed by`.
This is no part of the test suite.
"""

from __future__ import annotations

import argparse
import ast
import csv
import dataclasses
import random
import shutil
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.mutants.forked import Ran, import_large, run_forked
from benchmarks.mutants.lines_of_tests import RunLines, chosen_tests, importers, lines_of_tests
from benchmarks.mutants.mutations import Mutant, mutants_of, mutated

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("vfc", "adversaries", "protocols", "reports", "tests", "benchmarks", "docs", "pyproject.toml")
FOLDERS = ("vfc/core", "adversaries/statistics", "adversaries/goals", "protocols/evaluation")
LOOKED_IN = ("tests/vfc", "tests/adversaries", "tests/protocols")
SLOWER, LEAST_SECONDS, NAMED_SECONDS = 5, 30, 120


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the record.

    Args:
        seed: of the sample.
        file, line, function: where the change is.
        before, after: the changed piece of code.
        place, turn: as in `Mutant`.
        outcome: see the head of this file.
        by: the test that failed.
        now: what became of a survivor: by hand why it may live, or a test that shall see it, which `--again` tries.
    """

    seed: int
    file: str
    line: int
    function: str
    before: str
    after: str
    place: int
    turn: int
    outcome: str
    by: str = ""
    now: str = ""


def sampled(
    root: Path, prefixes: Iterable[str], count: int, seed: int, without: Iterable[Row] = ()
) -> tuple[list[Mutant], int]:
    """`count` of all mutants under the prefixes, none of which is in the record, and how many there are in all."""
    names = [name for name in files_of(root) if any(name.startswith(prefix) for prefix in prefixes)]
    everything = [mutant for name in names for mutant in mutants_of((root / name).read_text("utf-8"), name)]
    known = {(row.file, row.function, short(row.before), short(row.after)) for row in without}
    new = [mutant for mutant in everything if _key(root, mutant) not in known] if known else everything
    return random.Random(seed).sample(new, min(count, len(new))), len(everything)


def files_of(root: Path) -> list[str]:
    """The files that are mutated, relative to the root."""
    return sorted(str(path.relative_to(root)) for folder in FOLDERS for path in (root / folder).glob("*.py"))


def _key(root: Path, mutant: Mutant) -> tuple[str, str, str, str]:
    source = (root / mutant.file).read_text("utf-8")
    return mutant.file, function_at(source, mutant.line), short(mutant.before), short(mutant.after)


def function_at(source: str, line: int) -> str:
    """The innermost function or class at a line."""
    name = ""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.lineno <= line <= (node.end_lineno or 0):
            name = node.name
    return name


def copied(root: Path, to: Path) -> Path:
    """A copy of the tree in which mutants can stand."""
    to.mkdir()
    for name in COPIED:
        if (root / name).is_dir():
            shutil.copytree(root / name, to / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        elif (root / name).is_file():
            shutil.copy2(root / name, to / name)
    return to


class Judge:
    """Runs the tests of mutants in one copy of the tree.

    Args:
        tree: the copy.
        found: the lines that tests run.
        looked_in: folders of tests.
        seconds: the tests of one mutant take at most so long.
    """

    def __init__(self, tree: Path, found: Sequence[RunLines], looked_in: Sequence[str], seconds: float) -> None:
        self.tree, self.found, self.looked_in, self.seconds = tree, found, looked_in, seconds

    def judged(self, mutant: Mutant, seed: int) -> Row:
        """Put a mutant in the copy of the tree, run its tests, and take it away again."""
        file = self.tree / mutant.file
        original = file.read_text("utf-8")
        own = importers(self.tree, self.looked_in, [mutant.file.removesuffix(".py").replace("/", ".")])
        tests = chosen_tests(self.found, mutant.file, original, mutant.line, own, self.seconds)
        row = Row(
            seed=seed, file=mutant.file, line=mutant.line, function=function_at(original, mutant.line),
            before=short(mutant.before), after=short(mutant.after), place=mutant.place, turn=mutant.turn,
            outcome="survived",
        )  # fmt: skip
        if not tests:
            return dataclasses.replace(row, by="no test runs this line")
        files = sorted({each.file for each in tests})
        ran = self._run(mutant, files, self._limit(tests, files), [each.name for each in tests])
        if ran.outcome == "timeout":
            return dataclasses.replace(row, outcome="timeout")
        if ran.outcome == "failed":
            return dataclasses.replace(row, outcome="killed", by=ran.by[0] if ran.by else "the tests do not start")
        return row

    def seen(self, mutant: Mutant, test: str) -> str | None:
        """The test, or the first of its cases, that fails on a mutant; None if none does."""
        ran = self._run(mutant, [test], NAMED_SECONDS, None)
        # What cannot even be imported has no first failure.
        return (*ran.by, test)[0] if ran.outcome == "failed" else None

    def _run(self, mutant: Mutant, files: Sequence[str], seconds: float, wanted: Sequence[str] | None) -> Ran:
        """Run tests of the tree with the mutant in it."""
        file = self.tree / mutant.file
        original = file.read_text("utf-8")
        try:
            _write(file, mutated(original, mutant))
            return run_forked(self.tree, files, seconds, wanted=wanted)
        finally:
            _write(file, original)

    def _limit(self, tests: Sequence[RunLines], files: Sequence[str]) -> float:
        """Seconds after which tests have taken too long."""
        # What a file's tests share was set up in one of them, and now may be in another one.
        shared = sum(max(each.seconds for each in self.found if each.file == file) for file in files)
        return max(LEAST_SECONDS, SLOWER * (sum(each.seconds for each in tests) + shared))

    def sure(self, rows: Sequence[Row]) -> list[Row]:
        """Without any mutant, run all tests that killed one: a kill by a test that fails then is `unsure`."""
        killers = sorted({test for row in rows if (test := killer(row))})
        if not killers:
            return list(rows)
        files = sorted({name.partition("::")[0] for name in killers})
        ran = run_forked(self.tree, files, 1000, wanted=killers, to_the_end=True)
        if ran.outcome == "timeout" or (ran.outcome == "failed" and not ran.by):
            raise SystemExit(f"expected the tests to start and to end without a mutant: {' '.join(killers)}")
        return [_doubted(row) if killer(row) in ran.by else row for row in rows]


def killer(row: Row) -> str:
    """The test that killed a mutant, at once or later; empty without one."""
    if row.now.startswith("killed by "):
        return row.now.removeprefix("killed by ")
    return row.by if row.outcome == "killed" and "::" in row.by else ""


def _doubted(row: Row) -> Row:
    return dataclasses.replace(row, now=f"unsure: {row.now}") if row.now else dataclasses.replace(row, outcome="unsure")


def _write(file: Path, source: str) -> None:
    file.write_text(source, "utf-8")
    # Of two sources of one size, written in the same second, Python would run what it compiled first.
    for stale in (file.parent / "__pycache__").glob(f"{file.stem}.*.pyc"):
        stale.unlink()


def read(record: Path) -> list[Row]:
    """The rows of a record; none if there is no file."""
    if not record.exists():
        return []
    with record.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t")
        numbers = ("seed", "line", "place", "turn")
        return [Row(**{**row, **{name: int(row[name]) for name in numbers}}) for row in rows]


def write(record: Path, rows: Iterable[Row]) -> None:
    """Write a record anew."""
    with record.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, delimiter="\t", lineterminator="\n")
        table.writerow(field.name for field in dataclasses.fields(Row))
        table.writerows(dataclasses.astuple(row) for row in rows)


def short(code: str, most: int = 90) -> str:
    """Code cut to a length, so that a record can be read."""
    return code if len(code) <= most else code[: most - 3] + "..."


def mutant_of(root: Path, row: Row) -> Mutant | None:
    """The mutant of a row, if its code still stands; of several alike in one function, the one at its place."""
    found = mutants_of((root / row.file).read_text("utf-8"), row.file)
    alike = [each for each in found if _key(root, each) == (row.file, row.function, row.before, row.after)]
    return min(alike, key=lambda each: (abs(each.place - row.place), abs(each.turn - row.turn)), default=None)


def again(root: Path, judge: Judge, rows: Sequence[Row]) -> list[Row]:
    """The record after the tests that its rows name were tried on their mutants."""
    tried: list[Row] = []
    for row in rows:
        mutant = mutant_of(root, row) if row.now.startswith("tests/") else None
        if mutant is None:
            tried.append(row)
            continue
        test = judge.seen(mutant, row.now)
        tried.append(dataclasses.replace(row, now=f"killed by {test}" if test else f"lives: {row.now}"))
        print(f"{row.file}:{row.line}  {tried[-1].now}", flush=True)
    return tried


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prefixes", nargs="*", default=[""], metavar="PREFIX")
    parser.add_argument("--sample", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=14.0, help="no mutant is begun after that")
    parser.add_argument("--seconds", type=float, default=20.0, help="of tests for one mutant")
    parser.add_argument("--list", action="store_true", help="show the sample and run nothing")
    parser.add_argument("--again", action="store_true", help="try the tests that survivors name")
    parser.add_argument("--root", type=Path, default=ROOT, help="of the tree")
    parser.add_argument("--record", type=Path, default=ROOT / "benchmarks" / "mutants" / "mutants.tsv")
    parser.add_argument("--lines", type=Path, default=Path(tempfile.gettempdir()) / "lines_of_tests.json")
    options = parser.parse_args()
    if not options.list:
        import_large()
    run(options)


def run(options: argparse.Namespace) -> None:
    """Judge a sample, or try the tests that the record names."""
    rows = read(options.record)
    if options.again:
        with tempfile.TemporaryDirectory() as folder:
            judge = Judge(copied(options.root, Path(folder).resolve() / "tree"), (), LOOKED_IN, options.seconds)
            rows = again(options.root, judge, rows)
            write(options.record, rows)
            write(options.record, judge.sure(rows))
        return
    drawn, of = sampled(options.root, options.prefixes, options.sample, options.seed, rows)
    print(f"{len(drawn)} of {of} mutants, seed {options.seed}", flush=True)
    if options.list:
        print("\n".join(f"{mutant.file}:{mutant.line}  {mutant.before}  ->  {mutant.after}" for mutant in drawn))
        return
    started, new = time.monotonic(), []
    with tempfile.TemporaryDirectory() as folder:
        tree = copied(options.root, Path(folder).resolve() / "tree")
        packages = [each.replace("/", ".") for each in FOLDERS]
        found = lines_of_tests(tree, importers(tree, LOOKED_IN, packages), files_of(tree), options.lines)
        judge = Judge(tree, found, LOOKED_IN, options.seconds)
        for mutant in drawn:
            if time.monotonic() - started > 60 * options.minutes:
                break
            new.append(judge.judged(mutant, options.seed))
            write(options.record, [*rows, *new])
            print(f"{new[-1].outcome:9s} {mutant.file}:{mutant.line}  {mutant.before} -> {mutant.after}", flush=True)
        new = judge.sure(new)
    write(options.record, [*rows, *new])
    outcomes = [row.outcome for row in new]
    said = ", ".join(f"{outcomes.count(name)} {name}" for name in ("killed", "timeout", "survived", "unsure"))
    print(f"{said}, {len(drawn) - len(new)} not run, {time.monotonic() - started:.0f} s")
