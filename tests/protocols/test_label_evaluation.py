"""An evaluation before anything ran: who competes, what is known of them, and of what results depend."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from adversaries.evaluation_data import EvaluationData, Part
from adversaries.goals.label import Attribute, TaskLabel
from protocols.attribute.metrics import AttributeMetrics
from protocols.engine.budget import get_budget
from protocols.engine.prepared import Digests
from protocols.engine.settings import Settings
from protocols.evaluation.candidate import Candidate
from protocols.evaluation.context import Context
from protocols.evaluation.label_evaluation import LabelEvaluation
from protocols.evaluation.label_task import LabelTask
from protocols.evaluation.results import Attempt, Trial
from protocols.task_label.study import conduct_task
from vfc.registries import DEFENSES

CANDIDATES = (
    Candidate(adversary="frozen", settings={"model": "mlp"}), Candidate(adversary="linear"),
    Candidate(adversary="table"),
)  # fmt: skip


def evaluated(goal, *, budget="standard", threat="L5", settings=None, candidates=CANDIDATES, digests=None, **options):
    y = torch.arange(40) % 2
    part = Part(images=None, release=torch.zeros(40, 3), labels={"y": y, "a": y}, prediction=y)
    world = EvaluationData(train=part, validation=part, targets=part, classes={"y": 2, "a": 2}, models={})
    prepared = SimpleNamespace(
        world=world, dataset=SimpleNamespace(name="d"), place="place", undefended="elsewhere", overlap=0,
        told=False, publisher=None,
        observed=SimpleNamespace(call_dependent=None),
        digests=digests or Digests(world="w", clean="c", undefended="u", informed="i"),
    )  # fmt: skip
    context = Context(
        settings=settings or Settings(), prepared=prepared, budget=get_budget(budget), threat=threat, runner=None,
        trainer=None, cells="cells", shared="shared", scratch=None, rows={},
    )  # fmt: skip
    return LabelEvaluation.of(context, goal, candidates, **options)


def test_what_is_known_of_competitors_follows_from_what_they_declare():
    found = evaluated(TaskLabel(label="y")).board.results.competitors
    assert [(each.level, each.grows, each.shuffles, each.trains) for each in found] == [
        ("L0", False, False, False), ("L2", True, True, True), ("L0", False, False, False),
    ]  # fmt: skip
    assert [each.candidate for each in found] == list(CANDIDATES)
    below = evaluated(TaskLabel(label="y"), threat="L1").board.results.competitors
    assert [each.candidate.adversary for each in below] == ["frozen", "table"]


def test_those_who_train_from_other_models_race_with_each_other():
    def tuned(model, scope, headline=True):
        return Candidate(adversary="fine-tune", settings={"model": model, "scope": scope}, headline=headline)

    adapter = Candidate(adversary="adapter", settings={"model": "a"})
    several = (tuned("a", "all"), tuned("b", "all"), adapter, tuned("twin", "all", headline=False), tuned("a", "head"))
    found = evaluated(TaskLabel(label="y"), candidates=(*several, *CANDIDATES)).board.results.competitors
    one, other, third, *alone = [each.family for each in found]
    assert one == other != ""
    assert third not in (one, "")
    assert alone == [""] * 5  # the near twin is apart, and a head is not trained by steps


def test_a_board_on_a_label_needs_learners_and_has_the_goals_floor():
    found = evaluated(TaskLabel(label="y"))
    assert found.board.statistic.needs_learners
    assert found.floor.tolist() == [1, 0] * 20
    assert found.board.statistic.goal == "task:y"
    assert "TOO_FEW_TARGETS" in found.board.results.common


def parts_of(targets):
    """A pool whose validation part is class 0 in 3 of 4 rows, and in 7 of 8 what a table of predictions says."""
    prediction = torch.arange(40) % 2
    y = torch.where(torch.arange(40) % 8 == 0, 1 - prediction, prediction)
    own = torch.tensor([0, 0, 0, 1] * 10)
    told = torch.where(torch.arange(40) % 8 == 0, 1 - own, own)
    return {
        "train": Part(images=None, release=torch.zeros(40, 3), labels={"y": y, "a": y}, prediction=prediction),
        "validation": Part(images=None, release=torch.zeros(40, 3), labels={"y": own, "a": own}, prediction=told),
        "targets": Part(images=None, release=torch.zeros(40, 3), labels={"y": targets, "a": targets}, prediction=told),
    }


@pytest.mark.parametrize("truth", [0, 1])
def test_a_race_knows_chance_from_the_attackers_own_validation_part(truth):
    targets = torch.full((40,), truth)
    targets[0] = 1 - truth
    world = EvaluationData(**parts_of(targets), classes={"y": 2, "a": 2}, models={})
    for goal, chance in ((TaskLabel(label="y"), 0.75), (Attribute(label="a"), 0.875)):
        found = evaluated(goal)
        found.context.prepared.world = world
        assert found.schedule.chance == pytest.approx(chance)


@pytest.mark.parametrize(("adaptive", "threat", "asked"), [(True, "L2", [1, 10]), (True, "L1", []), (False, "L2", [])])
def test_whoever_exposes_most_is_a_choice_of_the_task(monkeypatch, adaptive, threat, asked):
    class EnoughError(Exception):
        pass

    def run(self, _levels, further=tuple):
        choices = further()
        assert [{attempt.budget for attempt in choice.attempts} for choice in choices] == [{k, None} for k in asked]
        assert all(choice.board.statistic.array == "exposed" for choice in choices)
        raise EnoughError

    monkeypatch.setattr(LabelEvaluation, "run", run)
    context = evaluated(TaskLabel(label="y"), threat=threat).context
    prepared = context.prepared
    prepared.parts, prepared.target = SimpleNamespace(task="y"), None
    prepared.dataset = SimpleNamespace(name="d", classes={"y": 2})
    with pytest.raises(EnoughError):
        conduct_task(context, "adaptive-probe", CANDIDATES, adaptive=adaptive)


def test_whoever_exposes_most_is_a_choice_of_an_attribute():
    board = evaluated(Attribute(label="a")).board
    numbers = AttributeMetrics(board=board, questions=(1,), floors=np.zeros((40, 1)), rows={}, originals=False)
    *_, last = numbers.choices(["L0", "L1", "L2"])
    assert last.board.statistic.array == "exposed"
    assert set(last.attempts) == set(numbers.largest(["L0", "L1", "L2"]))


@pytest.mark.parametrize(("budget", "draws", "unchecked"), [("smoke", 1, True), ("standard", 3, False)])
def test_draws_are_asked_for_and_shared_among_the_seeds(budget, draws, unchecked):
    results = evaluated(TaskLabel(label="y"), budget=budget, draws=True).board.results
    assert results.draws * len(results.seeds) >= draws > (results.draws - 1) * len(results.seeds)
    assert results.unchecked is unchecked
    assert results.grid == get_budget(budget).labels
    assert evaluated(TaskLabel(label="y"), budget=budget).board.results.draws == 0


def order(evaluation, arm, position=1, **facts):
    return evaluation._task(Trial(Attempt(position, 10), arm, 7, **facts))


def test_each_arm_runs_where_its_data_are_and_is_named_by_what_it_depends_on():
    run = evaluated(TaskLabel(label="y"))
    kept = {arm: order(run, arm) for arm in ("attack", "ceiling", "shuffled", "undefended", "planted")}
    assert {arm: (each.task.world, each.place, each.folder) for arm, each in kept.items()} == {
        "attack": ("w", "place", "cells"), "ceiling": ("c", "place", "shared"), "shuffled": ("w", "place", "cells"),
        "undefended": ("u", "elsewhere", "cells"), "planted": ("w", "place", "cells"),
    }  # fmt: skip
    assert order(evaluated(TaskLabel(label="y"), undefended=False), "undefended").place == "place"
    assert order(run, "attack", doubled=True, draw=2) == (
        LabelTask(
            adversary="linear", settings={}, level="L2", labels_per_class=10, goal="task:y", arm="attack", seed=7,
            doubled=True, draw=2, world="w",
        ),
        "place", "cells", "linear, K = 10, attack, draw 2",
    )  # fmt: skip
    assert kept["attack"].title == "linear, K = 10, attack"


def test_whoever_asks_the_defense_is_named_by_it_and_nobody_else_is():
    asking = (*CANDIDATES, Candidate(adversary="replay-training", settings={"model": "mlp"}))
    run = evaluated(TaskLabel(label="y"), candidates=asking)
    assert order(run, "attack", 3).task.defense == ""  # only releases were given
    named = set()
    for amount in (0.1, 0.2):
        run = evaluated(TaskLabel(label="y"), candidates=asking)
        run.context.prepared.publisher = SimpleNamespace(defense=DEFENSES.get("gaussian-noise")(sigma=amount))
        named |= {order(run, arm, 3).task.defense for arm in ("attack", "shuffled", "undefended")}
        # On the images everybody publishes the images.
        assert order(run, "ceiling", 3).task.defense == order(run, "attack", 1).task.defense == ""
    assert len(named) == 2


@pytest.mark.parametrize(("informed", "named"), [("i", "i"), ("", "w")])
def test_a_ceiling_depends_on_releases_only_through_predictions_that_somebody_reads(informed, named):
    digests = Digests(world="w", clean="c", undefended="u", informed=informed)
    attribute = evaluated(Attribute(label="a"), digests=digests)
    assert order(attribute, "ceiling", 2).task.world == named
    assert order(attribute, "ceiling", 1).task.world == "c"
    assert order(evaluated(TaskLabel(label="y"), digests=digests), "ceiling", 2).task.world == "c"
