"""Tests of a tree run in forks of one process, which has imported the large libraries once.

A fork costs nothing; what it imports anew are only the packages of the tree, as they are written there at that moment.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, Literal

import pytest

OURS = ("vfc", "adversaries", "protocols", "reports", "tests", "benchmarks", "conftest")
LARGE = (
    "torch", "torch.func", "numpy", "scipy.stats", "scipy.optimize", "sklearn.linear_model", "sklearn.ensemble",
    "sklearn.neighbors", "sklearn.metrics", "hypothesis", "beartype", "jaxtyping", "pydantic", "safetensors.torch",
    "skimage.metrics", "torchmetrics", "_pytest.pytester", "xdist", "xdist.plugin",
)  # fmt: skip
"""Imported once where they are there; a library that is not here is imported by every fork that needs it."""
IDLE = 10
"""Seconds that may pass for each processor second: a busy machine makes no test slower."""


@dataclass(frozen=True, kw_only=True)
class Ran:
    """How some tests ended.

    Args:
        outcome: `timeout` when they were ended from here.
        by: the tests that failed; empty if none did, or if they could not be collected.
    """

    outcome: Literal["passed", "failed", "timeout"]
    by: tuple[str, ...] = ()


def import_large() -> None:
    """Import what every fork shall find imported."""
    for name in LARGE:
        with suppress(ImportError):
            importlib.import_module(name)


def run_forked(
    tree: Path,
    files: Sequence[str],
    seconds: float,
    *,
    wanted: Sequence[str] | None = None,
    watched: Sequence[str] = (),
    to_the_end: bool = False,
) -> Ran:
    """Run tests of a tree in a fork.

    Args:
        tree: where the packages and tests lie.
        files: the test files, relative to the tree.
        seconds: of the processor; the fork is killed after that, and with its children after `IDLE` times as long.
        wanted: names of the tests to run, in that order; all of the files if None.
        watched: files of the tree, relative to it. The lines of them that each test runs are appended to
            `lines.jsonl` beside the tree (see `Watch`).
        to_the_end: a failure does not end the run.
    """
    said = tree.parent / "said.txt"
    said.write_text("", "utf-8")
    child = os.fork()
    if child == 0:
        code = 70
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(seconds), math.ceil(seconds) + 1))
            code = _run(tree, files, Watch(tree, said, wanted, watched), ("-q" if to_the_end else "-x"))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    code = _waited(child, IDLE * seconds)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if code in (None, -signal.SIGXCPU):
        return Ran(outcome="timeout")
    return Ran(outcome="failed" if code else "passed", by=tuple(said.read_text("utf-8").splitlines()))


def _waited(child: int, seconds: float) -> int | None:
    """The exit code of a child, or None if it had to be killed."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    # A child that dies at once may not have made its group yet.
    for kill in (os.killpg, os.kill):
        with suppress(ProcessLookupError):
            kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _run(tree: Path, files: Sequence[str], watch: Watch, *more: str) -> int:
    """Pytest in this process, which knows none of our packages yet."""
    for name in list(sys.modules):
        if name.split(".")[0] in OURS:
            del sys.modules[name]
    sys.modules["__main__"] = ModuleType("__main__")
    elsewhere = {str(Path(__file__).resolve().parents[2]), os.getcwd(), ""}
    sys.path[:] = [str(tree), *(path for path in sys.path if path not in elsewhere)]
    os.environ["PYTHONPATH"] = str(tree)
    os.chdir(tree)
    nowhere = os.open(os.devnull, os.O_RDWR)
    output = os.open(tree.with_name("output.txt"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(nowhere, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    options = [
        "-q",
        "-p",
        "no:cacheprovider",
        "-o",
        "addopts=",
        "--assert=plain",
        "--tb=line",
        f"--basetemp={tree.parent / 'base'}",
    ]
    return int(pytest.main([*options, *more, *files], plugins=[watch]))


class Watch:
    """A pytest plugin: runs some tests in a given order, says what failed first, and which lines each test ran.

    One line of `lines.jsonl` is one test: `test`, `seconds`, `passed`, `setup` and `call` (file to lines).
    """

    def __init__(self, tree: Path, said: Path, wanted: Sequence[str] | None, watched: Sequence[str]) -> None:
        self.said, self.wanted = said, wanted
        self.files = {str(tree / file): file for file in watched}
        self.lines: dict[str, dict[str, set[int]]] = {}
        self.seconds, self.passed = 0.0, True

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        if self.wanted is not None:
            by_name = {item.nodeid: item for item in items}
            items[:] = [by_name[name] for name in self.wanted]

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.seconds += report.duration
        self.passed &= report.outcome == "passed"
        if report.failed:
            with self.said.open("a", encoding="utf-8") as file:
                file.write(f"{report.nodeid}\n")

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        if not self.files:
            return
        lines = {when: {file: sorted(ran) for file, ran in of.items()} for when, of in self.lines.items()}
        said = {"test": nodeid, "seconds": self.seconds, "passed": self.passed, **lines}
        with self.said.with_name("lines.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(said) + "\n")
        self.lines, self.seconds, self.passed = {}, 0.0, True

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_setup(self) -> Iterator[None]:
        with self._watching("setup"):
            yield

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_call(self) -> Iterator[None]:
        with self._watching("call"):
            yield

    @contextmanager
    def _watching(self, when: str) -> Iterator[None]:
        if not self.files:
            yield
            return
        tracer = _tracer(self.files, self.lines.setdefault(when, {}))
        sys.settrace(tracer)
        try:
            yield
        finally:
            sys.settrace(None)


def _tracer(files: dict[str, str], ran: dict[str, set[int]]) -> Callable[[FrameType, str, Any], Any]:
    """Notes the lines of the files that run, by file."""

    def line(frame: FrameType, _: str, __: Any) -> Any:
        ran.setdefault(files[frame.f_code.co_filename], set()).add(frame.f_lineno)
        return line

    def call(frame: FrameType, event: str, argument: Any) -> Any:
        return line(frame, event, argument) if frame.f_code.co_filename in files else None

    return call
