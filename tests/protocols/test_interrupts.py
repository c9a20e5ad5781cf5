"""Ctrl-C ends a run even where a library swallows the exception."""

import contextlib
import os
import signal
from dataclasses import dataclass

import pytest

from protocols import interrupts
from protocols.bench import Bench, Order
from protocols.cells import Outcome, Task
from protocols.executors import LocalExecutor
from protocols.places import Place
from protocols.progress import Reporter


@dataclass(frozen=True, kw_only=True)
class Swallows(Task):
    """Asks for an interruption and swallows it, as an optional import does."""

    turn: int

    def measure(self, place):
        if self.turn == 1:
            with contextlib.suppress(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
                for _ in range(1000):
                    pass
        return Outcome(status="measured")


@pytest.fixture
def listening():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupts.listen()
    yield
    signal.signal(signal.SIGINT, before)


def do(tmp_path, turns):
    bench = Bench(code="c", executor=LocalExecutor(), reporter=Reporter(quiet=True))
    place = Place(folder=tmp_path, device="cpu")
    return bench.do("work", [Order(Swallows(turn=turn), place, tmp_path, str(turn)) for turn in turns])


def test_a_swallowed_interruption_ends_the_run_and_keeps_what_is_finished(listening, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        do(tmp_path, range(4))
    assert len(list(tmp_path.glob("*.safetensors"))) == 2
    # It counts once: the same command resumes.
    assert len(do(tmp_path, range(4))) == 4


def test_where_interruptions_are_ignored_they_stay_ignored(listening):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    interrupts.listen()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
