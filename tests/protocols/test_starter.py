"""`vfc init`: what it writes runs green, its harder gate turns it red, and nothing that is there is overwritten."""

import os
import re
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


def test_a_red_job_keeps_its_cache_too():
    """Both services keep a cache of green jobs alone unless they are told otherwise."""
    assert "    paths: [.vfc-cache]\n    when: always" in content("gitlab")
    assert re.search(r"- if: always\(\).*\n +uses: actions/cache/save@", content("github"))
    assert "actions/cache@" not in content("github")


def test_the_page_shows_the_jobs_that_are_written():
    page = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    for kind, text in (("yaml", "github"), ("yaml", "gitlab"), ("bash", "shell")):
        assert f"```{kind}\n{content(text)}```\n" in page


@pytest.mark.parametrize("service", ["github", "gitlab"])
def test_a_job_installs_what_its_owner_names_and_nothing_else(service, repository, capsys):
    """A name that nobody has taken on a package index yet may be a stranger's tomorrow."""
    job = content(service)
    assert "vfc-attack" not in job
    [install] = re.findall(r"^ +- (?:run: )?((?:python -m )?pip install .*)$", job, re.MULTILINE)
    assert ": " not in install  # YAML would take it for a key
    code, said = done(f"export VFC_PACKAGE=; {install}")
    assert code != 0
    assert "VFC_PACKAGE: set it to what pip installs" in said
    assert not (repository / "installed").exists()
    assert done(install)[0] == 0
    assert (
        repository / "installed"
    ).read_text() == f"{'-m pip ' * (service == 'github')}install --quiet git+https://HOST/vfc\n"
    capsys.readouterr()
    assert run(["init", "another", "--ci", service]) == 0
    assert "set the variable VFC_PACKAGE of the " in capsys.readouterr().out
    assert run(["list", "models"]) == 0


QUICKER = """from functools import partial

import vfc.pytest_plugin as plugin

quick = {"unintended": ("mlp",), "width": 0.25, "overrides": (("train.steps", 60),), "executor": "local"}
plugin.assert_suppressed = partial(plugin.assert_suppressed, **quick)
"""
"""The options of QUICK for the test that is written, which reads no variables."""

SHIMS = {
    "vfc": f'#!/bin/sh\nexec "{sys.executable}" -m vfc "$@"\n',
    # What it would install is here already.
    "pip": '#!/bin/sh\necho "$*" >>installed\n',
    "python": f'#!/bin/sh\n[ "$2" = pip ] && echo "$*" >>installed && exit 0\nexec "{sys.executable}" "$@"\n',
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """What one test has measured, the next one finds."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def repository(tmp_path, monkeypatch, cache):
    """An empty repository after `vfc init`, in which commands run as on a runner."""
    (tmp_path / "bin").mkdir()
    for name, text in SHIMS.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    run(["init", str(tmp_path / "work")])
    environment = {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT),
        "VFC_PACKAGE": "git+https://HOST/vfc", "VFC_CACHE_DIR": str(cache),
        "GITHUB_STEP_SUMMARY": "summary.md", "GITHUB_OUTPUT": "output", **QUICK,
    }  # fmt: skip
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def done(command):
    found = subprocess.run(["bash", "-e", "-c", command], capture_output=True, text=True, check=False)
    return found.returncode, found.stdout + found.stderr


def ask_harder(file):
    """Take the sign away, as the file says."""
    config = file.read_text()
    harder = config.replace('# "adaptive', '"adaptive')
    assert len(tomllib.loads(harder)["policy"]["gates"]) == len(tomllib.loads(config)["policy"]["gates"]) + 1
    file.write_text(harder)


def lines_of(job, key):
    """The commands of a job under `script` or `after_script`."""
    block = re.search(rf"^  {key}:\n((?:    - .*\n)+)", job, re.MULTILINE)[1]
    return block.replace("    - ", "")


def test_gitlab_and_the_shell_are_green_and_then_red_and_leave_their_files(repository):
    job = content("gitlab")
    pages = repository / "vfc-report" / "report.html", repository / "vfc-report" / "report.xml"
    code, said = done(lines_of(job, "script"))
    assert (code, "HELD" in said) == (0, True), said
    assert "git+https://HOST/vfc" in (repository / "installed").read_text()
    assert done(lines_of(job, "after_script"))[0] == 0
    assert all(page.is_file() for page in pages)
    ask_harder(repository / "vfc.toml")
    (repository / "privacy.sh").write_text(content("shell"))
    for commands in (lines_of(job, "script"), "sh privacy.sh"):
        for page in pages:
            page.unlink()
        code, said = done(commands)
        assert (code, "resumed" in said) == (1, True), said
        if commands != "sh privacy.sh":
            assert done(lines_of(job, "after_script"))[0] == 0
        assert "BROKEN" in pages[0].read_text().upper()
        assert "<failure" in pages[1].read_text()


def test_the_written_job_is_green_and_the_action_with_the_harder_gate_red(repository):
    """Both run in one folder: a gate changes nothing that was measured, so the second run finds all of it."""
    workflow = (repository / ".github/workflows/privacy.yml").read_text()
    install, attack, report = re.findall(r"^ +(?:- )?run: (.*)$", workflow, re.MULTILINE)
    assert workflow.count("if: always()") == 3  # the report, its upload, and the cache
    assert done(install)[0] == 0
    assert "git+https://HOST/vfc" in (repository / "installed").read_text()
    code, said = done(attack)
    assert (code, "HELD" in said) == (0, True), said
    assert done(report)[0] == 0
    assert (repository / "summary.md").read_text().splitlines()[0].endswith(" HELD")
    assert (repository / "vfc-report" / "report.html").is_file()

    (repository / "conftest.py").write_text(QUICKER)
    code, said = done(f"{sys.executable} -m pytest -q test_privacy.py")
    assert (code, "1 passed" in said) == (0, True), said

    ask_harder(repository / "vfc.toml")
    inputs = re.findall(r"VFC_ACTION_(\w+): \$\{\{ inputs", (ROOT / "action.yml").read_text())
    given = dict.fromkeys(inputs, "") | {"OUT": "vfc-report", "TOLERANCE": "0"}
    exported = " ".join(f"VFC_ACTION_{name}={value}" for name, value in given.items())
    code, said = done(f"{exported} bash {ROOT / '.github/attack.sh'}")
    assert code == 0
    assert "resumed" in said
    assert (repository / "output").read_text().split() == ["report=true", "exit-code=1"]
    assert (repository / "summary.md").read_text().count("BROKEN") > 0
    assert "adaptive.accuracy@1 <= 0.5" in (repository / "vfc-report" / "comment.md").read_text()
