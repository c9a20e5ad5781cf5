"""Files that are not what was written: done again where that is possible, refused where it is not."""

import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from protocols.engine.folder import RUN_FILE, load_run
from protocols.engine.task import Outcome, load_outcome, save_outcome
from reports.model.storage import load, load_rows
from vfc.artifact import save_json
from vfc.errors import UserError

ROWS = {"targets": np.array([1, 1, 0], np.uint8), "validation": np.array([0, 1], np.uint8)}


def rewritten(path, change):
    """The same file with other arrays or other metadata, as somebody with an editor would leave it."""
    with safe_open(path, "np") as file:
        about = file.metadata()
    arrays = load_file(path)
    change(arrays, about)
    save_file(arrays, path, metadata=about)


def flip(arrays, _about):
    name = sorted(arrays)[0]
    arrays[name] = np.ascontiguousarray(1 - arrays[name])


def rename(arrays, _about):
    name = sorted(arrays)[0]
    arrays["other"] = arrays.pop(name)


def retype(arrays, _about):
    name = sorted(arrays)[0]
    arrays[name] = arrays[name].view(np.int8) if arrays[name].itemsize == 1 else arrays[name].view(np.uint8)


def reword(_arrays, about):
    about["outcome"] = about["outcome"].replace("measured", "not_applicable")


def unsign(_arrays, about):
    del about["sha256"]


@pytest.mark.parametrize("change", [flip, rename, retype, reword, unsign])
def test_a_cell_that_was_changed_is_no_result(tmp_path, change):
    path, told = tmp_path / "a.safetensors", []
    save_outcome(Outcome(status="measured", arrays=ROWS), path)
    assert load_outcome(path, told.append) is not None
    rewritten(path, change)
    assert load_outcome(path, told.append) is None
    assert told == [path]


def test_a_cell_under_the_name_of_another_is_no_result(tmp_path):
    told = []
    save_outcome(Outcome(status="measured", arrays=ROWS), tmp_path / "a.safetensors")
    (tmp_path / "a.safetensors").rename(tmp_path / "b.safetensors")
    assert load_outcome(tmp_path / "b.safetensors", told.append) is None
    assert told == [tmp_path / "b.safetensors"]


def test_nothing_is_said_of_a_cell_that_is_absent_or_failed(tmp_path):
    told = []
    save_outcome(Outcome.empty("failed", "boom"), tmp_path / "a.safetensors")
    assert load_outcome(tmp_path / "a.safetensors", told.append) is None
    assert load_outcome(tmp_path / "c.safetensors", told.append) is None
    assert told == []


@pytest.fixture
def attack(vfc):
    def run(*more, quick=True):
        return vfc("attack", "--release", "identity", "--protocol", "transfer", "--out", "o", *more, quick=quick)

    return run


def test_a_damaged_cell_is_done_again_and_said_once(attack, tmp_path):
    gate = ("--gate", "transfer.accuracy <= 0.5")
    code, _, _ = attack(*gate)
    digest = load(tmp_path / "o").digest
    cells = sorted((tmp_path / "o" / "cells").iterdir())
    for path in cells:
        rewritten(path, lambda arrays, _: arrays.update({k: np.zeros_like(v) for k, v in arrays.items()}))
    again, _, errors = attack(*gate)
    # All wrong would have been a gate that holds.
    assert (code, again) == (1, 1)
    assert load(tmp_path / "o").digest == digest
    stages = [line for line in errors.splitlines() if "damaged" in line or "done again" in line]
    assert 1 <= len(stages) <= 4, errors


def test_a_sidecar_of_another_report_or_a_damaged_one_is_refused(attack, vfc, tmp_path):
    attack()
    report, sidecar = load(tmp_path / "o"), tmp_path / "o" / "report.safetensors"
    assert load_rows(tmp_path / "o", report)
    whole = sidecar.read_bytes()
    rewritten(sidecar, flip)
    with pytest.raises(UserError, match="damaged or changed"):
        load_rows(tmp_path / "o", report)
    sidecar.write_bytes(whole)
    rewritten(sidecar, lambda _, about: about.update(digest="0" * 64))
    code, _, errors = vfc("gate", "o", "--baseline", "o", quick=False)
    assert code == 2
    assert "keep both files of one run together" in errors
    sidecar.write_bytes(whole)
    assert vfc("gate", "o", "--baseline", "o", quick=False)[0] in (0, 3)


def test_a_report_of_impossible_numbers_is_refused(attack, vfc, tmp_path):
    attack()
    file = tmp_path / "o" / "report.json"
    content = json.loads(file.read_text())
    value = content["metrics"]["transfer.accuracy"]
    value["low"], value["high"] = 0.9, 0.1
    file.write_text(json.dumps(content))
    code, _, errors = vfc("gate", "o", "--gate", "transfer.accuracy <= 0.5", quick=False)
    assert code == 2
    assert "low <= high" in errors
    assert len(errors.strip().splitlines()) == 1


RUN = {
    "dataset": None, "dataset_digest": "d", "task": "digit", "labels": [], "split": "halves", "target": "cnn",
    "unintended": ["mlp"], "width": 0.25, "models": {"mlp": "mlp"}, "twin": None, "undefended": False,
}  # fmt: skip


@pytest.mark.parametrize("name", RUN)
def test_a_run_that_lacks_something_is_named(tmp_path, name):
    save_json(RUN, tmp_path / RUN_FILE)
    assert load_run(tmp_path) == {**RUN, "outside": []}
    for changed in ({key: value for key, value in RUN.items() if key != name}, {**RUN, name: [[1]]}):
        save_json(changed, tmp_path / RUN_FILE)
        with pytest.raises(UserError, match=f"expected {name} in"):
            load_run(tmp_path)
    save_json([1], tmp_path / RUN_FILE)
    with pytest.raises(UserError, match="expected a table"):
        load_run(tmp_path)
