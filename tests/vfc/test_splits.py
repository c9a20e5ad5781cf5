import itertools
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vfc.data import Dataset, ImageSet, load_dataset
from vfc.errors import UserError
from vfc.splits import PARTS, apportion, split


def make(n=400, classes=4, seed=0, test=None, repeats=()):
    generator = np.random.default_rng(seed)
    images = torch.from_numpy(generator.random((n, 1, 8, 8), dtype=np.float32))
    labels = torch.from_numpy(generator.integers(0, classes, n))
    for source, copy in repeats:
        images[copy], labels[copy] = images[source], labels[source]
    other = torch.from_numpy(generator.integers(0, 2, n))
    return Dataset(
        name="made",
        task="y",
        train=ImageSet(images=images, labels={"y": labels, "a": other}),
        test=test,
        classes={"y": classes, "a": 2},
    )


def permuted(dataset, seed=1):
    from dataclasses import replace

    order = torch.randperm(len(dataset.train), generator=torch.Generator().manual_seed(seed))
    return replace(dataset, train=dataset.train.take(order))


def contents(part):
    return {image.numpy().tobytes() for image in part.images}


def assert_same(first, second):
    for name in PARTS:
        one, other = getattr(first, name), getattr(second, name)
        assert torch.equal(one.images, other.images)
        for label, values in one.labels.items():
            assert torch.equal(values, other.labels[label])
    assert first.digests == second.digests


def assert_disjoint(parts):
    for one, other in itertools.combinations(PARTS, 2):
        assert not contents(getattr(parts, one)) & contents(getattr(parts, other))


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("digits", (480, 120, 597, 150, 450)), ("gaussian", (2400, 600, 2400, 600, 2000))],
)
def test_embedded_sizes(name, sizes):
    dataset = load_dataset(name)
    parts = split(dataset)
    assert tuple(parts.sizes.values()) == sizes
    assert parts.duplicates_removed == 0
    assert_disjoint(parts)
    share = dataset.train.labels[dataset.task].bincount() / len(dataset.train)
    for part in PARTS:
        rows = getattr(parts, part)
        assert (rows.labels[dataset.task].bincount() - share * len(rows)).abs().max() <= 2


def test_the_order_of_the_file_does_not_matter():
    dataset = load_dataset("digits")
    assert_same(split(dataset), split(permuted(dataset)))
    assert dataset.digest == permuted(dataset).digest


def test_order_does_not_matter_with_repeats_of_different_labels():
    dataset = make(repeats=[(0, 1), (0, 2), (5, 300)])
    dataset.train.labels["y"][1] = 3
    dataset.train.labels["a"][2] = 1 - dataset.train.labels["a"][0]
    one, other = split(dataset), split(permuted(dataset))
    assert one.duplicates_removed == 3
    assert_same(one, other)
    assert_disjoint(one)


def test_rows_are_in_content_hash_order_with_their_own_labels():
    dataset = make()
    label_of = {
        image.numpy().tobytes(): int(label)
        for image, label in zip(dataset.train.images, dataset.train.labels["y"], strict=True)
    }
    parts = split(dataset)
    for name in PARTS:
        part = getattr(parts, name)
        fresh = ImageSet(images=part.images.clone(), labels=part.labels)
        assert list(fresh.row_hashes) == sorted(fresh.row_hashes)
        assert part.row_hashes == fresh.row_hashes
        assert [label_of[image.numpy().tobytes()] for image in part.images] == part.labels["y"].tolist()


def test_a_quarter_is_held_out_and_the_rest_halved():
    parts = split(make(401))
    assert sum(parts.sizes.values()) == 401
    assert parts.sizes["targets"] == 100
    assert parts.sizes["defender_train"] + parts.sizes["defender_validation"] == 150
    assert parts.sizes["pool_validation"] == 31


def test_the_test_part_is_the_targets_and_keeps_shared_images():
    test = make(50, seed=9).train
    dataset = make(400, test=test)
    dataset.train.images[:7] = test.images[:7]
    parts = split(dataset)
    assert contents(parts.targets) == contents(test)
    assert parts.duplicates_removed == 7
    assert sum(parts.sizes.values()) == 443
    assert_disjoint(parts)


def test_paper_gives_both_sides_everything_but_the_targets():
    parts = split(make(400, test=make(50, seed=9).train), paper=True)
    assert parts.paper
    assert parts.sizes == dict(zip(PARTS, (400, 80, 320, 80, 50), strict=True))
    assert contents(parts.defender_train) == contents(parts.pool_train) | contents(parts.pool_validation)
    # The attacker chooses between attacks on images that none of them was fitted on.
    assert not contents(parts.pool_train) & contents(parts.pool_validation)
    assert not contents(parts.targets) & (contents(parts.pool_train) | contents(parts.pool_validation))


def test_another_task_stratifies_by_it():
    dataset = load_dataset("digits")
    parts = split(dataset, task="ink")
    assert parts.task == "ink"
    share = float(dataset.train.labels["ink"].double().mean())
    assert float(parts.targets.labels["ink"].double().mean()) == pytest.approx(share, abs=1 / 450)
    with pytest.raises(UserError, match="did you mean 'ink'"):
        split(dataset, task="inc")


@pytest.mark.parametrize("paper", [False, True])
def test_another_salt_draws_other_parts_of_the_same_sizes(paper):
    dataset = make()
    one, same, other = (split(dataset, paper=paper, seed=seed) for seed in (0, 0, 1))
    assert_same(one, same)
    assert (one.seed, other.seed) == (0, 1)
    assert one.sizes == other.sizes
    for name in PARTS:
        assert contents(getattr(one, name)) != contents(getattr(other, name)), name
    # A quarter of everything is drawn each time, so a quarter of the targets are drawn again.
    assert 5 <= len(contents(one.targets) & contents(other.targets)) <= 45
    everything = set.union(*(contents(getattr(one, name)) for name in PARTS))
    assert everything == set.union(*(contents(getattr(other, name)) for name in PARTS)) == contents(dataset.train)


def test_no_hash_by_itself_tells_the_parts_apart():
    """What a defense could do that knows how parts are drawn, but not the salt."""
    dataset = make(2000)
    guess = contents(split(dataset, seed=0).targets)
    for seed in (1, 2, 3):
        targets = contents(split(dataset, seed=seed).targets)
        assert len(guess & targets) == pytest.approx(125, abs=40)
    first = [sorted(split(dataset, seed=seed).targets.row_hashes)[0] for seed in range(4)]
    assert len(set(first)) > 1


def test_the_salt_moves_no_public_test_part():
    dataset = make(400, test=make(50, seed=9).train)
    one, other = split(dataset, seed=0), split(dataset, seed=1)
    assert torch.equal(one.targets.images, other.targets.images)
    assert contents(one.pool_train) != contents(other.pool_train)
    assert contents(one.defender_train) != contents(other.defender_train)


def test_a_class_too_small_is_refused():
    dataset = make()
    dataset.train.labels["y"][dataset.train.labels["y"] == 2] = 0
    dataset.train.labels["y"][:4] = 2
    with pytest.raises(UserError, match="class 2 of label 'y' in made is too small"):
        split(dataset)
    with pytest.raises(UserError, match="different images"):
        split(make(3))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 200), min_size=1, max_size=100).filter(any), st.data())
def test_apportion_is_exact_and_within_one_of_the_quota(sizes, data):
    total = data.draw(st.integers(0, sum(sizes)))
    shares = apportion(sizes, total)
    assert sum(shares) == total
    for share, size in zip(shares, sizes, strict=True):
        assert 0 <= share <= size
        assert abs(share - total * size / sum(sizes)) < 1


def test_a_hundred_classes_are_divided_exactly(shared_data):
    with np.load(shared_data / "cifar100" / "labels.npz") as labels:
        fine = torch.from_numpy(labels["train_fine"][:6000].astype(np.int64))
    names = json.loads((shared_data / "cifar100" / "classes.json").read_text())["fine"]
    images = torch.from_numpy(np.random.default_rng(0).random((6000, 1, 8, 8), dtype=np.float32))
    dataset = Dataset(
        name="many",
        task="fine",
        train=ImageSet(images=images, labels={"fine": fine}),
        test=None,
        classes={"fine": len(names)},
    )
    parts = split(dataset)
    assert tuple(parts.sizes.values()) == (1800, 450, 1800, 450, 1500)
    assert_disjoint(parts)
