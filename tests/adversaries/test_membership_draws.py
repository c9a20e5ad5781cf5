"""Of which images membership is asked."""

import torch

from adversaries.goals.membership_draws import Question
from vfc.data import ImageSet
from vfc.splits import Parts


def images(n, first, label):
    """Images that are a number each, and a second label that tells it."""
    values = torch.arange(first, first + n)
    pixels = (values / 100).float().reshape(-1, 1, 1, 1)
    return ImageSet(images=pixels, labels={"y": torch.full((n,), label), "a": values})


def parts():
    none = images(1, 99, 0)
    return Parts(
        defender_train=images(30, 0, 0), targets=images(20, 50, 1), defender_validation=none, pool_train=none,
        pool_validation=none, task="y", paper=False, duplicates_removed=0,
    )  # fmt: skip


def test_as_many_members_as_others_are_asked_about_in_mixed_order():
    question = Question.drawn(parts(), 12, 0)
    assert question.member.sum() == 12
    assert len(question.member) == len(question.images) == 24
    # Members are those with label 0, and every image keeps its labels.
    assert torch.equal(question.labels == 0, question.member)
    assert torch.equal((question.images.flatten() * 100).round().long(), question.attributes["a"])
    assert len(set(question.attributes["a"].tolist())) == 24
    assert not question.member[:12].all()
    assert question.attributes["a"][question.member].tolist() != sorted(question.attributes["a"][question.member])


def test_no_more_are_asked_about_than_either_side_has():
    assert len(Question.drawn(parts(), 100, 0).member) == 40


def test_a_draw_is_that_of_its_seed():
    first = Question.drawn(parts(), 12, 0)
    torch.manual_seed(5)
    again, other = Question.drawn(parts(), 12, 0), Question.drawn(parts(), 12, 1)
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.member, again.member)
    assert not torch.equal(first.images, other.images)
