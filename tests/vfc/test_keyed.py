"""Defenses with a secret: what their readers get, and what nobody else does."""

import hashlib
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from vfc.core.secret import parse_secret
from vfc.defense import DEFENSES, FitData
from vfc.defenses.keyed.bit_permutation import BitPermutation, floats_of, narrow, orders_from, permute_each, words_of
from vfc.defenses.keyed.linear_mask import prime_from
from vfc.defenses.keyed.prf import draw_key, draw_nonces, pads, streams
from vfc.errors import UserError
from vfc.seeding import seeded

LIFETIMES = ("dataset", "release", "value")
KEYED = (
    ("sealed", {}),
    ("linear-mask", {"dimension": 5}),
    *(("shufflebits", {"lifetime": lifetime}) for lifetime in LIFETIMES),
    ("shufflebits", {"of": "features"}),
    ("pixel-permutation", {}),
    ("orthogonal-mixing", {}),
)


class Net(nn.Module):
    """A target with features and a head."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 24, bias=False), nn.ReLU())
        self.head = nn.Linear(24, 10, bias=False)

    def features(self, x):
        return self.body(x - 0.5)

    def forward(self, x):
        return self.head(self.features(x))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(count, seed=0):
    return torch.rand(count, 1, 8, 8, generator=generator(seed))


@pytest.fixture(scope="module")
def data():
    x = images(40)
    target = seeded(Net, generator(1)).eval().requires_grad_(False)
    y = target(x).argmax(1)
    return FitData(images=x, labels=y, validation_images=x[:5], validation_labels=y[:5], num_classes=10, target=target)


def fit(name, data, seed=7, **settings):
    return DEFENSES.get(name)(**settings).fit(data, generator(seed))


@pytest.mark.parametrize(("name", "settings"), KEYED)
def test_the_intended_use_is_as_good_as_on_the_images(data, name, settings):
    defense, x = fit(name, data, **settings), images(300, 3)
    release = defense.publish(x, generator(1))
    assert torch.equal(defense.predict(release.values).argmax(1), data.target(x).argmax(1))
    assert len(data.target(x).argmax(1).unique()) > 5
    if release.bounds is not None:
        assert release.bounds[0] <= float(release.values.min())
        assert float(release.values.max()) <= release.bounds[1]


@pytest.mark.parametrize(("name", "settings"), KEYED)
def test_it_returns_from_its_state_and_repeats_itself(data, name, settings):
    defense = fit(name, data, **settings)
    again = DEFENSES.get(name)(**defense.settings()).with_state(defense.state(), data.target)
    values = defense.publish(data.images, generator()).values
    assert torch.equal(values, again.publish(data.images, generator()).values)
    assert torch.equal(defense.predict(values), again.predict(values))
    assert torch.equal(values, defense.publish(data.images, generator(1)).values) is not defense.stochastic
    with pytest.raises(UserError, match="never fitted"):
        DEFENSES.get(name)(**settings).publish(data.images, generator())


@pytest.mark.parametrize(("name", "settings"), [each for each in KEYED if each[0] in ("sealed", "linear-mask")])
def test_with_another_key_nothing_can_be_read(data, name, settings):
    x = images(600, 3)
    values = fit(name, data, **settings).publish(x, generator(1)).values
    hits = int((fit(name, data, seed=8, **settings).predict(values).argmax(1) == data.target(x).argmax(1)).sum())
    assert stats.binom(600, 0.1).sf(hits - 1) > 1e-3  # one in ten classes or eleven residues


@pytest.mark.parametrize(("name", "settings"), KEYED)
def test_the_secret_is_on_the_card_and_declared(data, name, settings):
    card = DEFENSES.cards[name]
    parsed = parse_secret(card.attributes["secret"], name)
    assert parsed.kind == "symmetric"
    assert parsed.bits > 50
    declared = fit(name, data, **settings).declared_secret()
    assert (declared.kind, declared.lifetime) == ("symmetric", settings.get("lifetime", "dataset"))
    assert all(word in card.text for word in ("Known breaks:", "Threat model", "Cost:", "Source:"))


def test_sizes_of_secrets(data):
    assert fit("linear-mask", data, dimension=5).declared_secret().bits == pytest.approx(5 * math.log2(11), abs=0.06)
    assert fit("shufflebits", data).declared_secret().bits == pytest.approx(math.log2(math.factorial(32)), abs=0.06)
    assert fit("shufflebits", data, lifetime="value").declared_secret().bits == 256


@pytest.mark.parametrize("name", ["sealed", "linear-mask"])
def test_what_is_published_is_uniform_whatever_the_class(data, name):
    defense, one = fit(name, data), images(1).expand(4000, 1, 8, 8)
    values = defense.publish(one, generator(2)).values
    modulus = 10 if name == "sealed" else 11
    counts = torch.bincount(values[:, -1], minlength=modulus)
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3
    assert len(values[:, :-1].unique(dim=0)) == 4000


def test_the_pad_is_keyed_blake2b():
    key, nonces = draw_key(generator()), draw_nonces(3, generator(1))
    secret = bytes(key.tolist())
    for nonce, pad in zip(nonces.tolist(), pads(key, nonces, 7).tolist(), strict=True):
        message = b"".join(word.to_bytes(4, "big") for word in nonce)
        assert pad == int.from_bytes(hashlib.blake2b(message, key=secret, digest_size=16).digest(), "big") % 7
        stream = next(streams(key, torch.tensor([nonce]), 2))
        assert stream.tolist() == np.frombuffer(hashlib.shake_256(secret + message).digest(8), "<u4").tolist()


@pytest.mark.parametrize(("least", "prime"), [(2, 2), (10, 11), (11, 11), (90, 97), (100, 101)])
def test_primes(least, prime):
    assert prime_from(least) == prime


def test_the_linear_mask_is_the_linear_form(data):
    defense = fit("linear-mask", data, dimension=3)
    values = defense.publish(data.images, generator()).values
    form, u = defense.fitted.form.tolist(), values[:, :-1].tolist()
    masks = [sum(a * b for a, b in zip(form, row, strict=True)) for row in u]
    expected = [(int(y) + mask) % 11 for y, mask in zip(data.target(data.images).argmax(1), masks, strict=True)]
    assert values[:, -1].tolist() == expected


WORDS = torch.cat(
    [
        torch.tensor([0, 1, 2**31, 0x7F800000, 0xFF800000, 0x7FC00001, 0x7F800001, 0xFFFFFFFF, 0x80000000]),
        torch.randint(2**32, (4000,), generator=generator(5)),
    ]
)
"""Zeros of both signs, both infinities, quiet and signaling NaN with payloads, and any others."""


def on_paper(word, order):
    """The permutation on the digits of a binary number, written backwards: bit 0 first."""
    digits = format(word, "032b")[::-1]
    return int("".join(digits[bit] for bit in order)[::-1], 2)


def test_a_permutation_moves_digits_and_back():
    order = torch.randperm(32, generator=generator(3))
    permutation = BitPermutation(order=order)
    permuted = permutation(narrow(WORDS))
    assert permuted.tolist() == [on_paper(word, order.tolist()) for word in WORDS.tolist()]
    assert torch.equal(permuted, permute_each(WORDS, order[None]))
    assert torch.equal(permute_each(permuted, permutation.inverse().order[None]), WORDS)
    orders = torch.stack([torch.randperm(32, generator=generator(seed)) for seed in range(5)])
    each = permute_each(WORDS[:5], orders)
    assert each.tolist() == [on_paper(w, o) for w, o in zip(WORDS[:5].tolist(), orders.tolist(), strict=True)]
    long = torch.randint(-(2**31), 2**31, (70_000,), generator=generator(4)).to(torch.int32)
    back = permutation.inverse()(narrow(permutation(long)))
    assert torch.equal(back, long.long() & 0xFFFFFFFF)


@pytest.mark.parametrize("lifetime", LIFETIMES)
def test_shufflebits_decrypts_to_the_last_bit(data, lifetime):
    x = floats_of(WORDS[: 64 * 62].reshape(62, 64)).reshape(62, 1, 8, 8)
    defense = fit("shufflebits", data, lifetime=lifetime)
    values = defense.publish(x, generator(2)).values
    assert values.dtype == torch.int64
    assert torch.equal(words_of(defense.decrypt(values)), words_of(x))
    hidden = values.flatten(1)[:, -64:]
    assert float((hidden == (words_of(x).long() & 0xFFFFFFFF)).double().mean()) < 0.05
    # Each permutation keeps how many bits are set.
    assert [n.bit_count() for n in hidden.flatten().tolist()] == [n.bit_count() for n in WORDS[: 64 * 62].tolist()]


def test_how_much_is_permuted_alike_follows_the_lifetime(data):
    same = torch.full((20, 1, 8, 8), 0.3)
    seen = {}
    for lifetime in LIFETIMES:
        hidden = fit("shufflebits", data, lifetime=lifetime).publish(same, generator(2)).values.flatten(1)[:, -64:]
        seen[lifetime] = (len(hidden[:, 0].unique()), len(hidden[0].unique()))
    assert seen["dataset"] == (1, 1)
    assert seen["release"][0] > 15
    assert seen["release"][1] == 1
    assert min(seen["value"]) > 15


def test_permutations_from_a_stream_are_uniform():
    orders = orders_from(torch.cat(list(streams(draw_key(generator()), draw_nonces(1, generator(1)), 32 * 4000))))
    assert torch.equal(orders.sort(1).values, torch.arange(32).expand(4000, 32))
    counts = torch.bincount(orders[:, 5], minlength=32).numpy()
    assert stats.chisquare(counts).pvalue > 1e-3


def test_features_need_a_target_that_has_them(data):
    defense = fit("shufflebits", data, of="features")
    assert defense.publish(data.images, generator()).values.shape == (40, 24)
    plain = FitData(**{**vars(data), "target": nn.Sequential(nn.Flatten(), nn.Linear(64, 10))})
    with pytest.raises(UserError, match="features and a head"):
        fit("shufflebits", plain, of="features")


@pytest.mark.parametrize(
    ("name", "settings"),
    [("shufflebits", {"lifetime": "day"}), ("shufflebits", {"of": "x"}), ("linear-mask", {"dimension": 0})],
)
def test_settings_out_of_range_are_refused(name, settings):
    with pytest.raises(UserError, match=next(iter(settings))):
        DEFENSES.get(name)(**settings)
