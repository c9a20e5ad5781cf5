"""What a long run says while it runs."""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from protocols.engine import progress
from protocols.engine.executors.base import LocalExecutor
from protocols.engine.progress import Reporter
from protocols.engine.settings import Settings
from protocols.engine.task import Outcome, save_outcome
from protocols.engine.task_runner import QueuedTask, TaskRunner
from protocols.evaluation.label_task import LabelTask
from protocols.evaluation.plan import planned


@pytest.fixture
def clock(monkeypatch):
    """A clock that tests set; threads of stages wait for nothing."""

    class Clock:
        now = 0.0

    monkeypatch.setattr(progress.time, "monotonic", lambda: Clock.now)
    return Clock


@pytest.fixture
def log():
    out = io.StringIO()
    return out, Reporter(Console(file=out, width=200, highlight=False))


def test_a_log_gets_a_line_every_half_minute_and_none_of_short_stages(clock, log):
    out, reporter = log
    for end in range(10, 101, 10):  # ten stages of ten seconds
        with reporter.stage(f"stage {end}", 1) as stage:
            clock.now = end
            stage.advance()
    assert re.findall(r"stage (\d+): 1/1", out.getvalue()) == ["30", "60", "90"]


def test_what_ends_within_half_a_minute_says_nothing_and_a_quiet_run_never_does(clock, log):
    out, reporter = log
    with reporter.stage("short", 1) as stage:
        clock.now = 29.0
        stage.advance()
    reporter.quiet = True
    with reporter.stage("long", 1) as stage:
        clock.now = 100.0
        stage.advance()
    assert out.getvalue() == ""


def test_a_log_says_how_far_the_whole_run_is(clock, log):
    out, reporter = log
    reporter.expect(40)
    with reporter.stage("training", 1) as stage:
        clock.now = 31
        stage.advance()  # training is none of the fits
    reporter.whole.skip(10)
    with reporter.stage("attacks", 20, fits=True) as stage:
        for end in range(2, 41, 2):
            clock.now = 31 + end
            stage.advance()
    # Ten of forty were there; twenty took 40 s, so ten more take 20 s.
    assert "training: 1/1 after 31 s\n" in out.getvalue()
    assert "attacks: 20/20 after 40 s; 30/40 in all; about 20 s left" in out.getvalue()


def test_a_terminal_has_one_bar_for_all_fits(clock):
    out = io.StringIO()
    reporter = Reporter(Console(file=out, width=200, force_terminal=True))
    reporter.expect(30)
    shown = []
    for name in ("attacks", "controls"):
        with reporter.stage(name, 12, fits=True) as stage:
            for _ in range(12):
                clock.now += 30
                stage.advance()
            (task,) = stage._bar.tasks
            shown.append((task.description, task.completed, task.total, task.fields["left"]))
    assert shown == [("attacks 12/12", 12, 30, "about 9 min left"), ("controls 12/12", 24, 30, "about 3 min left")]
    # More than was expected is done all the same.
    with reporter.stage("further checks", 8, fits=True) as stage:
        stage.advance()
        assert stage._bar.tasks[0].total == 32
        assert stage._bar.tasks[0].completed == 25


TASK = LabelTask(
    adversary="linear", settings={}, level="L2", labels_per_class="all", goal="task:y", arm="attack", seed=0,
    doubled=False, world="w",
)  # fmt: skip


def test_a_resumed_run_says_how_much_was_there(tmp_path: Path, log, monkeypatch):
    out, reporter = log
    save_outcome(Outcome.empty("not_applicable", "no"), tmp_path / f"{TASK.key('c')}.safetensors")
    monkeypatch.setattr(LabelTask, "measure", lambda _self, _place: Outcome.empty("not_applicable", "none"))
    other = LabelTask(**{**TASK.__dict__, "seed": 1})
    runner = TaskRunner(code="c", executor=LocalExecutor(), reporter=reporter)
    found = runner.run("attacks", [QueuedTask(task, None, tmp_path, "t") for task in (TASK, other)])
    assert [outcome.reason for outcome in found] == ["no", "none"]
    assert "attacks: resumed 1 of 2" in out.getvalue()
    runner.run("more", [QueuedTask(LabelTask(**{**TASK.__dict__, "seed": 2}), None, tmp_path, "t")])
    assert "more" not in out.getvalue()


def test_the_plan_counts_everybody_at_every_number_of_labels():
    # Of transfer every candidate is frozen: two forms of each model.
    line = planned(["transfer"], Settings(budget="full"), ["a", "b"], None, 1)
    assert "transfer (up to L0, up to" in line
    assert "everybody is trained to the end" in line
    counts = {
        (threat, budget): int(
            re.search(
                r"up to (\d+) attacks",
                planned(["adaptive-probe"], Settings(threat=threat, budget=budget), ["a"], None, 1),
            )[1]
        )
        for threat in ("L1", "L2")
        for budget in ("smoke", "standard")
    }
    assert counts["L1", "smoke"] == counts["L1", "standard"]
    # Three numbers of labels at smoke, five at standard.
    assert (counts["L2", "smoke"] - counts["L1", "smoke"]) * 5 == (
        counts["L2", "standard"] - counts["L1", "standard"]
    ) * 3
    assert "race from 0.125 to 1" in planned(["transfer"], Settings(budget="smoke"), ["a"], None, 1)
