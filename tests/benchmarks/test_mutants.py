"""The sampled mutants: each is one change that runs, and a fault is found exactly where a test looks."""

import ast
import subprocess
import sys
from dataclasses import replace

import pytest

from benchmarks.mutants.lines_of_tests import RunLines, chosen_tests, head_of_statement, importers
from benchmarks.mutants.mutations import mutants_of, mutated
from benchmarks.mutants.run import ROOT, Row, function_at, mutant_of, read, sampled, write

SOURCE = '''"""Says 1 < 2 and 3."""

from typing import Literal

Kind = Literal["one"] | None


def larger(a: int, b: int = 3) -> int | None:
    """The larger of two, 1 or 2."""
    if not isinstance(a, int):
        raise ValueError(f"expected 4 {a + b}", 5)
    return max(a, b) if a < b and a else a - b
'''


def changes(source=SOURCE):
    return {(mutant.before, mutant.after) for mutant in mutants_of(source, "a.py")}


def test_every_kind_of_change_is_made():
    assert {
        ("a - b", "a + b"), ("a < b", "a <= b"), ("a < b", "a >= b"), ("a < b and a", "a < b or a"), ("3", "4"),
        ("not isinstance(a, int)", "isinstance(a, int)"), ("isinstance(a, int)", "isinstance(int, a)"),
        ("max(a, b)", "min(a, b)"), ("max(a, b)", "max(a)"), ("if not isinstance(a, int):", "if True:"),
        ("max(a, b) if a < b and a else a - b", "a - b if a < b and a else max(a, b)"),
        ("return max(a, b) if a < b and a else a - b", "return None"),
    } <= changes()  # fmt: skip


def test_texts_types_and_messages_are_left_alone():
    text = " ".join(before for before, _ in changes())
    assert "Literal" not in text
    assert "a + b" not in text
    assert "5" not in text
    assert not changes('"""Text."""\nimport os\n\nx: int | None\n')


def test_each_is_one_change_and_still_code():
    plain, found = ast.unparse(ast.parse(SOURCE)), mutants_of(SOURCE, "a.py")
    sources = [mutated(SOURCE, mutant) for mutant in found]
    assert plain not in sources
    assert len(set(sources)) == len(sources)
    for mutant, source in zip(found, sources, strict=True):
        ast.parse(source)
        differing = [one for one, other in zip(plain.split("\n"), source.split("\n"), strict=False) if one != other]
        assert len(differing) == 1 or mutant.after == "pass"


def row_of(mutant, root=ROOT, **fields):
    function = function_at((root / mutant.file).read_text(), mutant.line)
    known = {"file": mutant.file, "line": mutant.line, "before": mutant.before, "after": mutant.after}
    known |= {"place": mutant.place, "turn": mutant.turn, "outcome": "killed"}
    return Row(seed=1, function=function, **{**known, **fields})


def test_a_seed_draws_the_same_sample_and_nothing_twice():
    prefixes = ("protocols/evaluation/flags",)
    first, of = sampled(ROOT, prefixes, 5, 1)
    assert (first, of) == sampled(ROOT, prefixes, 5, 1)
    assert first != sampled(ROOT, prefixes, 5, 2)[0]
    assert len(first) == 5 < of
    rest, _ = sampled(ROOT, prefixes, of, 1, [row_of(mutant) for mutant in first])
    assert of - 10 < len(rest) <= of - 5
    assert not set(first) & set(rest)


def test_a_record_comes_back_and_its_mutants_are_found_in_the_code(tmp_path):
    (mutant, other), _ = sampled(ROOT, ("protocols/evaluation/flags",), 2, 1)
    rows = [row_of(mutant, outcome="survived", now='"same"\tthing'), row_of(other, by="a.py::test_b")]
    write(tmp_path / "r.tsv", rows)
    assert read(tmp_path / "r.tsv") == rows
    assert read(tmp_path / "none.tsv") == []
    assert [mutant_of(ROOT, row) for row in rows] == [mutant, other]
    assert mutant_of(ROOT, replace(rows[0], before="nothing of this kind")) is None


def test_a_statement_is_run_when_any_line_of_its_head_is():
    heads = {5: None, 8: None, 10: range(10, 11), 11: range(11, 12), 12: range(12, 13)}
    assert {line: head_of_statement(SOURCE, line) for line in heads} == heads
    assert head_of_statement("def f(a):\n    if (\n        a\n    ):\n        return 1\n    return 2\n", 3) == range(
        2, 5
    )


def test_the_tests_of_a_line_are_those_that_run_it_own_and_quick_ones_first():
    tests = [
        RunLines(name=f"{file}::{name}", seconds=seconds, lines={"a.py": frozenset(lines)})
        for file, name, seconds, lines in (
            ("other.py", "quick", 0.1, [12]), ("own.py", "slow", 9.0, [12, 11]), ("own.py", "quick", 1.0, [12]),
            ("own.py", "elsewhere", 0.5, [10]),
        )
    ]  # fmt: skip

    def chosen(line, seconds, file="a.py"):
        return [test.name for test in chosen_tests(tests, file, SOURCE, line, ["own.py"], seconds)]

    assert chosen(12, 99) == ["own.py::quick", "own.py::slow", "other.py::quick"]
    assert chosen(12, 2) == ["own.py::quick", "other.py::quick"]
    assert chosen(11, 2) == ["own.py::slow"]
    assert len(chosen(8, 99)) == 4
    assert {test.partition("::")[0] for test in chosen(12, 99, "b.py")} == {"own.py"}


# --- a tree with one file and two tests ---

RUN = """
import argparse, sys
from pathlib import Path
from benchmarks.mutants import run as mutants
mutants.LEAST_SECONDS = 4
root = Path(sys.argv[1])
mutants.run(argparse.Namespace(prefixes=[""], sample=int(sys.argv[2]), seed=0, minutes=float(sys.argv[3]), seconds=9.0,
    again=len(sys.argv) > 4, list=False, root=root, record=root / "r.tsv", lines=root / "lines.json"))
"""


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "vfc" / "core").mkdir(parents=True)
    (tmp_path / "tests" / "vfc").mkdir(parents=True)
    (tmp_path / "vfc" / "core" / "sums.py").write_text(
        "def double(a):\n    return a + a\n\n\ndef less(a, b):\n    return a < b\n\n\n"
        "def count(a):\n    while a < 3:\n        a = a + 1\n    return a\n\n\ndef unseen(a):\n    return a * 2\n"
    )
    write_test(tmp_path, "double(3) == 6", "less(1, 2)", "count(0) == 3")
    return tmp_path


def write_test(tree, *claims):
    tests = "".join(f"def test_{place}():\n    assert {claim}\n\n\n" for place, claim in enumerate(claims))
    (tree / "tests" / "vfc" / "test_sums.py").write_text(f"from vfc.core.sums import count, double, less\n\n\n{tests}")


def judged(tree, sample=99, minutes=5, *more):
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(tree), str(sample), str(minutes), *more],
        cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {(row.before, row.after): row for row in read(tree / "r.tsv")}, done.stdout


def test_what_no_test_looks_at_survives(tree):
    source = (tree / "vfc" / "core" / "sums.py").read_text()
    rows, _ = judged(tree)
    assert {change: row.outcome for change, row in rows.items() if "return" not in change[0]} == {
        ("a + a", "a - a"): "killed", ("a < b", "a <= b"): "survived", ("a < b", "a >= b"): "killed",
        ("a < 3", "a <= 3"): "killed", ("a < 3", "a >= 3"): "killed", ("3", "4"): "killed",
        ("while a < 3:", "while False:"): "killed", ("a + 1", "a - 1"): "timeout", ("1", "2"): "killed",
        ("a * 2", "a / 2"): "survived", ("2", "3"): "survived",
    }  # fmt: skip
    assert rows["a + a", "a - a"].by == "tests/vfc/test_sums.py::test_0"
    assert rows["a * 2", "a / 2"].by == ""
    assert (tree / "vfc" / "core" / "sums.py").read_text() == source
    write_test(tree, "double(3) == 6", "not less(1, 1)", "count(0) == 3")
    named = {("a < b", "a <= b"): "test_1", ("a * 2", "a / 2"): "test_2"}
    write(tree / "r.tsv", [
        replace(row, now=f"tests/vfc/test_sums.py::{named[change]}" if change in named else row.now)
        for change, row in rows.items()
    ])  # fmt: skip
    again, _ = judged(tree, 0, 5, "again")
    assert again["a < b", "a <= b"].now == "killed by tests/vfc/test_sums.py::test_1"
    assert again["a * 2", "a / 2"].now == "lives: tests/vfc/test_sums.py::test_2"
    assert [row.outcome for row in again.values()] == [row.outcome for row in rows.values()]


def test_what_was_not_run_is_said(tree):
    rows, said = judged(tree, 2, 0)
    assert rows == {}
    assert "2 not run" in said


def test_a_test_that_fails_without_a_mutant_kills_nothing(tree):
    counted = "(open('runs', 'a').write('x'), len(open('runs').read()) < 3)[1]"
    write_test(tree, f"{counted} and double(1)")
    rows, _ = judged(tree)
    assert {row.outcome for row in rows.values() if row.function == "double"} == {"unsure"}
    assert "killed" not in {row.outcome for row in rows.values()}


def test_the_test_files_of_packages_are_found():
    found = importers(ROOT, ["tests/adversaries"], ["adversaries.statistics.special"])
    assert "tests/adversaries/test_special.py" in found
    assert "tests/adversaries/test_goal.py" not in found
