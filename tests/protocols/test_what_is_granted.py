"""What an attacker gets to see, row by row: labelled releases, and the data that models are trained on.

Every release is the number of its row, so that it tells which row it is.
"""

import hashlib
from collections import Counter
from dataclasses import replace

import pytest
import torch

from adversaries.evaluation_data import EvaluationData, Part, reordered
from adversaries.goals.membership_draws import Question, Universe
from adversaries.knowledge import Knowledge
from adversaries.threat import ThreatModel
from protocols.engine.handles import fit_data
from protocols.engine.outside.families import Families
from protocols.engine.progress import Reporter
from protocols.engine.settings import Settings
from protocols.engine.trainer import Trainer
from protocols.evaluation.label_task import LabelTask
from vfc.artifact import load_arrays
from vfc.data import Dataset, ImageSet
from vfc.defense import attributes_of
from vfc.errors import NotApplicableError
from vfc.splits import split

CLASSES = 3
SCALE = 4096  # a power of two, so that dividing is exact


def part(first, labels):
    rows = torch.arange(first, first + len(labels)).float()
    images = rows[:, None, None, None].expand(-1, 1, 2, 2) / SCALE
    return Part(images=images, release=rows[:, None].clone(), labels={"y": torch.tensor(labels)})


def world():
    return EvaluationData(
        train=part(0, [0, 1, 2, 2, 0, 0, 1, 2, 1, 0, 1, 2, 0, 0]),
        validation=part(1000, [0, 1, 2, 1, 2, 0]),
        targets=part(2000, [2, 1, 0, 0, 1]),
        classes={"y": CLASSES},
    )


def granted(labels, of=None, level="L2"):
    release, y = Knowledge(of or world(), ThreatModel(level=level, labels_per_class=labels), "y").labelled
    return [int(row) for row in release[:, 0]], y.tolist()


def test_all_labels_are_those_of_the_pool_without_its_validation_part():
    rows, y = granted("all")
    assert sorted(rows) == list(range(14))
    truth = world().train.labels["y"].tolist()
    assert y == [truth[row] for row in rows]


@pytest.mark.parametrize("k", [1, 2, 4])
def test_k_labels_are_the_first_k_rows_of_every_class_and_no_more(k):
    rows, y = granted(k)
    assert Counter(y) == dict.fromkeys(range(CLASSES), k)
    truth, expected, seen = world().train.labels["y"].tolist(), [], Counter()
    for row, value in enumerate(truth):
        seen[value] += 1
        if seen[value] <= k:
            expected.append(row)
    assert rows == expected
    assert y == [truth[row] for row in rows]


def test_more_than_a_class_has_is_refused():
    with pytest.raises(NotApplicableError, match="4 rows of class 1, fewer than 5"):
        granted(5)


@pytest.mark.parametrize("level", ["L1", "L3"])
def test_nothing_else_that_is_handed_out_holds_a_row_of_validation_or_targets(level):
    view = Knowledge(world(), ThreatModel(level=level, labels_per_class="all"), "y")
    assert sorted(view.unlabelled[:, 0].tolist()) == list(range(14))
    assert sorted((view.images[0][:, 0, 0, 0] * SCALE).tolist()) == list(range(14))
    assert len(view.own_labels) == 14
    if level == "L3":
        release, images = view.pairs
        assert release[:, 0].tolist() == list(range(14))
        assert torch.equal(images[:, 0, 0, 0] * SCALE, release[:, 0])


def test_seeds_are_granted_other_labels_and_only_the_pool_is_reordered():
    draws = {tuple(sorted(granted(1, reordered(world(), seed))[0])) for seed in range(6)}
    assert len(draws) > 3
    again = reordered(world(), 1)
    assert granted(1, again) == granted(1, reordered(world(), 1))
    truth = world().train.labels["y"]
    assert torch.equal(again.train.labels["y"], truth[again.train.release[:, 0].long()])
    assert torch.equal(again.train.images[:, 0, 0, 0] * SCALE, again.train.release[:, 0])
    for name in ("validation", "targets"):
        assert torch.equal(getattr(again, name).release, getattr(world(), name).release)


class Here:
    """A place that holds a world in memory."""

    def __init__(self, held):
        self.held = held

    def world(self):
        return self.held


def test_a_task_of_another_seed_learns_from_other_labels():
    """The nearest neighbor uses no randomness of its own: only the labels that it is granted can tell seeds apart."""
    source = torch.Generator().manual_seed(0)
    parts = [
        Part(
            images=None,
            release=torch.randn(n, 3, generator=source),
            labels={"y": torch.randint(2, (n,), generator=source)},
        )
        for n in (60, 20, 60)
    ]
    here = Here(EvaluationData(train=parts[0], validation=parts[1], targets=parts[2], classes={"y": 2}))

    def guesses(seed):
        task = LabelTask(
            adversary="knn", settings={}, level="L2", labels_per_class=1, goal="task:y", arm="attack", seed=seed,
            doubled=False, world="w",
        )  # fmt: skip
        return tuple(task.measure(here).targets.tolist())

    assert guesses(0) == guesses(0)
    assert len({guesses(seed) for seed in range(4)}) > 2


# --- what models are trained on ---


class Recorder:
    """An executor that does nothing but remember."""

    def __init__(self):
        self.jobs = []

    def run(self, function, jobs):
        self.jobs += [job for (job,) in jobs]
        return iter([(position, None) for position in range(len(jobs))])

    def close(self):
        pass


@pytest.fixture
def trained(tmp_path):
    """A trainer whose jobs are recorded, with data and its parts."""
    source = torch.Generator().manual_seed(3)
    images = torch.rand(300, 1, 8, 8, generator=source)
    labels = {"y": torch.arange(300) % CLASSES, "a": torch.randint(2, (300,), generator=source)}
    rows = ImageSet(images=images, labels=labels)
    data = Dataset(name="made", task="y", train=rows, test=None, classes={"y": CLASSES, "a": 2})
    recorder, settings = Recorder(), Settings(unintended=("mlp",))
    trainer = Trainer(settings, "cpu", tmp_path / "root", tmp_path / "scratch", recorder, Reporter(quiet=True))
    return trainer, recorder, data, split(data), Families.of(settings, data)


def seen(path):
    arrays = load_arrays(path)
    hashes = [hashlib.sha256(image.tobytes()).digest() for image in arrays["images"].numpy()]
    return dict(zip(hashes, arrays["labels"].tolist(), strict=True))


def labelled(images, label):
    return dict(zip(images.row_hashes, images.labels[label].tolist(), strict=True))


def test_unintended_models_see_the_pool_and_neither_its_validation_part_nor_targets(trained):
    trainer, recorder, data, parts, families = trained
    target, models = trainer.models(data, parts, families)
    assert set(models) == {"mlp", "cnn-twin"}
    jobs = {job.path: job for job in recorder.jobs}
    assert set(jobs) == {target, *models.values()}
    hidden = {*parts.targets.row_hashes, *parts.pool_validation.row_hashes}
    for path in models.values():
        assert not hidden & set(seen(jobs[path].data))
        assert seen(jobs[path].data) == labelled(parts.pool_train, "y")
    assert seen(jobs[target].data) == labelled(parts.defender_train, "y")


def test_attribute_models_see_the_pool_with_the_attribute(trained):
    trainer, recorder, data, parts, families = trained
    found = trainer.attribute_models(data, parts, families, ["a", "y"])
    assert all(set(named) == {"mlp"} for named in found.values())
    jobs = {job.path: job for job in recorder.jobs}
    for label, named in found.items():
        for path in named.values():
            assert seen(jobs[path].data) == labelled(parts.pool_train, label)
            assert jobs[path].classes == data.classes[label]


def test_a_defense_sees_the_defenders_images_alone(trained):
    trainer, recorder, data, parts, families = trained
    target, _ = trainer.models(data, parts, families)
    trainer.defenses("vfc", {}, data, parts, target)
    job = recorder.jobs[-1]
    assert seen(job.data) == labelled(parts.defender_train, "y")
    assert seen(job.validation) == labelled(parts.defender_validation, "y")


def test_a_defense_is_fitted_with_the_defender_s_own_attributes_in_their_order(trained):
    trainer, recorder, data, _, families = trained
    more = {**data.train.labels, "0.first": data.train.labels["a"].flip(0)}
    rows = ImageSet(images=data.train.images, labels=more)
    parts = split(replace(data, train=rows, classes={"y": CLASSES, "a": 2, "0.first": 2}))
    target, _ = trainer.models(data, parts, families)
    folder, _ = trainer.defenses("identity", {}, data, parts, target)
    (job,) = (each for each in recorder.jobs if each.path == folder)
    found = fit_data(job.data, job.validation, CLASSES, torch.nn.Identity())
    # Files sort by name; "0.first" comes last all the same, and its dot stays.
    assert list(found.attributes) == list(found.validation_attributes) == ["a", "0.first"]
    for name in found.attributes:
        assert torch.equal(found.attributes[name], parts.defender_train.labels[name])
        assert torch.equal(found.validation_attributes[name], parts.defender_validation.labels[name])
    assert torch.equal(found.labels, parts.defender_train.labels["y"])


def test_the_order_of_attributes_is_part_of_what_a_defense_depends_on(trained):
    trainer, _, data, parts, families = trained
    target, _ = trainer.models(data, parts, families)
    labels = {**data.train.labels, "b": 1 - data.train.labels["a"]}
    folders = []
    for order in (("y", "a", "b"), ("y", "b", "a")):
        rows = ImageSet(images=data.train.images, labels={name: labels[name] for name in order})
        folders.append(trainer.defenses("identity", {}, data, split(replace(data, train=rows)), target)[0])
    assert folders[0] != folders[1]


def test_shadows_are_fitted_with_attributes_of_their_own_images(tmp_path, trained):
    _, _, _, parts, _ = trained
    pool, labels = parts.pool_train, parts.pool_train.attributes("y")
    bare = Universe.drawn(pool.images, pool.labels["y"], 2, 0)
    universe = Universe.drawn(pool.images, pool.labels["y"], 2, 0, attributes=labels)
    assert torch.equal(bare.member, universe.member)
    assert bare.digest(0) != universe.digest(0)
    found = attributes_of(load_arrays(universe.save(1, tmp_path)))
    assert list(found) == ["a"]
    assert torch.equal(found["a"], labels["a"][universe.member[1]])
    assert attributes_of(load_arrays(bare.save(0, tmp_path))) == {}


def test_images_whose_membership_is_asked_keep_their_attributes(trained):
    *_, parts, _ = trained
    question = Question.drawn(parts, 20, 0)
    whole = {**labelled(parts.defender_train, "a"), **labelled(parts.targets, "a")}
    hashes = ImageSet(images=question.images, labels={}).row_hashes
    assert question.attributes["a"].tolist() == [whole[each] for each in hashes]
