"""Ways in which a number, a control or finished work could be wrong without anybody noticing; each once was."""

import contextlib
import json

import numpy as np
import pytest
import torch
from torch import nn

from adversaries.adversary import Attack
from adversaries.evaluation_data import EvaluationData, Part
from adversaries.goals.assess import _guess
from adversaries.knowledge import Knowledge
from adversaries.threat import ThreatModel
from protocols.cli import run
from protocols.commands.options.shared import settings_from
from protocols.engine.prepare import data_of
from protocols.engine.prepared import TargetRows
from protocols.engine.publishing.publisher import Publisher
from protocols.engine.task import Outcome
from protocols.engine.workspace import claimed
from protocols.evaluation.candidate import Candidate
from protocols.evaluation.metrics import target_metrics
from protocols.evaluation.results import Attempt
from protocols.task_label.study import adaptive_metrics, transfer_metrics
from tests.protocols import builders
from tests.protocols.builders import change, chosen, enter, hits, numbers, outcome
from vfc.errors import UserError
from vfc.factory import resolve
from vfc.release import Observed
from vfc.wrapper import ModuleDefense


def claim(out, identity, *, fresh):
    with claimed(out, identity, fresh=fresh):
        pass


def board(levels, grid=(1, 10, "all"), seeds=(0,)):
    names = (f"a{i}" for i in range(len(levels)))
    return builders.board(*names, levels=levels, grid=grid, seeds=seeds, floor=hits(0.25, seed=9))


def shown(b, attempt, share, arms=("attack", "ceiling", "shuffled"), seeds=(0,)):
    for seed in seeds:
        for arm in arms:
            value = {"attack": share, "ceiling": 0.95, "shuffled": 0.25}[arm]
            enter(b, attempt, arm, outcome(value, chance=0.25), seed=seed)


def test_a_number_of_labels_that_the_pool_cannot_serve_gives_no_number():
    b = board(["L0", "L2"])
    shown(b, Attempt(0, None), 0.3, arms=("attack", "ceiling"))
    shown(b, Attempt(1, 1), 0.7)
    shown(b, Attempt(1, "all"), 0.9)
    enter(b, Attempt(1, 10), "attack", Outcome.empty("not_applicable", "8 rows, fewer than 10"))
    found = adaptive_metrics(numbers(b, per_class=8.0), ("L0", "L1", "L2"))
    assert found["adaptive.accuracy@10"].value is None
    assert found["adaptive.suppression_ratio@10"].value is None


def test_a_crashed_shuffled_control_forbids_that_a_gate_holds_at_every_number_of_labels():
    b = board(["L2"])
    for labels in (1, 10, "all"):
        shown(b, Attempt(0, labels), 0.5, arms=("attack", "ceiling"))
    enter(b, Attempt(0, "all"), "shuffled", Outcome.empty("failed", "crashed"))
    assert set(numbers(b).accuracy([Attempt(0, 1)]).flags) & {"CRASHED", "SHUFFLED_ABOVE_CHANCE"}


def test_one_crashed_seed_of_a_rival_is_no_crash_of_the_report():
    b = board(["L2", "L2"], grid=("all",), seeds=(0, 1))
    shown(b, Attempt(0, "all"), 0.5, seeds=(0, 1))
    shown(b, Attempt(1, "all"), 0.5, seeds=(0,))
    enter(b, Attempt(1, "all"), "attack", Outcome.empty("failed", "out of memory"), seed=1)
    value = numbers(b).accuracy([Attempt(0, "all"), Attempt(1, "all")])
    assert "CRASHED" in value.flags


def test_a_dishonest_adversary_is_dropped_from_the_ceiling_too():
    b = board(["L2", "L2"], grid=("all",))
    shown(b, Attempt(0, "all"), 0.5)
    cheat = Attempt(1, "all")
    shown(b, cheat, 0.4)
    enter(b, cheat, "shuffled", outcome(0.99, chance=0.25))
    enter(b, cheat, "ceiling", outcome(1.0, chance=0.25))
    assert chosen(b, [Attempt(0, "all"), cheat], "ceiling") == Attempt(0, "all")


def tiny_world():
    def part(n, seed):
        g = torch.Generator().manual_seed(seed)
        labels = torch.arange(n) % 4
        images = torch.rand(n, 1, 4, 4, generator=g)
        return Part(images=images, release=images * 2, labels={"y": labels})

    return EvaluationData(train=part(40, 0), validation=part(8, 1), targets=part(8, 2), classes={"y": 4})


def test_unlabelled_releases_cannot_be_joined_with_own_labels_by_position():
    """At L1 position i of `unlabelled` must not be the release of image i, or L1 owns every label (and every pair)."""
    view = Knowledge(tiny_world(), ThreatModel(level="L1"), "y")
    images, labels = view.images
    assert not torch.equal(view.unlabelled, images * 2)
    assert len(labels) == len(view.unlabelled)


def test_an_attack_that_changes_releases_in_place_does_not_change_the_world():
    class Vandal(Attack):
        def guess(self, release):
            release.zero_()
            return torch.zeros(len(release), 4)

    world = tiny_world()
    before = world.targets.release.clone()
    _guess(Vandal(), world.targets, 4, informed=False)
    assert torch.equal(world.targets.release, before)


@pytest.mark.parametrize("content", [b"[]", b"5", b"null", b"\xff\xfe"])
def test_damaged_settings_of_a_run_are_a_user_error(tmp_path, content):
    with claimed(tmp_path, {"seed": 0}, fresh=False):
        (tmp_path / "cells").mkdir()
    (tmp_path / "settings.json").write_bytes(content)
    with pytest.raises(UserError, match="damaged"):
        claim(tmp_path, {"seed": 0}, fresh=False)


def test_resuming_on_a_full_disk_does_not_destroy_the_settings(tmp_path, monkeypatch):
    claim(tmp_path, {"seed": 0}, fresh=False)

    def full(self, *_args, **_kwargs):
        open(self, "w").close()  # what happens first: the file is cut to nothing
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.write_text", full)
        with contextlib.suppress(UserError):
            claim(tmp_path, {"seed": 0}, fresh=False)
    assert json.loads((tmp_path / "settings.json").read_text()) == {"seed": 0}


def test_the_last_override_of_an_option_wins():
    settings = settings_from({"overrides": ("train.steps=50", "train.steps=20")})
    assert settings.options("train") == {"steps": 20}


def test_overrides_of_different_types_are_no_crash():
    settings_from({"overrides": ("train.steps=20", "train.steps=abc")})


def arrays(path, **extra):
    y = np.arange(400) % 4
    release = np.random.default_rng(0).random((400, 6)).astype(np.float32)
    np.savez(path, **{"release": release, "label": y, **extra})
    return resolve(str(path))


def test_an_attribute_called_label_does_not_replace_the_task_label(tmp_path):
    spec = arrays(tmp_path / "a.npz", attr_label=np.arange(400) % 2)
    try:
        _, dataset, _ = data_of(settings_from({}), spec)
    except UserError:
        return
    assert dataset.classes["label"] == 4


def test_one_class_in_saved_arrays_is_a_user_error(tmp_path):
    spec = arrays(tmp_path / "b.npz", label=np.zeros(400, int))
    with pytest.raises(UserError):
        data_of(settings_from({}), spec)


def test_huge_class_numbers_in_saved_arrays_are_a_user_error(tmp_path):
    spec = arrays(tmp_path / "c.npz", label=(np.arange(400) % 4) * 10**12)
    with pytest.raises(UserError):
        data_of(settings_from({}), spec)


def test_predictions_outside_the_classes_are_a_user_error(tmp_path):
    spec = arrays(tmp_path / "d.npz", prediction=np.arange(400) % 4 + 90)
    with pytest.raises(UserError):
        data_of(settings_from({}), spec)


def test_data_options_that_saved_arrays_cannot_honor_are_refused(tmp_path):
    spec = arrays(tmp_path / "e.npz")
    with pytest.raises(UserError):
        data_of(settings_from({"task": "nosuch"}), spec)


def test_one_number_per_row_is_a_release():
    assert Observed.of_values(torch.rand(5)).shape in ((), (1,))


def module(**extra):
    m = nn.Identity()
    for name, value in extra.items():
        setattr(m, name, value)
    return ModuleDefense(module=m, origin="mine")


def test_not_a_number_as_logits_is_a_user_error():
    defense = module(predict=lambda r: torch.full((len(r), 4), float("nan")))
    publisher = Publisher(defense=defense, classes=4, seed=0, device="cpu")
    with pytest.raises(UserError, match="finite"):
        publisher.predicted(torch.rand(3, 1, 8, 8))


def test_a_release_on_the_meta_device_is_a_user_error():
    class Meta(nn.Module):
        def forward(self, x):
            return x.to("meta")

    with pytest.raises(UserError):
        ModuleDefense(module=Meta()).publish(torch.rand(3, 1, 8, 8), torch.Generator())


def test_a_release_of_no_numbers_is_a_user_error():
    class Empty(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :0]

    with pytest.raises(UserError):
        ModuleDefense(module=Empty()).publish(torch.rand(3, 1, 8, 8), torch.Generator())


def test_an_unknown_target_number_says_why():
    """A factory with `predict` and no `target`, and arrays with `prediction`: clean accuracy is unknown, but why?"""
    found = target_metrics(TargetRows(release=hits(0.9)), "")
    assert found["target.clean_accuracy"].reason
    assert found["target.retention"].reason


def test_the_picture_is_graded_without_a_target_model_too():
    b = board(["L0", "L0"], grid=("all",))
    for position, name in enumerate(("frozen", "frozen-picture")):
        change(b, position, candidate=Candidate(adversary=name))
        shown(b, Attempt(position, None), 0.5, arms=("attack", "ceiling"))
    found = transfer_metrics(numbers(b, target=None))
    assert found["transfer.picture.accuracy"].value == 0.5


# --- through the command line; each trains a few networks for 20 steps ---

QUICK = ("--budget", "smoke", "--protocol", "transfer", "--executor", "local", "--set", "train.steps=20", "--quiet")


@pytest.fixture
def place(tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    y = np.arange(400) % 2
    images = rng.integers(0, 100, (400, 8, 8, 1))
    images[y == 1, :4] += 100
    np.savez(tmp_path / "d.npz", images=images.astype(np.uint8), label=y)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VFC_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path


def test_a_run_folder_is_refused_when_its_data_changed(place):
    common = ("--executor", "local", "--set", "train.steps=20", "--unintended", "mlp", "--quiet")
    assert run(["train", "--dataset", "npz:d.npz", "--defense", "identity", "--out", "rf", *common]) == 0
    with np.load("d.npz") as held:
        np.savez("d.npz", images=255 - held["images"], label=held["label"])
    attack = ["attack", "--release", "rf", "--budget", "smoke", "--protocol", "transfer", "--executor", "local"]
    assert run([*attack, "--out", "o", "--quiet"]) == 2


def test_a_half_written_part_of_the_cache_is_made_again(place):
    command = ["attack", "--release", "identity", "--dataset", "npz:d.npz", "--unintended", "mlp", *QUICK]
    assert run([*command, "--out", "a"]) == 0
    for manifest in (place / "cache" / "trained").glob("*/manifest.json"):
        manifest.unlink()  # killed, or the disk was full, between the file and its manifest
    assert run([*command, "--out", "b"]) == 0


def test_a_target_with_another_number_of_classes_is_a_user_error(place):
    (place / "f.py").write_text(
        "import torch\nfrom torch import nn\n"
        "def build():\n    m = nn.Identity()\n    m.predict = lambda r: torch.zeros(len(r), 7)\n    return m\n"
    )
    command = ["attack", "--release", "f.py:build", "--dataset", "npz:d.npz", "--unintended", "mlp", *QUICK]
    assert run([*command, "--out", "a"]) == 2


def test_shapes_that_differ_between_parts_are_a_user_error(place):
    (place / "g.py").write_text(
        "from torch import nn\n"
        "class M(nn.Module):\n"
        "    def forward(self, x):\n        return x[..., :7] if len(x) < 100 else x\n"
        "def build():\n    return M()\n"
    )
    command = ["attack", "--release", "g.py:build", "--dataset", "npz:d.npz", "--unintended", "mlp", *QUICK]
    assert run([*command, "--out", "a"]) == 2


def test_the_report_names_the_options_that_were_used(place):
    command = ["attack", "--release", "identity", "--dataset", "npz:d.npz", "--unintended", "mlp", *QUICK]
    assert run([*command, "--set", "frozen-picture.form=clip", "--out", "a"]) in (0, 2)
    report = place / "a" / "report.json"
    if report.exists():
        rows = json.loads(report.read_text())["evidence"]
        assert {row["settings"].get("form") for row in rows if row["adversary"] == "frozen-picture"} == {"clip"}


@pytest.mark.parametrize("override", ["gaussian-noise.nosuch=1", "fine-tune.nosuch=1", "train.steps=-3"])
def test_an_override_that_cannot_have_an_effect_is_refused(place, override):
    command = ["attack", "--release", "identity", "--dataset", "npz:d.npz", "--unintended", "mlp"]
    quick = [*QUICK[:6], "--quiet"] if override.startswith("train") else [*QUICK]
    assert run([*command, *quick, "--set", override, "--out", "a"]) == 2
