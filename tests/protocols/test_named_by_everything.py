"""Finished work is named by everything that it depends on: whatever changes a result changes the name."""

from dataclasses import fields, replace
from types import SimpleNamespace

import pytest
import torch

from adversaries.evaluation_data import EvaluationData, Part
from protocols.engine import provenance, trainer
from protocols.engine.outside.families import Families
from protocols.engine.prepared import Digests, digests_with, world_digest
from protocols.engine.progress import Reporter
from protocols.engine.settings import WITHOUT_EFFECT, Settings
from protocols.engine.trainer import Trainer
from vfc.artifact import save_arrays
from vfc.data import Dataset, ImageSet
from vfc.splits import split

# --- settings ---

CHANGES = {
    "protocols": ("transfer",), "release": "fmd", "dataset": "gaussian", "target": "vgg", "unintended": ("mlp",),
    "width": 0.5, "task": "parity", "attributes": ("ink",), "labels": ("big=digit:5,6",), "threat": "L1", "seed": 1,
    "levels": (("attribute", "L3"),),
    "seeds": 2, "split": "paper", "split_seed": 3, "device": "cuda", "threads": 2, "no_isolation": True,
    "budget": "smoke", "overrides": (("vfc.latent", 3),), "identity_extra": (("run", "x"),),
}  # fmt: skip
JUDGED = {"gates", "preset", "accept"}


def test_every_setting_is_known_to_change_results_or_not_to():
    assert {field.name for field in fields(Settings)} == {*CHANGES, *WITHOUT_EFFECT, *JUDGED}


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_a_run_is_named_by_every_setting_that_can_change_a_result(name):
    assert replace(Settings(), **{name: CHANGES[name]}).digest() != Settings().digest()


# --- code ---


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """A package of one file in place of the real ones."""
    (tmp_path / "a.py").write_text("x = 1\n")
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)], origin=None)
    monkeypatch.setattr(provenance, "find_spec", lambda _name: spec)
    return tmp_path


def code(device="cpu", threads=1):
    return provenance.code_digest.__wrapped__(device, threads)


def test_code_is_named_by_sources_versions_device_and_threads(sources, monkeypatch):
    seen = [code(), code(device="cuda"), code(threads=2)]
    (sources / "a.py").write_text("x = 2\n")
    seen.append(code())
    (sources / "a.py").rename(sources / "b.py")
    seen.append(code())
    monkeypatch.setattr(provenance, "version", lambda _name: "0")
    seen.append(code())
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", "0")
        seen.append(code())
    monkeypatch.setattr(provenance, "_plugins", lambda: [["vfc.adversaries", "mine"]])
    seen.append(code())
    assert len(set(seen)) == len(seen)
    assert code() == code()


# --- trained parts ---

DATA = {"classes": {"y": 3, "a": 3}}


def made(seed=0):
    source = torch.Generator().manual_seed(seed)
    labels = {"y": torch.arange(240) % 3, "a": torch.arange(240) // 2 % 3}
    rows = ImageSet(images=torch.rand(240, 1, 8, 8, generator=source), labels=labels)
    return Dataset(name="made", task="y", train=rows, test=None, **DATA)


class Nobody:
    """An executor that trains nothing."""

    def run(self, function, jobs):
        return iter([(position, None) for position in range(len(jobs))])

    def close(self):
        pass


@pytest.fixture
def trainer_of(tmp_path):
    def build(**changes):
        scratch = tmp_path / f"scratch-{len(list(tmp_path.iterdir()))}"
        return Trainer(Settings(**changes), "cpu", tmp_path, scratch, Nobody(), Reporter(quiet=True))

    return build


FAMILIES = Families(target="cnn", unintended={"mlp": "mlp", "cnn-twin": "cnn"}, twin="cnn-twin", width=1.0)


@pytest.mark.parametrize(
    ("settings", "changes"),
    [
        ({"overrides": (("train.steps", 7),)}, {}),
        ({"overrides": (("train.lr", 1e-4),)}, {}),
        ({"seed": 1}, {}),
        ({"threads": 2}, {}),
        ({}, {"parts": split(made(1))}),
        ({}, {"data": replace(made(), classes={"y": 4, "a": 3})}),
        ({}, {"parts": replace(split(made()), task="a")}),
        ({}, {"families": replace(FAMILIES, width=0.5)}),
        ({}, {"families": replace(FAMILIES, target="vgg", unintended={"mlp": "resnet", "cnn-twin": "vgg"})}),
    ],
    ids=["steps", "rate", "seed", "threads", "images", "classes", "label", "width", "architecture"],
)
def test_a_model_is_named_by_everything_that_it_depends_on(trainer_of, settings, changes):
    given = {"data": made(), "parts": split(made()), "families": FAMILIES}
    target, models = trainer_of().models(*given.values())
    again, others = trainer_of(**settings).models(*{**given, **changes}.values())
    assert not {target, *models.values()} & {again, *others.values()}
    assert len({target, *models.values()}) == 3
    assert trainer_of().models(*given.values()) == (target, models)


DEFENDED = ("vfc", {"latent": 8})


@pytest.mark.parametrize(
    ("settings", "changes"),
    [
        ({}, {"options": {"latent": 9}}),
        ({}, {"options": {"latent": 8, "epochs": 3}}),
        ({}, {"name": "gaussian-noise", "options": {}}),
        ({"seed": 1}, {}),
        ({"threads": 2}, {}),
        ({}, {"target": "other"}),
        ({}, {"part": "defender_train"}),
        ({}, {"part": "defender_validation"}),
    ],
    ids=["option", "epochs", "name", "seed", "threads", "target", "data", "validation"],
)
def test_a_defense_is_named_by_everything_that_it_depends_on(trainer_of, tmp_path, settings, changes):
    def place(settings, name=DEFENDED[0], options=DEFENDED[1], target="one", part=None):
        parts = split(made())
        if part is not None:
            parts = replace(parts, **{part: getattr(split(made(1)), part)})
        file = tmp_path / f"model-{target}" / "model.safetensors"
        return trainer_of(**settings).defenses(name, options, made(), parts, file)

    first, other = place({}), place(settings, **changes)
    assert first == place({})
    assert len(set(first)) == 2  # the undefended twin is kept apart
    assert not set(first) & (set(other) - {None})


def test_trained_parts_are_named_by_the_code(trainer_of, tmp_path, monkeypatch):
    def everything():
        trainer, parts = trainer_of(), split(made())
        target, models = trainer.models(made(), parts, FAMILIES)
        file = tmp_path / "model-fixed" / "model.safetensors"
        return {target, *models.values(), *trainer.defenses(*DEFENDED, made(), parts, file)}

    before = everything()
    monkeypatch.setattr(trainer, "code_digest", lambda _device, _threads: "other code")
    assert not before & everything()


# --- worlds ---

PARTS = ("train", "validation", "targets")


def part(seed, *, images=True):
    source = torch.Generator().manual_seed(seed)
    return Part(
        images=torch.rand(6, 1, 2, 2, generator=source) if images else None,
        release=torch.rand(6, 4, generator=source),
        labels={"y": torch.arange(6) % 2, "a": torch.arange(6) % 3},
        prediction=torch.arange(6) // 3,
    )


def world(*, images=True):
    parts = {name: part(seed, images=images) for seed, name in enumerate(PARTS)}
    return EvaluationData(**parts, classes={"y": 2, "a": 3}, twin="twin")


def changed(one, name, what):
    """A world in which one part's releases, images, predictions or labels are others."""
    old = getattr(one, name)
    if what == "labels":
        new = replace(old, labels={**old.labels, "a": (old.labels["a"] + 1) % 3})
    else:
        new = replace(old, **{what: getattr(old, what) + 1})
    return replace(one, **{name: new})


@pytest.fixture
def weights(tmp_path):
    """Files of models by name: the same name in two folders with other weights."""
    for folder in ("one", "other"):
        save_arrays({"w": torch.full((2,), float(len(folder)))}, tmp_path / folder / "model.safetensors")
    return tmp_path


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("what", ["release", "prediction", "images", "labels"])
def test_a_world_is_named_by_every_part_and_its_ceiling_by_all_but_the_releases(name, what):
    one, other = world(), changed(world(), name, what)
    assert world_digest(one, {}) != world_digest(other, {})
    on_images = world_digest(one, {}, releases=False) != world_digest(other, {}, releases=False)
    assert on_images is (what in ("images", "labels"))


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("what", ["release", "labels"])
def test_without_originals_releases_stand_in_for_them(name, what):
    one, other = world(images=False), changed(world(images=False), name, what)
    assert world_digest(one, {}) != world_digest(other, {})
    assert world_digest(one, {}, releases=False) != world_digest(other, {}, releases=False)


@pytest.mark.parametrize("releases", [True, False])
def test_a_world_is_named_by_its_models_classes_and_twin(weights, releases):
    one, other = weights / "one" / "model.safetensors", weights / "other" / "model.safetensors"
    worlds = [world(), replace(world(), classes={"y": 3, "a": 3}), replace(world(), twin=None)]
    found = [world_digest(each, {"m": one}, releases=releases) for each in worlds]
    found += [world_digest(world(), models, releases=releases) for models in ({}, {"m": other}, {"n": one})]
    assert len(set(found)) == len(found)


def test_other_unintended_models_change_every_digest_and_predictions_that_of_the_informed_ceiling(weights):
    models = [{"m": weights / name / "model.safetensors"} for name in ("one", "other")]
    prepared = SimpleNamespace(world=world(), digests=Digests(world="w", clean="c", undefended="u"))
    one, other = (digests_with(prepared, each) for each in models)
    for name in ("world", "clean", "undefended", "informed"):
        assert getattr(one, name) != getattr(other, name), name
    for name in PARTS:
        told = SimpleNamespace(world=changed(world(), name, "prediction"), digests=prepared.digests)
        assert digests_with(told, models[0]).informed != one.informed
        assert digests_with(told, models[0]).clean == one.clean
