"""What holds for every adversary up to L2: knowledge, determinism, independence of the batch, extreme input."""

import json
from functools import cache

import pytest
import torch

from adversaries.adversary import ADVERSARIES
from adversaries.goals.assess import assess
from adversaries.goals.label import TaskLabel
from adversaries.threat import ThreatModel
from vfc.errors import KnowledgeError, NotApplicableError

SHORT = {"mlp": {"steps": 20}, "cnn": {"steps": 20}, "fine-tune": {"steps": 20}, "adapter": {"steps": 20}}
SHORT |= {"deep-set": {"steps": 20}, "shot": {"steps": 5}, "trees": {"rounds": 10}}
SHORT |= {"entropy": {"steps": 5}, "input-transform": {"inner": "linear"}}
TOLD = {"with-prediction"}
"""Adversaries that mean nothing without the target's predictions; see test_informed.py."""
OF_WORDS = {"matched-bits", "matched-features", "popcounts"}
"""Adversaries that read 32-bit words and no ordinary numbers."""
CHOOSERS = {"products", "residues", "trees"}
"""Adversaries that choose among columns, for which one label of each class is too few."""
NAMES = sorted(name for name in ADVERSARIES.cards if ADVERSARIES.get(name).level <= "L2" and name not in TOLD)


def extreme_values(x):
    """Values in [-18, 13], one constant pixel."""
    release = x * 31 - 18
    release[:, :, 0, 0] = 4.0
    return release


def nearly_infinite(x):
    release = torch.randn(x.shape, generator=torch.Generator().manual_seed(1)) * 1e38
    return torch.where(x > 0.5, release, x * 1e-38)


def nonfinite(x):
    release = x.clone()
    release[:, :, 0] = torch.nan
    release[:, :, 1] = torch.inf
    release[::2, :, 2] = -torch.inf
    return release


def vectors(x):
    return x.flatten(1)[:, :10]


def scalars(x):
    return x.flatten(1)[:, 0]


def small_integers(x):
    return (x * 255).to(torch.uint8)


def large_integers(x):
    return (x * 2**40).to(torch.int64) - 2**39


def words(x):
    return x.view(torch.int32)


def halves(x):
    return x.bfloat16()


def doubles(x):
    return x.double() * 1e200


def flags(x):
    return x > 0.5


def constant(x):
    return torch.ones_like(x)


EXTREMES = (
    extreme_values,
    nearly_infinite,
    nonfinite,
    vectors,
    scalars,
    small_integers,
    large_integers,
    words,
    halves,
    doubles,
    flags,
    constant,
)


@cache
def shared_world(bench, transform):
    return bench.world(transform, sizes=(60, 12, 30))


@pytest.mark.parametrize("transform", EXTREMES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", NAMES)
def test_extreme_releases_crash_nobody(bench, name, transform):
    world = shared_world(bench, transform)
    view = bench.view(world)
    adversary = bench.adversary(name, **SHORT.get(name, {}))
    if adversary.needs_image_shape and not view.image_shaped:
        threat = ThreatModel(level="L2", labels_per_class="all")
        with pytest.raises(NotApplicableError, match="not shaped like an image"):
            assess(adversary, world, TaskLabel(label="y"), threat, arm="attack", seed=0, fit_seed=0)
        return
    try:
        attack = adversary.fit(view, torch.Generator().manual_seed(0))
    except NotApplicableError:
        if transform is extreme_values and name not in {"integer-codes", "modular"} | OF_WORDS:
            raise
        return
    guess = attack.guess(world.targets.release)
    assert guess.shape == (30, 3)
    assert torch.isfinite(guess).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_guess_does_not_depend_on_the_batch(bench, plain, name):
    world = readable(bench, name)
    attack, release = bench.fit(name, world, **SHORT.get(name, {})), world.targets.release
    torch.testing.assert_close(attack.guess(release[:4]), attack.guess(release)[:4], atol=1e-4, rtol=1e-4)


@cache
def readable(bench, name):
    """Releases to which an adversary applies: on a grid for most, words for those that read words."""
    return bench.world(words if name in OF_WORDS else lambda x: (x * 8).round() / 8)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_bits(bench, name):
    world = readable(bench, name)
    first, second = (bench.fit(name, world, seed=3, **SHORT.get(name, {})) for _ in range(2))
    assert torch.equal(first.guess(world.targets.release), second.guess(world.targets.release))


@pytest.mark.parametrize("name", [name for name in NAMES if ADVERSARIES.get(name).level > "L0"])
def test_one_level_lower_does_not_grant_enough(bench, plain, name):
    lower = {"L1": "L0", "L2": "L1"}[ADVERSARIES.get(name).level]
    adversary = bench.adversary(name, **SHORT.get(name, {}))
    with pytest.raises(KnowledgeError):
        adversary.fit(bench.view(plain, level=lower), torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", NAMES)
def test_its_own_level_is_enough(bench, name):
    adversary = bench.adversary(name, **SHORT.get(name, {}))
    view = bench.view(readable(bench, name), level=adversary.level)
    adversary.fit(view, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", sorted(CHOOSERS))
def test_who_chooses_columns_needs_several_labels_of_a_class(bench, plain, name):
    with pytest.raises(NotApplicableError, match="labels of most classes"):
        bench.fit(name, plain, labels=1)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in CHOOSERS])
def test_one_label_per_class_is_enough(bench, name):
    world = readable(bench, name)
    assert torch.isfinite(bench.fit(name, world, labels=1, **SHORT.get(name, {})).guess(world.targets.release)).all()


@pytest.mark.parametrize("name", NAMES)
def test_settings_are_json_and_doubling_doubles(bench, name):
    world = readable(bench, name)
    adversary = bench.adversary(name, **SHORT.get(name, {}))
    json.dumps(adversary.settings(), allow_nan=False)
    doubled = adversary.doubled()
    if doubled is None:
        assert bench.fit(name, world, **SHORT.get(name, {})).gradient_steps == 0
    elif name in {"mlp", "cnn", "fine-tune", "adapter", "entropy", "shot", "deep-set"}:
        steps = [a.fit(bench.view(world), torch.Generator()).gradient_steps for a in (adversary, doubled)]
        assert steps == [SHORT[name]["steps"], 2 * SHORT[name]["steps"]]
    else:
        json.dumps(doubled.settings(), allow_nan=False)


@pytest.mark.parametrize("name", NAMES)
def test_cards_say_what_the_attacker_knows(name):
    assert "Knows:" in ADVERSARIES.cards[name].text
