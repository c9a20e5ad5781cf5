"""The house rule: what a folder, a file and a function may hold, and that imports run in no circle."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("vfc", "adversaries", "protocols", "reports")
FILES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
# They point up from the lowest package, and import nothing until they are used.
FRONT_DOORS = {"vfc", "vfc.__main__", "vfc.pytest_plugin"}
FILES_IN_FOLDER, LINES_IN_FILE, LINES_IN_FUNCTION, SIBLINGS_OF_PREFIX = 20, 320, 60, 2


def name_of(file: Path) -> str:
    """A file as a module; the `__init__.py` of a package as that package."""
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


MODULES = {name_of(file): file for file in FILES}


def imported(tree: ast.AST, known: set[str]) -> Iterator[str]:
    """Modules that a file imports when it is imported or run; what only the type checker sees is left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for other in node.orelse:
                yield from imported(ast.Module([other], []), known)
        elif isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            for each in node.names:
                full = f"{node.module}.{each.name}"
                yield full if full in known else str(node.module)
        else:
            yield from imported(node, known)


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that reach each other (the strongly connected components of more than one module)."""
    reached = {start: reachable(graph, start) for start in graph}
    groups = {
        frozenset({other for other in reached[start] if start in reached[other]}) for start in graph
        if start in reached[start]
    }  # fmt: skip
    return sorted(sorted(group) for group in groups)


def reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += graph.get(name, ())
    return found


def too_many_alike(names: list[str]) -> list[str]:
    """First words that more siblings share than may."""
    alike = defaultdict(list)
    for name in names:
        first, underscore, _ = name.partition("_")
        if underscore and first:
            alike[first].append(name)
    return [f"{first}: {', '.join(group)}" for first, group in alike.items() if len(group) > SIBLINGS_OF_PREFIX]


def long_functions(tree: ast.Module) -> Iterator[str]:
    """Functions whose body, without the docstring, is longer than a screen."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            if lines > LINES_IN_FUNCTION:
                yield f"{node.lineno} {node.name}: {lines} lines"


def test_the_rules_can_be_broken():
    source = """
from typing import TYPE_CHECKING
import a
from b import c, d
if TYPE_CHECKING:
    import e
def function():
    from f import g
"""
    assert list(imported(ast.parse(source), {"b.c", "f"})) == ["typing", "a", "b.c", "b", "f"]
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set()}) == [["a", "b", "c"]]
    assert too_many_alike(["a_x", "a_y", "b_x", "a", "__init__", "__main__"]) == []
    assert too_many_alike(["a_x", "a_y", "a_z"]) == ["a: a_x, a_y, a_z"]
    screen = "    pass\n" * LINES_IN_FUNCTION
    assert list(long_functions(ast.parse(f'def short():\n    """Says."""\n{screen}'))) == []
    assert len(list(long_functions(ast.parse(f"def long():\n{screen}    pass\n")))) == 1


def test_imports_run_in_no_circle():
    known = set(MODULES)
    graph = {
        name: {other for other in imported(tree_of(file), known) if other in known and other != name}
        for name, file in MODULES.items() if name not in FRONT_DOORS
    }  # fmt: skip
    assert sum(map(len, graph.values())) > len(graph), "the imports were not read"
    assert circles(graph) == []


def test_a_folder_can_be_taken_in_at_a_glance():
    folders = defaultdict(list)
    for file in (*FILES, *(ROOT / "benchmarks").rglob("*.py")):
        folders[str(file.parent.relative_to(ROOT))].append(file.stem)
    crowded = {folder: len(names) for folder, names in folders.items() if len(names) > FILES_IN_FOLDER}
    alike = {folder: found for folder, names in folders.items() if (found := too_many_alike(names))}
    assert (crowded, alike) == ({}, {})


def test_files_are_short():
    lengths = {str(file.relative_to(ROOT)): len(file.read_text(encoding="utf-8").splitlines()) for file in FILES}
    assert {name: lines for name, lines in lengths.items() if lines > LINES_IN_FILE} == {}


def test_a_function_fits_on_a_screen():
    assert [f"{file}:{found}" for file in FILES for found in long_functions(tree_of(file))] == []


def test_init_files_hold_one_docstring():
    for file in FILES:
        if file.name == "__init__.py" and name_of(file) not in FRONT_DOORS:
            tree = tree_of(file)
            assert len(tree.body) == 1, file
            assert ast.get_docstring(tree), file


def test_every_folder_of_modules_is_a_package():
    assert [folder for folder in {file.parent for file in FILES} if not (folder / "__init__.py").exists()] == []


def test_reports_and_the_command_line_import_no_torch():
    modules = [name for name in MODULES if name.startswith("reports.")] + ["vfc", "vfc.__main__", "protocols.cli"]
    assert len(modules) > 30
    code = (
        f"import importlib, sys\nfor name in {modules}:\n    importlib.import_module(name)\n"
        "    assert 'torch' not in sys.modules, name"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
