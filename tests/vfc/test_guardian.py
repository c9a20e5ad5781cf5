"""Whatever ends the process of a run, the exit code is that of the verdict, or 2 with a sentence."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vfc.isolation.guardian import can_guard

pytestmark = pytest.mark.skipif(not can_guard(), reason="no guardian here")

WORK = """
import atexit, ctypes, os, signal, sys, time
from vfc.isolation.guardian import guarded

def work():
    {line}

sys.exit(guarded(work, "vfc"))
"""


def started(line):
    return subprocess.Popen(
        [sys.executable, "-c", WORK.format(line=line)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("sys.exit(0)", 0, ""),
        ("sys.exit(3)", 3, ""),
        ("print('told', flush=True); sys.exit(130)", 130, ""),
        ("ctypes.CDLL(None)._exit(0)", 2, "ended (exit code 0) before there was a verdict"),
        ("os._exit(0)", 2, "ended (exit code 0)"),
        ("ctypes.CDLL(None).exit(0)", 2, "ended (exit code 0)"),
        ("os._exit(1)", 2, "ended (exit code 1)"),
        ("os.execv('/bin/true', ['true'])", 2, "ended (exit code 0)"),
        ("os.kill(os.getpid(), 9)", 2, "killed by signal 9 (out of memory?)"),
        ("os.kill(os.getpid(), 11)", 2, "killed by signal 11"),
        ("os.kill(os.getpid(), 15)", -15, ""),
        ("os.kill(os.getpid(), 2)", 130, ""),
        ("raise ValueError('odd')", 4, "ValueError: odd"),
        ("sys.exit('text')", 4, ""),
        # What has been said stays said, whatever the defender's code does at the very end.
        ("atexit.register(lambda: os._exit(0)); sys.exit(1)", 1, ""),
        ("atexit.register(lambda: ctypes.CDLL(None)._exit(1)); sys.exit(0)", 0, ""),
    ],
)
def test_only_what_the_work_says_itself_is_its_code(line, code, words):
    process = started(line)
    out, errors = process.communicate(timeout=30)
    assert process.returncode == code, errors
    assert words in errors
    assert ("told" in line) is (out == "told\n")
    assert ("error:" in errors) is (code == 2)
    assert "Traceback" not in errors or code == 4


WAITS = "signal.signal(signal.SIGINT, lambda *_: sys.exit(7)); print(os.getpid(), flush=True); time.sleep(30)"


def test_an_interruption_reaches_the_work():
    with started(WAITS) as process:
        child = int(process.stdout.readline())
        assert child != process.pid
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 7


def test_a_guardian_that_is_killed_takes_the_run_with_it():
    with started(WAITS) as process:
        child = int(process.stdout.readline())
        process.kill()
        process.wait(10)
    for _ in range(200):
        if not Path(f"/proc/{child}").exists() or Path(f"/proc/{child}/stat").read_text().split()[2] == "Z":
            return
        time.sleep(0.02)
    pytest.fail("it goes on")


def test_a_termination_ends_both():
    with started(WAITS) as process:
        child = int(process.stdout.readline())
        process.terminate()
        assert process.wait(10) == -signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
