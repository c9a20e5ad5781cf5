"""Known leaks and nulls do what they say, and calibration counts what was found.

Axes: n = 900 images of 1 x 8 x 8, k classes.
"""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from adversaries.calibration.digest import digest_of
from adversaries.calibration.known_leaks import TABLE, get_leak, plant
from adversaries.calibration.shipped import load
from adversaries.evaluation_data import EvaluationData, Part, save_world
from adversaries.goals.label import Attribute, TaskLabel
from adversaries.health import FOUND_IN, OF
from protocols.calibration import study
from protocols.calibration.study import PLANS, Plan, Prepared, failures, smallest
from protocols.calibration.task import LabelTask, alarm, drawn
from protocols.cli import run
from protocols.engine.executors.base import LocalExecutor
from protocols.engine.handles import EvaluationHandle
from protocols.engine.progress import Reporter
from protocols.engine.task import Outcome
from protocols.engine.task_runner import TaskRunner
from protocols.evaluation.candidate import Candidate

SIZES = (600, 150, 450)
READER = {
    "identity": "linear", "pixel-permutation": "linear", "orthogonal-mixing": "linear", "quantization": "linear",
    "second-order": "second-order", "least-significant-bits": "integer-codes", "pixel": "linear",
    "latent-dimension": "linear", "norm": "norms", "signs": "signs", "zeros": "signs", "one-class": "linear",
    "average": "averaging",
}  # fmt: skip
"""Who reads each leak."""


def make_world(classes=2, seed=0):
    source = torch.Generator().manual_seed(seed)
    n = sum(SIZES)
    y, a = torch.arange(n) % classes, torch.randint(classes, (n,), generator=source)
    patterns = torch.randn(classes, 1, 8, 8, generator=source)
    x = (0.5 + 0.15 * patterns[y] + 0.05 * torch.randn(n, 1, 8, 8, generator=source)).clamp(0, 1)
    pieces = zip(x.split(SIZES), y.split(SIZES), a.split(SIZES), strict=True)
    parts = [Part(images=i, release=i, labels={"y": b, "a": c}, prediction=b) for i, b, c in pieces]
    return EvaluationData(train=parts[0], validation=parts[1], targets=parts[2], classes={"y": classes, "a": classes})


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    world, folder = make_world(), tmp_path_factory.mktemp("world")
    save_world(world, {}, folder)
    place = EvaluationHandle(folder=folder, device="cpu")
    names = ("adaptive-probe", "attribute", "inversion")
    probes = [Candidate(adversary=name) for name in ("linear", "signs", "norms")]
    return Prepared(
        dataset=type("Named", (), {"name": "made-up"})(),
        parts=type("Split", (), {"task": "y"})(),
        world=world,
        places=dict.fromkeys(names, place),
        digests=dict.fromkeys(names, "w"),
        candidates={"adaptive-probe": [*probes, Candidate(adversary="majority")],
                    "attribute": [*probes, Candidate(adversary="table")],
                    "inversion": [Candidate(adversary=name) for name in ("ridge-decoder", "averaging", "mean-image")]},
        labels={"adaptive-probe": "y", "attribute": "a", "inversion": "identification"},
    )  # fmt: skip


def outcome_of(prepared, leak, strength=1.0, seed=0, candidates=None):
    competing = prepared.candidates[leak.protocol] if candidates is None else candidates
    task = study.TASKS.get(leak.protocol, LabelTask)(
        leak=leak.name, protocol=leak.protocol, strength=strength, seed=seed,
        goal=f"{leak.goal}:{prepared.labels[leak.protocol]}", task="y",
        candidates=[(c.adversary, dict(c.settings)) for c in competing], sizes=SIZES, world="w", leaks="",
    )  # fmt: skip
    return task.measure(prepared.places[leak.protocol])


@pytest.mark.parametrize("leak", [each for each in TABLE if not each.null], ids=lambda each: each.name)
def test_every_leak_is_there_at_full_strength_and_gone_at_none(prepared, leak):
    floor = {"task": "majority", "attribute": "table", "reconstruction": "mean-image"}[leak.goal]
    readers = [Candidate(adversary=READER[leak.name]), Candidate(adversary=floor)]
    found = outcome_of(prepared, leak, candidates=readers)
    assert found.arrays["alarm"][0] == 1
    assert found.arrays["chosen"][0] == 0
    assert outcome_of(prepared, leak, strength=0.0, candidates=readers).arrays["alarm"][0] == 0


def test_one_release_of_many_tells_nothing_where_only_the_average_does(prepared):
    leak = get_leak("average", "inversion")
    single = outcome_of(prepared, leak, candidates=[Candidate(adversary="ridge-decoder")])
    assert single.arrays["alarm"][0] == 0
    everybody = outcome_of(prepared, leak)
    assert everybody.arrays["alarm"][0] == 1
    assert everybody.arrays["codes"].tolist() == [1, 2, 1]


def test_strengths_are_chosen_and_full_strength_comes_first():
    plan = PLANS["standard"].but([1.0, 0.3], None)
    assert plan.strengths == (0.3,)
    strengths = [strength for _, strength, _ in plan.cells()]
    assert strengths == sorted(strengths, reverse=True)
    assert PLANS["standard"].but([1.0], None).strengths == ()
    assert PLANS["standard"].but([0.5, 0.5], None).strengths == (0.5,)
    few = PLANS["standard"].but([], 3)
    assert (few.full, few.partial, few.strengths) == (3, 3, PLANS["standard"].strengths)
    assert PLANS["standard"].but([], 40).partial == PLANS["standard"].partial


@pytest.mark.parametrize("leak", [each for each in TABLE if each.null], ids=lambda each: f"{each.protocol}-{each.name}")
def test_nulls_raise_no_alarm(prepared, leak):
    assert outcome_of(prepared, leak).arrays["alarm"][0] == 0


def test_the_task_label_is_all_that_its_release_tells(prepared):
    """A null for attributes that is no null for the task: the release differs between task classes and nowhere else."""
    world = plant(prepared.world, get_leak("task-label", "attribute"), "a", "y", 1.0, 0)
    guess = world.targets.release.flatten(1)[:, :2].argmax(1)
    assert torch.equal(guess, world.targets.labels["y"])
    assert abs(float((guess == world.targets.labels["a"]).double().mean()) - 0.5) < 0.08


@pytest.mark.parametrize("strength", [0.25, 0.75])
def test_strength_is_the_share_of_images_that_carry_the_leak(prepared, strength):
    planted = plant(prepared.world, get_leak("identity", "adaptive-probe"), "y", "y", strength, 1)
    own = (planted.train.release == prepared.world.train.images).flatten(1).all(1).double().mean()
    # A random other row is the own one once in 600.
    assert float(own) == pytest.approx(strength, abs=4 * (strength * (1 - strength) / 600) ** 0.5 + 0.01)
    again = plant(prepared.world, get_leak("identity", "adaptive-probe"), "y", "y", strength, 1)
    assert torch.equal(planted.targets.release, again.targets.release)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_leaks_hold_for_any_number_of_classes(classes):
    world = make_world(classes)
    for leak in TABLE:
        label = "a" if leak.goal == "attribute" else "y"
        planted = plant(world, leak, label, "y", 1.0, 0)
        release = planted.targets.release.double()
        assert len(release) == SIZES[2]
        assert bool(torch.isfinite(release).all())


def test_rows_are_drawn_anew_for_every_seed():
    world = make_world()
    one, two, again = (drawn(world, (100, 50, 60), seed) for seed in (0, 1, 0))
    assert [len(part) for part in (one.train, one.validation, one.targets)] == [100, 50, 60]
    assert torch.equal(one.train.images, again.train.images)
    assert not torch.equal(one.train.images, two.train.images)


def test_an_alarm_is_a_lower_bound_on_the_same_targets_above_the_floor():
    floor = np.arange(450) < 45
    # Only the attack hits where both differ: its exact interval, and that of nothing in 450 the other way.
    most = binomtest(0, 450).proportion_ci(0.998, method="exact").high

    def low(k):
        return k / 450 - np.hypot(k / 450 - binomtest(k, 450).proportion_ci(0.998, method="exact").low, most)

    least = next(k for k in range(1, 450) if low(k) > 0)
    assert alarm(np.arange(450) < 45 + least, floor)
    assert not alarm(np.arange(450) < 45 + least - 1, floor)


def test_the_luck_of_the_floor_is_no_alarm():
    """A coin of a floor at .45 and the opposite guess at .55 differ on every target, and by luck alone."""
    floor = np.arange(450) < 202
    assert not alarm(~floor, floor)
    assert binomtest(248, 450).proportion_ci(0.998, method="exact").low > floor.mean()


class Idle(LocalExecutor):
    """Runs nothing and remembers what it was asked for."""

    def __init__(self, asked):
        self.asked = asked

    def run(self, function, jobs):
        self.asked.extend(jobs)
        return iter(())


def test_results_count_alarms_by_protocol_and_by_adversary(prepared, tmp_path):
    bench = TaskRunner(code="c", executor=LocalExecutor(), reporter=Reporter(quiet=True))
    plan = Plan(full=2, partial=1, strengths=(0.5,), leaks=("zeros", "noise"))
    found = study.calibrate(prepared, plan, bench, tmp_path)
    numbers = found["protocols"]["attribute"]
    assert numbers["leaks"] == {"zeros": {"1": [2, 2], "0.5": [1, 1]}}
    assert numbers["nulls"] == {"noise": [0, 2]}
    assert numbers["chosen"]["zeros"] == "signs"
    assert numbers["smallest"] == {"zeros": 0.5}
    signs, norms = (found["adversaries"][digest_of(name, {})] for name in ("signs", "norms"))
    assert signs["leaks"] == {"zeros": {"1": [2, 2], "0.5": [1, 1]}}
    assert norms["leaks"]["zeros"]["1"][0] == 0
    assert signs["nulls"] == [0, 4]
    # Nothing runs twice.
    calls = []
    bench = replace(bench, executor=Idle(calls))
    assert study.calibrate(prepared, plan, bench, tmp_path) == found
    assert calls == []


def test_a_blind_adversary_is_caught(prepared):
    """Whoever never reads a release raises no alarm on any leak, and the calibration fails."""
    blind = replace(prepared, candidates={name: [Candidate(adversary="majority")] for name in prepared.candidates})
    leak = get_leak("pixel", "attribute")
    cells = [(leak, 1.0, seed) for seed in range(2)]
    outcomes = [outcome_of(blind, leak, seed=seed) for seed in range(2)]
    protocols = study.of_protocols(cells, outcomes, blind)
    (line,) = failures({"datasets": {"d": {"failed": [], "protocols": protocols}}})
    assert "pixel in 0 of 2" in line


def test_a_crash_counts_as_a_miss_and_is_named(prepared):
    leak = get_leak("pixel", "attribute")
    cells, outcomes = [(leak, 1.0, 0)], [Outcome.empty("failed", "boom")]
    protocols = study.of_protocols(cells, outcomes, prepared)
    assert protocols["attribute"]["leaks"]["pixel"]["1"] == [0, 1]
    lines = failures({"datasets": {"d": {"failed": ["boom"], "protocols": protocols}}})
    assert len(lines) == 2


def test_the_smallest_strength_holds_up_to_full_strength():
    assert smallest({"1": [28, 30], "0.5": [10, 10], "0.25": [9, 10]}) == 0.5
    assert smallest({"1": [27, 30], "0.5": [10, 10]}) is None
    assert smallest({"1": [30, 30], "0.5": [8, 10], "0.25": [10, 10]}) == 1.0


def test_alarms_on_nulls_at_most_once_in_thirty_runs():
    def judged(alarms, runs):
        numbers = {"leaks": {}, "nulls": {"noise": [alarms, runs]}}
        return failures({"datasets": {"d": {"failed": [], "protocols": {"p": numbers}}}})

    assert judged(1, 30) == judged(0, 2) == []
    assert len(judged(2, 30)) == len(judged(1, 2)) == 1


def test_the_plans_keep_the_promised_numbers():
    for name in ("standard", "full"):
        assert PLANS[name].full == OF == 30
        assert PLANS[name].partial == 10
    assert FOUND_IN == 28
    assert len({(leak.name, leak.protocol) for leak in TABLE}) == len(TABLE)
    assert set(PLANS["smoke"].leaks) <= {leak.name for leak in TABLE}


def test_the_verb_says_what_it_cannot_do(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert run(["calibrate", "--dataset", "cifar10", "--executor", "local"]) == 2
    assert "digits" in capsys.readouterr().err
    assert run(["calibrate", "--budget", "smoke", "--write"]) == 2
    assert "a subset is no calibration" in capsys.readouterr().err


def test_the_verb_writes_its_results_and_fails_on_a_miss(capsys, monkeypatch, tmp_path, prepared):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VFC_CACHE_DIR", str(tmp_path / "cache"))
    plan = Plan(full=1, partial=0, strengths=(), leaks=("zeros",))
    monkeypatch.setitem(PLANS, "smoke", plan)
    competing = {"now": prepared}
    monkeypatch.setattr(study, "prepare_calibration", lambda *_: competing["now"])
    arguments = ["calibrate", "--budget", "smoke", "--dataset", "digits", "--executor", "local", "--out", "out"]
    assert run(arguments) == 0
    shown = capsys.readouterr().out
    assert "zeros" in shown
    assert "1/1" in shown
    found = json.loads(Path("out/calibration.json").read_text())
    assert found["datasets"]["made-up"]["protocols"]["attribute"]["leaks"]["zeros"]["1"] == [1, 1]
    blind = {name: [Candidate(adversary="table")] for name in prepared.candidates}
    competing["now"] = replace(prepared, candidates=blind)
    assert run(arguments) == 1
    assert "finds zeros in 0 of 1" in capsys.readouterr().out


VOID = {"inversion"}
"""Protocols whose attacks are others than those that were calibrated."""

SHIPPED = [leak for leak in TABLE if leak.protocol not in VOID]


def test_what_is_shipped_is_shown_without_torch_and_without_measuring(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert run(["calibrate", "--show", "--dataset", "gaussian"]) == 0
    shown = capsys.readouterr().out
    assert "digits, n =" not in shown
    for leak in SHIPPED:
        assert any(line.split()[:1] == [leak.name] for line in shown.splitlines())
    assert run(["calibrate", "--show", "--dataset", "mnist"]) == 2
    assert "digits, gaussian" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    code = (
        "import sys\nfrom protocols.cli import run\n"
        "assert run(['calibrate', '--show']) == 0\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_what_is_shipped_reaches_what_it_must():
    results = load()
    assert failures(results) == []
    for dataset in ("digits", "gaussian"):
        protocols = results["datasets"][dataset]["protocols"]
        assert set(protocols) == {leak.protocol for leak in TABLE} - VOID
        for leak in SHIPPED:
            facts = protocols[leak.protocol]
            runs = facts["nulls"][leak.name][1] if leak.null else facts["leaks"][leak.name]["1"][1]
            assert runs >= OF


def test_the_document_tells_what_is_shipped():
    text = (Path(__file__).parents[2] / "docs" / "calibration.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    told = {(row[0], row[1]): row[2:] for row in rows if len(row) == 6}
    assert all(f"Nothing of `{protocol}` is shipped" in text for protocol in VOID)
    for leak in SHIPPED:
        expected = []
        for dataset in ("gaussian", "digits"):
            facts = load()["datasets"][dataset]["protocols"][leak.protocol]
            found, least = facts["leaks"].get(leak.name, {}), facts["smallest"].get(leak.name)
            counts = ("-" if s not in found else "/".join(map(str, found[s])) for s in ("1", "0.5", "0.25", "0.1"))
            expected += [", ".join(counts), "none" if least is None else f"{least:g}".removeprefix("0")]
        assert leak.null or told[leak.protocol, leak.name] == expected


def test_goals_of_the_table():
    world = make_world()
    assert {leak.goal for leak in TABLE} == {"task", "attribute", "reconstruction"}
    assert float(TaskLabel(label="y").floor(world).double().mean()) == pytest.approx(0.5, abs=0.01)
    assert float(Attribute(label="a").floor(world).double().mean()) < 0.6
