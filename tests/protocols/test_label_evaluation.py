"""An evaluation before anything ran: who competes, what is known of them, and of what results depend."""

from types import SimpleNamespace

import pytest
import torch

from adversaries.evaluation_data import EvaluationData, Part
from adversaries.goals.label import Attribute, TaskLabel
from protocols.engine.budget import get_budget
from protocols.engine.prepared import Digests
from protocols.engine.settings import Settings
from protocols.evaluation.candidate import Candidate
from protocols.evaluation.context import Context
from protocols.evaluation.label_evaluation import LabelEvaluation
from protocols.evaluation.label_task import LabelTask
from protocols.evaluation.results import Attempt, Trial

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


def test_a_board_on_a_label_needs_learners_and_has_the_goals_floor():
    found = evaluated(TaskLabel(label="y"))
    assert found.board.statistic.needs_learners
    assert found.floor.tolist() == [1, 0] * 20
    assert found.board.statistic.goal == "task:y"
    assert "TOO_FEW_TARGETS" in found.board.results.common


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


@pytest.mark.parametrize(("informed", "named"), [("i", "i"), ("", "w")])
def test_a_ceiling_depends_on_releases_only_through_predictions_that_somebody_reads(informed, named):
    digests = Digests(world="w", clean="c", undefended="u", informed=informed)
    attribute = evaluated(Attribute(label="a"), digests=digests)
    assert order(attribute, "ceiling", 2).task.world == named
    assert order(attribute, "ceiling", 1).task.world == "c"
    assert order(evaluated(TaskLabel(label="y"), digests=digests), "ceiling", 2).task.world == "c"
