"""`vfc predict` as a user types it."""

import json

import pytest

from protocols.cli import run
from reports.model.storage import sealed, write
from tests.reports.test_prediction import INK, PSNR, RANK, release


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for i in range(6):
        write(sealed(release(i, {RANK: i, PSNR: i, INK: -i})), {}, tmp_path / f"r{i}")
    return [f"r{i}" for i in range(6)]


def test_shows_the_table(folders, capsys):
    assert run(["predict", *folders[:5], "r5/report.json"]) == 0
    out = capsys.readouterr().out
    assert "6 releases of digits" in out
    assert "+1.00" in out


def test_every_format_at_once_and_the_same_bytes_again(folders, capsys, tmp_path):
    for folder in ("first", "second"):
        files = [word for name in ("markdown", "csv", "json") for word in (f"--{name}", f"{folder}/t.{name}")]
        assert run(["predict", *folders, *files]) == 0
    assert capsys.readouterr().err.count("wrote ") == 6
    for name in ("markdown", "csv", "json"):
        first = (tmp_path / "first" / f"t.{name}").read_bytes()
        assert first
        assert first == (tmp_path / "second" / f"t.{name}").read_bytes()
    assert json.loads((tmp_path / "first" / "t.json").read_text())["dataset"] == "digits"


def test_mistakes_are_exit_code_2_in_one_line(folders, capsys, tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "report.json").write_text("{")
    other = release(9, {RANK: 1}, dataset=release(9, {}).dataset.model_copy(update={"digest": "other"}))
    write(sealed(other), {}, tmp_path / "other")
    for words in (
        [],
        folders[:3],
        [folders[0]] * 6,
        [*folders, "nowhere"],
        [*folders, "bad"],
        [*folders, "other"],
        [*folders, "--csv", "x", "--json", "x"],
        [*folders, "--csv", "r0/report.json"],
        [*folders, "--csv", "r0"],
        [*folders, "--tsv", "x"],
    ):
        assert run(["predict", *words]) == 2, words
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1, lines
        assert "error:" in lines[0]
    assert not (tmp_path / "x").exists()
