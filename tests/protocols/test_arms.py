"""Which arms are run, for whom and on what: evaluations whose trials are answered from a table, and tiny real tasks."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from adversaries.adversary import ADVERSARIES, Adversary, Attack
from adversaries.evaluation_data import EvaluationData, Part
from adversaries.goals.assess import assess, reads_labels
from adversaries.goals.label import Attribute, TaskLabel
from adversaries.health import HARD, KINDS
from adversaries.threat import ThreatModel
from protocols.engine.budget import get_budget
from protocols.engine.handles import EvaluationHandle
from protocols.engine.prepared import Digests
from protocols.engine.settings import Settings
from protocols.engine.task_runner import TaskRunner
from protocols.evaluation.candidate import Candidate
from protocols.evaluation.label_evaluation import LabelEvaluation
from protocols.evaluation.label_task import LabelTask
from protocols.evaluation.results import Attempt
from protocols.task_label.candidates import ladder
from tests.protocols.builders import N, chosen, enter, flags_of, hits, measured, missed, outcome

LEVELS = ("L0", "L1", "L2")
OVERLOOKED = {f"{HARD}{kind}": 0.5 for kind in KINDS}
"""Nobody finds the leak of a hard kind."""

DIGESTS = Digests(world="attacked", clean="clean", undefended="bare")


class Table(TaskRunner):
    """A runner that looks outcomes up: `says(task)` gives the share of hits, or shares on (targets, validation)."""

    def __init__(self, says):
        super().__init__(code="code", executor=None, reporter=None)
        object.__setattr__(self, "says", says)
        object.__setattr__(self, "queue", [])

    def run(self, stage, queue):
        self.queue.extend(queue)
        found = [self.says(queued.task) for queued in queue]
        return [outcome(*each) if isinstance(each, tuple) else outcome(each) for each in found]


def flat():
    """Data of two equally frequent classes, as many targets as hits are written by hand."""
    part = Part(images=None, release=(torch.arange(N) % 8)[:, None].float(), labels={"y": torch.arange(N) % 2})
    return EvaluationData(train=part, validation=part, targets=part, classes={"y": 2})


def context_of(data, budget, runner=None, undefended=None, common=()):
    """As much of a context as an evaluation needs."""
    prepared = SimpleNamespace(
        world=data, dataset=SimpleNamespace(name="made"), digests=DIGESTS, undefended=undefended,
        place=EvaluationHandle(folder=Path("attacked"), device="cpu"), told=False, publisher=None,
    )  # fmt: skip
    return SimpleNamespace(
        prepared=prepared, settings=Settings(), budget=budget, levels=LEVELS, seeds=(0,), common=common, runner=runner,
        cells=Path("cells"), shared=Path("ceilings"), rows={},
    )  # fmt: skip


def evaluated(says, *names, budget="smoke", undefended=None, transforms="none", goal=TaskLabel):
    spent = replace(get_budget(budget), labels=(1, "all"), transforms=transforms)
    context = context_of(flat(), spent, Table(says), undefended)
    done = LabelEvaluation.of(context, goal(label="y"), [Candidate(adversary=name) for name in names])
    done.run(LEVELS)
    return done


def arms(done, arm, **facts):
    """The attempts for which an arm was run."""
    found = [trial for trial in done.board.results.outcomes if trial.arm == arm]
    return {trial.attempt for trial in found if all(getattr(trial, name) == value for name, value in facts.items())}


def at(done, labels="all"):
    """Everybody at one number of labels."""
    return done.board.results.attempts(labels)


def says(**rows):
    """Shares by adversary and arm, whatever the number of labels; honest and able unless said otherwise."""

    def answer(task):
        usual = {"ceiling": 0.95, "shuffled": 0.5, "planted": 0.9, "undefended": 0.9, **OVERLOOKED}
        return {**usual, **rows[task.adversary]}[task.arm]

    return answer


def test_a_missed_rival_has_its_shuffled_control_at_the_smallest_budget_too():
    told = says(knn={"attack": (0.6, 0.8)}, signs={"attack": (0.9, 0.7)}, norms={"attack": (0.55, 0.5)})
    done = evaluated(told, "knn", "signs", "norms")
    assert chosen(done.board, at(done)) == Attempt(0, "all")
    assert {Attempt(0, "all"), Attempt(1, "all")} <= arms(done, "shuffled")
    assert missed(done.board, Attempt(0, "all"), at(done)) == [Attempt(1, "all")]


def test_a_missed_rival_that_cheats_is_found_out():
    told = says(knn={"attack": (0.6, 0.8)}, signs={"attack": (0.9, 0.7), "shuffled": 0.9})
    done = evaluated(told, "knn", "signs")
    assert missed(done.board, Attempt(0, "all"), at(done)) == []


def test_whoever_takes_the_place_of_a_cheat_is_controlled_in_its_turn():
    cheat = {"shuffled": 0.9}
    told = says(
        knn={"attack": 0.95, **cheat}, signs={"attack": 0.9, **cheat}, norms={"attack": 0.85, **cheat},
        linear={"attack": 0.7},
    )  # fmt: skip
    done = evaluated(told, "knn", "signs", "norms", "linear")
    results = done.board.results
    for labels in results.grid:
        attempt = chosen(done.board, at(done, labels))
        assert attempt == Attempt(3, labels)
        assert not results.uncontrolled(attempt)
        assert flags_of(done.board, attempt) == (("CONVERGENCE_UNCHECKED",) if results.of(attempt).trains else ())


def test_a_cheat_that_wins_at_one_label_only_is_dropped_at_smoke():
    def told(task):
        if task.arm != "attack":
            shuffled = 0.9 if task.adversary == "signs" else 0.5
            return {"ceiling": 0.95, "planted": 0.9, "shuffled": shuffled, **OVERLOOKED}[task.arm]
        return 0.9 if (task.adversary == "signs") == (task.labels_per_class == 1) else 0.6

    done = evaluated(told, "knn", "signs")
    assert arms(done, "shuffled") == {Attempt(0, "all"), Attempt(1, "all")}
    for labels in (1, "all"):
        assert chosen(done.board, at(done, labels)) == Attempt(0, labels)


def test_the_strongest_on_the_images_is_controlled_too():
    told = says(knn={"attack": 0.8}, signs={"attack": 0.6, "ceiling": 0.99})
    assert Attempt(1, "all") in arms(evaluated(told, "knn", "signs"), "shuffled")


def test_the_strongest_on_the_images_is_transformed_too():
    told = says(knn={"attack": 0.8}, signs={"attack": 0.6, "ceiling": 0.99}, **{"input-transform": {"attack": 0.6}})
    done = evaluated(told, "knn", "signs", transforms="chosen")
    tasks = [queued.task for queued in done.context.runner.queue if queued.task.adversary == "input-transform"]
    assert {task.settings["inner"] for task in tasks} == {"knn", "signs"}


def test_the_undefended_arm_is_run_in_the_undefended_world():
    bare = EvaluationHandle(folder=Path("bare"), device="cpu")
    done = evaluated(says(knn={"attack": 0.8}, signs={"attack": 0.6}), "knn", "signs", undefended=bare)
    assert arms(done, "undefended") == {Attempt(0, "all")}
    assert done.context.runner.queue
    for queued in done.context.runner.queue:
        ours = queued.task.arm == "undefended"
        assert queued.place.folder == Path("bare" if ours else "attacked"), queued.title
        expected = {"undefended": "bare", "ceiling": "clean"}.get(queued.task.arm, "attacked")
        assert queued.task.world == expected
        assert queued.folder == Path("ceilings" if queued.task.arm == "ceiling" else "cells")


def test_without_an_undefended_twin_there_is_no_such_arm():
    assert not arms(evaluated(says(knn={"attack": 0.8}), "knn"), "undefended")


def test_a_leak_of_a_hard_kind_is_looked_for_by_the_strongest_and_beyond_smoke_by_its_own_reader():
    told = says(knn={"attack": 0.8}, linear={"attack": 0.7}, residues={"attack": 0.6})
    smoke, standard = (evaluated(told, "knn", "linear", "residues", budget=b) for b in ("smoke", "standard"))
    hard = "planted:residue"  # a single whole number has room for no other kind
    assert arms(smoke, hard) == {Attempt(0, "all")}
    assert arms(standard, hard) == {Attempt(0, "all"), Attempt(2, "all")}
    assert {trial.arm for trial in standard.board.results.outcomes if trial.arm.startswith(HARD)} == {hard}


def test_a_leak_of_an_attribute_is_looked_for_by_its_own_reader_at_smoke_too():
    told = says(knn={"attack": 0.8}, linear={"attack": 0.7}, residues={"attack": 0.6})
    done = evaluated(told, "knn", "linear", "residues", goal=Attribute)
    assert arms(done, "planted:residue") == {Attempt(0, "all"), Attempt(2, "all")}


def test_the_standard_budget_doubles_the_training_of_every_choice_and_smoke_says_that_nobody_did():
    told = says(mlp={"attack": 0.9}, cnn={"attack": 0.8}, knn={"attack": 0.6})
    standard, smoke, full = (evaluated(told, "mlp", "cnn", "knn", budget=b) for b in ("standard", "smoke", "full"))
    assert arms(standard, "attack", doubled=True) == {Attempt(0, 1), Attempt(0, "all")}
    assert arms(full, "attack", doubled=True) == {Attempt(i, k) for i in (0, 1) for k in (1, "all")}
    assert not arms(smoke, "attack", doubled=True)
    doubled = [queued.task for queued in standard.context.runner.queue if queued.task.doubled]
    assert doubled
    assert all(task.make_adversary() == replace(task, doubled=False).make_adversary().doubled() for task in doubled)
    for done, flagged in ((smoke, True), (standard, False), (full, False)):
        assert ("CONVERGENCE_UNCHECKED" in flags_of(done.board, Attempt(0, "all"))) is flagged
        assert "CONVERGENCE_UNCHECKED" not in flags_of(done.board, Attempt(2, "all"))


def test_training_that_would_go_on_gaining_is_found_by_the_evaluation():
    def told(task):
        return {"attack": 0.9 if task.doubled else 0.6}.get(task.arm, 0.5 if task.arm == "shuffled" else 0.95)

    assert "NOT_CONVERGED" in flags_of(evaluated(told, "mlp", budget="standard").board, Attempt(0, "all"))


# --- real tasks, on tiny data ---


def tiny():
    source = torch.Generator().manual_seed(0)
    parts = []
    for n in (40, 20, 60):
        y = torch.arange(n) % 2
        release = torch.randn(n, 4, generator=source)
        images = (torch.randn(n, 1, 2, 2, generator=source) * 0.1 + y[:, None, None, None]).clamp(0, 1)
        parts.append(Part(images=images, release=release, labels={"y": y}))
    return EvaluationData(train=parts[0], validation=parts[1], targets=parts[2], classes={"y": 2})


class Here:
    """A handle that holds data in memory."""

    def world(self):
        return tiny()


TASK = LabelTask(
    adversary="mlp", settings={"steps": 3, "width": 8}, level="L2", labels_per_class="all", goal="task:y",
    arm="attack", seed=0, doubled=False, world="w",
)  # fmt: skip


def test_a_doubled_task_trains_twice_as_long():
    once, more = TASK.measure(Here()), replace(TASK, doubled=True).measure(Here())
    assert (once.cost["gradient_steps"], more.cost["gradient_steps"]) == (3, 6)


def test_the_ceiling_reads_images_and_the_undefended_arm_the_releases_of_its_own_world():
    attack, ceiling, bare = (
        replace(TASK, adversary="knn", settings={}, arm=arm).measure(Here())
        for arm in ("attack", "ceiling", "undefended")
    )
    assert ceiling.targets.mean() == 1.0
    assert attack.targets.mean() < 0.8
    assert np.array_equal(bare.targets, attack.targets)


def test_the_shuffled_arm_permutes_the_labels_of_everything_at_once():
    """Labels of each part are one class alone, so that a permutation inside of parts would move nothing."""
    sizes = (60, 40, 50)
    parts = [
        Part(images=None, release=torch.arange(n)[:, None].float(), labels={"y": torch.full((n,), c), "z": rows})
        for c, n in enumerate(sizes)
        for rows in (torch.arange(n),)
    ]
    world = EvaluationData(train=parts[0], validation=parts[1], targets=parts[2], classes={"y": 3, "z": 60})
    found = world.shuffled("y", torch.Generator().manual_seed(0))
    mixed = [getattr(found, name) for name in ("train", "validation", "targets")]
    for before, after in zip(parts, mixed, strict=True):
        assert set(after.labels["y"].tolist()) == {0, 1, 2}
        assert torch.equal(after.release, before.release)
        assert torch.equal(after.labels["z"], before.labels["z"])
    everything = torch.cat([part.labels["y"] for part in mixed])
    assert torch.bincount(everything).tolist() == list(sizes)


class First(Attack):
    """Always the first class."""

    def guess(self, release):
        return torch.tensor([1.0, 0.0]).repeat(len(release), 1)


class Modest(Adversary):
    """Declares that it reads no labels, although its level grants them."""

    level = "L2"
    trains_on_labels = False

    def fit(self, view, generator):
        return First()


def test_whoever_is_granted_labels_has_a_shuffled_control_whatever_it_declares():
    assert reads_labels(Modest)
    threat = ThreatModel(level="L2", labels_per_class="all")
    graded = assess(Modest(), tiny(), TaskLabel(label="y"), threat, arm="shuffled", seed=5, fit_seed=0)
    permuted = tiny().shuffled("y", torch.Generator().manual_seed(5))
    assert torch.equal(graded.targets, permuted.targets.labels["y"] == 0)
    assert torch.equal(graded.validation, permuted.validation.labels["y"] == 0)
    assert not torch.equal(graded.targets, tiny().targets.labels["y"] == 0)


class Permuted(Attack):
    """Knows the class, and says another one for it."""

    says = torch.tensor([1, 2, 0, 3])

    def guess(self, release):
        return torch.eye(4)[self.says[release[:, 0].long()]]


def test_turned_around_a_guess_stands_for_what_it_comes_with_on_the_validation_part(monkeypatch):
    parts = [
        Part(images=None, release=labels[:, None].float(), labels={"y": labels})
        for labels in (torch.arange(4), torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 2, 3, 3]))
    ]
    world = EvaluationData(train=parts[0], validation=parts[1], targets=parts[2], classes={"y": 4})
    monkeypatch.setattr(Modest, "fit", lambda *_: Permuted())
    threat = ThreatModel(level="L2", labels_per_class="all")
    graded = assess(Modest(), world, TaskLabel(label="y"), threat, arm="attack", seed=0, fit_seed=0)
    assert graded.targets.tolist() == [False, False, False, True, True]
    assert graded.turned.tolist() == [True] * 5  # the last class, never seen there, stands for itself
    # Where guesses come with other classes on the targets, that is not learned from the targets.
    others = replace(parts[2], labels={"y": torch.tensor([1, 2, 0, 3, 3])})
    graded = assess(
        Modest(), replace(world, targets=others), TaskLabel(label="y"), threat, arm="attack", seed=0, fit_seed=0
    )
    assert graded.turned.tolist() == [False, False, False, True, True]


def test_an_evaluation_knows_who_reads_labels_and_what_holds_for_everybody():
    candidates = ladder(("mlp", "cnn-twin"), "cnn-twin")
    context = context_of(tiny(), get_budget("standard"), common=("SPLIT_OVERLAP",))
    board = LabelEvaluation.of(context, TaskLabel(label="y"), candidates).board
    competitors = board.results.competitors
    allowed = [each.adversary for each in candidates if ADVERSARIES.get(each.adversary).level <= "L2"]
    assert [each.candidate.adversary for each in competitors] == allowed
    assert all(each.shuffles == each.grows == (each.level >= "L2") for each in competitors)
    readers = {each.candidate.adversary for each in competitors if each.shuffles}
    assert {"linear", "knn", "fine-tune"} <= readers
    assert not {"frozen", "batchnorm", "majority"} & readers
    for attempt in board.results.attempts("all"):
        enter(board, attempt, "attack", measured(hits(0.8, n=20), hits(0.8, n=60)))
        enter(board, attempt, "ceiling", measured(hits(1.0, n=20), hits(1.0, n=60)))
        assert flags_of(board, attempt) == ("SPLIT_OVERLAP", "TOO_FEW_TARGETS")
