"""Readers of families of codes: what they must find of digits, and where they must stay silent.

Axes: n releases of digits, d columns, k classes.
"""

from functools import cache
from itertools import combinations

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.datasets import load_digits
from sklearn.semi_supervised import LabelSpreading

from adversaries.adversary import ADVERSARIES
from adversaries.attacks.label.derived.products import _ranked
from adversaries.attacks.label.derived.ranks import _ranks
from adversaries.attacks.label.probes.deep_set import SetNetwork
from adversaries.calibration.families import FAMILIES, planted, shuffled
from adversaries.evaluation_data import EvaluationData, Part
from adversaries.learning.propagation import graph, spread_labels
from adversaries.learning.screening import between, binned, surprise, telling
from adversaries.learning.tokens import named_slots, tokens
from vfc.errors import NotApplicableError

SIZES = (747, 450)

FINDS = [
    ("sign-products", "products"),
    ("residue", "residues"),
    ("zeros-modulo", "residues"),
    ("zeros-modulo", "trees"),
    ("shares", "residues"),
    ("real-shares", "scaled-linear"),
    ("bit-eight", "signed-planes"),
    ("neighboring-bits", "signed-planes"),
    ("row-scale", "row-views"),
    ("row-scale", "ranks"),
    ("argmax", "ranks"),
    ("one-of-5000", "trees"),
    ("index-value", "bag"),
]
SHORT = {"trees": {"rounds": 20}}
NEW = ("bag", "products", "ranks", "residues", "row-views", "scaled-linear", "signed-planes", "spreading", "trees")


def generator(seed):
    return torch.Generator().manual_seed(seed)


@cache
def digits():
    bunch = load_digits()
    order = torch.randperm(len(bunch.target), generator=generator(0))[: sum(SIZES)]
    x = torch.tensor(bunch.images / 16, dtype=torch.float32)[:, None].repeat_interleave(2, 2).repeat_interleave(2, 3)
    return x[order], torch.tensor(bunch.target)[order]


def world(release, labels=None):
    x, y = digits()
    return two_parts(x, release, y if labels is None else labels, 10)


def two_parts(x, release, y, classes):
    rows = (slice(SIZES[0]), slice(SIZES[0], None))
    parts = [Part(images=x[r], release=release[r], labels={"y": y[r]}) for r in rows]
    return EvaluationData(
        train=parts[0], validation=parts[1].nothing(), targets=parts[1], classes={"y": classes}, models={}
    )


@cache
def leaky(name):
    return world(planted(name, *digits(), 10, 1))


def known(name):
    """What somebody who knows the code reads; .97 of whole images, which is what a nearest neighbor reads."""
    one, reader = leaky(name), FAMILIES[name].reader
    if reader is None:
        return 0.97
    return float((reader(one.targets.release, 10) == one.targets.labels["y"]).double().mean())


@pytest.mark.parametrize(("name", "reader"), FINDS, ids=lambda text: text)
def test_each_family_is_read_nearly_as_well_as_by_somebody_who_knows_it(bench, name, reader):
    one = leaky(name)
    assert bench.accuracy(bench.fit(reader, one, **SHORT.get(reader, {})), one) >= 0.9 * known(name)


@pytest.mark.parametrize("name", [name for name in FAMILIES if FAMILIES[name].reader is not None])
def test_whoever_knows_the_code_of_a_label_reads_it(name):
    assert known(name) > 0.99


@pytest.mark.parametrize("reader", NEW)
def test_nothing_is_found_where_labels_do_not_belong_to_releases(bench, reader):
    labels = digits()[1][torch.randperm(sum(SIZES), generator=generator(5))]
    leak = next((leak for leak, own in FINDS if own == reader), "row-scale")
    one = world(_release(leak), labels)
    hits = round(bench.accuracy(bench.fit(reader, one, **SHORT.get(reader, {})), one) * SIZES[1])
    most = float(torch.bincount(one.targets.labels["y"]).max()) / SIZES[1]
    assert stats.binomtest(hits, SIZES[1]).proportion_ci(0.998, "exact").low <= most


def _release(name):
    one = leaky(name)
    return torch.cat([one.train.release, one.targets.release])


def test_patches_in_any_order_are_read_by_who_reads_sets(bench):
    one = leaky("shuffled-patches")
    best = bench.accuracy(bench.fit("knn", one), one)
    assert bench.accuracy(bench.fit("bag", one), one) > best + 0.4
    assert bench.accuracy(bench.fit("deep-set", one, steps=150), one) > best + 0.3


def test_shuffled_patches_hold_the_same_patches():
    x = torch.rand(3, 2, 8, 8, generator=generator(1))
    mixed = shuffled(x, 4, generator(2))
    for before, after in zip(tokens(x, "patch4"), tokens(mixed, "patch4"), strict=True):
        assert sorted(before.tolist()) == sorted(after.tolist())
    assert not torch.equal(x, mixed)


def test_few_labels_reach_far_along_a_chain(bench):
    angle = torch.rand(sum(SIZES), generator=generator(3)) * 3.1416
    y = torch.arange(sum(SIZES)) % 2
    moon = torch.stack([angle.cos() + y, (1 - 2 * y) * angle.sin() + 0.4 * y], 1)
    moon = moon + 0.06 * torch.randn(moon.shape, generator=generator(4))
    one = two_parts(digits()[0], moon, y, 2)
    got = {name: bench.accuracy(bench.fit(name, one, labels=3), one) for name in ("spreading", "linear", "knn")}
    assert got["spreading"] > max(got["linear"], got["knn"]) + 0.05


@pytest.mark.parametrize("shape", [(6,), (1, 8, 8)])
def test_no_labelled_row_is_told_its_label_by_its_own_copy_in_the_pool(bench, shape):
    y = torch.randint(10, (sum(SIZES),), generator=generator(19))
    one = two_parts(digits()[0], torch.rand(sum(SIZES), *shape, generator=generator(20)), y, 10)
    attack = bench.fit("spreading", one)
    assert attack.ridge.left_out < 0.2
    assert bench.accuracy(attack, one) < 0.2


def test_spread_labels_are_scikit_learns_and_leaving_out_needs_no_new_solution():
    source = generator(6)
    y = torch.arange(12) % 3
    x = torch.cat([torch.eye(3)[y], torch.eye(3)[torch.arange(48) % 3]]) * 3 + torch.randn(60, 3, generator=source)
    weights = graph(x.double(), 5)
    scores, right = spread_labels(weights, y, 3)
    given = np.r_[y.numpy(), np.full(48, -1)]
    identity = np.eye(60)
    options = {}
    for reach in (0.99, 0.9, 0.5):
        solved = np.linalg.inv(identity - reach * weights.numpy())
        full = np.eye(3)[y] / 4
        hits = 0
        for row in range(12):
            held = full.copy()
            held[row] = 0
            hits += (solved[:, :12] @ held)[row].argmax() == y[row]
        options[reach] = (hits / 12, solved[:, :12] @ full)
    best = max(options, key=lambda reach: options[reach][0])
    assert right == options[best][0]
    np.testing.assert_allclose(scores.numpy(), options[best][1], rtol=1e-8, atol=1e-12)
    raw = _unnormalized(x.double(), 5)
    theirs = LabelSpreading(kernel=lambda *_: raw, alpha=best, max_iter=2000, tol=1e-9).fit(x.numpy(), given)
    assert (theirs.transduction_ == scores.argmax(1).numpy()).mean() >= 0.98


def _unnormalized(x, neighbors):
    distance = torch.cdist(x, x)
    distance.fill_diagonal_(torch.inf)
    near = distance.topk(neighbors, largest=False)
    reach = near.values[:, -1]
    full = torch.zeros(len(x), len(x), dtype=x.dtype)
    full.scatter_(1, near.indices, torch.exp(-near.values.square() / (reach[:, None] * reach[near.indices])))
    return torch.maximum(full, full.T).numpy()


def test_surprise_is_the_likelihood_ratio_of_scipy():
    y = torch.randint(3, (200,), generator=generator(7))
    codes = torch.stack([torch.randint(4, (200,), generator=generator(8)), (y + 1) % 4], 1)
    got = surprise(codes, y, 3, 4)
    for column in range(2):
        table = np.zeros((4, 3))
        np.add.at(table, (codes[:, column].numpy(), y.numpy()), 1)
        found = stats.chi2_contingency(table[table.sum(1) > 0], correction=False, lambda_="log-likelihood")
        expected = (found.statistic - found.dof) / (2 * found.dof) ** 0.5
        assert float(got[column]) == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_a_constant_column_tells_nothing_and_the_telling_one_is_found():
    y = torch.arange(80) % 4
    x = torch.randn(80, 10_000, generator=generator(9))
    x[:, 0], x[:, 7777] = 1.0, (y % 2) * torch.randn(80, generator=generator(10)).sign() * 3
    assert 7777 in telling(x, y, 4, 5).tolist()
    assert float(between(x[:, :1], y, 4)) == 0
    assert float(surprise(binned(x[:, :1]), y, 4)) == -torch.inf


def test_triples_are_those_of_an_exhaustive_search():
    x, y = torch.randn(60, 7, generator=generator(11)), torch.arange(60) % 3
    found = torch.cat([one.factors for one in _ranked(x, y, 3, 3, 64)])
    shares = torch.cat([one.share for one in _ranked(x, y, 3, 3, 64)])
    for factors, share in list(zip(found.tolist(), shares.tolist(), strict=True))[:20]:
        assert factors == sorted(set(factors))
        assert share == pytest.approx(float(between(x[:, factors].prod(1, keepdim=True), y, 3)), rel=1e-3, abs=1e-5)
    best = max(combinations(range(7), 3), key=lambda own: float(between(x[:, own].prod(1, keepdim=True), y, 3)))
    assert tuple(found[shares.argmax()].tolist()) == best
    pairs = next(iter(_ranked(x, y, 2, 3, 64)))
    best = max(combinations(range(7), 2), key=lambda own: float(between(x[:, own].prod(1, keepdim=True), y, 3)))
    assert tuple(pairs.factors[0].tolist()) == best


@pytest.mark.parametrize("constant", [0, 3])
def test_two_columns_have_products_of_two_and_none_of_three(bench, constant):
    x = torch.randn(sum(SIZES), 2, generator=generator(21))
    y = (x.prod(1) > 0).long()
    one = two_parts(digits()[0], torch.cat([x, torch.ones(len(x), constant)], 1), y, 2)
    assert bench.accuracy(bench.fit("products", one), one) > 0.97


def test_ranks_are_scipys():
    x = torch.randint(5, (6, 9), generator=generator(12)).float()
    expected = (stats.rankdata(x.numpy(), axis=1) - 1) / 8 * 2 - 1
    np.testing.assert_allclose(_ranks(x).numpy(), expected, atol=1e-6)


def test_the_set_network_does_not_see_the_order():
    torch.manual_seed(0)
    net = SetNetwork(5, 16, 3, 0.0).eval()
    parts = torch.randn(4, 9, 5, generator=generator(13))
    torch.testing.assert_close(net(parts), net(parts[:, torch.randperm(9, generator=generator(14))]))


def test_a_list_of_index_and_value_is_laid_out_and_no_other_set_is():
    place = torch.stack([torch.randperm(6, generator=generator(seed)) for seed in range(4)])
    value = torch.rand(4, 6, generator=generator(15))
    laid = named_slots(torch.stack([place.float() + 2, value], 2))(torch.stack([place.float() + 2, value], 2))
    assert torch.equal(laid.gather(1, place), value)
    assert named_slots(torch.rand(4, 6, 2, generator=generator(16))) is None


def test_a_single_value_is_no_set_and_has_no_order(bench):
    one = world(torch.rand(sum(SIZES), 1, generator=generator(17)))
    for name in ("bag", "deep-set", "ranks", "products"):
        with pytest.raises(NotApplicableError):
            bench.fit(name, one)
    assert ADVERSARIES.get("bag").level == "L2"


@pytest.mark.parametrize("name", ["trees", "products", "residues"])
def test_columns_are_not_compared_by_thousands_of_classes(bench, name):
    y = torch.arange(sum(SIZES)) % 150
    with pytest.raises(NotApplicableError, match="5000 classes are too many"):
        bench.fit(name, two_parts(digits()[0], torch.rand(sum(SIZES), 4, generator=generator(18)), y, 5000))
