"""Decoders that know when to stop, their closed-form base, and the references of the literature beside them.

Registered names that this file shows at work: inverse-network, rmle, replay-decoder, own-inverse.
"""

import dataclasses
from unittest.mock import Mock

import pytest
import torch
from torch import nn

from adversaries.attacks.inversion.decoder import Corrector, Decoder, Stopping
from adversaries.attacks.inversion.inverse_network import InverseNetwork
from adversaries.attacks.inversion.mean_image import MeanImage
from adversaries.attacks.inversion.own_inverse import OwnInverse
from adversaries.attacks.inversion.replay_decoder import ReplayDecoder
from adversaries.attacks.inversion.ridge_decoder import RidgeDecoder, fit_ridge
from adversaries.attacks.inversion.rmle import Rmle
from adversaries.evaluation_data import EvaluationData, Part
from adversaries.goals.reconstruction import assess_images
from adversaries.knowledge import Knowledge
from adversaries.learning.queries import moved
from adversaries.learning.ridge_map import MARGIN, RIDGES, RidgeMap
from adversaries.threat import ThreatModel
from protocols.evaluation.statistic import shuffled_control_p_values
from vfc.defense import DEFENSES, Defense
from vfc.errors import NotApplicableError, UserError
from vfc.release import Release
from vfc.wrapper import ModuleDefense

SIZES = (200, 40, 120)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def originals(side=8):
    coarse = torch.rand(sum(SIZES), 1, 4, 4, generator=generator(1))
    return nn.functional.interpolate(coarse, size=(side, side), mode="bilinear", align_corners=False)


def world(release, x):
    parts = [
        Part(images=i, release=r, labels={"y": torch.zeros(len(r), dtype=torch.long)})
        for i, r in zip(x.split(SIZES), release.split(SIZES), strict=True)
    ]
    return EvaluationData(train=parts[0], validation=parts[1], targets=parts[2], classes={"y": 2}, models={})


def grade(adversary, some, *, level="L3", defense=None, limits=None, arm="attack"):
    threat = ThreatModel(level=level, pairs="all")
    return assess_images(adversary, some, "y", threat, arm=arm, seed=3, fit_seed=4, defense=defense, limits=limits)


def decibels(graded):
    return float(graded.targets.psnr.mean())


def noisy(x):
    """A mixture of all pixels under noise: a network that learns for long learns its pairs by heart."""
    mix = torch.linalg.qr(torch.randn(x[0].numel(), x[0].numel(), generator=generator(4))).Q
    return x.flatten(1) @ mix + 0.3 * torch.randn(len(x), x[0].numel(), generator=generator(5))


def test_a_decoder_that_may_train_much_longer_is_not_worse():
    x = originals()
    some = world(noisy(x), x)
    short, long = (grade(Decoder(steps=60, times=times), some) for times in (1, 8))
    assert decibels(long) > decibels(short) - 0.05
    # Nor does a network that learned its pairs by heart take the place of the map that it starts from.
    assert decibels(long) > decibels(grade(RidgeDecoder(), some)) - 0.05


def test_planes_that_are_coarser_than_the_image_are_unfolded():
    # Every value of a 2x2 square has a plane of its own, in an order that nearest neighbors cannot undo.
    x = originals()
    planes = nn.functional.pixel_unshuffle(x, 2).flip(1)
    network = Corrector((1, 8, 8), (4, 4, 4), 8)
    assert network.unfold is not None
    assert network(x, planes).shape == x.shape
    assert Corrector((1, 8, 8), (4, 3, 3), 8).unfold is None
    assert Corrector((1, 8, 8), (4, 8, 8), 8)(x, x.expand(-1, 4, -1, -1)).shape == x.shape


def test_the_best_average_is_kept_and_waiting_ends():
    errors = iter([5.0, 3.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0])
    network = nn.Linear(1, 1)
    stopping = Stopping(network, 10, 100, lambda _network: next(errors))
    for step in range(1, 200):
        with torch.no_grad():
            network.weight.fill_(float(step))
        if stopping.ends(network, last=False):
            break
    # Best after 10 steps; five looks in vain end it.
    assert (stopping.found, stopping.step) == (10, 61)
    assert 1 < float(stopping.kept.weight.detach()) < 10
    # Who is worse than the base at first is not given up.
    slow = iter([5.0, *[6.0] * 12, 4.0])
    stopping = Stopping(network, 10, 130, lambda _network: next(slow))
    assert not any(stopping.ends(network, last=step == 129) for step in range(130))
    assert (stopping.found, stopping.least) == (130, 4.0)
    # Without held-out pairs the last average is kept.
    stopping = Stopping(network, 10, 25, None)
    assert not any(stopping.ends(network, last=step == 24) for step in range(25))
    assert stopping.found == 25


def rows(curve):
    x = torch.randn(400, 3, generator=generator(0))
    noise = torch.randn(400, 1, generator=generator(1))
    return x, x.sum(1, keepdim=True) + curve * x[:, :1].square() + noise


def test_a_kernel_takes_the_place_of_the_linear_map_by_a_margin_only():
    x, y = rows(0.15)
    linear = RidgeMap.fit(lambda some: some, x, y, [("linear", 1.0)])
    free = RidgeMap.fit(lambda some: some, x, y, margin=0.0)
    assert free.kernel[0] != "linear"
    assert free.error > (1 - MARGIN) * linear.error
    assert RidgeMap.fit(lambda some: some, x, y, margin=MARGIN).kernel[0] == "linear"
    x, y = rows(1.0)
    assert RidgeMap.fit(lambda some: some, x, y, margin=MARGIN).kernel[0] != "linear"


def test_of_many_columns_penalties_are_compared_on_mixtures_that_choose_the_same():
    x = torch.randn(150, 20, generator=generator(0))
    y = x @ torch.randn(20, 400, generator=generator(1)) + 6 * torch.randn(150, 400, generator=generator(2))
    fit = RidgeMap.fit(lambda some: some, x, y, [("linear", 1.0)])
    assert fit.error == pytest.approx(float((y - fit.left_out(y)).square().mean()), rel=1e-4)
    middle = float(fit.basis.eigenvalues.mean())
    correlation = fit.basis.coordinates.T @ (y.double() - fit.mean)
    found = {}
    for ridge in (middle * relative for relative in RIDGES):
        weights = correlation / (fit.basis.eigenvalues + ridge)[:, None]
        other = dataclasses.replace(fit, ridge=ridge, weights=weights)
        found[ridge] = float((y - other.left_out(y)).square().mean())
    assert fit.ridge == pytest.approx(min(found, key=found.get))


def test_both_forms_of_the_regression_compete_and_decoders_start_from_the_linear_one():
    x = originals()
    release = noisy(x)
    base = fit_ridge(release[:200], x[:200], None, 2)
    assert base.plain.kernel[0] == "linear"
    kernel = fit_ridge(release[:200], x[:200], None, 2, form="kernel")
    assert kernel.plain.kernel[0] != "linear"
    assert Decoder(steps=1).learned(release[:200], x[:200], 2, generator(0)).base.kernel[0] == "linear"


def test_what_is_too_large_for_a_kernel_is_said(monkeypatch):
    monkeypatch.setattr("adversaries.learning.ridge_map._FEW_VALUES", 10)
    x = originals()
    with pytest.raises(NotApplicableError, match="too many"):
        grade(RidgeDecoder(form="kernel"), world(noisy(x), x))
    assert not grade(RidgeDecoder(), world(noisy(x), x)).flags


@dataclasses.dataclass(frozen=True, kw_only=True)
class Halved(Defense):
    """Half of the image's numbers, as a smooth function of them."""

    def publish(self, x, generator):
        return Release(values=torch.tanh(2 * x.flatten(1)[:, ::2] - 1))


def test_the_references_find_what_is_there():
    x = originals()
    some = world(torch.tanh(2 * x.flatten(1)[:, ::2] - 1), x)
    floor = decibels(grade(MeanImage(), some))
    for adversary in (InverseNetwork(width=16, epochs=40), Rmle(steps=150, lr=0.03)):
        limits = (4, 40) if isinstance(adversary, Rmle) else None
        graded = grade(adversary, some, level="L4", defense=Halved(), limits=limits)
        assert decibels(graded) > floor + 3
        assert float((graded.targets.rank["nearest"] == 0).double().mean()) > 0.5
        assert not graded.flags
    planes = world(nn.functional.pixel_unshuffle(x, 2), x)
    assert decibels(grade(InverseNetwork(width=16, epochs=40), planes)) > floor + 3


def test_the_references_find_nothing_where_nothing_is():
    x = originals()
    defense = DEFENSES.get("constant")()
    some = world(defense.publish(x, generator(2)).values, x)
    floor = grade(MeanImage(aim="psnr"), some, limits=(4, 40)).targets.psnr.double()
    for adversary in (InverseNetwork(width=8, epochs=10), Rmle(steps=20)):
        graded = grade(adversary, some, level="L4", defense=defense, limits=(4, 40))
        gain = graded.targets.psnr.double() - floor
        assert float(gain.mean()) < 3 * float(gain.std()) / len(gain) ** 0.5
        assert float((graded.targets.rank["nearest"] == 0).double().mean()) < 0.2
        assert graded.flags == (("ZERO_GRADIENT",) if isinstance(adversary, Rmle) else ())


def test_references_that_see_shuffled_pairs_are_at_chance():
    x = originals()
    some = world(torch.tanh(2 * x.flatten(1)[:, ::2] - 1), x)
    graded = grade(InverseNetwork(width=16, epochs=20), some, arm="shuffled").targets
    arrays = {f"targets.hit.{rule}": (rank == 0).numpy() for rule, rank in graded.rank.items()}
    arrays |= {"targets.chance": graded.chance.numpy(), "targets.psnr": graded.psnr.numpy()}
    assert min(shuffled_control_p_values({**arrays, "targets.beside": graded.beside.numpy()})) > 1e-3


def test_references_train_twice_as_long_in_the_doubling_check():
    assert InverseNetwork().doubled().times == Rmle().doubled().times == 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curved(Defense):
    """A mixture of all pixels, bent; no gradient leaves it."""

    def publish(self, x, generator):
        with torch.no_grad():
            return Release(values=torch.sin(3 * noiseless(x)))


def noiseless(x):
    return x.flatten(1) @ torch.linalg.qr(torch.randn(64, 64, generator=generator(4))).Q


def test_queries_are_worth_pairs():
    # Moved and mirrored noise is noise of the same kind.
    x = torch.rand(sum(SIZES), 1, 8, 8, generator=generator(1))
    some = world(torch.sin(3 * noiseless(x)), x)
    plain = grade(Decoder(steps=100), some, level="L4", defense=Curved())
    asked = grade(ReplayDecoder(steps=100), some, level="L4", defense=Curved())
    assert decibels(asked) > decibels(plain) + 0.3
    assert not asked.flags


def test_queries_of_a_null_are_worth_nothing():
    x = originals()
    defense = DEFENSES.get("pure-noise")()
    some = world(defense.publish(x, generator(2)).values, x)
    floor = grade(MeanImage(aim="psnr"), some).targets.psnr.double()
    gain = grade(ReplayDecoder(steps=40), some, level="L4", defense=defense).targets.psnr.double() - floor
    assert float(gain.mean()) < 3 * float(gain.std()) / len(gain) ** 0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked(Defense):
    """Publishes what its target says, and nothing without a target."""

    def publish(self, x, generator):
        if self.target is None:
            raise UserError("expected a target model, got none", "call fit first")
        return Release(values=self.target(x))


def test_a_deployed_defense_answers_with_its_target_whatever_the_attacker_is_shown_of_it():
    x = originals()
    target = nn.Sequential(nn.Flatten(), nn.Linear(64, 16)).requires_grad_(False)
    defense = Asked(target=target)
    some = world(defense.publish(x, generator(2)).values, x)
    graded = grade(ReplayDecoder(steps=2), some, level="L4", defense=defense)
    assert torch.isfinite(graded.targets.psnr).all()
    with pytest.raises(NotApplicableError, match="no defense to ask"):
        grade(ReplayDecoder(steps=2), some, level="L4")
    with pytest.raises(NotApplicableError, match="another shape"):
        grade(ReplayDecoder(steps=2), some, level="L4", defense=DEFENSES.get("identity")())


def test_queries_are_moved_or_mirrored_and_never_the_image_itself():
    x = torch.rand(200, 1, 8, 8, generator=generator(0))
    asked = moved(x, generator(1))
    assert asked.shape == x.shape
    assert not (asked == x).flatten(1).all(1).any()
    assert set(asked.unique().tolist()) <= set(x.unique().tolist())
    assert {float(rows.unique().numel()) for rows in asked} - {64.0}
    columns = torch.arange(8.0).expand(50, 1, 8, 8)
    falling = (moved(columns, generator(2)).diff(dim=-1) < 0).flatten(1).any(1)
    assert falling.any()
    assert not falling.all()
    assert (moved(columns, generator(2), mirrored=False).diff(dim=-1) >= 0).all()


class Opened(nn.Module):
    """Brings its own inverse along."""

    def __init__(self, inverse):
        super().__init__()
        if inverse is not None:
            self.inverse = inverse

    def forward(self, x):
        return 1 - x.flatten(1)


def test_a_defense_that_brings_its_inverse_is_undone_by_it():
    x = originals()
    some = world(1 - x.flatten(1), x)

    def undone(inverse):
        return grade(OwnInverse(), some, level="L4", defense=ModuleDefense(module=Opened(inverse)))

    assert decibels(undone(lambda r: (1 - r).reshape(-1, 1, 8, 8))) > 60
    assert decibels(undone(nn.Identity())) < 15
    for other, reason in ((None, "no inverse"), (lambda r: r[:, :5], "gives")):
        with pytest.raises(NotApplicableError, match=reason):
            undone(other)
    with pytest.raises(NotApplicableError, match="no inverse"):
        grade(OwnInverse(), some, level="L4", defense=DEFENSES.get("pure-noise")())
    # Nothing is to invert of clean images, so its ceiling is there.
    assert decibels(grade(OwnInverse(), world(x, x), level="L4", defense=DEFENSES.get("identity")())) > 60
    assert decibels(undone(lambda r: ((1 - r).clamp(0, 1) * 255).round().to(torch.uint8))) > 40
    for scale in (lambda r: (1 - r) * 255, lambda r: ((1 - r) * 255).long()):
        with pytest.raises(ValueError, match="images are bytes"):
            undone(scale)


def test_a_decoder_that_diverges_says_so():
    x = originals()
    some = world(noisy(x), x)
    assert "NOT_CONVERGED" in grade(Decoder(steps=60, lr=1e6), some).flags
    assert "NOT_CONVERGED" not in grade(Decoder(steps=60), some).flags


def test_held_out_pairs_are_rebuilt_in_chunks(monkeypatch):
    monkeypatch.setattr("adversaries.attacks.inversion.decoder._CHUNK", 7)
    sizes = []
    pairs = [torch.rand(20, 1, 8, 8, generator=generator(n)) for n in range(3)]
    error = Decoder()._held_out(pairs)

    class Kept(nn.Module):
        def forward(self, base, inputs):
            sizes.append(len(inputs))
            return base

    found = error(Kept())
    assert sizes == [7, 7, 6]
    assert found == pytest.approx(float(Decoder()._loss(pairs[0], pairs[2])), rel=1e-4)


def test_who_refuses_queries_has_not_shown_that_they_find_nothing(monkeypatch):
    x = originals()
    defense, calls = Curved(), []
    publish = type(defense).publish

    def once(self, images, own):
        calls.append(len(images))
        if len(calls) > 1 or len(images) > 100:
            raise UserError("no more today", "ask tomorrow")
        return publish(self, images, own)

    some = world(torch.sin(3 * noiseless(x)), x)
    monkeypatch.setattr(type(defense), "publish", once)
    with pytest.raises(UserError, match="no more today"):
        grade(ReplayDecoder(steps=2), some, level="L4", defense=defense)


def test_copies_of_an_image_are_held_out_with_it(monkeypatch):
    x = originals()[:205]
    seen = []

    def learned(_, *given):
        seen.append(given)
        raise NotApplicableError("no need to go on")

    monkeypatch.setattr(Decoder, "learned", learned)
    monkeypatch.setattr("adversaries.attacks.inversion.replay_decoder.moved", lambda images, _: images)
    view = Mock(spec=Knowledge, pairs=(x, x), num_classes=2)
    view.ask = lambda asked, _: asked
    with pytest.raises(NotApplicableError, match="go on"):
        ReplayDecoder().fit(view, generator(0))
    ((_, images, _, _),) = seen
    held = {tuple(row.flatten().tolist()) for row in images[9::10]}
    others = {tuple(row.flatten().tolist()) for at, row in enumerate(images) if at % 10 != 9}
    assert not held & others
