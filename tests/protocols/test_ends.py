"""However a run ends, its exit code says what is true: 0 needs a report, and 1 a broken gate."""

import io
import os
import signal
import subprocess
import sys
import time
from multiprocessing import forkserver
from pathlib import Path

import pytest

from protocols import cli
from protocols.commands.output import LineGuard
from protocols.engine.executors import processes
from protocols.engine.executors.processes import ProcessExecutor, warm_up
from tests.protocols.test_work import double
from vfc import __main__ as front
from vfc.errors import UserError
from vfc.isolation import guard
from vfc.isolation.guard import EndedError, Limits, set_limits, time_limit
from vfc.isolation.user_code import user_call

BUILD = """
import asyncio, ctypes, os, sys
from torch import nn

class Own(nn.Module):
    def forward(self, x):
        {forward}
        return x

def build():
    {build}
    return Own()
"""


@pytest.mark.parametrize("where", ["build", "forward"])
@pytest.mark.parametrize(
    "line",
    [
        "os._exit(0)", "os._exit(1)", "os.execv('/bin/true', ['true'])", "__import__('posix')._exit(0)", "sys.exit(0)",
        "raise GeneratorExit", "raise asyncio.CancelledError",
        "raise BaseException('end')", "sys.stdout.close() or sys.exit(1)",
    ],
)  # fmt: skip
def test_a_defense_that_ends_the_program_is_one_line(vfc, tmp_path, line, where, monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    (tmp_path / "own.py").write_text(BUILD.format(**{"build": "pass", "forward": "pass", where: line}))
    code, _, errors = vfc("attack", "--release", "own.py:build", "--protocol", "transfer", "--out", "o", "--quiet")
    assert code == 2, errors
    assert "own.py" in errors
    assert "Traceback" not in errors
    assert not Path("o/report.json").exists()


def test_a_child_of_the_defense_may_exit(tmp_path):
    def fork():
        child = os.fork()
        if child == 0:
            os._exit(7)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    real = os._exit
    assert user_call("mine", fork) == 7
    with pytest.raises(UserError, match="it called os"):
        user_call("mine", lambda: os._exit(0))
    assert os._exit is real


@pytest.mark.parametrize("child", ["pass", "raise SystemExit(0)"])
def test_a_child_of_the_defense_does_not_go_on_with_the_run(child):
    text = f"""
import os
from vfc.isolation.user_code import user_call

def fork():
    mine = os.fork()
    if mine == 0:
        {child}
    return mine

pid = user_call("mine", fork)
print("after", flush=True)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.split() == ["after", "1"], done.stderr


@pytest.mark.parametrize("error", [GeneratorExit(), BaseException("odd"), MemoryError(), RecursionError()])
def test_what_nobody_expects_is_a_bug_and_not_a_broken_gate(error, monkeypatch, capsys):
    def end(*_):
        raise error

    monkeypatch.setattr("protocols.commands.schema.run_schema", end)
    assert cli.run(["schema"]) == cli.BUG
    assert type(error).__name__ in capsys.readouterr().err


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("stream", [lambda: None, closed], ids=["missing", "closed"])
@pytest.mark.parametrize(
    ("arguments", "missing", "shut"), [(["schema"], 0, 2), (["attak"], 2, 2), (["list"], 0, 2), (["--help"], 0, 2)]
)
def test_streams_that_are_missing_or_closed_are_no_verdict(arguments, missing, shut, stream, monkeypatch):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, stream())
    assert cli.run(arguments) == (missing if stream() is None else shut)


def test_a_bug_without_standard_error_is_a_bug(monkeypatch):
    def end(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("protocols.commands.schema.run_schema", end)
    for stream in (None, closed()):
        monkeypatch.setattr(sys, "stderr", stream)
        assert cli.run(["schema"]) == cli.BUG


@pytest.mark.parametrize(
    ("error", "code"),
    [(ImportError("no numpy", name="numpy"), 2), (SyntaxError("bad"), 4), (KeyboardInterrupt(), 130), (OSError(), 4)],
)
@pytest.mark.parametrize("start", [front.main, front.main_attack])
def test_a_program_that_cannot_be_imported_is_no_verdict(error, code, start, monkeypatch, capsys):
    def fail(*_):
        raise error

    monkeypatch.setattr(front, "require_own_packages", fail)
    with pytest.raises(SystemExit) as ended:
        start()
    assert ended.value.code == code
    assert ("Traceback" in capsys.readouterr().err) is (code == 4)


def test_a_report_that_is_gone_is_not_0(vfc, monkeypatch):
    monkeypatch.setattr("protocols.commands.attack.write", lambda *_: None)
    code, _, errors = vfc("attack", "--release", "identity", "--protocol", "transfer", "--out", "o")
    assert code == 2
    assert "expected the report" in errors


def test_a_fork_server_that_died_is_started_again():
    warm_up()
    executor = ProcessExecutor(2, 1)
    try:
        os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)
        assert sorted(executor.run(double, [(1,), (2,)])) == [(0, 2), (1, 4)]
    finally:
        executor.close()


def test_workers_that_cannot_be_started_are_a_bug_and_no_interruption(monkeypatch, capsys):
    def dead(*_, **__):
        raise EOFError("unexpected EOF")

    monkeypatch.setattr(processes, "warm_up", dead)
    monkeypatch.setattr(processes.time, "sleep", lambda _: None)
    monkeypatch.setattr(
        "protocols.commands.schema.run_schema", lambda: list(ProcessExecutor(1, 1).run(double, [(1,)])) and 0
    )
    assert cli.run(["schema"]) == cli.BUG
    assert "cannot be started" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        (["::error::x\n"], ";:error::x\n"),
        (["  ::error::x\n"], "  ;:error::x\n"),
        (["a::b\n::c"], "a::b\n;:c"),
        (["\x1b[1m::error::x\n"], "\x1b[1m;:error::x\n"),
        (["a\r::b"], "a\r;:b"),
        (["a", "::b\n", "::c\n"], "a::b\n;:c\n"),
        (["\u2003::b"], "\u2003;:b"),
    ],
)
def test_no_line_of_ours_is_a_command_to_the_ci_server(written, seen):
    stream = io.StringIO()
    guard = LineGuard(stream)
    for text in written:
        assert guard.write(text) == len(text)
    assert stream.getvalue() == seen


HANGING = """
import time
from torch import nn

class Own(nn.Module):
    def forward(self, x):
        while FORWARD: pass
        return x

    def fit(self, images, labels):
        while FIT: pass

def build():
    while BUILD: pass
    return Own()
"""


@pytest.fixture
def usual_limits():
    yield
    set_limits(Limits())


@pytest.mark.usefixtures("usual_limits")
@pytest.mark.parametrize(("where", "option"), [("BUILD", "call"), ("FORWARD", "call"), ("FIT", "fit")])
def test_a_defense_that_hangs_is_stopped_and_said(vfc, tmp_path, where, option):
    text = HANGING.replace(where, "True")
    for other in ("BUILD", "FORWARD", "FIT"):
        text = text.replace(other, "False")
    (tmp_path / "own.py").write_text(text)
    code, _, errors = vfc(
        "attack",
        "--release",
        "own.py:build",
        "--protocol",
        "transfer",
        "--out",
        "o",
        "--quiet",
        f"--{option}-limit",
        0.2,
    )
    assert code == 2, errors
    assert f"took longer than 0.2 seconds (--{option}-limit)" in errors
    assert not Path("o/report.json").exists()


OWN_DEFENSE = """
from vfc.defense import Defense

class Own(Defense):
    def publish(self, x, generator):
        BODY

def build():
    return Own()
"""


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise KeyError('x')", "Own raised KeyError"),
        ("return None", "vfc Release"),
        ("import os; os._exit(0)", "_exit(0)"),
    ],
)
def test_a_defense_of_a_class_of_its_own_is_the_users_code_too(vfc, tmp_path, body, words):
    (tmp_path / "own.py").write_text(OWN_DEFENSE.replace("BODY", body))
    code, _, errors = vfc("attack", "--release", "own.py:build", "--protocol", "transfer", "--out", "o", "--quiet")
    assert code == 2, errors
    assert words in errors


FITTED_TWICE = """
import time
from dataclasses import dataclass
from typing import ClassVar
from vfc.defense import Defense
from vfc.release import Release

@dataclass(frozen=True, kw_only=True)
class Own(Defense):
    keyed: ClassVar[bool] = True
    fits: ClassVar[list] = []

    def fit(self, data, generator):
        self.fits.append(len(self.fits))
        if len(self.fits) > 1:
            BODY
        return super().fit(data, generator)

    def publish(self, x, generator):
        return Release(values=x)

def build():
    return Own()
"""


@pytest.mark.usefixtures("usual_limits")
@pytest.mark.parametrize(
    ("body", "words"),
    [("raise KeyError('x')", "Own raised KeyError"), ("time.sleep(60)", "took longer than 2 seconds (--fit-limit)")],
)
def test_a_keyed_defense_that_fails_when_fitted_again_is_one_line(vfc, tmp_path, body, words):
    (tmp_path / "own.py").write_text(FITTED_TWICE.replace("BODY", body))
    code, _, errors = vfc(
        "attack", "--release", "own.py:build", "--protocol", "linkage", "--out", "o", "--quiet", "--fit-limit", 2
    )
    assert code == 2, errors
    assert words in errors
    assert "Traceback" not in errors
    assert not Path("o/report.json").exists()


def spin():
    while True:
        time.sleep(0.01)


def test_limits_leave_alarms_as_they_were():
    def mine(*_):
        """Never called here."""

    before = signal.signal(signal.SIGALRM, mine)
    try:
        signal.setitimer(signal.ITIMER_REAL, 60)
        with pytest.raises(EndedError, match="took longer than"), time_limit(0.05, "call-limit"):
            spin()
        assert signal.getsignal(signal.SIGALRM) is mine
        assert 50 < signal.getitimer(signal.ITIMER_REAL)[0] < 60
        with time_limit(90.0, "call-limit"):
            # A stricter one is not put off.
            assert signal.getsignal(signal.SIGALRM) is mine
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


SWALLOWING = """
import sys, time
from vfc.isolation import guard
guard._AGAIN = 0.05
with guard.time_limit(0.05, "call-limit"):
    while True:
        try:
            time.sleep(5)
        except BaseException:
            pass
"""

LATE = """
import atexit, os, sys, threading, time
from vfc.isolation.guard import refuse_exits
refuse_exits()
atexit.register(lambda: os._exit(0))
threading.Thread(target=lambda: time.sleep(0.1) or os._exit(0)).start()
time.sleep(0.3)
sys.exit(1)
"""


@pytest.mark.parametrize(
    ("text", "code", "words"), [(SWALLOWING, 2, "does not stop"), (LATE, 1, "it called os._exit(0)")]
)
def test_whoever_waits_or_goes_on_does_not_choose_the_exit_code(text, code, words):
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == code
    assert words in done.stderr


def test_workers_have_the_limits_of_the_run():
    set_limits(Limits(fit=3.0, call=2.0))
    executor = ProcessExecutor(1, 1)
    try:
        assert list(executor.run(guard.limits, [()])) == [(0, Limits(fit=3.0, call=2.0))]
    finally:
        executor.close()
        set_limits(Limits())
