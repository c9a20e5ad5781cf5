"""Which arms are run, for whom and on what: campaigns whose cells are answered from a table, and tiny real cells."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from protocols.evaluation.board import Attempt, Board
from protocols.evaluation.campaign import Campaign
from protocols.task_label.ladder import board_of

from adversaries.adversary import Adversary, Attack
from adversaries.evaluation_data import EvaluationData, Part
from adversaries.goals.assess import assess, reads_labels
from adversaries.goals.label import TaskLabel
from adversaries.threat import ThreatModel
from protocols.engine.budget import get_budget
from protocols.engine.handles import EvaluationHandle
from protocols.engine.prepared import Digests
from protocols.engine.settings import Settings
from protocols.engine.task import Cell
from protocols.engine.task_runner import TaskRunner
from protocols.evaluation.protocol import Candidate
from protocols.task_label.candidates import ladder
from tests.protocols.test_board import hits, outcome

LEVELS = ("L0", "L1", "L2")
DIGESTS = Digests(world="attacked", clean="clean", undefended="bare")


class Table(TaskRunner):
    """A bench that looks outcomes up: `says(task)` gives the share of hits, or shares on (targets, validation)."""

    def __init__(self, says):
        super().__init__(code="code", executor=None, reporter=None)
        object.__setattr__(self, "says", says)
        object.__setattr__(self, "orders", [])

    def run(self, stage, orders):
        self.orders.extend(orders)
        found = [self.says(order.task) for order in orders]
        return [outcome(*each) if isinstance(each, tuple) else outcome(each) for each in found]


def campaign(says, *names, budget="smoke", undefended=None):
    board = Board(
        candidates=[Candidate(adversary=name) for name in names],
        levels=["L2"] * len(names),
        seeds=(0,),
        grid=(1, "all"),
        floor=hits(0.5, 99),
        readers=frozenset(range(len(names))),
    )
    conducted = Campaign(
        board=board,
        goal="task:y",
        place=EvaluationHandle(folder=Path("attacked"), device="cpu"),
        undefended=undefended,
        digests=DIGESTS,
        budget=replace(get_budget(budget), labels=board.grid, transforms="none"),
        cells=Path("cells"),
        ceilings=Path("ceilings"),
        runner=Table(says),
    )
    conducted.run(LEVELS)
    return conducted


def arms(conducted, arm, **facts):
    """The attempts for which an arm was run."""
    found = [entry for entry in conducted.board.outcomes if entry.arm == arm]
    return {entry.attempt for entry in found if all(getattr(entry, name) == value for name, value in facts.items())}


def says(**rows):
    """Shares by adversary and arm, whatever the number of labels; honest and able unless said otherwise."""

    def answer(task):
        usual = {"ceiling": 0.95, "shuffled": 0.5, "planted": 0.9, "undefended": 0.9}
        return {**usual, **rows[task.adversary]}[task.arm]

    return answer


def test_a_missed_rival_has_its_shuffled_control_at_the_smallest_budget_too():
    told = says(knn={"attack": (0.6, 0.8)}, signs={"attack": (0.9, 0.7)}, norms={"attack": (0.55, 0.5)})
    done = campaign(told, "knn", "signs", "norms")
    assert done.board.choose(done.board.attempts("all")) == Attempt(0, "all")
    assert {Attempt(0, "all"), Attempt(1, "all")} <= arms(done, "shuffled")
    assert done.board.missed(Attempt(0, "all"), done.board.attempts("all")) == [Attempt(1, "all")]


def test_a_missed_rival_that_cheats_is_found_out():
    told = says(knn={"attack": (0.6, 0.8)}, signs={"attack": (0.9, 0.7), "shuffled": 0.9})
    done = campaign(told, "knn", "signs")
    assert done.board.missed(Attempt(0, "all"), done.board.attempts("all")) == []


def test_whoever_takes_the_place_of_a_cheat_is_controlled_in_its_turn():
    cheat = {"shuffled": 0.9}
    told = says(
        knn={"attack": 0.95, **cheat}, signs={"attack": 0.9, **cheat}, norms={"attack": 0.85, **cheat},
        linear={"attack": 0.7},
    )  # fmt: skip
    done = campaign(told, "knn", "signs", "norms", "linear")
    for labels in done.board.grid:
        chosen = done.board.choose(done.board.attempts(labels))
        assert chosen == Attempt(3, labels)
        assert not done.board.uncontrolled(chosen)
        assert done.board.doubts(chosen) == (("CONVERGENCE_UNCHECKED",) if 3 in done.board.trained else ())


def test_a_cheat_that_wins_at_one_label_only_is_dropped_at_smoke():
    def told(task):
        if task.arm != "attack":
            return {"ceiling": 0.95, "planted": 0.9, "shuffled": 0.9 if task.adversary == "signs" else 0.5}[task.arm]
        return 0.9 if (task.adversary == "signs") == (task.labels_per_class == 1) else 0.6

    done = campaign(told, "knn", "signs")
    assert arms(done, "shuffled") == {Attempt(0, "all"), Attempt(1, "all")}
    for labels in (1, "all"):
        assert done.board.choose(done.board.attempts(labels)) == Attempt(0, labels)


def test_the_strongest_on_the_images_is_controlled_too():
    told = says(knn={"attack": 0.8}, signs={"attack": 0.6, "ceiling": 0.99})
    assert Attempt(1, "all") in arms(campaign(told, "knn", "signs"), "shuffled")


def test_the_undefended_arm_is_run_in_the_undefended_world():
    bare = EvaluationHandle(folder=Path("bare"), device="cpu")
    done = campaign(says(knn={"attack": 0.8}, signs={"attack": 0.6}), "knn", "signs", undefended=bare)
    assert arms(done, "undefended") == {Attempt(0, "all")}
    for order in done.runner.orders:
        ours = order.task.arm == "undefended"
        assert order.place.folder == Path("bare" if ours else "attacked"), order.title
        expected = {"undefended": "bare", "ceiling": "clean"}.get(order.task.arm, "attacked")
        assert order.task.world == expected
        assert order.folder == Path("ceilings" if order.task.arm == "ceiling" else "cells")


def test_without_an_undefended_twin_there_is_no_such_arm():
    assert not arms(campaign(says(knn={"attack": 0.8}), "knn"), "undefended")


def test_the_standard_budget_doubles_the_training_of_every_choice_and_smoke_says_that_nobody_did():
    told = says(mlp={"attack": 0.9}, cnn={"attack": 0.8}, knn={"attack": 0.6})
    standard, smoke, full = (campaign(told, "mlp", "cnn", "knn", budget=b) for b in ("standard", "smoke", "full"))
    assert arms(standard, "attack", doubled=True) == {Attempt(0, 1), Attempt(0, "all")}
    assert arms(full, "attack", doubled=True) == {Attempt(i, k) for i in (0, 1) for k in (1, "all")}
    assert not arms(smoke, "attack", doubled=True)
    doubled = [order.task for order in standard.runner.orders if order.task.doubled]
    assert all(task.make_adversary() == replace(task, doubled=False).make_adversary().doubled() for task in doubled)
    for done, flagged in ((smoke, True), (standard, False), (full, False)):
        assert ("CONVERGENCE_UNCHECKED" in done.board.doubts(Attempt(0, "all"))) is flagged
        assert "CONVERGENCE_UNCHECKED" not in done.board.doubts(Attempt(2, "all"))


def test_training_that_would_go_on_gaining_is_found_by_the_campaign():
    def told(task):
        return {"attack": 0.9 if task.doubled else 0.6}.get(task.arm, 0.5 if task.arm == "shuffled" else 0.95)

    assert "NOT_CONVERGED" in campaign(told, "mlp", budget="standard").board.doubts(Attempt(0, "all"))


# --- real cells, on a tiny world ---


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
    """A place that holds a world in memory."""

    def world(self):
        return tiny()


CELL = Cell(
    adversary="mlp", settings={"steps": 3, "width": 8}, level="L2", labels_per_class="all", goal="task:y",
    arm="attack", seed=0, doubled=False, world="w",
)  # fmt: skip


def test_a_doubled_cell_trains_twice_as_long():
    once, more = CELL.measure(Here()), replace(CELL, doubled=True).measure(Here())
    assert (once.cost["gradient_steps"], more.cost["gradient_steps"]) == (3, 6)


def test_the_ceiling_reads_images_and_the_undefended_arm_the_releases_of_its_own_world():
    attack, ceiling, bare = (
        replace(CELL, adversary="knn", settings={}, arm=arm).measure(Here())
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


def test_a_board_knows_who_reads_labels_and_what_holds_for_everybody():
    world = tiny()
    prepared = SimpleNamespace(world=world, dataset=SimpleNamespace(name="made"), parts=SimpleNamespace(task="y"))
    context = SimpleNamespace(
        prepared=prepared,
        levels=LEVELS,
        settings=Settings(),
        seeds=(0,),
        budget=get_budget("smoke"),
        common=("SPLIT_OVERLAP",),
    )
    candidates = ladder(("mlp", "cnn-twin"), "cnn-twin")
    board = board_of(context, TaskLabel(label="y"), candidates)
    assert [board.candidates[i].adversary for i in range(len(candidates))] == [each.adversary for each in candidates]
    assert board.readers == {i for i in range(len(candidates)) if board.learns(i)}
    assert {"linear", "knn", "fine-tune"} <= {candidates[i].adversary for i in board.readers}
    assert not {"frozen", "batchnorm", "majority"} & {candidates[i].adversary for i in board.readers}
    assert set(board.common) == {"SPLIT_OVERLAP", "TOO_FEW_TARGETS"}
