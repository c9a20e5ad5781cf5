"""Which tests run which lines, and how long they take: so that a mutant meets the tests that can see it, and no others.

The lines are kept in a file between runs; a test file is watched anew when it, or a file whose lines it runs, changed.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.mutants.forked import run_forked

SECONDS_A_FILE = 30.0
"""A test file is watched for so long; of a longer one, the tests that ended until then count."""


@dataclass(frozen=True, kw_only=True)
class RunLines:
    """The lines that one test runs.

    Args:
        name: as pytest names it.
        seconds: how long it took while it was watched.
        lines: by file.
    """

    name: str
    seconds: float
    lines: dict[str, frozenset[int]]

    @property
    def file(self) -> str:
        return self.name.partition("::")[0]


def importers(root: Path, folders: Sequence[str], packages: Sequence[str]) -> list[str]:
    """Test files under some folders that import one of the packages or modules (dotted), or `builders`."""
    pattern = re.compile("|".join(map(_import_of, (*packages, "tests.protocols.builders"))), re.MULTILINE)
    found = [path for folder in folders for path in sorted((root / folder).rglob("test_*.py"))]
    return [str(path.relative_to(root)) for path in found if pattern.search(path.read_text("utf-8"))]


def _import_of(module: str) -> str:
    """A pattern of `import a.b`, `from a.b import ...` and `from a import ..., b`."""
    package, _, name = module.rpartition(".")
    whole, package = re.escape(module), re.escape(package)
    names = rf"(?:[^(\n]*|\([^)]*)\b{name}\b"
    return rf"^[ \t]*(?:(?:from|import) {whole}\b|from {package} import {names})"


def lines_of_tests(tree: Path, tests: Sequence[str], watched: Sequence[str], kept: Path) -> list[RunLines]:
    """Watch every test file that is not in `kept` as it is now."""
    known = json.loads(kept.read_text("utf-8")) if kept.exists() else {}
    found: list[RunLines] = []
    for file in tests:
        entry = known.get(file)
        if entry is None or any(_digest(tree / name) != digest for name, digest in entry["digests"].items()):
            entry = known[file] = _watched(tree, file, watched)
            kept.write_text(json.dumps(known), "utf-8")
            print(f"watched {file}: {len(entry['tests'])} tests", flush=True)
        found += [
            RunLines(name=name, seconds=seconds, lines={path: frozenset(ran) for path, ran in lines.items()})
            for name, seconds, lines in entry["tests"]
        ]
    return found


def _watched(tree: Path, file: str, watched: Sequence[str]) -> dict[str, object]:
    said = tree.with_name("lines.jsonl")
    said.unlink(missing_ok=True)
    ran = run_forked(tree, [file], SECONDS_A_FILE, watched=watched, to_the_end=True)
    if ran.outcome != "timeout" and not said.exists():
        raise SystemExit(f"expected tests in {file}: {tree.with_name('output.txt').read_text('utf-8')[-2000:]}")
    tests: list[tuple[str, float, dict[str, list[int]]]] = []
    shared: dict[str, set[int]] = {}
    for test in map(json.loads, said.read_text("utf-8").splitlines() if said.exists() else ()):
        # What a fixture ran for one test, a later test may use.
        for path, ran in test.get("setup", {}).items():
            shared.setdefault(path, set()).update(ran)
        if test["passed"]:
            call = test.get("call", {})
            lines = {path: sorted(shared.get(path, set()) | set(call.get(path, ()))) for path in {*shared, *call}}
            tests.append((test["test"], test["seconds"], lines))
    digests = {path: _digest(tree / path) for path in {file}.union(*(lines for _, _, lines in tests))}
    return {"digests": digests, "tests": tests}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def head_of_statement(source: str, line: int) -> range | None:
    """The lines of the statement at a line, without its body; None if it runs when the file is imported."""
    best: range | None = None
    imported = True
    for parent in ast.walk(ast.parse(source)):
        for child in ast.iter_child_nodes(parent):
            if not isinstance(child, ast.stmt):
                continue
            body = getattr(child, "body", None)
            end = max(child.lineno, body[0].lineno - 1) if body else (child.end_lineno or child.lineno)
            head = range(child.lineno, end + 1)
            if line in head and (best is None or len(head) <= len(best)):
                best = head
                imported = isinstance(parent, (ast.Module, ast.ClassDef)) or isinstance(child, ast.FunctionDef)
    return None if imported else best


def chosen_tests(
    found: Sequence[RunLines], file: str, source: str, line: int, own: Sequence[str], seconds: float
) -> list[RunLines]:
    """The tests that run a line, as many as fit into some seconds.

    Tests of the `own` test files come first, quick ones before slow ones. Of a line that runs when the file is
    imported, any test that runs the file may see a change.
    """
    head = head_of_statement(source, line)
    ran = [test for test in found if _runs(test.lines.get(file, frozenset()), head)]
    # Processes that a test starts are not watched.
    ran = ran or [test for test in found if test.file in own]
    chosen: list[RunLines] = []
    for test in sorted(ran, key=lambda each: (each.file not in own, each.seconds)):
        if not chosen or sum(each.seconds for each in chosen) + test.seconds <= seconds:
            chosen.append(test)
    return chosen


def _runs(lines: frozenset[int], head: range | None) -> bool:
    return bool(lines) if head is None else not lines.isdisjoint(head)
