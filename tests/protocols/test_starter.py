"""`vfc init`: what it writes runs green, its harder gate turns it red, and nothing that is there is overwritten."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from protocols.cli import run
from protocols.starter.init import SERVICES, content

ROOT = Path(__file__).resolve().parents[2]
QUICK = {"VFC_UNINTENDED": "mlp", "VFC_WIDTH": "0.25", "VFC_SET": "train.steps=60", "VFC_EXECUTOR": "local"}


@pytest.mark.parametrize("service", list(SERVICES))
def test_all_files_or_none(tmp_path, service, capsys):
    folder = tmp_path / "new"
    assert run(["init", str(folder), "--ci", service]) == 0
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert written == {"vfc.toml", "privacy_defense.py", "test_privacy.py", *SERVICES[service]}
    assert f"cd {folder} && vfc attack" in capsys.readouterr().out
    (folder / "vfc.toml").write_text("mine")
    (folder / "test_privacy.py").unlink()
    assert run(["init", str(folder), "--ci", service]) == 2
    assert "vfc.toml" in capsys.readouterr().err
    assert (folder / "vfc.toml").read_text() == "mine"
    assert not (folder / "test_privacy.py").exists()


def test_every_job_keeps_the_cache_and_the_exit_code():
    for service, files in SERVICES.items():
        for text in map(content, files.values()):
            assert "VFC_CACHE_DIR" in text, service
            assert "vfc attack --out vfc-report\n" in text, service


def test_the_first_run_is_green_and_the_harder_gate_red(tmp_path):
    run(["init", str(tmp_path)])
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "VFC_CACHE_DIR": str(tmp_path / "cache"), **QUICK}

    def attack():
        command = [sys.executable, "-m", "vfc", "attack", "--out", "out", "--fresh", "--quiet"]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    code, said = attack()
    assert (code, said.strip().splitlines()[-1]) == (0, "held"), said
    config = (tmp_path / "vfc.toml").read_text()
    harder = config.replace('# "adaptive', '"adaptive')
    assert len(tomllib.loads(harder)["policy"]["gates"]) == len(tomllib.loads(config)["policy"]["gates"]) + 1
    (tmp_path / "vfc.toml").write_text(harder)
    assert attack()[0] == 1
