"""Unintended models retrained on what the defense answers to moved copies of the attacker's own images."""

import dataclasses

import pytest
import torch

from adversaries.adversary import ADVERSARIES
from adversaries.goals.assess import assess
from adversaries.goals.label import TaskLabel
from adversaries.knowledge import Knowledge
from adversaries.learning.queries import moved
from adversaries.threat import ThreatModel
from vfc.defense import Defense
from vfc.errors import KnowledgeError, NotApplicableError
from vfc.release import Release

GOAL = TaskLabel(label="y")


class Turned(Defense):
    """Publishes negatives of images turned upside down, with noise, as images or as vectors; counts its queries."""

    def __init__(self, flat=False, noise=0.01):
        super().__init__()
        object.__setattr__(self, "noise", noise)
        object.__setattr__(self, "flat", flat)
        object.__setattr__(self, "asked", [])

    def publish(self, x, generator):
        self.asked.append(len(x))
        values = 1 - x.flip(2) + self.noise * torch.randn(x.shape, generator=generator)
        return Release(values=values.flatten(1) if self.flat else values)


def released(world, defense):
    def publish(part):
        return dataclasses.replace(part, release=defense.publish(part.images, torch.Generator().manual_seed(5)).values)

    parts = {name: publish(getattr(world, name)) for name in ("train", "validation", "targets")}
    defense.asked.clear()
    return dataclasses.replace(world, **parts)


def graded(world, defense, *, arm="attack", labels="all", level="L3", name="replay-training", **settings):
    threat = ThreatModel(level=level, labels_per_class=labels)
    adversary = ADVERSARIES.get(name)(model="tiny", **{"steps": 40, **settings})
    return assess(adversary, world, GOAL, threat, arm=arm, seed=1, fit_seed=2, defense=defense)


def rate(found):
    return float(found.targets.double().mean())


@pytest.mark.parametrize("flat", [False, True])
def test_it_reads_what_the_defense_answers_in_both_shapes(plain, flat):
    defense = Turned(flat)
    world = released(plain, defense)
    assert rate(graded(world, defense)) > 0.85
    assert sum(defense.asked) == 2 * len(world.train)


def test_it_finds_nothing_in_noise_nor_with_permuted_labels(plain):
    class Noise(Turned):
        def publish(self, x, generator):
            return Release(values=torch.rand(x.shape, generator=generator))

    defense = Noise()
    null = graded(released(plain, defense), defense)
    assert rate(null) < 0.5  # a third of three classes, 90 targets
    defense = Turned()
    shuffled = graded(released(plain, defense), defense, arm="shuffled")
    assert rate(shuffled) < 0.5


def test_its_ceiling_asks_for_the_images_themselves(plain):
    defense = Turned()
    found = graded(released(plain, defense), defense, arm="ceiling")
    assert rate(found) > 0.9
    assert defense.asked == []


def test_it_counts_no_labels_needs_a_defense_and_the_same_shape(plain):
    defense = Turned()
    world = released(plain, defense)
    with pytest.raises(NotApplicableError, match="label of every query"):
        graded(world, defense, labels=5)
    with pytest.raises(NotApplicableError, match="no defense to ask"):
        graded(world, None)
    with pytest.raises(NotApplicableError, match="another shape"):
        graded(world, Turned(flat=True))
    with pytest.raises(KnowledgeError, match="pairs"):
        graded(world, defense, level="L2")


def test_a_transform_in_front_of_it_meets_the_answers_too(plain):
    defense = Turned()
    world = released(plain, defense)
    options = {"model": "tiny", "steps": 40}
    adversary = ADVERSARIES.get("input-transform")(inner="replay-training", options=options, transform="flip")
    threat = ThreatModel(level="L3", labels_per_class="all")
    found = assess(adversary, world, GOAL, threat, arm="attack", seed=1, fit_seed=2, defense=defense)
    assert rate(found) > 0.85


def test_the_longer_pool_has_every_answer_with_the_labels_of_its_image(plain):
    defense = Turned()
    world = released(plain, defense)
    view = Knowledge(world, ThreatModel(level="L3", labels_per_class="all"), "y", defense=defense)
    source = torch.Generator().manual_seed(0)
    images = view.pairs[1]
    asked = moved(images, source)
    answers = view.ask(asked, source)
    longer = view.longer(answers, asked, torch.arange(len(images)))
    release, y = longer.labelled
    assert torch.equal(release, torch.cat([world.train.release, answers]))
    assert torch.equal(y, world.train.labels["y"].repeat(2))
    assert torch.equal(longer.pairs[1], torch.cat([images, asked]))
