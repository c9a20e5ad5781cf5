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
