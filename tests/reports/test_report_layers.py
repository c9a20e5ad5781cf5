"""What reports import, and that nothing outside the sections knows a protocol by name."""

import ast
import re
from pathlib import Path

import pytest

import reports
from reports.model.catalog import COMMON, metrics, protocols

ROOT = Path(reports.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
ALLOWED = (
    "adversaries.evidence",
    "adversaries.health",
    "adversaries.statistics",
    "reports",
    "vfc.config",
    "vfc.errors",
    "vfc.registry",
    "vfc.version",
)
OURS = ("adversaries", "protocols", "reports", "vfc")
EXAMPLES = ("gate/policy.py", "gate/presets.py", "studies/bench/columns.py")
"""Files that name metrics on purpose: limits that are conventions, the form of a policy, the columns of the bench."""

WORDS = {
    "text/phrases.py": {"transfer"},  # of the threat level L0
    "model/catalog.py": {"attribute"},  # a placeholder's name
    "gate/baseline.py": {"leakage"},  # a unit, here and below
    "gate/plan.py": {"leakage"},
    "studies/suite/grading.py": {"attribute"},  # what is guessed
    # A key of overtraining.json.
    **{f"studies/over_training/{name}.py": {"membership"} for name in ("findings", "page", "tables")},
}


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            if node.module in OURS:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def named(file):
    return file.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("file", FILES, ids=named)
def test_reports_import_only_what_is_allowed(file):
    for name in imported(ast.parse(file.read_text(encoding="utf-8"))):
        if name.split(".")[0] in OURS and name not in OURS:
            assert any(name == allowed or name.startswith(f"{allowed}.") for allowed in ALLOWED), name


def documentation(tree):
    """Strings that stand alone: docstrings, and those under assignments."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


@pytest.mark.parametrize("file", [file for file in FILES if file.parent.name != "sections"], ids=named)
def test_only_sections_know_protocols_and_their_metrics_by_name(file):
    if named(file) in EXAMPLES:
        return
    starts = {metric.name.split(".")[0] for metric in metrics()} - {metric.name.split(".")[0] for metric in COMMON}
    metric = re.compile(rf"(?<![\w.-])(?:{'|'.join(map(re.escape, sorted(starts)))})\.[a-z<]")
    tree = ast.parse(file.read_text(encoding="utf-8"))
    prose = documentation(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            known = set(protocols()) - WORDS.get(named(file), set())
            assert node.value not in known, (node.lineno, node.value)
            assert metric.search(node.value) is None, (node.lineno, node.value)


def test_templates_know_no_protocol():
    for file in (ROOT / "formats" / "templates").glob("report*.j2"):
        for name in protocols():
            assert f'"{name}"' not in file.read_text(encoding="utf-8")
