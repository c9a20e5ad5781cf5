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
  compare) echo "# moved since $2" >"$5"; exit 0 ;;
  gate) exit "$GATE" ;;
esac
"""


def test_inputs_reach_scripts_only_through_the_environment():
    runs = re.findall(r"^ +run: (.*(?:\n {8,}.*)*)", ACTION, re.MULTILINE)
    assert len(runs) == 4
    assert not any("${{" in script for script in runs)
    names = set(re.findall(r"^  ([a-z-]+):$", ACTION.split("outputs:")[0].split("inputs:")[1], re.MULTILINE))
    assert set(re.findall(r"\$\{\{ inputs\.([a-z-]+) \}\}", ACTION)) | {"sarif", "comment"} == names
    for script in (ROOT / ".github" / name for name in ("attack.sh", "comment.sh")):
        text = script.read_text(encoding="utf-8")
        assert "eval" not in text.replace("evaluated", "")
        assert "${{" not in text


def test_the_action_keeps_its_cache_and_no_upload_decides():
    """What is restored before the attack is what the attack uses and what is saved behind it, red or green."""
    restored, used, saved = re.findall(
        r"^ +(?:path|VFC_CACHE_DIR): (\$\{\{ env\.VFC_CACHE_DIR .*)$", ACTION, re.MULTILINE
    )
    assert restored == used == saved
    places = [ACTION.index(text) for text in ("cache/restore@", "id: attack", "cache/save@")]
    assert places == sorted(places)
    steps = ACTION.split("    - name: ")
    [saving] = [step for step in steps if "cache/save@" in step]
    [scanning] = [step for step in steps if "upload-sarif@" in step]
    assert "if: always()\n" in saving
    assert "continue-on-error: true" in scanning


def call(folder, stub=STUB, **changes):
    (folder / "bin").mkdir()
    program = folder / "bin" / "vfc"
    program.write_text(stub)
    program.chmod(0o755)
    environment = {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "GITHUB_OUTPUT": "output", "GITHUB_STEP_SUMMARY": "summary",
        "VFC_ACTION_RELEASE": "vfc", "VFC_ACTION_PROTOCOLS": "transfer\nadaptive-probe\n", "VFC_ACTION_BUDGET": "smoke",
        "VFC_ACTION_GATES": "", "VFC_ACTION_PRESET": "", "VFC_ACTION_CONFIG": "", "VFC_ACTION_BASELINE": "",
        "VFC_ACTION_TOLERANCE": "0", "VFC_ACTION_OUT": "out", "VFC_ACTION_DATASET": "",
        "VFC_ACTION_OPTIONS": "", "ATTACK": "0", "GATE": "0", "REPORT": "yes", **changes,
    }  # fmt: skip
    subprocess.run(["bash", str(ROOT / ".github" / "attack.sh")], cwd=folder, env=environment, check=True)
    return dict(line.split("=") for line in (folder / "output").read_text().splitlines())


def test_arguments_arrive_as_they_are(tmp_path):
    evil = "x.y <= 1; touch owned"
    output = call(
        tmp_path, VFC_ACTION_GATES=f"{evil}\n$(touch owned)\n`touch owned`", VFC_ACTION_PRESET="paper",
        VFC_ACTION_RELEASE="a b:build", VFC_ACTION_DATASET="npz:a b.npz",
        VFC_ACTION_OPTIONS=f"--width=0.25\n--x={evil}",
    )  # fmt: skip
    arguments = (tmp_path / "arguments").read_text().split("\0")[:-1]
    assert arguments == [
        "attack", "--width=0.25", f"--x={evil}", "--release", "a b:build", "--dataset", "npz:a b.npz",
        "--budget", "smoke", "--protocol", "transfer", "--protocol", "adaptive-probe", "--gate", evil,
        "--gate", "$(touch owned)", "--gate", "`touch owned`", "--gates", "paper", "--out", "out",
    ]  # fmt: skip
    assert not (tmp_path / "owned").exists()
    assert output == {"report": "true", "exit-code": "0"}
    assert (tmp_path / "summary").read_text() == "# summary\n"


def test_empty_inputs_leave_the_choice_to_the_config_file(tmp_path):
    call(tmp_path, VFC_ACTION_RELEASE="", VFC_ACTION_PROTOCOLS="", VFC_ACTION_BUDGET="")
    assert (tmp_path / "arguments").read_text().split("\0")[:-1] == ["attack", "--out", "out"]


GH = """#!/usr/bin/env bash
printf '%s\\n' "$*" >>asked
case "$*" in
  *--paginate*) echo "$EARLIER" ;;
  *) last="${@: -1}"; cat "${last#body=@}" >body; exit "$POSTED" ;;
esac
"""


@pytest.mark.parametrize(
    ("earlier", "says"),
    [("", "POST repos/me/mine/issues/7/comments "), ("12\n34", "PATCH repos/me/mine/issues/comments/34 ")],
)
@pytest.mark.parametrize("posted", ["0", "1"])
def test_one_comment_on_a_pull_request(tmp_path, earlier, says, posted):
    """A new one or the last of ours; who may not comment is told so, and no verdict changes."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "run").mkdir()
    call(tmp_path / "run", VFC_ACTION_BASELINE="kept")
    (tmp_path / "bin" / "gh").write_text(GH)
    (tmp_path / "bin" / "gh").chmod(0o755)
    environment = {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "GH_TOKEN": "secret", "VFC_ACTION_REPOSITORY": "me/mine",
        "VFC_ACTION_NUMBER": "7", "VFC_ACTION_OUT": "run/out", "EARLIER": earlier, "POSTED": posted,
    }  # fmt: skip
    script = ["bash", str(ROOT / ".github" / "comment.sh")]
    done = subprocess.run(script, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert len(asked) == 2
    assert says in asked[1]
    assert "secret" not in "".join(asked)
    assert (tmp_path / "body").read_text() == "<!-- vfc privacy gate -->\n# moved since kept\n"
    assert ("::warning::" in done.stdout) is (posted == "1")
    environment |= {"VFC_ACTION_NUMBER": ""}
    subprocess.run(script, cwd=tmp_path, env=environment, capture_output=True, check=True)
    assert len((tmp_path / "asked").read_text().splitlines()) == 2


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
