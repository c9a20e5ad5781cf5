"""Who owns which images depends on one seed, which run folders and model files keep."""

from dataclasses import replace

import pytest
import torch

from protocols.engine.prepare import RUN_FILE, data_of
from protocols.engine.settings import Settings
from vfc.artifact import contents, load_json, save_json, save_model
from vfc.errors import UserError
from vfc.factory import resolve
from vfc.models import build_model

SETTINGS = Settings(dataset="digits")


def salt_of(settings, release="identity"):
    found, _, parts = data_of(settings, resolve(str(release)))
    assert found.split_seed == parts.seed
    return parts.seed


@pytest.fixture
def folder(tmp_path):
    """What `vfc train --split-seed 5` leaves, without its models."""
    _, dataset, _ = data_of(SETTINGS, resolve("identity"))
    run = {
        "dataset": "digits", "dataset_digest": dataset.digest, "task": dataset.task, "labels": [], "split": "halves",
        "split_seed": 5, "target": "cnn", "unintended": [], "width": 1.0, "models": {}, "twin": None,
        "undefended": False,
    }  # fmt: skip
    save_json(run, tmp_path / RUN_FILE)
    return tmp_path


def test_the_salt_is_the_seed_unless_said_otherwise_and_one_for_all_attack_seeds():
    assert salt_of(SETTINGS) == 0
    assert salt_of(replace(SETTINGS, seed=3, seeds=4)) == 3
    assert salt_of(replace(SETTINGS, seed=3, split_seed=0)) == 0


def test_a_default_and_the_same_salt_by_name_are_one_run():
    one, other = (
        data_of(replace(SETTINGS, seed=2, split_seed=salt), resolve("identity"))[0].digest() for salt in (None, 2)
    )
    assert one == other != data_of(replace(SETTINGS, seed=2, split_seed=1), resolve("identity"))[0].digest()


@pytest.mark.parametrize("given", [None, 5])
def test_a_run_folder_brings_its_salt_whatever_the_seed_of_the_attack(folder, given):
    assert salt_of(replace(SETTINGS, seed=3, split_seed=given), folder) == 5


def test_a_salt_that_contradicts_the_run_folder_is_refused(folder):
    with pytest.raises(UserError, match="--split-seed 5 as in"):
        data_of(replace(SETTINGS, split_seed=4), resolve(str(folder)))


def test_a_run_folder_without_a_salt_is_refused(folder):
    run = load_json(folder / RUN_FILE)
    del run["split_seed"]
    save_json(run, folder / RUN_FILE)
    with pytest.raises(UserError, match="older version; train again"):
        data_of(SETTINGS, resolve(str(folder)))


def test_a_model_of_another_split_is_refused(folder):
    model = build_model(
        "mlp", channels=1, side=16, num_classes=10, width=0.1, mean=(0.5,), std=(0.5,), generator=torch.Generator()
    )
    save_model(model, folder / "target.safetensors", split_seed=5)
    assert contents(folder)["target.safetensors"]["split_seed"] == 5
    assert salt_of(SETTINGS, folder) == 5
    save_model(model, folder / "target.safetensors", split_seed=6)
    with pytest.raises(UserError, match="of split seed 5"):
        data_of(SETTINGS, resolve(str(folder)))
