"""Models that a user brings: they serve everywhere, are known by what they are, and are refused in one sentence."""

import json

import pytest
import torch
from safetensors.torch import load_file

from protocols.engine.outside.families import Families
from protocols.engine.outside.models import outside_model
from protocols.engine.prepare import data_of
from protocols.engine.settings import Settings
from vfc.artifact import save_model
from vfc.data import load_dataset
from vfc.errors import UserError
from vfc.factory import ReleaseSpec
from vfc.models import build_model

FACTORY = '''
from pathlib import Path

import torch
from torch import nn


def build(num_classes):
    """A linear classifier with weights from the file beside this one."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))
    network.load_state_dict(torch.load(Path(__file__).parent / "linear.pt", weights_only=True))
    return network


def wrong(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes + 1))


def color(num_classes):
    return nn.Sequential(nn.Conv2d(3, num_classes, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def guess(num_classes):
    network = build(num_classes)
    nn.init.zeros_(network[1].weight)
    return network


def broken(num_classes):
    network = build(num_classes)
    nn.init.constant_(network[1].weight, float("nan"))
    return network


def noisy(num_classes):
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.own = build(num_classes)

        def forward(self, x):
            return nn.functional.dropout(self.own(x), 0.5)

    return Noisy()


def nothing(num_classes):
    return 3
'''
LOCAL = ("--executor", "local", "--budget", "smoke")
NOBODY = ReleaseSpec(kind="registered", text="", source="")


def flat(text):
    """Without the spaces and line breaks that the terminal's width decides."""
    return "".join(text.split())


def write(folder, weights):
    """A factory and its weights in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "net.py").write_text(FACTORY)
    torch.save(weights, folder / "linear.pt")
    return folder / "net.py"


@pytest.fixture(scope="session")
def data(small_npz):
    return load_dataset(f"npz:{small_npz}", task="side")


@pytest.fixture(scope="session")
def weights(data):
    """Least squares on all images: which half is brighter."""
    x, y = data.train.images.flatten(1), data.train.labels["side"]
    codes = 2.0 * torch.nn.functional.one_hot(y, 2).float() - 1
    found = torch.linalg.lstsq(torch.cat([x, torch.ones(len(x), 1)], 1), codes).solution
    return {"1.weight": found[:-1].T.contiguous(), "1.bias": found[-1].contiguous()}


@pytest.fixture
def factory(tmp_path, weights):
    return write(tmp_path / "mine", weights)


def settings_of(small_npz, **given):
    given = {"dataset": f"npz:{small_npz}", "task": "side", "unintended": ("mlp",), **given}
    return data_of(Settings(**given), NOBODY)[0]


def test_a_model_is_known_by_code_and_weights_and_not_by_its_place(tmp_path, factory, data, weights, small_npz):
    other = write(tmp_path / "elsewhere", weights)
    first, second = (outside_model(f"{file}:build", data) for file in (factory, other))
    assert (first.name, first.digest) == (second.name, second.digest)
    assert first.name.startswith("build-")
    same = [settings_of(small_npz, target=f"{file}:build").digest() for file in (factory, other)]
    assert len(set(same)) == 1
    changed = write(tmp_path / "changed", {name: value + 1e-3 for name, value in weights.items()})
    edited = write(tmp_path / "edited", weights)
    edited.write_text(FACTORY.replace("class Noisy", "class Other").replace("return Noisy", "return Other"))
    digests = {outside_model(f"{file}:build", data).digest for file in (factory, changed, edited)}
    assert len(digests) == 3
    assert settings_of(small_npz, target=f"{changed}:build").digest() not in same
    assert settings_of(small_npz).digest() not in same
    assert "outside" not in json.dumps(settings_of(small_npz).identity())


def test_families_name_outside_models_and_train_no_twin_of_what_they_do_not_know(factory, data):
    families = Families.of(Settings(target=f"{factory}:build", unintended=("mlp",)), data)
    assert families.twin is None
    assert set(families.unintended) == {"mlp"}
    assert families.outside == {families.target}
    families = Families.of(Settings(unintended=("mlp", f"{factory}:build")), data)
    assert families.twin == "cnn-twin"
    (name,) = families.outside
    assert list(families.unintended) == ["mlp", name, "cnn-twin"]


def test_target_and_unintended_from_outside_in_train_and_attack(vfc, factory, tmp_path, data, weights):
    code, out, err = vfc("train", "--target", f"{factory}:build", "--defense", "identity", "--out", "run")
    assert code == 0, err
    name = outside_model(f"{factory}:build", data).name
    assert f"target {name}" in out
    assert flat(f"{name}, from {factory}:build: right on ") in flat(err)
    kept = load_file(tmp_path / "run" / "target.safetensors")
    assert torch.equal(kept["body.1.weight"], weights["1.weight"])
    about = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (about["target"], about["outside"], about["twin"]) == (name, [name], None)
    code, _, err = vfc("attack", "--release", "run", "--protocol", "transfer", "--out", "attacked", *LOCAL, quick=False)
    assert code == 0, err
    report = json.loads((tmp_path / "attacked" / "report.json").read_text())
    # The same answers as least squares by hand.
    assert report["target"]["clean_accuracy"]["value"] > 0.9
    assert report["metrics"]["target.retention"]["value"] == 1
    # Code that is no longer what made the model is refused, and so is code that is gone.
    factory.write_text(FACTORY + "\nLATER = 1\n")
    code, _, err = vfc("attack", "--release", "run", "--protocol", "transfer", "--out", "again", *LOCAL, quick=False)
    assert code == 2
    assert flat("got other code") in flat(err)
    factory.unlink()
    code, _, err = vfc("attack", "--release", "run", "--protocol", "transfer", "--out", "again", *LOCAL, quick=False)
    assert code == 2
    assert flat("got nothing there") in flat(err)


def test_a_file_of_a_run_folder_is_an_unintended_model_elsewhere(vfc, tmp_path):
    code, _, err = vfc("train", "--defense", "identity", "--out", "run")
    assert code == 0, err
    code, _, err = vfc("train", "--target", "vgg11", "--unintended", "run/target.safetensors", "--defense", "identity",
                       "--out", "other", "--set", "train.steps=2")  # fmt: skip
    assert code == 0, err
    about = json.loads((tmp_path / "other" / "run.json").read_text())
    (name,) = about["outside"]
    assert name.startswith("cnn-")
    first, second = (
        load_file(tmp_path / place) for place in ("run/target.safetensors", f"other/model-{name}.safetensors")
    )
    assert all(torch.equal(first[key], second[key]) for key in first)


BAD = {
    "wrong": "to tell 2 classes apart, got 3",
    "color": "to read images of 1 x 8 x 8",
    "guess": "to know the classes",
    "broken": "expected finite logits",
    "noisy": "alike twice",
    "nothing": "to return a vfc Defense or a torch.nn.Module, got int",
    "missing": "unknown factory",
}


@pytest.mark.parametrize("name", BAD)
def test_bad_models_end_before_anything_is_trained(vfc, factory, tmp_path, name):
    code, out, err = vfc("train", "--target", f"{factory}:{name}", "--defense", "identity", "--out", "run")
    assert (code, out) == (2, "")
    assert flat(BAD[name]) in flat(err)
    assert "Traceback" not in err
    assert "training models" not in err
    assert not (tmp_path / "run" / "target.safetensors").exists()


def test_the_same_model_on_both_sides_is_refused(vfc, factory):
    code, _, err = vfc("train", "--target", f"{factory}:build", "--unintended", f"{factory}:build", "--out", "run")
    assert code == 2
    assert flat("other architectures than the target's") in flat(err)


def test_another_architecture_than_the_targets_is_asked_of_files_too(tmp_path, data):
    facts = {"channels": 1, "side": 8, "num_classes": 2, "mean": [0.5], "std": [0.2], "width": 0.25}
    save_model(
        build_model("mlp", generator=torch.Generator().manual_seed(0), **facts), tmp_path / "a" / "m.safetensors"
    )
    file = str(tmp_path / "a" / "m.safetensors")
    with pytest.raises(UserError, match="other architectures"):
        Families.of(Settings(target=file, unintended=("mlp",)), data)
    families = Families.of(Settings(target=file, unintended=("cnn",)), data)
    assert families.unintended[families.twin] == "mlp"
    assert families.width == 0.25
