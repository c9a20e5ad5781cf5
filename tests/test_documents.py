"""What the documents name is there: files, folders, and links between documents."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
OURS = ("vfc/", "adversaries/", "protocols/", "reports/", "tests/", "docs/", "benchmarks/", "examples/")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_what_a_document_names_is_there(document):
    text = document.read_text(encoding="utf-8")
    quoted = re.findall(r"`([\w./-]+)(?:::\w+)?`", text)
    named = [name for name in quoted if name.startswith(OURS) and name != "docs/"]
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    missing = [name for name in named if not (ROOT / name).exists()]
    missing += [link for link in links if not (document.parent / link).exists()]
    assert missing == []


WAYS_IN = [ROOT / "README.md", ROOT / "docs" / "index.md", ROOT / "docs" / "quickstart.md"]


@pytest.mark.parametrize("document", WAYS_IN, ids=lambda document: document.name)
def test_the_way_in_says_how_to_install(document):
    text = document.read_text(encoding="utf-8")
    assert re.search(r"^pip install \.\./vfc\b", text, re.MULTILINE)
    assert re.search(r'^pip install "git\+https://example\.org/you/vfc"', text, re.MULTILINE)


def test_nobody_is_told_to_install_a_name_that_is_not_ours_yet():
    """Nothing is published: whatever a package index had under this name would be a stranger's."""
    code = [
        path
        for folder in OURS
        if folder != "tests/"
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".txt", ".md")
    ]
    wrong = [
        str(path.relative_to(ROOT))
        for path in {*DOCUMENTS, *code}
        if re.search(r"pip3? install [^\n&]*vfc[-_]attack(?!-\d)", path.read_text(encoding="utf-8"))
    ]
    assert wrong == []
