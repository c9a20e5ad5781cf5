"""Breaks of keyed releases: what they must find, and that they find nothing where nothing is."""

from dataclasses import replace
from functools import cache

import pytest
import torch
from scipy import stats
from sklearn.datasets import load_digits
from torch import nn

from adversaries.adversary import ADVERSARIES
from adversaries.attacks.inversion.noise_projection import _decoder
from adversaries.attacks.label.keyed.modular import search, solve
from adversaries.evaluation_data import EvaluationData, Part
from adversaries.knowledge import Knowledge
from adversaries.learning.words import BitStatistics, known_order, restored, words_in, words_of
from adversaries.threat import ThreatModel
from vfc.defense import DEFENSES
from vfc.errors import NotApplicableError

LIFETIMES = ("dataset", "release", "value")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def features(kind, count, seed, width=512):
    """Feature vectors whose columns differ in mean and scale, with or without a ReLU."""
    source = generator(99)
    mean, scale = 0.5 * torch.randn(width, generator=source), (0.5 * torch.randn(width, generator=source)).exp()
    x = mean + scale * torch.randn(count, width, generator=generator(seed))
    return x.relu() if kind == "relu" else x


def permuted(x, order):
    """Words whose bit j is bit `order[j]` of the number, bit by bit."""
    words = words_of(x)
    return sum(((words >> int(bit)) & 1) << place for place, bit in enumerate(order))


def cosine(a, b):
    return float(nn.functional.cosine_similarity(a.double().clamp(-1e30, 1e30), b.double()).mean())


@pytest.mark.parametrize("kind", ["dense", "relu"])
@pytest.mark.parametrize("seed", range(5))
def test_sixty_four_known_floats_give_all_others(kind, seed):
    x, order = features(kind, 20, seed), torch.randperm(32, generator=generator(seed))
    hidden = permuted(x, order)
    found = known_order(hidden[0, :64], words_of(x)[0, :64])
    assert cosine(restored(hidden[1:], found[None]), x[1:]) >= 0.999


@pytest.mark.parametrize("kind", ["dense", "relu"])
@pytest.mark.parametrize("seed", range(3))
def test_a_hundred_unpaired_vectors_are_enough(kind, seed):
    own, x = features(kind, 100, 50 + seed), features(kind, 100, seed)
    order = torch.randperm(32, generator=generator(seed))
    found = BitStatistics.of(words_of(own)).match(permuted(x, order)[None])
    assert cosine(restored(permuted(x, order), found), x) >= 0.99


def test_one_vector_for_each_key_is_enough():
    own, x = features("relu", 100, 50), features("relu", 8, 1)
    orders = torch.stack([torch.randperm(32, generator=generator(seed)) for seed in range(8)])
    hidden = torch.cat([permuted(row[None], order) for row, order in zip(x, orders, strict=True)])
    found = BitStatistics.of(words_of(own)).match(hidden[:, None])
    scores = nn.functional.cosine_similarity(restored(hidden, found).double(), x.double())
    assert float(scores.min()) >= 0.9


def test_random_words_are_matched_with_nothing():
    own, x = features("dense", 100, 50), features("dense", 50, 1)
    noise = torch.randint(2**32, (50, 512), generator=generator(3))
    found = BitStatistics.of(words_of(own)).match(noise[None])
    assert abs(cosine(restored(noise, found), x)) < 0.1


def test_words_are_told_from_numbers():
    words = torch.randint(2**32, (10, 4), generator=generator())
    assert torch.equal(words_in(words), words)
    as_floats = words_in(torch.tensor([[1e38, -2.0]]))
    assert as_floats.tolist() == words_of(torch.tensor([[1e38, -2.0]])).tolist()
    for ordinary in (
        torch.rand(5, 3),
        torch.arange(12).reshape(3, 4),
        torch.full((2, 2), 2**40),
        torch.rand(2, 2) > 0.5,
    ):
        with pytest.raises(NotApplicableError, match="ordinary numbers"):
            words_in(ordinary)


@pytest.mark.parametrize("prime", [2, 3, 11, 101])
def test_elimination_solves_what_can_be_solved(prime):
    source = generator(prime)
    known = torch.randint(prime, (40, 6, 6), generator=source, dtype=torch.int32)
    known[::4, :, 2] = known[::4, :, 1]  # singular
    truth = torch.randint(prime, (40, 6), generator=source)
    y = torch.einsum("tij,tj->ti", known.long(), truth) % prime
    found = solve(known, y.to(torch.int32), prime).long()
    assert torch.equal(torch.einsum("tij,tj->ti", known.long(), found) % prime, y)
    assert not torch.equal(found[::4], truth[::4])


@pytest.mark.parametrize(("wrong", "rows"), [(0.0, 40), (0.1, 200)])
def test_a_linear_form_is_found_although_some_labels_are_wrong(wrong, rows):
    source, prime = generator(2), 11
    known = torch.randint(prime, (rows, 25), generator=source, dtype=torch.int32)
    truth = torch.randint(prime, (25,), generator=source)
    y = (known.long() @ truth) % prime
    noisy = torch.rand(rows, generator=source) < wrong
    y = torch.where(noisy, torch.randint(prime, (rows,), generator=source), y).to(torch.int32)
    assert search(known, y, prime, 2000, generator()).tolist() == truth.tolist()
    shuffled = y[torch.randperm(rows, generator=source)]
    assert search(known, shuffled, prime, 2000, generator()) is None


def test_too_few_rows_say_nothing():
    known = torch.randint(11, (25, 25), generator=generator(2), dtype=torch.int32)
    assert search(known, known[:, 0], 11, 100, generator()) is None


@cache
def digits():
    """Digits of 16x16 pixels in 256 gray levels, and a linear target fitted to them in closed form."""
    bunch = load_digits()
    order = torch.randperm(len(bunch.target), generator=generator(4))
    x = (torch.tensor(bunch.images, dtype=torch.float32)[order, None] * 255 / 16).round() / 255
    x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    y = torch.tensor(bunch.target)[order]
    rows = torch.cat([x.flatten(1), torch.ones(len(x), 1)], 1).double()
    onehot = nn.functional.one_hot(y, 10).double()
    weights = torch.linalg.solve(rows.T @ rows + torch.eye(257).double(), rows.T @ onehot).float()
    layer = nn.Linear(256, 10)
    with torch.no_grad():
        layer.weight.copy_(weights[:-1].T)
        layer.bias.copy_(weights[-1])
    return x, nn.Sequential(nn.Flatten(), layer).eval().requires_grad_(False)


def world_of(name, sizes=(600, 20, 300), target=None, **settings):
    """Digits published through a defense for a target; labels are predictions of one that is linear."""
    source, total = generator(5), sum(sizes)
    x, linear = digits()
    target = target or linear
    x = x[:total]
    state = {
        "order": torch.randperm(32, generator=source),
        "master": torch.arange(32, dtype=torch.uint8),
        "shape": torch.tensor([1, 16, 16]),
        "key": torch.arange(32, dtype=torch.uint8),
        "classes": torch.tensor(10),
        "prime": torch.tensor(11),
        "form": torch.randint(11, (settings.get("dimension", 32),), generator=source),
    }
    defense = DEFENSES.get(name)(**settings).with_state(state, target)
    release = defense.publish(x, generator(6)).values
    truth = linear(x).argmax(1)
    parts = [
        Part(images=image, release=some, labels={"y": label})
        for image, some, label in zip(x.split(sizes), release.split(sizes), truth.split(sizes), strict=True)
    ]
    return EvaluationData(train=parts[0], validation=parts[1], targets=parts[2], classes={"y": 10})


def fit(name, world, level, labels="all", pairs="all", **settings):
    threat = ThreatModel(level=level, labels_per_class=labels if level >= "L2" else None, pairs=pairs)
    return ADVERSARIES.get(name)(**settings).fit(Knowledge(world, threat, "y"), generator())


def hits(attack, world):
    return int((attack.guess(world.targets.release).argmax(1) == world.targets.labels["y"]).sum())


def at_floor(found, world):
    """Whether that many hits are no more than the best constant guess may have by luck."""
    counts = torch.bincount(world.targets.labels["y"])
    return stats.binom(int(counts.sum()), float(counts.max() / counts.sum())).sf(found - 1) > 1e-3


@pytest.mark.parametrize("lifetime", ["dataset", "release"])
def test_matched_bits_read_releases_without_any_label_of_one(lifetime):
    world = world_of("shufflebits", lifetime=lifetime)
    assert hits(fit("matched-bits", world, "L1", key=lifetime), world) >= 0.9 * 300


def test_matched_bits_find_nothing_under_a_permutation_for_every_number():
    world = world_of("shufflebits", lifetime="value")
    scores = [hits(fit("matched-bits", world, "L1", key=key), world) for key in ("dataset", "release")]
    assert max(scores) < 0.3 * 300


@pytest.mark.parametrize("lifetime", LIFETIMES)
def test_popcounts_read_what_no_key_hides(lifetime):
    world = world_of("shufflebits", lifetime=lifetime)
    assert hits(fit("popcounts", world, "L2"), world) >= 0.5 * 300


@pytest.mark.parametrize(("name", "reader"), [("sealed", "popcounts"), ("sealed", "linear"), ("sealed", "knn")])
def test_nothing_reads_a_seal(name, reader):
    world = world_of(name)
    assert at_floor(hits(fit(reader, world, "L2"), world), world)


def test_a_linear_mask_holds_until_about_as_many_labels_as_it_has_dimensions():
    world = world_of("linear-mask")
    for reader in ("linear", "knn", "integer-codes", "second-order"):
        assert at_floor(hits(fit(reader, world, "L2"), world), world)
    few, enough = (fit("modular", world, "L2", labels=labels) for labels in (3, 5))
    assert few.solution is None  # 30 labels, 34 unknowns
    assert at_floor(hits(few, world), world)
    assert hits(enough, world) == 300  # 50 labels


def test_modular_relations_are_not_imagined():
    world = world_of("linear-mask")
    attack = fit("modular", world.shuffled("y", generator(3)), "L2")
    assert attack.solution is None
    assert attack.guess(world.targets.release).std(0).max() == 0
    with pytest.raises(NotApplicableError, match="no integers"):
        fit("modular", world_of("sealed"), "L2")


@pytest.mark.parametrize(("lifetime", "error"), [("dataset", 0.0), ("release", 10**-1.5)])
def test_known_bits_rebuild_images(lifetime, error):
    world = world_of("shufflebits", lifetime=lifetime)
    rebuilt = fit("known-bits", world, "L3").rebuild(world.targets.release, None)
    assert float((rebuilt - world.targets.images).square().mean().sqrt()) <= error


class Network(nn.Module):
    """A hidden layer of random units, and a head fitted in closed form: no two have units in common."""

    def __init__(self, seed, width, scale):
        super().__init__()
        (x, target), source = digits(), generator(seed)
        self.features, self.head = nn.Sequential(nn.Flatten(), nn.Linear(256, width), nn.ReLU()), nn.Linear(width, 10)
        with torch.no_grad():
            self.features[1].weight.copy_(scale * torch.randn(width, 256, generator=source))
            self.features[1].bias.copy_(scale * torch.randn(width, generator=source))
            found, onehot = self.features(x).double(), nn.functional.one_hot(target(x).argmax(1), 10).double()
            ridge = scale**2 * torch.eye(width).double()
            self.head.weight.copy_(torch.linalg.solve(found.T @ found + ridge, found.T @ onehot).T)
            self.head.bias.zero_()

    def forward(self, x):
        return self.head(self.features(x))


def world_of_features(lifetime, width):
    """Digits whose features of one network are published; the attacker owns another, of another width and scale."""
    world = world_of(
        "shufflebits", lifetime=lifetime, of="features", target=Network(1, width, 0.05).requires_grad_(False)
    )
    return replace(world, models={"own": Network(2, 100, 0.2)})


@pytest.mark.parametrize(("lifetime", "least"), [("dataset", 0.99), ("release", 0.9)])
def test_features_are_found_by_what_features_of_another_network_look_like(lifetime, least):
    world = world_of_features(lifetime, 256)
    target = Network(1, 256, 0.05).requires_grad_(False)
    reader = fit("matched-features", world, "L2", model="own", key=lifetime)
    assert cosine(reader.numbers(world.targets.release), target.features(world.targets.images)) >= least
    plain = [replace(getattr(world, part), release=target.features(getattr(world, part).images))
             for part in ("train", "targets")]  # fmt: skip
    plain = replace(world, train=plain[0], targets=plain[1])
    assert hits(reader, world) >= hits(fit("linear", plain, "L2"), plain) - 0.05 * 300
    # There are as many features as pixels, so only what it reads tells that these are no images.
    assert hits(fit("matched-bits", world, "L1", key=lifetime), world) < 0.3 * 300


def test_features_stay_hidden_under_a_permutation_for_every_number():
    world = world_of_features("value", 64)
    reader = fit("matched-features", world, "L2", labels=1, model="own", key="release")
    assert reader.numbers.nonce == 4
    truth = Network(1, 64, 0.05).requires_grad_(False).features(world.targets.images)
    assert cosine(reader.numbers(world.targets.release), truth) < 0.5


@pytest.mark.parametrize("width", [64, 300])
def test_what_breaks_images_does_not_apply_to_another_number_of_words(width):
    world = world_of_features("dataset", width)
    for name, level in (("matched-bits", "L1"), ("known-bits", "L3")):
        with pytest.raises(NotApplicableError, match=f"holds {width} words"):
            fit(name, world, level)


def test_known_bits_give_up_where_every_number_has_its_own_key():
    world = world_of("shufflebits", lifetime="value")
    attack = fit("known-bits", world, "L3")
    assert not attack.found
    mean = world.train.images.mean(0)
    torch.testing.assert_close(attack.rebuild(world.targets.release[:3], None), mean.expand(3, 1, 16, 16))


def noisy_world(directions, pairs=60):
    """Images with strong noise in a subspace, or everywhere."""
    world = world_of("identity", sizes=(pairs, 20, 300))
    basis = torch.linalg.qr(torch.randn(256, 256, generator=generator(8))).Q[:, :directions]

    def add(part):
        draw = torch.randn(len(part), directions, generator=generator(len(part)))
        values = part.images.flatten(1) + 3 * draw @ basis.T
        return Part(images=part.images, release=values.reshape(part.images.shape), labels=part.labels)

    parts = {name: add(getattr(world, name)) for name in ("train", "validation", "targets")}
    return EvaluationData(**parts, classes=world.classes)


def error_of(attack, world):
    """Squared error as a share of the images' variance."""
    variance = (world.targets.images - world.train.images.mean(0)).square().mean()
    rebuilt = attack.rebuild(world.targets.release, None)
    return float((rebuilt - world.targets.images).square().mean() / variance)


def test_noise_in_a_subspace_is_projected_out():
    world = noisy_world(20, 600)
    attack = fit("noise-projection", world, "L3", pairs=40)
    assert len(attack.noise) == 20
    assert error_of(attack, world) < 0.02
    release, images = (values[:40].flatten(1) for values in (world.train.release, world.train.images))
    plain = replace(attack, noise=attack.noise[:0], decoder=_decoder(release - attack.mean, images))
    assert error_of(plain, world) > 3 * error_of(attack, world)


@pytest.mark.parametrize("pairs", [60, 80, 120])
def test_noise_everywhere_stays(pairs):
    world = noisy_world(256, pairs)
    assert 0.9 < error_of(fit("noise-projection", world, "L3"), world) < 1.1


def test_only_what_is_shaped_like_an_image_has_noise_on_it():
    with pytest.raises(NotApplicableError, match="not shaped like an image"):
        fit("noise-projection", world_of("sealed"), "L3")
