import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from vfc import artifact, models
from vfc.artifact import (
    contents,
    load_arrays,
    load_defense,
    load_json,
    load_model,
    mapped_arrays,
    save_arrays,
    save_defense,
    save_json,
    save_model,
)
from vfc.defense import DEFENSES, FitData
from vfc.defenses.bottleneck.vfc import VFC
from vfc.errors import UserError
from vfc.models import build_model


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def target():
    settings = {"channels": 1, "side": 8, "num_classes": 3, "width": 0.25, "mean": [0.5], "std": [0.25]}
    return build_model("cnn", **settings, generator=generator()).eval()


@pytest.fixture
def data(target):
    x, y = torch.rand(70, 1, 8, 8, generator=generator()), torch.arange(70) % 3
    return FitData(images=x, labels=y, validation_images=x, validation_labels=y, num_classes=3, target=target)


def test_a_model_comes_back_bit_by_bit(tmp_path, target):
    save_model(target, tmp_path / "run" / "target.safetensors")
    again = load_model(tmp_path / "run" / "target.safetensors")
    assert not again.training
    assert again.arch == target.arch
    assert again.state_dict().keys() == target.state_dict().keys()
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in target.state_dict().items())


def private_bytes():
    """Memory of this process that no file stands behind."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024


def test_arrays_that_share_memory_are_saved_whole(tmp_path):
    numbers = torch.arange(12.0)
    given = {
        "all": numbers,
        "again": numbers,
        "tail": numbers[6:],
        "turned": numbers.reshape(3, 4).T,
        "none": numbers[:0],
    }
    save_arrays(given, tmp_path / "arrays.safetensors")
    for read in (load_arrays, mapped_arrays):
        found = read(tmp_path / "arrays.safetensors")
        assert all(torch.equal(found[name], values) for name, values in given.items())


def test_what_is_written_to_mapped_arrays_reaches_nobody_else(tmp_path):
    save_arrays({"x": torch.zeros(5)}, tmp_path / "arrays.safetensors")
    mine = mapped_arrays(tmp_path / "arrays.safetensors")["x"]
    mine += 1
    assert mapped_arrays(tmp_path / "arrays.safetensors")["x"].sum() == 0


def test_mapped_arrays_are_checked(tmp_path):
    path = tmp_path / "arrays.safetensors"
    save_arrays({"x": torch.zeros(500)}, path)
    path.write_bytes(path.read_bytes()[:-1] + b"1")
    with pytest.raises(UserError, match="damaged"):
        mapped_arrays(path)
    path.unlink()
    with pytest.raises(UserError, match="cannot read"):
        mapped_arrays(path)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc here")
def test_mapped_arrays_take_no_memory_of_their_own(tmp_path):
    save_arrays({"x": torch.ones(16_000_000)}, tmp_path / "arrays.safetensors")
    before = private_bytes()
    found = mapped_arrays(tmp_path / "arrays.safetensors")["x"]
    assert found.sum() == 16_000_000
    assert private_bytes() - before < 32_000_000  # half of the array's


@pytest.mark.parametrize("name", ["vfc", "pixel-permutation", "orthogonal-mixing", "label-release", "gaussian-noise"])
def test_a_defense_comes_back_and_publishes_the_same_bits(tmp_path, data, name):
    settings = {"latent": 6, "epochs": 1, "width": 4, "keep": 3, "beta": 0.5} if name == "vfc" else {}
    defense = DEFENSES.get(name)(**settings).fit(data, generator(1))
    save_defense(defense, name, tmp_path)
    again = load_defense(tmp_path, data.target)
    assert type(again) is type(defense)
    assert again.settings() == defense.settings()
    one, two = defense.publish(data.images, generator(2)), again.publish(data.images, generator(2))
    assert one.digest == two.digest
    assert torch.equal(defense.predict(one.values), again.predict(two.values))


def test_a_folder_holds_several_defenses(tmp_path, data):
    save_defense(DEFENSES.get("constant")(level=0.1), "constant", tmp_path)
    save_defense(DEFENSES.get("constant")(level=0.9), "constant", tmp_path, file="undefended")
    assert load_defense(tmp_path, data.target).settings() == {"level": 0.1}
    assert load_defense(tmp_path, data.target, file="undefended").settings() == {"level": 0.9}
    assert sorted(contents(tmp_path)) == ["defense.safetensors", "undefended.safetensors"]


def test_arrays_keep_dtype_shape_and_bits(tmp_path):
    arrays = {
        "words": torch.tensor([2**31 - 1, -(2**31)], dtype=torch.int32),
        "nan": torch.tensor([float("nan"), float("inf"), -0.0]),
        "view": torch.arange(12.0).reshape(3, 4).T,
        "bytes": np.arange(5, dtype=np.uint8),
        "flags": torch.tensor([True, False]),
        "empty": torch.empty(0, 3),
        "scalar": torch.tensor(3, dtype=torch.int64),
    }
    arrays["shared"] = arrays["view"]
    save_arrays(arrays, tmp_path / "a.safetensors")
    for name, value in load_arrays(tmp_path / "a.safetensors").items():
        expected = torch.as_tensor(arrays.pop(name))
        assert value.dtype == expected.dtype
        assert value.shape == expected.shape
        assert value.numpy().tobytes() == expected.contiguous().numpy().tobytes()
    assert not arrays


def test_json_comes_back_and_never_holds_nan(tmp_path):
    save_json({"name": "é", "values": [1, 2.5, None]}, tmp_path / "facts.json")
    assert load_json(tmp_path / "facts.json") == {"name": "é", "values": [1, 2.5, None]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_json({"value": float("nan")}, tmp_path / "facts.json")
    assert load_json(tmp_path / "facts.json")["name"] == "é"


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "longer", "delete", "pickle"])
def test_every_damage_is_named(tmp_path, target, damage):
    path = tmp_path / "target.safetensors"
    save_model(target, path)
    data = path.read_bytes()
    changed = {
        "flip": data[:-1] + bytes([data[-1] ^ 1]),
        "truncate": data[: len(data) // 2],
        "empty": b"",
        "longer": data + b"x",
        "pickle": pickle.dumps(Bomb()),
    }
    if damage == "delete":
        path.unlink()
    else:
        path.write_bytes(changed[damage])
    with pytest.raises(UserError, match=r"target\.safetensors"):
        load_model(path)


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("something was unpickled",))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"files": {}}', '{"schema": 2, "files": {}, "digest": ""}', '{"schema": 1, "files": 3}']
)
def test_a_damaged_manifest_is_named(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(UserError, match=r"manifest\.json"):
        load_arrays(tmp_path / "a.safetensors")


def test_an_edited_manifest_is_noticed(tmp_path, data):
    save_defense(DEFENSES.get("constant")(level=0.1), "constant", tmp_path)
    path = tmp_path / "manifest.json"
    path.write_text(path.read_text().replace("0.1", "0.2"))
    with pytest.raises(UserError, match="edited"):
        load_defense(tmp_path, data.target)


def test_what_is_missing_is_said(tmp_path, data):
    with pytest.raises(UserError, match="expected a run folder"):
        load_defense(tmp_path / "nowhere", data.target)
    save_arrays({"a": torch.ones(1)}, tmp_path / "a.safetensors")
    with pytest.raises(UserError, match=r"got a\.safetensors \(arrays\)"):
        load_defense(tmp_path, data.target)
    with pytest.raises(UserError, match=r"expected a\.safetensors \(model\)"):
        load_model(tmp_path / "a.safetensors")
    with pytest.raises(UserError, match="arch"):
        save_model(nn.Linear(1, 1), tmp_path / "b.safetensors")


def rewrite(folder, file, **changes):
    """An honest manifest of another version: the hashes are right, the facts are not."""
    files = contents(folder)
    files[file].update(changes)
    manifest = {"schema": 1, "digest": artifact._digest(artifact._dump(files)), "files": files}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_other_versions_are_user_errors(tmp_path, data, target):
    save_defense(DEFENSES.get("constant")(), "constant", tmp_path)
    rewrite(tmp_path, "defense.safetensors", settings={"brightness": 1})
    with pytest.raises(UserError, match="brightness"):
        load_defense(tmp_path, data.target)
    rewrite(tmp_path, "defense.safetensors", name="constnat")
    with pytest.raises(UserError, match="did you mean 'constant'"):
        load_defense(tmp_path, data.target)
    save_model(target, tmp_path / "t.safetensors")
    rewrite(tmp_path, "t.safetensors", arch={**target.arch, "num_classes": 4})
    with pytest.raises(UserError, match="does not fit its architecture"):
        load_model(tmp_path / "t.safetensors")
    save_defense(VFC(latent=6, epochs=1, width=4).fit(data, generator()), "vfc", tmp_path)
    rewrite(tmp_path, "defense.safetensors", settings=VFC(latent=7, epochs=1, width=4).settings())
    with pytest.raises(UserError, match="these settings"):
        load_defense(tmp_path, data.target)


@pytest.mark.parametrize("number", [10**12, -1, "x", None, [1], 1e308])
@pytest.mark.parametrize("name", ["num_classes", "side", "channels", "width", "name"])
def test_an_edited_architecture_is_a_user_error(tmp_path, target, name, number):
    save_model(target, tmp_path / "t.safetensors")
    rewrite(tmp_path, "t.safetensors", arch={**target.arch, name: number})
    with pytest.raises(UserError):
        load_model(tmp_path / "t.safetensors")


@pytest.mark.parametrize("settings", [5, {"level": "x"}, {"level": 10**12}, {"level": None}, {1: 2}])
def test_edited_settings_of_a_defense_are_user_errors(tmp_path, data, settings):
    save_defense(DEFENSES.get("constant")(), "constant", tmp_path)
    rewrite(tmp_path, "defense.safetensors", settings=settings)
    with pytest.raises(UserError):
        load_defense(tmp_path, data.target)


@pytest.mark.parametrize("call", ["mkstemp", "replace", "fsync"])
def test_a_full_disk_is_a_user_error_and_keeps_the_old_file(tmp_path, monkeypatch, call):
    path = tmp_path / "a.safetensors"
    save_arrays({"a": torch.ones(3)}, path)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(artifact.tempfile if call == "mkstemp" else os, call, full)
    with pytest.raises(UserError, match=r"cannot write .*a\.safetensors: No space left"):
        save_arrays({"a": torch.zeros(3)}, path)
    monkeypatch.undo()
    assert load_arrays(path)["a"].tolist() == [1, 1, 1]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.safetensors", "manifest.json"]


def test_a_folder_that_cannot_be_made_is_a_user_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        save_arrays({"a": torch.ones(1)}, tmp_path / "file" / "a.safetensors")


def test_a_run_killed_between_two_writes_is_noticed(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    save_arrays({"a": torch.ones(3)}, path)
    write = artifact.write_bytes

    def killed(data, where):
        if where.name == "manifest.json":
            raise KeyboardInterrupt
        write(data, where)

    monkeypatch.setattr(artifact, "write_bytes", killed)
    with pytest.raises(KeyboardInterrupt):
        save_arrays({"a": torch.zeros(3)}, path)
    monkeypatch.undo()
    with pytest.raises(UserError, match="damaged"):
        load_arrays(path)
    save_arrays({"a": torch.zeros(3)}, path)
    assert load_arrays(path)["a"].tolist() == [0, 0, 0]


def test_rebuild_needs_no_more_than_json(target):
    assert models.rebuild(json.loads(json.dumps(target.arch))).arch == target.arch
