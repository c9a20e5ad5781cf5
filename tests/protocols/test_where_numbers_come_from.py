"""Which rows of which arm every number of the catalog is made of."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from adversaries.adversary import ADVERSARIES
from adversaries.evaluation_data import EvaluationData, Part
from adversaries.goals.assess import assess
from adversaries.goals.label import TaskLabel
from adversaries.statistics.labels_needed import margin, reached
from adversaries.statistics.levels import recompute
from adversaries.threat import ThreatModel
from protocols.engine.progress import Reporter
from protocols.engine.publishing.publisher import Publisher
from protocols.engine.publishing.world import published_world, target_rows
from protocols.evaluation.metrics import LabelsNeeded
from protocols.evaluation.protocol import Candidate
from protocols.evaluation.results import Attempt
from protocols.task_label.study import adaptive_metrics, transfer_metrics
from tests.protocols.builders import board, change, chosen, fill, hits, numbers
from vfc.data import Dataset, ImageSet
from vfc.splits import split
from vfc.wrapper import ModuleDefense

LEVELS = ("L0", "L1", "L2")


def adaptive(b, levels=LEVELS, **rows):
    return adaptive_metrics(numbers(b, **rows), levels)


def transfer(b, **rows):
    return transfer_metrics(numbers(b, **rows))


def labels_needed(b, share, **rows):
    curve = {labels: b.results.attempts(labels, levels=LEVELS) for labels in b.results.grid}
    return LabelsNeeded(numbers=numbers(b, **rows), curve=curve).reaching(share)


def ladder_board(*levels, grid=(1, 10, "all")):
    return board(*(f"a{i}" for i in range(len(levels))), levels=levels, grid=grid)


def rename(b, *names):
    for position, name in enumerate(names):
        change(b, position, candidate=Candidate(adversary=name))


# --- suppression and leakage ---


def test_suppression_counts_the_target_on_the_release_and_that_of_pictures_on_the_picture():
    b = ladder_board("L0", "L0")
    rename(b, "frozen", "frozen-picture")
    for position in (0, 1):
        fill(b, position, None, attack=0.6)
    rows = {"release": hits(0.72, 1), "clean": hits(0.96, 2), "picture": hits(0.84, 3)}
    found = transfer(b, **rows) | adaptive(b, **rows)
    for name in ("transfer.suppression_ratio", "adaptive.suppression_ratio"):
        assert found[name].value == pytest.approx(0.72 / 0.6), name
    assert found["transfer.picture.suppression_ratio"].value == pytest.approx(0.84 / 0.6)


def test_the_ceiling_of_leakage_is_the_best_on_the_images_and_not_that_of_the_best_attack():
    b = board("a", "b")
    mine = fill(b, 0, attack=0.7, ceiling=0.75, shuffled=0.5)
    best = fill(b, 1, attack=0.55, ceiling=0.9, shuffled=0.5)
    assert chosen(b, [mine, best]) == mine
    value = numbers(b).leakage("x", [mine, best])
    assert value.value == pytest.approx((0.7 - 0.5) / (0.9 - 0.5))


# --- labels to ---

CURVE = {1: 0.60, 5: 0.67, 10: 0.72, 20: 0.80, "all": 0.9}
"""Of 400 targets bounds are .05 away: the goal of .7 is reached by `high` at 5, by the rate at 10, by `low` at 20."""


def curve_board(**options):
    b = board("a", "b", grid=tuple(CURVE), **options)
    for labels, share in CURVE.items():
        fill(b, 0, labels, attack=share, shuffled=0.5)
    return b


def test_bounds_of_labels_needed_are_where_bounds_of_the_curve_reach_the_goal():
    value = labels_needed(curve_board(), 0.5)
    assert (value.low, value.value, value.high) == (5, 10, 20)
    assert not value.censored
    assert value.flags == ()


def test_the_goal_is_a_share_of_the_way_from_the_floor_to_the_target_on_the_release():
    rows = {"release": hits(0.69, 7), "clean": hits(0.99, 7)}
    assert labels_needed(curve_board(), 0.5, **rows).value == 1  # .5 + .5 (.69 - .5) = .595
    assert labels_needed(curve_board(), 0.9).value == 60  # .5 + .9 (.9 - .5) = .86


def test_a_rival_that_needs_fewer_labels_counts_in_the_bounds_although_it_was_not_chosen():
    b = curve_board()
    fill(b, 1, 1, attack=0.85, validation=0.5, shuffled=0.5)
    value = labels_needed(b, 0.5)
    assert (value.low, value.value, value.high) == (1, 10, 10)
    assert [len(step.margins) for step in value.curve] == [2, 1, 1, 1, 1]
    assert reached(value.curve, recompute, 0.05) == (1, 1)
    assert "SELECTION_MISSED" in value.flags


def test_the_target_s_own_luck_is_in_the_bounds():
    def apart(n):
        attack, target = np.arange(n) < 0.5 * n, np.arange(n) < 0.6 * n
        return margin(attack, np.zeros(n), target, 0.9)

    few, many = apart(50), apart(5000)
    assert few.value == pytest.approx(many.value) == pytest.approx(0.5 - 0.9 * 0.6)
    assert few.low < 0 < few.high  # of 50 targets the attack might be there already
    assert many.high < 0


@pytest.mark.parametrize("labels", list(CURVE))
def test_a_doubt_about_any_point_of_the_curve_is_one_about_the_labels_needed(labels):
    b = curve_board()
    fill(b, 0, labels, attack=CURVE[labels], shuffled=0.5, flags=("ZERO_GRADIENT",))
    for share in (0.5, 0.9):
        assert "ZERO_GRADIENT" in labels_needed(b, share).flags


# --- who takes part in which number ---


def test_without_labels_means_without_adversaries_that_read_labels():
    b = ladder_board("L0", "L1", "L2")
    fill(b, 0, None, attack=0.55)
    fill(b, 1, None, attack=0.65)
    for labels in b.results.grid:
        fill(b, 2, labels, attack=0.8, shuffled=0.5)
    value = adaptive(b)["adaptive.accuracy@0"]
    assert value.value == pytest.approx(0.65)
    assert not value.also
    assert adaptive(b, ("L0",)).keys() == {f"adaptive.{n}" for n in ("accuracy", "suppression_ratio", "leakage")}


def test_the_median_without_labels_is_that_of_adaptations_and_not_of_frozen_models():
    b = ladder_board("L0", "L0", "L0", "L1", "L1", "L1", "L2")
    for position, share in enumerate((0.5, 0.5, 0.5, 0.6, 0.7, 0.8)):
        fill(b, position, None, attack=share)
    for labels in b.results.grid:
        fill(b, 6, labels, attack=0.9, shuffled=0.5)
    found = adaptive(b)
    assert found["adaptive.median_accuracy@0"].value == pytest.approx(0.7)
    assert found["adaptive.accuracy@0"].value == pytest.approx(0.8)


@pytest.mark.parametrize("strong", [0, 1])
def test_an_adversary_of_a_lower_level_counts_in_every_adaptive_number(strong):
    b = ladder_board("L0", "L1", "L2")
    for position in (0, 1):
        fill(b, position, None, attack=0.8 if position == strong else 0.6, ceiling=0.85)
    for labels in b.results.grid:
        fill(b, 2, labels, attack=0.62, ceiling=0.7, shuffled=0.5)
    found = adaptive(b)
    for name in ("", "@0", "@1", "@10", "@all"):
        assert found[f"adaptive.accuracy{name}"].value == pytest.approx(0.8), name
    for name in ("", "@1", "@10", "@all"):
        assert found[f"adaptive.suppression_ratio{name}"].value == pytest.approx(0.9 / 0.8), name
    assert found["adaptive.leakage"].value == pytest.approx((0.8 - 0.5) / (0.85 - 0.5))
    assert found["adaptive.labels_to_half"].value == 1
    assert found["adaptive.labels_to_90"].censored


def test_a_level_above_the_threat_and_above_l2_counts_where_it_is_meant_to():
    b = ladder_board("L2", "L3")
    for labels in b.results.grid:
        fill(b, 0, labels, attack=0.6, shuffled=0.5)
        fill(b, 1, labels, attack=0.8, shuffled=0.5)
    two, three = adaptive(b), adaptive(b, (*LEVELS, "L3"))
    assert two["adaptive.accuracy"].value == pytest.approx(0.6)
    assert three["adaptive.accuracy"].value == pytest.approx(0.8)
    assert three["adaptive.accuracy@10"].value == pytest.approx(0.6)
    assert three["adaptive.labels_to_half"].censored


def test_transfer_is_about_frozen_models_alone():
    """On a low release the floor's guesser may be the best of L0 and L1; it is no unintended model."""
    b = ladder_board("L0", "L0", "L0", "L1", "L2", grid=("all",))
    rename(b, "frozen", "frozen-picture", "majority", "batchnorm", "linear")
    for position, share in enumerate((0.55, 0.6, 0.7, 0.75, 0.8)):
        fill(b, position, "all" if position == 4 else None, attack=share, ceiling=0.9, shuffled=0.5)
    found = transfer(b, picture=hits(0.9, 3))
    assert found["transfer.accuracy"].value == pytest.approx(0.55)
    assert found["transfer.suppression_ratio"].value == pytest.approx(0.9 / 0.55)
    assert found["transfer.leakage"].value == pytest.approx((0.55 - 0.5) / (0.9 - 0.5))
    assert found["transfer.picture.accuracy"].value == pytest.approx(0.6)
    assert found["transfer.picture.suppression_ratio"].value == pytest.approx(0.9 / 0.6)
    assert not [name for name, value in found.items() if value.also or "SELECTION_MISSED" in value.flags]
    outcomes = b.results.outcomes
    b.results.outcomes = {trial: each for trial, each in outcomes.items() if trial.attempt == Attempt(2, None)}
    assert transfer(b)["transfer.accuracy"].value is None


# --- the intended use ---


class Sides(nn.Module):
    """Class 1 if the right half is the brighter one."""

    def forward(self, x):
        left, right = x[..., :2].mean((1, 2, 3)), x[..., 2:].mean((1, 2, 3))
        return torch.stack([left, right], 1)


class Mirrored(nn.Module):
    """Publishes the mirrored image, which its own target misreads: right on images, wrong on every release."""

    def __init__(self):
        super().__init__()
        self.target = Sides()

    def forward(self, x):
        return x.flip(-1)


def pictures(n, low=0.0, high=1.0):
    """Images whose label says which half is bright."""
    y = torch.arange(n) % 2
    images = torch.full((n, 1, 4, 4), low)
    images[y == 0, :, :, :2] = high
    images[y == 1, :, :, 2:] = high
    return images, y


def published_by(module):
    return Publisher(defense=ModuleDefense(module=module), classes=2, seed=0, device="cpu")


def test_the_target_is_graded_on_releases_and_its_clean_accuracy_on_images():
    images, y = pictures(80, high=0.9)
    images += torch.arange(80)[:, None, None, None] / 1000  # no image twice
    rows = ImageSet(images=images, labels={"y": y})
    data = Dataset(name="made", task="y", train=rows, test=None, classes={"y": 2})
    parts, publisher = split(data), published_by(Mirrored())
    world, values = published_world(publisher, parts, data, None, Reporter(quiet=True))
    for part in (world.train, world.validation, world.targets):
        assert torch.equal(part.release, part.images.flip(-1))
        assert torch.equal(part.prediction, 1 - part.labels["y"])
    found = target_rows(publisher, publisher.defense, world, parts, values["defender"])
    assert set(found.release.tolist()) == set(found.picture.tolist()) == {0}
    assert set(found.clean.tolist()) == {1}


def bright():
    """A target that says 1 if a picture is brighter than the middle of its range."""
    head = nn.Linear(16, 2)
    head.weight.data = torch.tensor([[-1.0], [1.0]]).expand(2, 16) / 16
    head.bias.data = torch.tensor([0.5, -0.5])
    return nn.Sequential(nn.Flatten(), head)


class Plain(nn.Module):
    """Publishes what it is given."""

    def __init__(self):
        super().__init__()
        self.target = bright()

    def forward(self, x):
        return x


def levels(low, high, n=8):
    y = torch.arange(n) % 2
    return torch.where(y == 1, high, low)[:, None, None, None].expand(n, 1, 4, 4).clone()


def test_the_range_of_a_picture_comes_from_the_attackers_pool_and_not_from_the_targets():
    """By the pool's range (0 to 10) targets at 6 and 9 are both bright; by their own range one of them would be dark.

    Rescaling is what the defender takes, because clipping loses its own 2 and 9.
    """
    publisher, (images, y) = published_by(Plain()), pictures(8)
    releases = (levels(0.0, 10.0), levels(0.0, 10.0), levels(6.0, 9.0))
    train, validation, targets = (
        Part(images=images, release=release, labels={"y": y}, prediction=publisher.predicted(release))
        for release in releases
    )
    world = EvaluationData(train=train, validation=validation, targets=targets, classes={"y": 2})
    parts = SimpleNamespace(task="y", defender_validation=SimpleNamespace(labels={"y": y}))
    rows = target_rows(publisher, publisher.defense, world, parts, levels(2.0, 9.0))
    assert rows.picture.tolist() == [0, 1] * 4


def test_an_unintended_model_reads_the_picture_by_the_range_of_the_pool():
    images, y = pictures(8)
    pool, targets = levels(0.0, 10.0), levels(6.0, 9.0)
    parts = [Part(images=images, release=release, labels={"y": y}) for release in (pool, pool, targets)]
    models = {"bright": bright()}
    world = EvaluationData(train=parts[0], validation=parts[1], targets=parts[2], classes={"y": 2}, models=models)
    adversary = ADVERSARIES.get("frozen-picture")(model="bright", form="rescale")
    threat, goal = ThreatModel(level="L0"), TaskLabel(label="y")
    graded = assess(adversary, world, goal, threat, arm="attack", seed=0, fit_seed=0)
    assert graded.validation.tolist() == [True] * 8
    assert graded.targets.tolist() == [False, True] * 4
