"""The protocol `membership` on defenses that remember whom they were fitted on, and on those that cannot."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from adversaries.evidence import Value
from adversaries.goals.membership_draws import Universe
from adversaries.health import READERS
from adversaries.statistics import levels
from protocols.engine import budget
from protocols.engine.executors.base import StoppedError
from protocols.engine.shadows import learns
from protocols.engine.task import Outcome
from protocols.membership.tasks import measured
from reports.model.attempt_index import AttemptIndex
from reports.model.report import Report
from reports.text.caveats import controls
from tests.protocols.elsewhere import Elsewhere
from vfc.defense import DEFENSES
from vfc.wrapper import ModuleDefense

FACTORY = '''
"""Defenses of a test's own."""
import torch
from torch import nn


def key(image):
    return (image * 255).round().to(torch.uint8).numpy().tobytes()


class Remembers(nn.Module):
    """Noise, and one value that is set for images it was fitted on."""

    stochastic = True
    mark = 3.0

    def __init__(self):
        super().__init__()
        self.seen = set()
        self.register_buffer("count", torch.zeros(()))
        self.target = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))

    def fit(self, images, labels):
        self.seen = {key(image) for image in images}
        self.count.fill_(len(images))

    def forward(self, x):
        noise = torch.randn_like(x)
        for row, image in enumerate(x):
            if key(image) in self.seen:
                noise[row, 0, 3, 3] += self.mark
        return noise


class Forgets(Remembers):
    """Noise, whoever it was fitted on."""

    mark = 0.0


class Hides(Remembers):
    """Noise, of which the product of three signs says who a member is."""

    def forward(self, x):
        noise = torch.randn_like(x)
        signs = noise[:, 0].flatten(1)[:, [5, 20, 40]].sign().prod(1)
        wanted = torch.tensor([1.0 if key(image) in self.seen else -1.0 for image in x])
        noise[:, 0, 0, 5] *= signs * wanted
        return noise


def hides():
    return Hides().requires_grad_(False)


def remembers():
    return Remembers().requires_grad_(False)


def forgets():
    return Forgets().requires_grad_(False)
'''


@pytest.fixture
def shadows(monkeypatch):
    """The small runs of this folder ask for smoke, which has no shadow defenses: give it those of standard."""
    monkeypatch.setitem(budget.BUDGETS, "smoke", replace(budget.BUDGETS["standard"], name="smoke"))


@pytest.fixture
def attacked(vfc, tmp_path, shadows):
    """Attack one of the factories, and read the report and its arrays."""
    path = tmp_path / "own_defense.py"
    path.write_text(FACTORY)

    def run(release, *extra):
        out = tmp_path / "out"
        code, _, error = vfc(
            "attack", "--release", release.replace("OWN", str(path)), "--protocol", "membership", "--quiet",
            "--set", "train.steps=10", "--out", out, *extra,
        )  # fmt: skip
        if not (out / "report.json").exists():
            return code, None, error
        return code, json.loads((out / "report.json").read_text()), load_file(out / "report.safetensors")

    return run


def surely_above_zero(value):
    """Beyond what chance does in one of 2,000 runs."""
    return levels.recompute(Value.model_validate(value), 0.0005).low > 0


def rows_of(report):
    return {(row["adversary"], row["settings"].get("signal")): row for row in report["evidence"]}


def test_a_defense_that_remembers_its_members_is_found(attacked):
    code, report, arrays = attacked("OWN:remembers", "--gate", "membership.advantage <= 0.3")
    assert code == 1
    found = report["metrics"]["membership.advantage"]
    assert found["low"] > 0.5
    assert "needs 1000 non-members" in report["metrics"]["membership.tpr@0.01"]["reason"]
    exposed = report["metrics"]["membership.exposed"]
    assert exposed["low"] > 0.5
    assert exposed["candidate"] == "shadow-classifier"
    assert not {"CRASHED", "CEILING_MISSED"} & set(exposed["flags"])
    rows = rows_of(report)
    best = rows["shadow-classifier", None]
    assert best["metrics"]["exposed"]["value"] == exposed["value"]
    assert best["metrics"]["precision"]["value"] > 0.8
    assert best["metrics"]["exposed_floor"]["value"] == 0.01
    said = {name: best["metrics"][name]["value"] for name in best["metrics"]}
    assert said["tpr"] - said["fpr"] == pytest.approx(best["arms"]["attack"]["value"])
    assert said["fpr_fixed@0.01_promised"] <= 0.01
    assert said["fpr_fixed@0.01"] <= said["fpr"]
    assert best["metrics"]["fpr"]["n"] > 0
    # Noise hides the mark from a single number, and no shadow shares the noise of the real release.
    assert rows["lira", "norm"]["arms"]["attack"]["high"] < best["arms"]["attack"]["low"]
    assert best["chosen"]
    assert best["arms"]["floor"]["value"] == 0
    assert surely_above_zero(best["arms"]["ceiling"])
    assert not surely_above_zero(best["arms"]["shuffled"])
    assert not {"CEILING_MISSED", "SHUFFLED_ABOVE_CHANCE"} & set(best["health"])
    assert rows["lira", "kl"]["status"] == "not_applicable"
    # The target reads noise, and knows nothing of the mark.
    assert not surely_above_zero(rows["loss-threshold", None]["arms"]["attack"])
    false, true = arrays["roc/shadow-classifier/fpr"], arrays["roc/shadow-classifier/tpr"]
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert bool((np.diff(false) >= 0).all() and (np.diff(true) >= 0).all())


def test_a_mark_that_no_single_number_shows_is_found_and_planted_ones_are_told(attacked):
    code, report, _ = attacked("OWN:hides", "--gate", "membership.advantage <= 0.3")
    assert code == 1
    rows = {(row["adversary"], row["settings"].get("reader")): row for row in report["evidence"]}
    best = rows["shadow-reader", "products"]
    assert best["chosen"]
    assert best["arms"]["attack"]["low"] > 0.5
    assert not surely_above_zero(best["arms"]["shuffled"])
    assert not surely_above_zero(rows["shadow-classifier", None]["arms"]["attack"])


def test_a_mark_of_a_hard_kind_is_planted_for_those_who_might_read_it(attacked):
    _, report, _ = attacked("OWN:forgets")
    planted = {
        (row["adversary"], row["settings"].get("reader")): (name, value["reason"])
        for row in report["evidence"]
        for name, value in row["metrics"].items()
        if name.startswith("planted.")
    }
    ((reader, (name, said)),) = [each for each in planted.items() if each[0][1] in READERS[each[1][0].split(".")[1]]]
    assert reader[0] == "shadow-reader"
    assert said == "found"
    assert {each[0] for each in planted.values()} == {name}
    numbers = {name: value for name, value in report["metrics"].items() if name.startswith("membership.")}
    assert numbers
    assert not any("PLANTED_MISSED" in value["flags"] for value in numbers.values())
    text = " ".join(controls(AttemptIndex(Report.model_validate(report))))
    assert "A leak of membership planted in a copy of the release" in text


def test_online_the_images_in_question_are_in_half_of_the_shadows(attacked, monkeypatch):
    full = replace(budget.BUDGETS["full"], shadows=4, seeds=2)
    monkeypatch.setitem(budget.BUDGETS, "smoke", full)
    _, report, arrays = attacked("OWN:remembers")
    found = report["metrics"]["membership.advantage"]
    assert found["low"] > 0.5
    assert len(found["per_seed"]) == 2
    assert {"roc/lira-norm-0/fpr", "roc/lira-norm-1/fpr"} <= set(arrays)


def numbers_of(report):
    arms = [{name: arm and arm["value"] for name, arm in row["arms"].items()} for row in report["evidence"]]
    return arms, [row["health"] for row in report["evidence"]], report["metrics"]


def test_every_arm_is_a_task_that_runs_anywhere_and_is_kept(attacked, monkeypatch, vfc, tmp_path):
    _, first, _ = attacked("vfc", "--set", "vfc.epochs=2")
    # Once more in another folder, with nothing but what can be pickled; then again in this one, with nothing at all.
    (tmp_path / "out").rename(tmp_path / "earlier")
    monkeypatch.setattr("protocols.engine.workspace.make_executor", lambda *_, **__: Elsewhere())
    _, second, _ = attacked("vfc", "--set", "vfc.epochs=2")
    monkeypatch.setattr("protocols.membership.tasks.assess_membership", None)
    monkeypatch.setattr("protocols.membership.tasks.measure", None)
    _, third, _ = attacked("vfc", "--set", "vfc.epochs=2")
    assert numbers_of(first) == numbers_of(second) == numbers_of(third)
    assert all(arm is not None for row in first["evidence"][:2] for arm in row["arms"].values())


def test_an_adversary_that_crashes_is_named_and_forbids_that_a_gate_holds(attacked, monkeypatch):
    def crash(*_):
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr("adversaries.attacks.membership.loss.LossThreshold.score", crash)
    code, report, _ = attacked("OWN:forgets", "--gate", "membership.advantage <= 0.9")
    row = rows_of(report)["loss-threshold", None]
    assert (row["status"], row["health"]) == ("failed", ["CRASHED"])
    assert "on purpose" in row["reason"]
    assert "CRASHED" in report["metrics"]["membership.advantage"]["flags"]
    assert code == 3


def test_a_defense_that_forgets_is_not(attacked):
    _, report, _ = attacked("OWN:forgets")
    found = report["metrics"]["membership.advantage"]
    assert not surely_above_zero(found)
    assert report["metrics"]["membership.exposed"]["value"] < 0.05
    assert not any(row["status"] == "failed" for row in report["evidence"])


def test_a_trained_defense_is_attacked_beside_its_target(attacked):
    code, report, _ = attacked("vfc", "--set", "vfc.epochs=2")
    assert code == 0
    rows = rows_of(report)
    assert {row["status"] for row in rows.values()} == {"measured"}
    assert rows["loss-threshold", None]["arms"]["undefended"]["value"] is not None
    assert rows["lira", "kl"]["arms"]["undefended"] is None
    assert {row["settings"]["shadows"] for row in rows.values()} == {4}


@pytest.mark.parametrize(
    ("release", "extra", "words"),
    [
        ("identity", (), "fits nothing"),
        ("gaussian-noise", (), "fits nothing"),
        ("OWN:forgets", ("--threat", "L3"), "L4"),
    ],
)
def test_where_it_has_no_meaning_it_says_why(attacked, release, extra, words):
    _, report, _ = attacked(release, *extra)
    assert {row["status"] for row in report["evidence"]} == {"not_applicable"}
    assert words in report["metrics"]["membership.advantage"]["reason"]


def test_smoke_has_no_shadow_defenses(vfc, tmp_path):
    out = tmp_path / "out"
    vfc("attack", "--release", "label-release", "--protocol", "membership", "--quiet", "--out", out)
    report = json.loads((out / "report.json").read_text())
    assert {row["status"] for row in report["evidence"]} == {"not_applicable"}
    assert "needs shadow defenses" in report["metrics"]["membership.advantage"]["reason"]


def test_saved_arrays_have_no_members(vfc, tmp_path):
    path = tmp_path / "saved.npz"
    np.savez(path, release=np.random.default_rng(0).random((200, 4)), label=np.arange(200) % 2)
    out = tmp_path / "out"
    vfc("attack", "--release", path, "--protocol", "membership", "--quiet", "--executor", "local", "--out", out,
        quick=False)  # fmt: skip
    report = json.loads((out / "report.json").read_text())
    assert "no defense to ask" in report["metrics"]["membership.tpr@0.01"]["reason"]


def test_every_shadow_holds_a_half_that_tells_nothing_about_the_others():
    images, labels = torch.rand(4001, 1, 2, 2), torch.zeros(4001).long()
    member = Universe.drawn(images, labels, 4, 0).member
    assert member.sum(1).tolist() == [2000] * 4
    # Whoever counts the others that hold an image must not learn whether the held-out one does.
    assert np.abs(np.corrcoef(member.numpy()) - np.eye(4)).max() < 0.06
    assert abs(np.corrcoef(member[0].numpy(), member[1:].sum(0).numpy())[0, 1]) < 0.06
    assert torch.equal(member, Universe.drawn(images, labels, 4, 0).member)
    assert not torch.equal(member, Universe.drawn(images, labels, 4, 1).member)
    # Of one draw the smaller part lies in the larger one.
    larger = Universe.drawn(images, labels, 4, 0, size=2600).member
    assert larger.sum(1).tolist() == [2600] * 4
    assert (larger >= member).all()
    assert abs(np.corrcoef(larger[0].numpy(), larger[1:].sum(0).numpy())[0, 1]) < 0.06


def test_who_learns():
    assert not learns(DEFENSES.get("identity")())
    assert learns(DEFENSES.get("vfc")())
    assert not learns(ModuleDefense(module=torch.nn.Identity()))


def test_a_task_that_was_interrupted_has_not_failed():
    with pytest.raises(StoppedError):
        measured(Outcome.empty("not_run", "the run was interrupted"))
    with pytest.raises(RuntimeError, match="no memory"):
        measured(Outcome.empty("failed", "no memory"))
