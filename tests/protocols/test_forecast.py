"""What a run is expected to take: measured once, counted as the run counts, and never more workers than fit."""

from pathlib import Path

import pytest

from protocols.engine.budget import get_budget
from protocols.engine.executors.base import LocalExecutor
from protocols.engine.executors.choose import AutoExecutor, make_room
from protocols.engine.executors.processes import ProcessExecutor, available_memory
from protocols.engine.settings import Settings
from protocols.evaluation import forecast as module
from protocols.evaluation.candidate import Candidate
from protocols.evaluation.forecast import Cost, Shape, attacks_labels, calibrated_costs, fits_of, forecast
from protocols.evaluation.plan import competing
from protocols.evaluation.protocol import PROTOCOLS

SHAPE = Shape(train=1000, graded=500, release=(12,), image=None, classes=10, models={}, width=1.0)


def test_the_forecast_counts_every_fit():
    costs = {"linear": Cost(start=1.0, each=0.01)}
    found = forecast(SHAPE, [Candidate(adversary="linear")], get_budget("smoke"), 2, costs)
    # 1, 10 and 100 labels of ten classes, the ceiling; for each of two seeds.
    assert found.cells == 2 * 4
    assert found.seconds == pytest.approx(2 * (1.1 + 2.0 + 11.0 + 11.0))
    standard = forecast(SHAPE, [Candidate(adversary="linear")], get_budget("standard"), 1, costs)
    assert standard.cells == 5 + 1 + 1
    assert found.minutes(2) == pytest.approx(found.seconds / 120)
    assert forecast(SHAPE, [Candidate(adversary="knn")], get_budget("smoke"), 1, costs).cells == 0


def test_whoever_trains_by_steps_takes_so_many_steps():
    cost = Cost(start=0.0, each=0.1, by_steps=True)
    mlp = Candidate(adversary="mlp")
    assert cost.seconds(mlp, 64_000) == pytest.approx(0.1 * 8000)
    assert cost.seconds(mlp, 10) == pytest.approx(0.1 * 200)


def test_memory_grows_with_the_rows_and_bounds_the_workers():
    large = Shape(**{**SHAPE.__dict__, "train": 120_000, "release": (512,)})
    assert large.memory > 10 * SHAPE.memory > 0
    assert Shape(**{**large.__dict__, "classes": 10_000}).memory > large.memory + 20e9
    found = forecast(large, [], get_budget("smoke"), 1, {})
    assert found.workers(4, 3 * large.memory) == 3
    assert found.workers(4, 10) == 1


def test_no_more_is_done_at_a_time_than_there_is_memory_for(monkeypatch):
    monkeypatch.setattr("protocols.engine.executors.choose.available_memory", lambda: 10_000)
    executor = ProcessExecutor(4, 1)
    assert make_room(executor, 2_000) is None
    assert executor.workers == 4
    assert make_room(AutoExecutor(executor), 4_000) == 2
    assert executor.workers == 2
    assert make_room(executor, 40_000) == 1
    assert make_room(LocalExecutor(), 40_000) is None


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="no /proc here")
def test_free_memory_is_known():
    assert 10**7 < available_memory() < 10**15


def test_this_machine_is_measured_once(tmp_path, monkeypatch):
    candidates = [Candidate(adversary=name) for name in ("norms", "mlp")]
    first = calibrated_costs(SHAPE, candidates, "code", tmp_path)
    assert set(first) == {"norms", "mlp"}
    assert first["mlp"].by_steps
    assert all(cost.start + 1000 * cost.each > 0 for cost in first.values())
    monkeypatch.setattr(module, "_measured", None)
    assert calibrated_costs(SHAPE, candidates, "code", tmp_path) == first
    more = Shape(**{**SHAPE.__dict__, "train": 4000, "graded": 2000})
    assert calibrated_costs(more, candidates, "code", tmp_path) == first
    with pytest.raises(TypeError):
        calibrated_costs(SHAPE, candidates, "other code", tmp_path)


def test_who_is_slow_is_tried_little_and_what_is_left_is_counted(tmp_path, monkeypatch):
    """A second for every row or step: products would take 512 of more rows, entropy is never trained to its end."""
    tries = []

    def tried(candidate, world, changes):
        tries.append((candidate.adversary, len(world.train), changes.get("steps")))
        return float(changes.get("steps", len(world.train)))

    monkeypatch.setattr(module, "_tried", tried)
    entropy = Candidate(adversary="entropy", settings={"model": "mlp"})
    candidates = [Candidate(adversary="products"), entropy, entropy]
    found = calibrated_costs(SHAPE, candidates, "code", tmp_path)
    assert tries == [("products", 128, None), ("entropy", 128, 2), ("entropy", 128, 2), ("entropy", 128, 10)]
    assert found == {
        "products": Cost(start=0.0, each=1.0),
        entropy.name: Cost(start=150.0, each=0.0),
    }
    monkeypatch.setattr(module, "_tried", lambda _, world, __: len(world.train) / 1000)
    assert calibrated_costs(SHAPE, candidates[:1], "quick", tmp_path)["products"].each == pytest.approx(0.001)


@pytest.mark.parametrize("name", sorted(PROTOCOLS.cards))
def test_everybody_who_attacks_no_label_is_counted_and_not_tried(name, tmp_path):
    settings = Settings(protocols=(name,), budget="smoke")
    once, thrice = (competing(name, settings, ["mlp"], None, attributes) for attributes in (1, 3))
    assert len(thrice) == len(once) * (3 if name == "attribute" else 1)
    others = [each for each in once if not attacks_labels(each)]
    assert all(fits_of(each, get_budget("standard")) == (("all",), 1) for each in others)
    assert calibrated_costs(SHAPE, others, "code", tmp_path) == {}
    assert {name for name in ("linear", "fine-tune") if attacks_labels(Candidate(adversary=name))} == {
        "linear", "fine-tune"
    }  # fmt: skip


def test_a_plan_says_what_the_run_takes_and_the_run_repeats_it(vfc, tmp_path):
    run = ("--release", "identity", "--protocol", "transfer", "--budget", "smoke")
    code, out, errors = vfc("plan", *run)
    assert code == 0, errors
    line = out.strip()
    assert line.startswith("run: about ")
    assert "GB at most" in line
    assert "fits of attacks on labels" in line
    code, _, errors = vfc("attack", *run[:-2], "--out", "o")
    assert "plan: about" in errors
    assert "minutes\n" in errors
