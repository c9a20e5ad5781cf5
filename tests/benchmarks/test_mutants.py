"""The sampled mutants: each is one change that runs, and a fault is found exactly where a test looks."""

import ast
import time

import pytest

from benchmarks import mutants
from benchmarks.mutants import Verdict, evaluate, sampled, table
from benchmarks.mutations import mutants_of, mutated

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


def test_a_seed_draws_the_same_sample(monkeypatch):
    prefixes = ("protocols/evaluation/flags",)
    first, of = sampled(mutants.ROOT, prefixes, 5, 1)
    assert (first, of) == sampled(mutants.ROOT, prefixes, 5, 1)
    assert first != sampled(mutants.ROOT, prefixes, 5, 2)[0]
    assert len(first) == 5 < of


def test_every_file_and_test_of_the_table_exists():
    for file, tests in mutants.TESTS.items():
        for name in (file, *tests):
            assert (mutants.ROOT / name).is_file(), name


@pytest.fixture
def tree(tmp_path, monkeypatch):
    (tmp_path / "vfc").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "vfc" / "sums.py").write_text(
        "def double(a):\n    return a + a\n\n\ndef less(a, b):\n    return a < b\n"
    )
    (tmp_path / "tests" / "test_sums.py").write_text(
        "from vfc.sums import double, less\n\n\ndef test_it():\n    assert double(3) == 6\n    assert less(1, 2)\n"
    )
    monkeypatch.setattr(mutants, "TESTS", {"vfc/sums.py": ("tests/test_sums.py",)})
    return tmp_path


def test_what_no_test_looks_at_survives(tree):
    found = [each for each in sampled(tree, [""], 99, 0)[0] if "return" not in each.before]
    verdicts = evaluate(tree, sorted(found, key=lambda each: each.line), 1, time.monotonic() + 600)
    assert [(each.mutant.after, each.outcome) for each in verdicts] == [
        ("a - a", "killed"), ("a <= b", "survived"), ("a >= b", "killed"),
    ]  # fmt: skip
    assert table(verdicts).split("\n")[2:] == ["| vfc/sums.py:6 | `a < b` | `a <= b` |"]
    assert "a + a" in (tree / "vfc" / "sums.py").read_text()


def test_what_was_not_run_is_said_and_failing_tests_are_refused(tree):
    found, _ = sampled(tree, [""], 1, 0)
    assert evaluate(tree, found, 1, time.monotonic() - 1) == [Verdict(mutant=found[0], outcome="not run")]
    (tree / "tests" / "test_sums.py").write_text("def test_it():\n    assert False\n")
    with pytest.raises(SystemExit, match="pass without a mutant"):
        evaluate(tree, found, 1, time.monotonic() + 600)
