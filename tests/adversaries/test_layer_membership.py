"""What layers show of membership: gradients against one image at a time, an overfit network, and a null."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from adversaries.attacks.membership.layers import (
    FEATURES,
    MODEL,
    NORM,
    OUTPUT,
    PARAMETERS,
    SignalRatio,
    SignalThreshold,
    read_layers,
)
from adversaries.evidence import Value
from adversaries.goals.membership import ADVERSARIES, Shadows
from adversaries.goals.membership_grading import MembershipInputs
from protocols.over_training.membership import NOBODY_HONEST, attacked, candidates_for
from tests.adversaries.test_membership import grade, world
from vfc.seeding import seeded
from vfc.training import TrainSettings, train_classifier

CLASSES = 4


class Net(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.first = nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True))
        self.second = nn.Linear(hidden, 24)
        self.rest = nn.ReLU(inplace=True)
        self.head = nn.Linear(24, CLASSES)
        self.unused = nn.Linear(3, 3)

    def forward(self, x):
        return self.head(self.rest(self.second(self.first(x))))


def net(seed=0):
    return seeded(Net, torch.Generator().manual_seed(seed)).eval()


def batch(n=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, 1, 8, 8, generator=generator), torch.randint(CLASSES, (n,), generator=generator)


def log_length(*tensors):
    return float(torch.cat([each.detach().flatten() for each in tensors]).norm().log())


def test_signals_are_those_of_one_image_at_a_time():
    model, (images, labels) = net(), batch()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = read_layers(model, images, labels, ["first", "second", "head"])
    assert set(found) == {"first", "second", "head", MODEL}
    double = net().double()
    for row in range(len(images)):
        x, y = images[row : row + 1].double(), labels[row : row + 1]
        hidden = double.first(x)
        second = double.second(hidden)
        logits = double.head(second.relu())
        loss = nn.functional.cross_entropy(logits, y)
        gradient = torch.autograd.grad(loss, [hidden, second, logits], retain_graph=True)
        for name, output, reached in zip(("first", "second", "head"), (hidden, second, logits), gradient, strict=True):
            own = torch.autograd.grad(loss, list(double.get_submodule(name).parameters()), retain_graph=True)
            signals = dict(zip(found[name].names, found[name].readings.signals[row], strict=True))
            assert signals[NORM] == pytest.approx(log_length(output), abs=1e-5)
            assert signals[OUTPUT] == pytest.approx(log_length(reached), abs=1e-4)
            assert signals[PARAMETERS] == pytest.approx(log_length(*own), abs=1e-4)
        everything = torch.autograd.grad(loss, [p for n, p in double.named_parameters() if "unused" not in n])
        signals = dict(zip(found[MODEL].names, found[MODEL].readings.signals[row], strict=True))
        assert signals[PARAMETERS] == pytest.approx(log_length(*everything), abs=1e-4)
        p = float(logits.detach().softmax(1)[0, y])
        assert signals["confidence"] == pytest.approx(np.log(p / (1 - p)), abs=1e-5)
    # `second` is changed in place behind it; what is read is what it gave.
    assert (found["second"].readings.release < 0).any()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_layer_without_parameters_or_tensor_and_a_wide_one():
    class Wide(nn.Module):
        def __init__(self):
            super().__init__()
            self.wide, self.pair, self.head = nn.Upsample(scale_factor=4), Pair(), nn.Linear(1024, CLASSES)

        def forward(self, x):
            return self.head(self.pair(self.wide(x).flatten(1))[0])

    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    found = read_layers(seeded(Wide, torch.Generator().manual_seed(0)), *batch(), ["wide", "pair", "head"])
    assert set(found) == {"wide", "head", MODEL}
    assert found["wide"].names == (NORM, OUTPUT)
    assert found["wide"].readings.release.shape == (5, FEATURES)


def test_parameters_of_a_frozen_part_are_not_the_models_own():
    found = read_layers(net(), *batch(), ["first", "second"], ignore="first.")
    assert PARAMETERS not in found["first"].names
    assert PARAMETERS in found["second"].names


def test_any_signal_through_lira_is_lira():
    truth, seen = world(effect=1.0, shadows=4)
    ours, theirs = (grade(each, seen, truth) for each in (SignalRatio(signal="confidence"), ADVERSARIES.get("lira")()))
    assert np.array_equal(ours.scores, theirs.scores)
    assert ours.advantage == theirs.advantage


def overfit(images, labels, seed):
    model = net(seed)
    train_classifier(
        model, images, labels, TrainSettings(steps=150, batch=30, lr=1e-2), torch.Generator().manual_seed(seed)
    )
    return model


@pytest.fixture(scope="module")
def scene():
    """Random labels on random images: 60 members, 60 others, and four shadows on halves of 120 more."""
    images, labels = batch(360, seed=1)
    pool, pool_labels = images[240:], labels[240:]
    member = np.stack([np.random.Generator(np.random.PCG64(s)).permutation(np.arange(120) < 60) for s in range(4)])
    shadows = [overfit(pool[rows], pool_labels[rows], 10 + s) for s, rows in enumerate(torch.from_numpy(member))]
    layers = ["first", "second", "head"]
    asked = (images[:120], labels[:120])
    truth = np.arange(120) < 60

    def attack(model):
        seen = {
            "real": read_layers(model, *asked, layers),
            "candidates": [read_layers(each, *asked, layers) for each in shadows],
            "universe": [read_layers(each, pool, pool_labels, layers) for each in shadows],
        }
        return {
            name: attacked(
                MembershipInputs(
                    real=seen["real"][name].readings,
                    shadows=Shadows(
                        names=seen["real"][name].names,
                        candidates=[each[name].readings for each in seen["candidates"]],
                        universe=[each[name].readings for each in seen["universe"]],
                        member=member,
                        inside=np.zeros((4, 120), dtype=bool),
                    ),
                ),
                truth,
                seed=0,
                cells=4,
            )
            for name in (*layers, MODEL)
        }

    return images, labels, attack


def test_an_overfit_network_is_found_at_every_layer(scene):
    images, labels, attack = scene
    found = attack(overfit(images[:60], labels[:60], 5))
    for name, row in found.items():
        assert row["advantage"]["low"] > 0.3, name
        assert row["shuffled"]["low"] <= 0, name
        assert row["planted"]["low"] > 0, name
        assert row["chosen"] in row["tried"]
        assert "AT_FLOOR" not in row["health"]
    assert set(found["first"]["tried"]) == set(candidates_for((NORM, OUTPUT, PARAMETERS)))


def test_a_network_that_never_saw_them_shows_nothing(scene):
    images, labels, attack = scene
    for name, row in attack(overfit(images[120:180], labels[120:180], 6)).items():
        assert row["advantage"]["low"] <= 0 <= row["advantage"]["high"], name
        assert "AT_FLOOR" in row["health"], name


@dataclass(frozen=True, kw_only=True)
class Endless(SignalThreshold):
    """No number for the first image in question; a held-out shadow has only three others, and is scored well."""

    def score(self, sight):
        found = super().score(sight)
        return np.where(np.arange(len(found)) == 0, np.nan, found) if len(sight.shadows) == 4 else found


def test_without_an_honest_adversary_nothing_is_known(scene, monkeypatch):
    images, labels, attack = scene
    model = overfit(images[:60], labels[:60], 5)
    only = {f"endless {name}": Endless(signal=name) for name in (NORM, PARAMETERS)}
    monkeypatch.setattr("protocols.over_training.membership.candidates_for", lambda _names: only)
    row = attack(model)["first"]
    advantage = Value.model_validate(row["advantage"])
    assert (advantage.value, advantage.low, advantage.reason) == (None, None, NOBODY_HONEST)
    assert advantage.flags == ("NONFINITE_GUESS",)
    assert "NONFINITE_GUESS" in row["health"]
    assert "AT_FLOOR" not in row["health"]
    assert row["tried"][row["chosen"]]["on_shadows"] == max(each["on_shadows"] for each in row["tried"].values())
    # One honest adversary is enough, and says who was dropped.
    more = {**only, "honest": SignalThreshold(signal=NORM)}
    monkeypatch.setattr("protocols.over_training.membership.candidates_for", lambda _names: more)
    found = attack(model)["first"]
    assert found["chosen"] == "honest"
    assert found["advantage"]["value"] == found["tried"]["honest"]["advantage"]["value"]
    assert found["advantage"]["flags"] == ["NONFINITE_GUESS"]
