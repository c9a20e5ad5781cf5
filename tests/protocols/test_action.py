"""The GitHub action: nothing of its inputs reaches a script as text, and the exit code is the verdict's."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ACTION = (ROOT / "action.yml").read_text(encoding="utf-8")
STUB = """#!/usr/bin/env bash
printf '%s\\n' "$1" >>calls
case "$1" in
  attack) printf '%s\\0' "$@" >arguments
    out=$(printf '%s\\n' "$@" | grep -A1 -x -- --out | tail -1)
    [ "$REPORT" = yes ] && mkdir -p "$out" && touch "$out/report.json"
    exit "$ATTACK" ;;
  report) echo "# summary" >"${10}"; exit 0 ;;
  gate) exit "$GATE" ;;
esac
"""


def test_inputs_reach_scripts_only_through_the_environment():
    runs = re.findall(r"^ +run: (.*(?:\n {8,}.*)*)", ACTION, re.MULTILINE)
    assert len(runs) == 3
    assert not any("${{" in script for script in runs)
    names = set(re.findall(r"^  ([a-z-]+):$", ACTION.split("outputs:")[0].split("inputs:")[1], re.MULTILINE))
    assert set(re.findall(r"\$\{\{ inputs\.([a-z-]+) \}\}", ACTION)) | {"sarif"} == names
    script = (ROOT / ".github" / "attack.sh").read_text(encoding="utf-8")
    assert "eval" not in script.replace("evaluated", "")
    assert "${{" not in script


def call(folder, stub=STUB, **changes):
    (folder / "bin").mkdir()
    program = folder / "bin" / "vfc"
    program.write_text(stub)
    program.chmod(0o755)
    environment = {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "GITHUB_OUTPUT": "output", "GITHUB_STEP_SUMMARY": "summary",
        "VFC_ACTION_RELEASE": "vfc", "VFC_ACTION_PROTOCOLS": "transfer\nadaptive-probe\n", "VFC_ACTION_BUDGET": "smoke",
        "VFC_ACTION_GATES": "", "VFC_ACTION_PRESET": "", "VFC_ACTION_CONFIG": "", "VFC_ACTION_BASELINE": "",
        "VFC_ACTION_TOLERANCE": "0", "VFC_ACTION_OUT": "out", "ATTACK": "0", "GATE": "0", "REPORT": "yes", **changes,
    }  # fmt: skip
    subprocess.run(["bash", str(ROOT / ".github" / "attack.sh")], cwd=folder, env=environment, check=True)
    return dict(line.split("=") for line in (folder / "output").read_text().splitlines())


def test_arguments_arrive_as_they_are(tmp_path):
    evil = "x.y <= 1; touch owned"
    output = call(
        tmp_path, VFC_ACTION_GATES=f"{evil}\n$(touch owned)\n`touch owned`", VFC_ACTION_PRESET="paper",
        VFC_ACTION_RELEASE="a b:build",
    )  # fmt: skip
    arguments = (tmp_path / "arguments").read_text().split("\0")[:-1]
    assert arguments == [
        "attack", "--release", "a b:build", "--budget", "smoke", "--out", "out", "--protocol", "transfer",
        "--protocol", "adaptive-probe", "--gate", evil, "--gate", "$(touch owned)", "--gate", "`touch owned`",
        "--gates", "paper",
    ]  # fmt: skip
    assert not (tmp_path / "owned").exists()
    assert output == {"report": "true", "exit-code": "0"}
    assert (tmp_path / "summary").read_text() == "# summary\n"


@pytest.mark.parametrize(
    ("attack", "gate", "code"),
    [
        ("0", "0", "0"),
        ("0", "3", "3"),
        ("3", "1", "1"),
        ("1", "3", "1"),
        ("3", "0", "3"),
        ("3", "2", "2"),
        ("1", "4", "1"),
    ],
)
def test_the_worse_exit_code_wins(tmp_path, attack, gate, code):
    output = call(tmp_path, ATTACK=attack, GATE=gate, VFC_ACTION_BASELINE="kept")
    assert output["exit-code"] == code


@pytest.mark.parametrize("marker", [True, False])
@pytest.mark.parametrize(
    ("code", "said"), [("0", "4"), ("1", "4"), ("3", "4"), ("2", "2"), ("130", "130"), ("137", "137")]
)
def test_without_a_report_nothing_was_decided(tmp_path, code, said, marker):
    """Whatever the exit code: a factory that ends the process, with 0 say, has passed no gate."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.json").write_text("of somebody else")
    if marker:
        (tmp_path / "out" / ".vfc-run.json").write_text("{}")
    assert call(tmp_path, ATTACK=code, REPORT="no") == {"exit-code": said}
    assert (tmp_path / "calls").read_text() == "attack\n"
    # An earlier run's makes room; what no run wrote is left alone.
    assert (tmp_path / "out" / "report.json").exists() is not marker


@pytest.mark.parametrize(
    ("ending", "code"), [("os._exit(0)", "2"), ("ctypes.CDLL(None)._exit(0)", "2")], ids=["python", "c"]
)
def test_a_factory_that_ends_the_real_program_with_0_passes_no_gate(tmp_path, ending, code):
    (tmp_path / "own.py").write_text(f"import ctypes, os\ndef build():\n    {ending}\n")
    real = f'#!/usr/bin/env bash\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m vfc "$@"\n'
    quick = {"VFC_UNINTENDED": "mlp", "VFC_WIDTH": "0.25", "VFC_SET": "train.steps=1", "VFC_EXECUTOR": "local"}
    output = call(
        tmp_path, stub=real, VFC_ACTION_RELEASE="own.py:build", VFC_ACTION_PROTOCOLS="transfer",
        VFC_CACHE_DIR=str(tmp_path / "cache"), **quick,
    )  # fmt: skip
    assert output == {"exit-code": code}
