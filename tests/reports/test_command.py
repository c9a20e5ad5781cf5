"""The command that makes a report again."""

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from reports.model.report import Command, Settings
from reports.text.command import command_lines, command_words
from tests.reports.sample import GATE, full


def test_command_is_rebuilt_from_what_was_passed():
    assert command_words(full()) == [
        *("vfc-attack", "--budget", "smoke", "--gate", GATE, "--out", "my out", "--fresh", "--set", "cnn.a=1"),
    ]
    command = Command(argv=("/opt/bin/vfc", "attack"), settings=Settings(passed={"download": True, "release": "-x"}))
    assert command_words(full(command=command)) == ["vfc", "attack", "--download", "--release=-x"]
    assert command_words(full(command=Command(argv=("pytest", "--vfc")))) == ["pytest", "--vfc"]


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@given(st.lists(TEXT, min_size=1, max_size=3), st.sampled_from([24, 80]), st.booleans())
@settings(max_examples=30, deadline=None, derandomize=True)
def test_command_survives_the_shell(arguments, width, plain):
    lines = command_lines(["printf", "%s\\0", *arguments], width, plain=plain)
    assert all(cell_len(line) <= width and line.isprintable() for line in lines)
    run = subprocess.run(
        ["bash", "-c", "\n".join(lines)],
        capture_output=True,
        check=True,
        env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
    )
    assert run.stdout.decode().split("\0")[:-1] == arguments
