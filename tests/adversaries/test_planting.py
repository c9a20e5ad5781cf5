"""Leaks of kinds that common readers miss: whoever knows the kind reads the label, and single values tell nothing."""

from typing import get_args

import pytest
import torch

from adversaries.attacks.label.probes.linear import Linear
from adversaries.evaluation_data import EvaluationData, Part
from adversaries.goals.assess import assess
from adversaries.goals.label import TaskLabel
from adversaries.health import HARD, KINDS, PLANTS, READERS
from adversaries.knowledge import Knowledge
from adversaries.learning.kernels import spread
from adversaries.planting import ALL_TRIPLES, LOOKED_AT, drawn_kind, fitting, planted
from adversaries.registries import ADVERSARIES
from adversaries.threat import ThreatModel
from protocols.evaluation.results import Arm

CLASSES = 4


def world(dtype=torch.float32, shape=(1, 8, 8), sizes=(2000, 100, 1000), *, calls=True, whole=False):
    generator = torch.Generator().manual_seed(0)
    parts = []
    for n in sizes:
        release = torch.rand(n, *shape, generator=generator) * 200
        release = (release.round() if whole else release).to(dtype)
        labels = {"y": torch.randint(0, CLASSES, (n,), generator=generator)}
        call = torch.arange(n) // 64 if calls else None
        parts.append(Part(images=None, release=release, labels=labels, call=call))
    return EvaluationData(train=parts[0], validation=parts[1], targets=parts[2], classes={"y": CLASSES})


def test_every_kind_has_words_and_an_arm():
    assert set(PLANTS) == set(KINDS) == set(READERS)
    assert {name for names in READERS.values() for name in names} <= set(ADVERSARIES.cards)
    assert {f"{HARD}{kind}" for kind in KINDS} < set(get_args(Arm))


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        ({}, ("signs", "scale", "patch")),
        ({"whole": True}, ("signs", "residue", "scale", "patch")),
        ({"whole": True, "shape": (1, 16, 16)}, ("residue", "scale", "patch")),
        ({"shape": (8,)}, ("signs", "scale", "offset")),
        ({"shape": (8,), "calls": False}, ("signs", "scale")),
        ({"shape": (8,), "whole": True}, ("signs", "residue", "scale", "offset")),
        ({"shape": (64,)}, ("signs", "scale")),
        ({"shape": (65,)}, ("scale",)),
        ({"dtype": torch.uint8}, ("signs", "residue", "patch")),
        ({"dtype": torch.float16, "whole": True}, ("signs", "residue", "patch")),
        ({"dtype": torch.bool}, ("signs", "patch")),
        ({"shape": (2,)}, ()),
        ({"shape": (2,), "whole": True}, ("residue",)),
    ],
)
def test_which_kinds_fit_which_releases(change, kinds):
    assert fitting(world(**change), "y") == kinds


@pytest.mark.parametrize("kind", KINDS)
def test_the_label_is_in_the_marked_rows_and_nothing_else_changes(kind):
    before = world(whole=kind == "residue")
    after = planted(before, "y", kind, 0.5, torch.Generator().manual_seed(1))
    changed = (after.train.release != before.train.release).flatten(1).any(1)
    assert changed.double().mean() == pytest.approx(1.0 if kind == "offset" else 0.5, abs=0.05)
    assert torch.equal(after.train.labels["y"], before.train.labels["y"])
    assert torch.isfinite(after.train.release).all()
    again = planted(before, "y", kind, 0.5, torch.Generator().manual_seed(1))
    assert torch.equal(after.targets.release, again.targets.release)
    other = planted(before, "y", kind, 0.5, torch.Generator().manual_seed(2))
    assert not torch.equal(after.targets.release, other.targets.release)


def told(kind, seen):
    """The label as somebody reads it who knows the kind and learns the places from labelled rows."""
    flat, truth = seen.train.release.flatten(1).double(), seen.train.labels["y"]
    there = seen.targets.release.flatten(1).double()
    if kind == "scale":
        flat, there = (each / each.abs().amax(1, keepdim=True) for each in (flat, there))
    if kind == "offset":
        flat, there = (
            each - torch.stack([each[part.call == c].mean(0) for c in part.call])
            for each, part in ((flat, seen.train), (there, seen.targets))
        )
    one_hot = torch.nn.functional.one_hot(truth, CLASSES).double()
    centered = flat - flat.mean(0)
    weights = torch.linalg.solve(
        centered.T @ centered + 1e-3 * len(flat) * centered.var() * torch.eye(flat.shape[1]).double(),
        centered.T @ (one_hot - one_hot.mean(0)),
    )
    return ((there - flat.mean(0)) @ weights).argmax(1)


@pytest.mark.parametrize("kind", ["scale", "offset"])
def test_normalized_rows_and_centered_calls_show_it_to_a_linear_reader(kind):
    seen = planted(world(), "y", kind, 1.0, torch.Generator().manual_seed(3))
    assert (told(kind, seen) == seen.targets.labels["y"]).double().mean() > 0.9
    assert (told("", seen) == seen.targets.labels["y"]).double().mean() < 0.6


def test_products_of_three_signs_of_the_right_columns_are_the_bits():
    seen = planted(world(), "y", "signs", 1.0, torch.Generator().manual_seed(3))
    columns = torch.nonzero((seen.train.release.flatten(1) - world().train.release.flatten(1)).abs().amax(0)).flatten()
    assert len(columns) == 6
    low, high = world().train.release.aminmax()
    signs = (seen.train.release.flatten(1)[:, columns] - (low + high) / 2).sign()
    assert abs(torch.corrcoef(torch.cat([signs.T, (seen.train.labels["y"] & 1)[None]]))[-1, :-1]).max() < 0.1
    triples = torch.combinations(torch.arange(6), 3)
    products = torch.stack([signs[:, triple].prod(1) for triple in triples])
    for bit in range(2):
        wanted = 2.0 * ((seen.train.labels["y"] >> bit) & 1) - 1
        assert (products == wanted).all(1).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.int16, torch.uint8])
def test_a_residue_tells_the_class(dtype):
    before = world(dtype, whole=True)
    seen = planted(before, "y", "residue", 1.0, torch.Generator().manual_seed(3))
    column = int((seen.train.release != before.train.release).flatten(1).double().mean(0).argmax())
    values = seen.train.release.flatten(1)[:, column].double()
    low = float(before.train.release.min())
    assert ((values - low).long() % CLASSES == seen.train.labels["y"]).all()
    assert len(values.unique()) > 2 * CLASSES


def test_a_patch_of_the_class_lies_anywhere():
    seen = planted(world(shape=(1, 12, 12)), "y", "patch", 1.0, torch.Generator().manual_seed(3))
    low, high = (float(each) for each in world(shape=(1, 12, 12)).train.release.aminmax())
    windows = torch.nn.functional.unfold(seen.targets.release, 4).transpose(1, 2)  # rows, places, 16
    extreme = ((windows == low) | (windows == high)).all(2)
    assert extreme.any(1).all()
    assert extreme.double().argmax(1).unique().numel() > 40
    found = windows[torch.arange(len(windows)), extreme.double().argmax(1)] == high
    for value in range(CLASSES):
        assert len(found[seen.targets.labels["y"] == value].unique(dim=0)) == 1


def test_a_linear_reader_misses_what_the_easy_plant_shows():
    seen = world(sizes=(600, 60, 600), calls=False)
    threat = ThreatModel(level="L2", labels_per_class="all")

    def rate(arm):
        graded = assess(Linear(), seen, TaskLabel(label="y"), threat, arm=arm, seed=0, fit_seed=0)
        return float(graded.targets.double().mean())

    assert rate("planted") > 0.55
    assert rate(f"{HARD}signs") < 0.35


def test_the_kind_is_drawn_by_the_seed_alone():
    small = world(sizes=(200, 10, 10))
    seeds = [drawn_kind(small, "y", seed) for seed in range(40)]
    assert set(seeds) == set(fitting(small, "y"))
    assert seeds == [drawn_kind(small, "y", seed) for seed in range(40)]
    assert drawn_kind(world(torch.bool, shape=(1,)), "y", 0) is None


FORMS = {
    "integers": lambda x: (40 * x + 128).clamp(0, 255).to(torch.uint8),
    "signed integers": lambda x: (40 * x).to(torch.int16),
    "floats on a grid": lambda x: (40 * x + 128).clamp(0, 255).round() / 255,
    "standardized": lambda x: ((40 * x + 128).clamp(0, 255).round() / 255 - 0.4914) / 0.247,
    "plain floats": lambda x: x,
    "bits": lambda x: (x > 0).to(torch.uint8),
}
CASES = [
    *((name, (16,)) for name in FORMS),
    *((name, (1, 8, 8)) for name in ("integers", "plain floats")),
    *((name, (1, 16, 16)) for name in ("integers", "standardized", "plain floats", "bits")),
]


def formed(form, shape, classes=10, sizes=(1000, 10, 300)):
    generator = torch.Generator().manual_seed(0)
    parts = []
    for n in sizes:
        release = FORMS[form](torch.randn(n, *shape, generator=generator))
        labels = {"y": torch.randint(0, classes, (n,), generator=generator)}
        parts.append(Part(images=None, release=release, labels=labels, call=torch.arange(n) // 64))
    return EvaluationData(train=parts[0], validation=parts[1], targets=parts[2], classes={"y": classes})


@pytest.mark.parametrize(("form", "shape"), CASES, ids=str)
def test_its_readers_find_whatever_is_planted(form, shape):
    plain = formed(form, shape)
    for kind in fitting(plain, "y"):
        seen = planted(plain, "y", kind, 1.0, torch.Generator().manual_seed(1))
        view = Knowledge(seen, ThreatModel(level="L2", labels_per_class="all"), "y")
        for name in READERS[kind]:
            attack = ADVERSARIES.get(name)().fit(view, torch.Generator().manual_seed(2))
            right = attack.guess(seen.targets.release).argmax(1) == seen.targets.labels["y"]
            assert right.double().mean() > 0.8, (kind, name)


@pytest.mark.parametrize("classes", [2, 4])
def test_an_offset_of_few_classes_is_found_too(classes):
    plain = formed("plain floats", (2 * classes,), classes)
    seen = planted(plain, "y", "offset", 1.0, torch.Generator().manual_seed(1))
    view = Knowledge(seen, ThreatModel(level="L2", labels_per_class="all"), "y")
    attack = ADVERSARIES.get("row-views")().fit(view, torch.Generator().manual_seed(2))
    right = attack.guess(seen.targets.release).argmax(1) == seen.targets.labels["y"]
    assert right.double().mean() > 1 / classes + 0.2


def test_of_wide_releases_what_is_planted_lies_where_readers_look():
    assert ADVERSARIES.get("products")().columns == ALL_TRIPLES
    assert {ADVERSARIES.get(name)().columns for name in ("residues", "row-views")} == {LOOKED_AT}
    wide = formed("floats on a grid", (1500,), sizes=(300, 10, 10))
    places = spread(1500, LOOKED_AT).tolist()
    for seed in range(10):
        seen = planted(wide, "y", "residue", 1.0, torch.Generator().manual_seed(seed))
        changed = torch.nonzero((seen.train.release != wide.train.release).any(0)).flatten().tolist()
        assert len(changed) == 1
        assert changed[0] in places


def test_a_residue_takes_a_column_on_a_grid_among_others():
    generator = torch.Generator().manual_seed(0)
    mixed = formed("plain floats", (16,))
    for part in (mixed.train, mixed.validation, mixed.targets):
        part.release[:, 5] = torch.randint(0, 40, (len(part),), generator=generator).float() - 20
    assert "residue" in fitting(mixed, "y")
    seen = planted(mixed, "y", "residue", 1.0, torch.Generator().manual_seed(1))
    assert torch.nonzero((seen.train.release != mixed.train.release).any(0)).flatten().tolist() == [5]
    many = formed("integers", (16,), classes=17)
    assert "residue" not in fitting(many, "y")
