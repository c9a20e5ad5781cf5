"""Tasks on disk, executors, run folders, settings: what must not be lost and what must not be mixed up."""

import os
import signal
import time
from dataclasses import replace
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest

from protocols.engine.budget import BUDGETS, get_budget
from protocols.engine.executors.base import LocalExecutor, StoppedError, StoppedExecutor, WorkerDiedError
from protocols.engine.executors.choose import AutoExecutor, make_executor
from protocols.engine.executors.processes import ProcessExecutor
from protocols.engine.settings import Settings, parse_override
from protocols.engine.task import Outcome, label_arrays, load_outcome, save_outcome
from protocols.engine.workspace import claimed
from protocols.evaluation.label_task import LabelTask
from vfc.errors import UserError

TASK = LabelTask(
    adversary="linear", settings={}, level="L2", labels_per_class="all", goal="task:y", arm="attack", seed=0,
    doubled=False, world="w",
)  # fmt: skip


def measured(**changes):
    facts = {
        "status": "measured",
        "arrays": label_arrays(np.array([1, 0]), np.array([1, 1, 0]), 0.5),
        "flags": ("ZERO_GRADIENT",),
        "cost": {"seconds": 1.5, "gradient_steps": 3},
    }
    return Outcome(**{**facts, **changes})


def test_an_outcome_survives_the_disk(tmp_path):
    save_outcome(measured(), tmp_path / "cells" / "a.safetensors")
    found = load_outcome(tmp_path / "cells" / "a.safetensors")
    assert (found.status, found.flags) == ("measured", ("ZERO_GRADIENT",))
    assert found.arrays["targets.chance"].tolist() == [0.5]
    assert found.cost == {"seconds": 1.5, "gradient_steps": 3}
    assert found.targets.tolist() == [1, 1, 0]
    assert found.validation.tolist() == [1, 0]
    assert found.targets.dtype == np.uint8
    assert [path.name for path in (tmp_path / "cells").iterdir()] == ["a.safetensors"]


@pytest.mark.parametrize("size", [0, 5, 60])
def test_a_task_that_was_cut_short_is_not_finished(tmp_path, size):
    path = tmp_path / "a.safetensors"
    save_outcome(measured(), path)
    path.write_bytes(path.read_bytes()[:size])
    assert load_outcome(path) is None


def test_a_failed_task_is_tried_again_and_one_that_does_not_apply_is_not(tmp_path):
    save_outcome(Outcome.empty("failed", "boom"), tmp_path / "a")
    save_outcome(Outcome.empty("not_applicable", "no"), tmp_path / "b")
    assert load_outcome(tmp_path / "a") is None
    assert load_outcome(tmp_path / "b").reason == "no"


def test_an_outcome_without_arrays_survives_the_disk(tmp_path):
    empty = Outcome.empty("not_applicable", "no pairs")
    for outcome in (empty, Outcome(status="measured", flags=("ZERO_GRADIENT",), cost={"seconds": 2.0})):
        save_outcome(outcome, tmp_path / "a.safetensors")
        assert load_outcome(tmp_path / "a.safetensors") == outcome
    assert dict(empty.arrays) == {}


@pytest.mark.parametrize(
    "change",
    [
        {"adversary": "knn"}, {"settings": {"lr": 1}}, {"level": "L1"}, {"labels_per_class": 5}, {"goal": "task:z"},
        {"arm": "ceiling"}, {"seed": 1}, {"doubled": True}, {"world": "v"},
        {"draw": 1}, {"share": 0.125},
    ],
)  # fmt: skip
def test_a_task_is_named_by_everything_that_it_depends_on(change):
    assert replace(TASK, **change).key("code") != TASK.key("code")
    assert TASK.key("other code") != TASK.key("code")


def double(x):
    return 2 * x


def fail(x):
    raise ValueError(f"no {x}")


def die(x):
    if x == 1:
        os._exit(3)
    return x


def test_executors_return_results_and_exceptions():
    for executor in (LocalExecutor(), ProcessExecutor(2, 1)):
        try:
            assert sorted(executor.run(double, [(1,), (2,), (3,)])) == [(0, 2), (1, 4), (2, 6)]
            ((_, error),) = executor.run(fail, [(7,)])
            assert isinstance(error, ValueError)
        finally:
            executor.close()


def test_a_worker_that_dies_fails_its_own_job_alone():
    executor = ProcessExecutor(2, 1)
    try:
        found = dict(executor.run(die, [(0,), (1,), (2,), (3,)]))
    finally:
        executor.close()
    assert {position: found[position] for position in (0, 2, 3)} == {0: 0, 2: 2, 3: 3}
    assert isinstance(found[1], WorkerDiedError)


def die_or_last(seconds):
    """End at once where a number is negative, or last so long; returns it."""
    if seconds < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(seconds)
    return seconds


def test_whoever_works_beside_a_worker_that_dies_is_not_lost():
    executor = ProcessExecutor(3, 1)
    jobs = [(0.3,), (-1,), (0.4,), *[(0.01 * n,) for n in range(8)], (-2,)]
    try:
        found = dict(executor.run(die_or_last, jobs))
    finally:
        executor.close()
    assert sorted(found) == list(range(len(jobs)))
    died = [position for position, result in found.items() if isinstance(result, WorkerDiedError)]
    assert sorted(died) == [1, len(jobs) - 1]
    assert all(found[position] == seconds for position, (seconds,) in enumerate(jobs) if seconds >= 0)


def test_a_job_that_hangs_is_stopped_and_named_and_the_others_go_on():
    executor = ProcessExecutor(2, 1)
    try:
        dict(executor.run(die_or_last, [(0.2,), (0.2,)]))  # what starting takes is no part of a job
        executor.limit = 6.0
        found = dict(executor.run(die_or_last, [(0.01,), (60,), (0.5,), (1.0,), (0.02,)]))
    finally:
        executor.close()
    assert "did not end within 6 s" in str(found.pop(1))
    assert found == {0: 0.01, 2: 0.5, 3: 1.0, 4: 0.02}


class Recording:
    """Stands for worker processes."""

    def __init__(self):
        self.asked = []

    def run(self, function, jobs):
        self.asked += jobs
        return iter([(position, function(*job)) for position, job in enumerate(jobs)])

    def close(self):
        self.asked = None


def large_or_foreign(argument):
    return argument.answer


def test_small_work_stays_and_long_work_moves(monkeypatch):
    clock = iter(range(0, 1000, 3))  # every job takes three seconds
    monkeypatch.setattr("protocols.engine.executors.choose.time.monotonic", lambda: next(clock))
    monkeypatch.setattr("protocols.engine.executors.choose.warm_up", lambda: None)
    processes = Recording()
    executor = AutoExecutor(processes, patience=10.0)
    assert list(executor.run(double, [(1,), (2,)])) == [(0, 2), (1, 4)]
    assert processes.asked == []
    # 6 seconds are over; after four jobs in all 12 are.
    assert list(executor.run(double, [(3,), (4,), (5,), (6,)])) == [(0, 6), (1, 8), (2, 10), (3, 12)]
    assert processes.asked == [(5,), (6,)]
    assert list(executor.run(double, [(7,)])) == [(0, 14)]
    assert processes.asked[-1] == (7,)


@pytest.mark.parametrize("facts", [{"size": 10**9}, {"foreign": True}, {"adversary": "theirs"}])
def test_large_data_and_code_of_others_move_at_once(facts, monkeypatch):
    theirs = SimpleNamespace(cards={"theirs": None}, get=lambda _: SimpleNamespace(__module__="theirs"))
    monkeypatch.setattr("protocols.engine.executors.choose.ADVERSARIES", theirs)
    processes = Recording()
    job = SimpleNamespace(answer=5, **facts)
    assert list(AutoExecutor(processes).run(large_or_foreign, [(SimpleNamespace(answer=4),), (job,)])) == [
        (0, 4),
        (1, 5),
    ]
    assert processes.asked == [(job,)]


def test_what_is_stopped_does_nothing():
    ((position, result),) = StoppedExecutor().run(fail, [(1,)])
    assert position == 0
    assert isinstance(result, StoppedError)


def test_an_accelerator_is_used_from_one_process():
    assert isinstance(make_executor(Settings(executor="processes", workers=2), "cuda"), LocalExecutor)
    assert isinstance(make_executor(Settings(executor="local", workers=2), "cpu"), LocalExecutor)
    assert isinstance(make_executor(Settings(workers=2), "cpu"), AutoExecutor)
    assert isinstance(make_executor(Settings(executor="processes", workers=2), "cpu"), ProcessExecutor)
    with pytest.raises(UserError, match="did you mean 'processes'"):
        make_executor(Settings(executor="process", workers=2), "cpu")


def test_ray_says_how_to_install_it_when_it_is_absent():
    if find_spec("ray") is not None:
        pytest.skip("ray is installed")
    with pytest.raises(UserError, match="cluster"):
        make_executor(Settings(executor="ray"), "cpu")


def claim(out, identity, *, fresh):
    with claimed(out, identity, fresh=fresh):
        pass


def test_a_folder_belongs_to_one_run(tmp_path):
    out = tmp_path / "out"
    claim(out, {"seed": 0}, fresh=False)
    with claimed(out, {"seed": 0}, fresh=False):
        (out / "cells").mkdir()
    (out / "mine.txt").write_text("keep")
    with pytest.raises(UserError, match="seed 0, now 1"):
        claim(out, {"seed": 1}, fresh=False)
    claim(out, {"seed": 1}, fresh=True)
    assert not (out / "cells").exists()
    assert (out / "mine.txt").read_text() == "keep"


def test_a_folder_of_other_files_is_refused_even_when_fresh(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for fresh in (False, True):
        with pytest.raises(UserError, match="other files"):
            claim(tmp_path, {}, fresh=fresh)
    assert (tmp_path / "thesis.tex").exists()


def test_a_folder_is_ours_only_by_its_marker(tmp_path):
    """Names alone are no proof: many programs write settings.json."""
    (tmp_path / "settings.json").write_text('{"seed": 0}')
    (tmp_path / "report.json").write_text("a thesis")
    for fresh in (False, True):
        with pytest.raises(UserError, match="other files"):
            claim(tmp_path, {"seed": 0}, fresh=fresh)
    assert (tmp_path / "report.json").read_text() == "a thesis"


def test_a_lock_of_somebody_else_keeps_its_content(tmp_path):
    (tmp_path / ".lock").write_text("theirs")
    claim(tmp_path, {}, fresh=True)
    assert (tmp_path / ".lock").read_text() == "theirs"


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("killed", [False, True])
def test_nothing_foreign_is_deleted_or_overwritten(tmp_path, fresh, killed):
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "a.json").write_text("theirs")
    with claimed(out, {}, fresh=False):
        (out / "cells").mkdir()
        (out / "cells" / "a.safetensors").write_bytes(b"")
        (out / "report.json").write_text("ours")
        marker = (out / ".vfc-run.json").read_bytes()
    if killed:
        (out / ".vfc-run.json").write_bytes(marker)
    (out / "cells" / "notes.txt").write_text("theirs")
    (out / "report.html").write_text("theirs")
    claim(out, {}, fresh=fresh)
    assert (out / "report.json").exists() is not fresh
    assert (out / "cells" / "a.safetensors").exists() is not fresh
    assert (out / "cells" / "notes.txt").read_text() == (out / "report.html").read_text() == "theirs"
    # What would be overwritten is refused, and stays.
    (out / "trained").symlink_to(elsewhere)
    with pytest.raises(UserError, match="trained, which would be overwritten"):
        claim(out, {}, fresh=fresh)
    assert (elsewhere / "a.json").read_text() == "theirs"
    (out / "trained").unlink()
    if not killed:
        (out / "model-mine.safetensors").write_bytes(b"theirs")
        with pytest.raises(UserError, match="got model-mine"):
            claim(out, {}, fresh=fresh)
        assert (out / "model-mine.safetensors").read_bytes() == b"theirs"


def test_a_run_that_fails_leaves_what_it_finished(tmp_path):
    def fail():
        with claimed(tmp_path, {"seed": 0}, fresh=False):
            (tmp_path / "cells").mkdir()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    claim(tmp_path, {"seed": 0}, fresh=False)
    claim(tmp_path, {"seed": 1}, fresh=True)
    assert not (tmp_path / "cells").exists()


def test_two_runs_do_not_share_a_folder(tmp_path):
    out = tmp_path / "out"
    with claimed(out, {}, fresh=False), pytest.raises(UserError, match="another run"):
        claim(out, {}, fresh=False)
    claim(out, {}, fresh=False)


def test_where_a_run_writes_does_not_change_what_it_is():
    base = Settings()
    same = replace(base, out="x", fresh=True, no_cache=True, executor="local", workers=7, verbosity=1, data_root="/d")
    assert base.digest() == same.digest()
    assert base.digest() == replace(base, gates=("adaptive.leakage <= 0.1",)).digest()
    for change in ({"seed": 1}, {"budget": "smoke"}, {"threads": 2}, {"overrides": (("linear.iterations", 3),)}):
        assert base.digest() != replace(base, **change).digest()


@pytest.mark.parametrize(
    ("text", "value"),
    [("a.b=3", 3), ("a.b=true", True), ("a.b=[1, 2]", [1, 2]), ("a.b=top-k", "top-k"), ("a.b=x=y", "x=y")],
)
def test_overrides_are_json_or_text(text, value):
    assert parse_override(text) == ("a.b", value)


def test_the_budgets_are_those_of_the_contract():
    assert BUDGETS["smoke"].labels == (1, 10, "all")
    assert BUDGETS["standard"].labels == BUDGETS["full"].labels == (1, 5, 10, 50, "all")
    assert [BUDGETS[name].seeds for name in ("smoke", "standard", "full")] == [1, 1, 5]
    assert [BUDGETS[name].shadows for name in ("smoke", "standard", "full")] == [0, 4, 16]
    with pytest.raises(UserError, match="did you mean 'smoke'"):
        get_budget("smok")
