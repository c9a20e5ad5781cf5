"""Parts are published together in mixed calls, and a release that depends on its call is found."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from scipy import stats

from adversaries.evaluation_data import load_world, save_world
from adversaries.knowledge import Knowledge
from adversaries.threat import ThreatModel
from protocols.engine.progress import Reporter
from protocols.engine.publishing import dependence
from protocols.engine.publishing.calls import ROWS, Mixture
from protocols.engine.publishing.observation import Observation
from protocols.engine.publishing.publisher import Publisher
from protocols.engine.publishing.world import published_world
from vfc.data import load_dataset
from vfc.defense import Defense
from vfc.errors import KnowledgeError
from vfc.release import Release
from vfc.splits import split

DIGITS = load_dataset("digits")


@dataclass(frozen=True, kw_only=True)
class Law(Defense):
    """Publishes what a function of images and generator says, and notes the calls."""

    stochastic: ClassVar[bool] = True
    of: Any
    calls: list[Any] = field(default_factory=list)

    def publish(self, x, generator):
        self.calls.append(x)
        return Release(values=self.of(x, generator))


def looked_at(law, seed=0, rows=(300, 100)):
    generator = torch.Generator().manual_seed(seed)
    chosen = DIGITS.train.take(torch.randperm(len(DIGITS.train), generator=generator)[: sum(rows)])
    images, labels = torch.nn.functional.avg_pool2d(chosen.images, 2), chosen.labels["digit"][: rows[0]]
    parts = dict(zip(("train", "targets"), torch.split(images, rows), strict=True))
    publisher = Publisher(defense=Law(of=law), classes=10, seed=seed, device="cpu")
    values = publisher.together(parts, "parts").values
    return Observation(publisher=publisher, images_of=parts, published=values, labels=labels).observed()


# --- mixing ---


def test_every_row_is_published_once_and_put_back_into_its_place():
    parts = {"train": torch.arange(700), "validation": torch.arange(700, 830), "targets": torch.arange(830, 1300)}
    mixture = Mixture.drawn({name: len(rows) for name, rows in parts.items()}, 3)
    calls = list(mixture.calls(parts))
    assert [len(call) for call in calls] == [ROWS, ROWS, 1300 - 2 * ROWS]
    assert sorted(torch.cat(calls).tolist()) == list(range(1300))
    back = mixture.apart([2 * call for call in calls])
    for name, rows in parts.items():
        assert torch.equal(back[name], 2 * rows)
        for row, number in zip(rows.tolist(), mixture.numbers[name].tolist(), strict=True):
            assert row in calls[number]


def test_calls_mix_all_parts_in_an_order_that_the_seed_draws():
    sizes = {"train": 700, "validation": 130, "targets": 470}
    one, same, other = (Mixture.drawn(sizes, seed) for seed in (0, 0, 1))
    assert torch.equal(one.order, same.order)
    assert not torch.equal(one.order, other.order)
    for name, rows in sizes.items():
        share = Counter(one.numbers[name].tolist())
        for number, size in enumerate((512, 512, 276)):
            spread = 5 * (size * (rows / 1300) * (1 - rows / 1300)) ** 0.5
            assert share[number] == pytest.approx(size * rows / 1300, abs=spread), name


@pytest.fixture(scope="module")
def world():
    parts = split(DIGITS)
    defense = Law(of=lambda x, generator: x + torch.randn(1, generator=generator))
    publisher = Publisher(defense=defense, classes=10, seed=0, device="cpu")
    return published_world(publisher, parts, DIGITS, None, Reporter(quiet=True))[0], parts, defense


def test_the_world_is_published_in_mixed_calls_and_the_defender_by_itself(world):
    world, parts, defense = world
    assert [len(call) for call in defense.calls] == [512, 512, 1197 - 1024, 120]
    targets = {image.numpy().tobytes() for image in parts.targets.images}
    for call in defense.calls[:3]:
        inside = sum(image.numpy().tobytes() in targets for image in call)
        assert 0 < inside < len(call)
    # The offset of a call is in all of its rows, wherever they belong.
    offsets = {}
    for part in (world.train, world.validation, world.targets):
        found = (part.release - part.images).flatten(1).mean(1)
        for number, offset in zip(part.call.tolist(), found.tolist(), strict=True):
            assert offsets.setdefault(number, offset) == pytest.approx(offset, abs=1e-5)
    assert len({round(offset, 3) for offset in offsets.values()}) == 3


def test_which_call_a_row_came_from_is_known_from_l1_on_and_kept_on_disk(world, tmp_path):
    world, *_ = world
    with pytest.raises(KnowledgeError):
        _ = Knowledge(world, ThreatModel(level="L0"), "digit").unlabelled_calls
    for level, budget in (("L1", None), ("L2", 2)):
        known = Knowledge(world, ThreatModel(level=level, labels_per_class=budget), "digit")
        assert same_offset(known.unlabelled, known.unlabelled_calls, world)
    assert same_offset(known.labelled[0], known.labelled_calls, world)
    assert len(known.labelled_calls) == 20
    save_world(world, {}, tmp_path)
    assert torch.equal(load_world(tmp_path, "cpu").targets.call, world.targets.call)


def same_offset(release, calls, world):
    """Whether calls are those of these rows: every row minus its call's offset is in the range of an image."""
    offset = {
        int(number): float((world.targets.release - world.targets.images)[world.targets.call == number].mean())
        for number in world.targets.call.unique()
    }
    lowest = release.flatten(1).amin(1)
    return all(abs(float(low) - offset[number]) < 1e-4 for low, number in zip(lowest, calls.tolist(), strict=True))


# --- releases that depend on their call ---


def noise(x, generator):
    return torch.randn(x.shape, generator=generator)


DEPENDENT = {
    "offset": lambda x, g: x + noise(x, g) + torch.randn(1, *x.shape[1:], generator=g),
    "offset alone": lambda x, g: x + torch.randn(1, 1, 1, 1, generator=g),
    "scale": lambda x, g: x * torch.rand(1, generator=g) + 0.1 * noise(x, g),
    "key": lambda x, g: x.flatten(1)[:, torch.randperm(64, generator=g)],
    "company": lambda x, g: x - x.mean(0) + 0.001 * noise(x, g),
    "company without noise": lambda x, _: x - x.mean(0),
    "more noise in company": lambda x, g: x + (5 if len(x) > 1 else 0.1) * noise(x, g),
    "another key in company": lambda x, g: (x if len(x) > 1 else x.flip(-1)) + 0.3 * noise(x, g),
    "number of rows": lambda x, _: x * (1 if len(x) > 1 else 0.99),
}
HONEST = {
    "none": lambda x, _: x,
    "one more": lambda x, _: x.double().cumsum(-1),
    "normal": lambda x, g: x + noise(x, g),
    "in proportion": lambda x, g: x * noise(x, g),
    "poisson": lambda x, g: torch.poisson(x * 0.3, generator=g),
    "without mean": lambda x, g: x + torch.empty(x.shape).cauchy_(generator=g),
    "rare": lambda x, g: torch.where(torch.rand(x.shape, generator=g) < 0.003, 9.0, x),
    "one per row": lambda x, g: x + torch.randn(len(x), 1, 1, 1, generator=g) ** 3,
    "whole numbers": lambda x, g: (8 * x + torch.rand(x.shape, generator=g)).long(),
    "rows apart": lambda x, g: noise(x, g) * torch.exp(3 * torch.randn(len(x), 1, 1, 1, generator=g)),
}


@pytest.mark.parametrize("name", DEPENDENT)
def test_a_release_that_depends_on_its_call_is_found(name):
    for seed in range(3):
        seen = looked_at(DEPENDENT[name], seed)
        assert seen.call_dependent
        assert "CALL_DEPENDENT" in seen.health


@pytest.mark.parametrize("name", HONEST)
def test_honest_noise_is_none(name):
    for seed in range(3):
        assert looked_at(HONEST[name], seed).call_dependent is False


def drawn(law, seed, d=40):
    """Releases of 64 images in 8 calls, by numpy."""
    rng = np.random.default_rng(seed)
    x = rng.random((64, d))
    return torch.from_numpy(np.stack([law(x, rng) for _ in range(8)]))


def test_in_thirty_seeds_no_honest_noise_and_every_offset_is_found():
    laws = {
        "normal": lambda x, rng: x + rng.normal(size=x.shape),
        "few": lambda x, rng: x + (np.arange(64) < 3)[:, None] * rng.normal(size=x.shape),
        "heavy": lambda x, rng: x + rng.standard_t(2, size=x.shape),
        "tied": lambda x, rng: x + rng.normal(size=(64, 1)),
    }
    for law in laws.values():
        assert not any(dependence.varies(drawn(law, seed)) for seed in range(30))
        assert all(
            dependence.varies(drawn(lambda x, rng, law=law: law(x, rng) + rng.normal(size=40), seed))
            for seed in range(30)
        )


def test_the_level_is_that_of_an_f_test_of_equal_images(monkeypatch):
    """One column of normal noise, and calls as the only factor that may matter: scipy's F tells the same."""
    agree = 0
    for seed in range(60):
        values = drawn(lambda x, rng: 0 * x + rng.normal(size=x.shape) + 0.3 * rng.normal(), seed, d=1)
        v = values[:, :, 0].numpy()
        call, image = v.mean(1, keepdims=True), v.mean(0, keepdims=True)
        between = 64 * ((call - v.mean()) ** 2).sum() / 7
        within = ((v - call - image + v.mean()) ** 2).sum() / (7 * 63)
        chance = stats.f.sf(between / within, 7, 7 * 63)
        monkeypatch.setattr(dependence, "LEVEL", 3 * chance)
        above = dependence.varies(values)
        monkeypatch.setattr(dependence, "LEVEL", chance / 3)
        agree += above and not dependence.varies(values)
    # The images' shares of the variance are estimated from 8 calls, which costs about a quarter of the freedom.
    assert agree >= 45


def published(labels, rng, *, signal=1.0, shift=0):
    """Releases of images of three classes: a pattern for each, and noise."""
    patterns = np.roll(np.eye(3, 10), shift, axis=1)
    return torch.from_numpy(signal * patterns[labels] + rng.normal(size=(len(labels), 10)))


@pytest.mark.parametrize(
    ("alone", "found"),
    [({}, 0), ({"signal": 3.0}, 30), ({"signal": 0.0}, 30), ({"shift": 3}, 30)],
    ids=["equal", "clearer alone", "nothing alone", "other columns alone"],
)
def test_in_thirty_seeds_readers_differ_only_where_releases_do(alone, found):
    labels = np.arange(512) % 3
    count = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        mixed = [published(labels, rng) for _ in range(8)]
        count += dependence.reads_otherwise(mixed, published(labels, rng, **alone), torch.from_numpy(labels), 3)
    assert count == found


def test_a_difference_is_measured_by_its_own_column():
    values = torch.tensor([[1000.0, 0.5], [900.0, 0.4]])
    assert not dependence.differs(values, values * (1 + 1e-4))
    assert dependence.differs(values, values + torch.tensor([0.0, 0.05]))
    assert not dependence.differs(values, values + torch.tensor([0.0, 0.005]))  # rounding, beside 1000
    assert dependence.differs(values.long(), values.long() + torch.tensor([3, 0]))
