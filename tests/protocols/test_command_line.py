"""The command line as a shell meets it: pipes that close, completion, and the packages of other people."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from protocols import cli
from protocols.cli import run
from vfc.__main__ import PACKAGES, require_own_packages
from vfc.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
VFC = f'"{sys.executable}" -m vfc'
VFC_ATTACK = f'"{sys.executable}" -c "from vfc.__main__ import main_attack; main_attack()"'


def shell(command, folder=ROOT, **environment):
    """Run a line of bash with every exit code of its pipe on the last line of standard output."""
    return subprocess.run(
        ["bash", "-c", f'{command}; echo "${{PIPESTATUS[@]}}"'],
        cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )  # fmt: skip


@pytest.mark.parametrize("arguments", ["attack --help", "--help", "list", "schema", "--version"])
def test_a_reader_that_goes_away_changes_no_exit_code(arguments):
    # The reader is gone before Python has started, so that the pipe breaks every time.
    done = shell(f"{VFC} {arguments} | true")
    assert (done.stdout, done.stderr) == ("0 0\n", "")


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (f"{VFC} attack --help | head -3", "0 0"),
        (f"{VFC} attak 2>&1 | true", "2 0"),
        (f"{VFC} attack --help >&-", "0"),
        (f"{VFC} attak 2>&-", "2"),
        (f"{VFC} list >/dev/full", "2"),
        (f"{VFC} attack --help >/dev/full", "2"),
        (f"{VFC} baseline", "2"),
    ],
)
def test_what_happens_to_the_output_is_no_bug(command, code):
    done = shell(command)
    assert done.stdout.splitlines()[-1] == code
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("kind", ["bash", "zsh", "fish"])
def test_completion(kind):
    word = "att" if kind == "fish" else "1"
    script = shell(VFC, _VFC_COMPLETE=f"{kind}_source")
    words = shell(VFC, _VFC_COMPLETE=f"{kind}_complete", COMP_WORDS="vfc att", COMP_CWORD=word)
    for done, expected in ((script, "_vfc_completion"), (words, "attack")):
        assert done.stdout.endswith("0\n")
        assert expected in done.stdout
        assert done.stderr == "" or "bash" in done.stderr.lower(), done.stderr  # click warns of an old bash
    gone = shell(f"{VFC} | true", _VFC_COMPLETE=f"{kind}_source")
    assert gone.stdout == "0 0\n"
    assert "Traceback" not in gone.stderr


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("vfc attack --protocol tr", "plain,transfer\n"),
        ("vfc list ad", "plain,adversaries\n"),
        ("vfc list models vgg1", "plain,vgg11\nplain,vgg16\n"),
        ("vfc report exam", "file,exam\n"),
        ("vfc gate --config exam", "file,exam\n"),
        ("vfc attack --release exam", "file,exam\n"),
        ("vfc attack --release nopee", "plain,nopeek\nfile,nopee\n"),
    ],
)
def test_names_and_paths_are_completed(words, completed, capsys, monkeypatch):
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
    monkeypatch.setenv("_VFC_COMPLETE", "bash_complete")
    assert run(words.split()[1:]) == 0
    assert capsys.readouterr().out == completed


def test_completion_of_vfc_attack_and_of_nonsense():
    done = shell(VFC_ATTACK, _VFC_ATTACK_COMPLETE="bash_complete", COMP_WORDS="vfc-attack --prot", COMP_CWORD="1")
    assert done.stdout == "plain,--protocol\n0\n"
    assert shell(VFC, _VFC_COMPLETE="nonsense").stdout == "2\n"


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_vfc_attack_is_the_attack_of_vfc(flag):
    done = shell(f"{VFC_ATTACK} {flag}")
    assert "Usage: vfc-attack [OPTIONS]" in done.stdout
    assert "--protocol" in done.stdout


@pytest.mark.parametrize("error", [SystemExit(0), SystemExit(1), BrokenPipeError(32, "broken"), EOFError()])
def test_a_verb_that_does_not_return_is_a_bug_and_no_verdict(error, monkeypatch, capsys):
    def end(*_):
        raise error

    monkeypatch.setattr("protocols.commands.gate.run_gate", lambda *_, **__: end())
    monkeypatch.setattr("protocols.commands.schema.run_schema", end)
    assert cli.run(["gate", "report.json"]) == cli.run(["schema"]) == cli.BUG
    assert type(error).__name__ in capsys.readouterr().err


def test_an_interrupted_verb_says_so(monkeypatch, capsys):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr("protocols.commands.schema.run_schema", interrupt)
    assert cli.run(["schema"]) == cli.INTERRUPTED
    assert "the same command resumes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "form"), [*((name, "package") for name in PACKAGES), ("protocols", "module"), ("protocols", "folder")]
)
def test_a_package_of_the_users_own_is_met_with_a_sentence(name, form, tmp_path):
    if form == "module":
        (tmp_path / f"{name}.py").touch()
    else:
        (tmp_path / name).mkdir()
    if form == "package":
        (tmp_path / name / "__init__.py").touch()
    done = shell(f"{VFC if form == 'package' else VFC_ATTACK} --help", folder=tmp_path)
    if form == "folder" and done.stdout.endswith("0\n"):
        return  # where ours are found by their path, they win over a folder without __init__.py
    assert done.stdout == "2\n"
    (line,) = done.stderr.splitlines()
    words = f"vfc(-attack)?: error: expected the package '{name}' that comes with vfc, got {tmp_path}.* rename it"
    assert re.match(words, line)


def test_pytest_runs_beside_a_package_of_the_users_own(tmp_path):
    (tmp_path / "protocols").mkdir()
    (tmp_path / "protocols" / "__init__.py").write_text("MINE = 1\n")
    (tmp_path / "test_mine.py").write_text(
        "import pytest\nfrom vfc.errors import UserError\nfrom vfc.pytest_plugin import attacked\n\n\n"
        "def test_mine():\n    from protocols import MINE\n    assert MINE\n\n\n"
        "def test_theirs(vfc_report):\n"
        "    with pytest.raises(UserError, match='expected the package .protocols. that comes with vfc'):\n"
        "        attacked('identity')\n"
    )
    plugin = "-p vfc.pytest_plugin -o addopts= -p no:cacheprovider"
    done = shell(f'"{sys.executable}" -m pytest -q {plugin}', folder=tmp_path, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_ours_are_found(monkeypatch, tmp_path):
    require_own_packages()
    (tmp_path / "reports.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "reports")
    with pytest.raises(UserError, match="'reports'"):
        require_own_packages()


def test_what_other_programs_start_is_named_vfc():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"vfc": "vfc.__main__:main", "vfc-attack": "vfc.__main__:main_attack"}
    assert set(project["entry-points"]["pytest11"].values()) == {"vfc.pytest_plugin"}


@pytest.mark.parametrize("module", ["vfc", "vfc.__main__", "vfc.pytest_plugin"])
def test_the_front_doors_import_nothing_of_what_stands_above(module):
    code = (
        f"import sys\nimport {module}\n"
        "heavy = {'torch', 'numpy', 'click', 'pydantic', 'adversaries', 'protocols', 'reports'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('dataset = "digit"', "unknown dataset 'digit' (in vfc.toml)"),
        ('protocol = ["transfr"]', "unknown protocol 'transfr' (in vfc.toml)"),
        ('unintended = "vgg11,mlpp"', "unknown model 'mlpp' (in vfc.toml)"),
        ('release = "nowhere.npz"', "expected a file nowhere.npz, got nothing there (in vfc.toml)"),
        ('gate = "transfer.accuracy <= 0.5 x"', "got 'transfer.accuracy <= 0.5 x' (in vfc.toml)"),
        ('[set]\n"fine-tune.stepz" = 3', "unknown option of fine-tune 'stepz' (in vfc.toml)"),
        ('[set]\n"fine-tun.steps" = 3', "unknown name in --set 'fine-tun' (in vfc.toml)"),
        ('[set.fine-tune]\nsteps = "x"', "expected another value of fine-tune.steps, got 'x' (in vfc.toml)"),
    ],
)
def test_a_name_from_the_config_file_is_told_with_the_file(text, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("vfc.toml").write_text(text)
    assert cli.run(["attack", *(() if "release" in text else ("--release", "identity"))]) == 2
    assert says in capsys.readouterr().err


def test_what_was_typed_is_not_told_with_a_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("vfc.toml").write_text('dataset = "digit"\n[set]\n"fine-tune.stepz" = 3\n')
    assert cli.run(["attack", "--set", "fine-tune.stepz=3"]) == 2
    assert "'stepz'; did you mean" in capsys.readouterr().err
    Path("vfc.toml").write_text('dataset = "digit"')
    assert cli.run(["attack", "--dataset", "digti"]) == 2
    assert "'digti'; did you mean" in capsys.readouterr().err
    Path("vfc.toml").unlink()
    monkeypatch.setenv("VFC_DATASET", "digit")
    assert cli.run(["attack"]) == 2
    assert "unknown dataset 'digit' (from VFC_DATASET)" in capsys.readouterr().err
