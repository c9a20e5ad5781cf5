"""What a scene grants an attack on it, and what it says of rows that an attack crashed on."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from adversaries.goals.evasion import try_attack
from tests.adversaries.test_evasion import Fake, balls, scene


@dataclass(frozen=True, kw_only=True)
class Asks(Fake):
    level: ClassVar[str] = "L3"


@pytest.mark.parametrize(("kind", "repeats"), [(Asks, True), (Fake, False)])
def test_only_whoever_has_no_gradients_sees_the_same_randomness_in_every_call(kind, repeats):
    assert scene().pipeline(kind(how="honest")).repeat is repeats


def test_a_crash_on_one_row_is_a_flag():
    trial = try_attack(Fake(how="one crash"), scene(), balls("linf")[-1:])
    assert trial.flags == ("CRASHED",)
    assert trial.crashed.sum() == 1
    assert not bool(trial.right[0][~trial.crashed[0]].all())


def test_with_a_budget_of_nothing_pixels_that_are_no_numbers_count_as_untouched():
    with pytest.raises(RuntimeError, match="lies outside its ball"):
        try_attack(Fake(how="one pixel"), scene(), balls("linf"))


def test_a_larger_ball_attacks_only_what_every_smaller_one_left():
    attacked = []

    class Counts(Fake):
        def perturb(self, pipeline, images, labels, ball, seed):
            attacked.append((ball.radius, len(images)))
            return super().perturb(pipeline, images, labels, ball, seed)

    trial = try_attack(Counts(how="honest"), scene(), balls("linf"))
    left = [len(scene().images), *trial.right.sum(1).tolist()]
    assert attacked[1:] == [(ball.radius, count) for ball, count in zip(balls("linf"), left, strict=False) if count]
    assert torch.equal(trial.share > 0, trial.right)
