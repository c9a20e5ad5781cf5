"""The cache can be looked at, cut and checked, and nobody cuts it under a run that uses it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from protocols.cli import run
from protocols.engine.cache import (
    CachedPart,
    cache_in_use,
    cached_parts,
    chosen_to_go,
    parse_age,
    parse_size,
    remove,
    touch,
)
from protocols.engine.task import Outcome, save_outcome
from vfc.artifact import save_json
from vfc.errors import UserError


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "cache"
    monkeypatch.setenv("VFC_CACHE_DIR", str(root))
    save_json({"x": 1}, root / "trained" / "model-0123" / "a.json")
    save_json({"x": 2}, root / "trained" / "defense-4567" / "a.json")
    save_outcome(Outcome(status="measured", arrays={}), root / "cells" / "89ab.safetensors")
    (root / "data").mkdir()
    (root / "data" / "images").write_text("downloaded")
    for age, name in enumerate(("cells/89ab.safetensors", "trained/model-0123", "trained/defense-4567")):
        os.utime(root / name, (1000 + age, 1000 + age))
    return root


def part(name: str, size: int, used: float) -> CachedPart:
    return CachedPart(kind="cells", path=Path(name), size=size, used=used)


def test_parts_are_listed_least_recently_used_first(cache: Path) -> None:
    assert [found.what for found in cached_parts()] == ["finished task", "model", "defense"]
    touch(cache / "cells" / "89ab.safetensors")
    assert [found.what for found in cached_parts()] == ["model", "defense", "finished task"]


def test_what_was_used_last_stays() -> None:
    parts = [part("a", 5, 0), part("b", 3, 10), part("c", 2, 20)]
    assert [each.path.name for each in chosen_to_go(parts, size=5)] == ["a"]
    assert [each.path.name for each in chosen_to_go(parts, size=4)] == ["a", "b"]
    assert chosen_to_go(parts, size=10) == []
    assert [each.path.name for each in chosen_to_go(parts, age=10, now=20)] == ["a", "b"]
    assert [each.path.name for each in chosen_to_go(parts, size=1, age=20, now=20)] == ["a", "b", "c"]


def test_pruning_leaves_data_sets_alone(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cache", "prune", "--all", "--dry-run"]) == 0
    assert len(cached_parts()) == 3
    assert "3 parts" in capsys.readouterr().out
    assert run(["cache", "prune", "--all"]) == 0
    assert cached_parts() == []
    assert (cache / "data" / "images").exists()


def test_nobody_prunes_under_a_run(cache: Path) -> None:
    with cache_in_use():
        with pytest.raises(UserError, match="a run is using the cache"):
            remove(cached_parts())
        assert run(["cache", "prune", "--all"]) == 2
        assert len(cached_parts()) == 3
    assert run(["cache", "prune", "--all"]) == 0


def test_runs_bring_the_cache_under_its_limit(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    newest = cached_parts()[-1]
    monkeypatch.setenv("VFC_CACHE_LIMIT", str(newest.size))
    with cache_in_use():
        assert len(cached_parts()) == 3
    assert cached_parts() == [newest]
    monkeypatch.setenv("VFC_CACHE_LIMIT", "much")
    with pytest.raises(UserError, match="expected a size, got 'much'"), cache_in_use():
        pass


HOLDS = """
import sys
from protocols.engine.cache import cache_in_use

with cache_in_use():
    print("inside", flush=True)
    sys.stdin.readline()
"""


def holding() -> subprocess.Popen[str]:
    """Another process that works with the cache until it is told to end."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", HOLDS], stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "inside\n"
    return process


def test_two_processes_at_once_keep_what_the_other_needs_and_then_the_limit(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = cached_parts()[-1]
    monkeypatch.setenv("VFC_CACHE_LIMIT", str(newest.size))
    processes = [holding(), holding()]
    with pytest.raises(UserError, match="a run is using the cache"):
        remove(cached_parts())
    # Who ends first may not bring the cache under its limit, for the other is at work; who ends last does.
    for process, left in zip(processes, (3, 1), strict=True):
        _, errors = process.communicate("\n", timeout=60)
        assert (process.returncode, errors) == (0, "")
        assert len(cached_parts()) == left
    assert cached_parts() == [newest]


def test_two_processes_that_end_at_once_both_end_well(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VFC_CACHE_LIMIT", "1")
    processes = [holding(), holding()]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        assert process.communicate(timeout=60)[1] == ""
        assert process.returncode == 0
    # Each may have found the other still there; whoever comes next removes what is too much.
    with cache_in_use():
        pass
    assert cached_parts() == []


def test_a_killed_process_holds_nothing(cache: Path) -> None:
    process = holding()
    process.kill()
    process.communicate(timeout=60)
    assert remove(cached_parts()) > 0


def test_damage_is_named(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cache", "verify"]) == 0
    assert "3 of 3 parts are whole" in capsys.readouterr().out
    (cache / "trained" / "model-0123" / "a.json").write_text("{}")
    cell = cache / "cells" / "89ab.safetensors"
    cell.rename(cell.with_name("another.safetensors"))
    assert run(["cache", "verify"]) == 2
    assert capsys.readouterr().out.count("damaged: ") == 2
    assert run(["cache", "verify", "--remove"]) == 0
    assert [found.what for found in cached_parts()] == ["defense"]
    assert run(["cache", "verify"]) == 0


def test_an_empty_cache_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VFC_CACHE_DIR", str(tmp_path / "none"))
    assert run(["cache", "list"]) == 0
    assert "0 bytes" in capsys.readouterr().out
    assert run(["cache", "prune"]) == 2


@pytest.mark.parametrize(("text", "size"), [("12", 12), ("500MB", 500e6), ("1.5 gb", 1.5e9), ("2kB", 2000)])
def test_sizes(text: str, size: float) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "-1", "1e9", "5 XB", "٣", "1_000"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UserError, match="expected a size"):
        parse_size(text)


def test_times() -> None:
    assert [parse_age(text) for text in ("12h", "30d", "2w")] == [43_200, 2_592_000, 1_209_600]
    with pytest.raises(UserError, match="expected a time"):
        parse_age("30")
