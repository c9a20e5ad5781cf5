"""Whom an attack exposes: the rows that it picks out itself and names right."""

import pytest
import torch

from adversaries.goals.exposed import confidence, picked


def test_the_largest_validation_set_that_is_precise_enough_sets_the_threshold():
    sure = torch.linspace(1, 0, 100)
    right = torch.arange(100) < 45  # 45 of the first 50 are right, 45 of the first 51 are not
    chosen = picked(sure, right, torch.tensor([0.99, 0.51, 0.49, 0.1]))
    assert chosen.tolist() == [True, True, False, False]


def test_fewer_than_five_precise_rows_are_luck():
    sure = torch.linspace(1, 0, 100)
    right = torch.arange(100) < 4  # the first 5 are right in 80 %
    on_targets = torch.rand(100, generator=torch.Generator().manual_seed(0))
    chosen = picked(sure, right, on_targets)
    assert chosen.sum() == 2  # the surest 2 %
    assert on_targets[chosen].min() >= on_targets[~chosen].max()


def test_whoever_is_as_sure_as_the_last_of_a_set_belongs_to_it():
    sure = torch.tensor([0.9] * 5 + [0.5] * 20)
    right = torch.tensor([True] * 5 + [True] * 5 + [False] * 15)
    assert picked(sure, right, torch.tensor([0.9, 0.5])).tolist() == [True, False]


def test_an_attack_that_is_always_equally_sure_does_not_pick_everybody():
    chosen = picked(torch.ones(50), torch.arange(50) < 5, torch.ones(450))
    assert chosen.nonzero().flatten().tolist() == list(range(9))


@pytest.mark.parametrize("share", [0.06, 0.3])
def test_rows_in_the_open_are_found_although_the_average_hides_them(share):
    """A share of the rows carries its class, the others nothing: 10 classes, 1,000 rows of each part."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(0, 10, (2, 1000), generator=generator)
    shown = torch.rand(2, 1000, generator=generator) < share
    told = 9 * shown[..., None] * torch.nn.functional.one_hot(labels, 10)
    scores = torch.rand(2, 1000, 10, generator=generator) + told
    sure = [confidence(part, "logits") for part in scores]
    right = scores.argmax(2) == labels
    exposed = picked(sure[0], right[0], sure[1]) & right[1]
    assert exposed.double().mean() == pytest.approx(share, abs=0.05)


def test_shares_are_confidences_and_logits_become_some():
    assert confidence(torch.tensor([[3.0, 1.0]]), "shares").item() == pytest.approx(0.75)
    assert confidence(torch.tensor([[0.0, 0.0]]), "logits").item() == pytest.approx(0.5)
    assert confidence(torch.tensor([[-1.0, 0.5]]), "shares").item() == pytest.approx(1.0)
