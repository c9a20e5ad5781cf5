"""Codelengths of labels: what is asked, of what results depend, and what is said where there is none."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch

from adversaries.evaluation_data import EvaluationData, Part
from adversaries.learning.mdl import online_codelength
from protocols.engine.settings import Settings
from protocols.engine.task import Outcome
from protocols.evaluation.codelength import Codelength, codelengths
from protocols.evaluation.context import Context
from protocols.evaluation.statistic import FEW

N = 60


@dataclass
class Runner:
    """Answers with what it was given; remembers what was asked."""

    answers: list
    orders: tuple = ()

    def run(self, _stage, orders):
        self.orders = tuple(orders)
        return self.answers


def context(answers, *, threat="L2", targets=1000):
    prepared = SimpleNamespace(
        digests=SimpleNamespace(world="digest"), place="place", world=SimpleNamespace(targets=range(targets))
    )
    unused = dict.fromkeys(("budget", "trainer", "shared", "scratch"))
    return Context(
        settings=Settings(seed=3), prepared=prepared, threat=threat, rows={}, runner=Runner(answers), cells="cells",
        **unused,
    )  # fmt: skip


def told(*bits):
    return Outcome(status="measured", arrays={"bits": torch.tensor(bits).double().numpy()})


def test_every_label_is_told_as_it_is_and_permuted_on_the_world_that_is_attacked():
    run = context([told(1.0, 3.0), told(2.0, 4.0)])
    found = codelengths(run, "p", ["a"])
    kept = [(each.task, each.place, each.folder) for each in run.runner.orders]
    expected = [Codelength(label="a", control=control, rows=2000, seed=3, world="digest") for control in (False, True)]
    assert kept == [(task, "place", "cells") for task in expected]
    assert {name: (value.value, value.unit, value.flags) for name, value in found.metrics.items()} == {
        "mdl.a.bits": (2.0, "bits", ()), "mdl.a.control_bits": (3.0, "bits", ()),
    }  # fmt: skip
    assert run.rows["mdl.a.bits"].tolist() == [1.0, 3.0]
    assert found.evidence == []


@pytest.mark.parametrize(("targets", "flags"), [(FEW - 1, ("TOO_FEW_TARGETS",)), (FEW, ())])
def test_few_targets_are_a_flag(targets, flags):
    found = codelengths(context([told(1.0, 3.0), told(2.0, 4.0)], targets=targets), "p", ["a"])
    assert [value.flags for value in found.metrics.values()] == [flags, flags]


def test_a_codelength_that_could_not_be_had_is_said_with_its_reason():
    found = codelengths(context([told(1.0, 3.0), Outcome.empty("failed", "boom")]), "p", ["a"])
    value = found.metrics["mdl.a.control_bits"]
    assert (value.value, value.reason, value.unit) == (None, "boom", "bits")
    (row,) = found.evidence
    assert (row.protocol, row.adversary, row.goal, row.settings) == ("p", "codelength", "mdl:a", {"control": True})
    assert (row.status, row.reason, row.seed, row.threat.level) == ("failed", "boom", 3, "L2")


def test_without_labels_nobody_is_told_anything():
    run = context([], threat="L1")
    assert codelengths(run, "p", ["a"]).metrics == {}
    assert run.runner.orders == ()


@pytest.mark.parametrize("control", [False, True])
def test_the_code_has_the_scale_of_the_attackers_releases(control):
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(2, (N,), generator=generator)
    release = y[:, None] + 0.8 * torch.randn(N, 3, generator=generator)
    own = 40 * torch.randn(N, 3, generator=generator) + 7
    parts = [Part(images=None, release=values, labels={"a": y}) for values in (own, release, release)]
    world = EvaluationData(train=parts[0], validation=parts[1], targets=parts[2], classes={"a": 2}, models={})
    task = Codelength(label="a", control=control, rows=40, seed=1, world="digest")
    found = task.measure(SimpleNamespace(world=lambda: world))
    as_it_is = online_codelength(release[:40], y[:40], 2, scale=own).tolist()
    assert (found.arrays["bits"].tolist() == as_it_is) is not control
    assert len(found.arrays["bits"]) == 40
    assert found.arrays["bits"].tolist() == task.measure(SimpleNamespace(world=lambda: world)).arrays["bits"].tolist()
