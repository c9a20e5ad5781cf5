"""Rebuilding images: what must come back, what must not, and which control catches a broken adversary.

Registered names that this file shows at work: ridge-decoder, decoder, averaging, mean-image, gradient-inversion,
deep-prior.
"""

import dataclasses
from functools import cache

import pytest
import torch
from torch import nn

from adversaries.attacks.inversion.averaging import Averaging
from adversaries.attacks.inversion.decoder import Decoder
from adversaries.attacks.inversion.deep_prior import DeepPrior
from adversaries.attacks.inversion.descent import Descent, best_of
from adversaries.attacks.inversion.gradient_inversion import GradientInversion
from adversaries.attacks.inversion.mean_image import MeanImage
from adversaries.attacks.inversion.ridge_decoder import RidgeDecoder
from adversaries.evaluation_data import EvaluationData, Part
from adversaries.goals.reconstruction import SHOWN, ImageScores, Reconstruction, Reconstructor, _worst, assess_images
from adversaries.knowledge import Knowledge
from adversaries.threat import ThreatModel
from protocols.evaluation.statistic import shuffled_control_p_values
from vfc.defense import DEFENSES, Defense
from vfc.errors import KnowledgeError, NotApplicableError
from vfc.release import Release
from vfc.seeding import seeded
from vfc.training import TrainSettings, train_classifier

SIZES = (200, 40, 120)


def generator(seed):
    return torch.Generator().manual_seed(seed)


@cache
def originals():
    """Smooth images of two classes, and a clean model of theirs."""
    source = generator(1)
    y = torch.randint(2, (sum(SIZES),), generator=source)
    coarse = torch.rand(len(y), 1, 4, 4, generator=source) * 0.6
    coarse[:, 0, :2] += 0.3 * y[:, None, None]
    x = nn.functional.interpolate(coarse, size=(8, 8), mode="bilinear", align_corners=False).clamp(0, 1)
    model = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), source)
    train_classifier(model, x[: SIZES[0]], y[: SIZES[0]], TrainSettings(steps=100, lr=0.05), source)
    return x, y, model


def world(release, *, prediction=True, images=None):
    x, y, model = originals()
    pieces = zip((x if images is None else images).split(SIZES), release.split(SIZES), y.split(SIZES), strict=True)
    parts = [
        Part(images=i, release=r, labels={"y": label}, prediction=label.clone() if prediction else None)
        for i, r, label in pieces
    ]
    return EvaluationData(
        train=parts[0], validation=parts[1], targets=parts[2], classes={"y": 2}, models={"clean": model}
    )


def grade(adversary, some, *, arm="attack", pairs="all", level="L3", defense=None, limits=None):
    threat = ThreatModel(level=level, pairs=pairs)
    return assess_images(adversary, some, "y", threat, arm=arm, seed=3, fit_seed=4, defense=defense, limits=limits)


def found(graded, rule="nearest"):
    return float((graded.targets.rank[rule] == 0).double().mean())


def test_the_exposed_are_shown_before_those_that_are_rebuilt_best():
    def scores(sure, right, psnr):
        worse = torch.zeros(len(right), dtype=torch.bool)
        return ImageScores(
            psnr=psnr,
            ssim=torch.zeros(len(right)),
            rank={},
            chance=torch.ones(len(right)),
            beside=torch.zeros(len(right)),
            read={"worse": worse, "better": right},
            sure={"worse": torch.ones(len(right)), "better": sure},
            majority=0.5,
        )

    # On the validation part 40 of the 44 surest are right, down to .56.
    validation = scores(torch.linspace(1, 0, 100), torch.arange(100) < 40, torch.zeros(100))
    sure, right = torch.full((50,), 0.1), torch.ones(50, dtype=torch.bool)
    sure[7], sure[3], sure[5], sure[9], right[5] = 0.99, 0.9, 0.95, 0.5, False
    shown, exposed, how_sure = _worst(validation, scores(sure, right, torch.arange(50.0)))
    assert shown.tolist() == [7, 3, *range(49, 49 - SHOWN + 2, -1)]
    assert exposed.tolist() == [True, True, *[False] * (SHOWN - 2)]
    assert how_sure[:2].tolist() == pytest.approx([0.99, 0.9])
    unread = dataclasses.replace(validation, read={}, sure={})
    assert _worst(unread, scores(sure, right, torch.arange(50.0)))[0].tolist() == list(range(49, 49 - SHOWN, -1))


def permutation(x):
    return x.flatten(1)[:, torch.randperm(64, generator=generator(3))].reshape(x.shape)


def mixing(x):
    return (x.flatten(1) @ torch.linalg.qr(torch.randn(64, 64, generator=generator(4))).Q).reshape(x.shape)


def vectors(x):
    return x.flatten(1)[:, ::2] * 7 - 3


def integers(x):
    return (x * 255).round().to(torch.uint8)


def with_nan(x):
    release = x.clone()
    release[:, :, 0] = torch.nan
    return release


def noise(x):
    return torch.randn(x.shape, generator=generator(9))


def constant(x):
    return torch.ones_like(x)


@pytest.mark.parametrize(
    "leak", [lambda x: x, permutation, mixing, integers], ids=["identity", "permuted", "mixed", "8 bit"]
)
def test_linear_encodings_are_undone(leak):
    graded = grade(RidgeDecoder(), world(leak(originals()[0])))
    assert found(graded) >= 0.99
    assert float(graded.targets.psnr.mean()) > 35
    assert float(graded.targets.ssim.mean()) > 0.95
    assert float(graded.targets.read["clean"].double().mean()) > 0.9


@pytest.mark.parametrize("leak", [vectors, with_nan])
def test_what_is_left_of_other_releases_is_found(leak):
    for adversary in (RidgeDecoder(), Decoder(steps=10)):
        graded = grade(adversary, world(leak(originals()[0])))
        assert found(graded) > 0.9
        assert not graded.flags


@pytest.mark.parametrize("null", [noise, constant])
@pytest.mark.parametrize("adversary", [RidgeDecoder(), Decoder(steps=20), Decoder(steps=20, form="image")])
def test_nothing_comes_back_where_nothing_is(null, adversary):
    some = world(null(originals()[0]))
    graded = grade(adversary, some)
    floor = grade(MeanImage(aim="psnr"), some).targets.psnr.double()
    gain = graded.targets.psnr.double() - floor
    assert float(gain.mean()) < 3 * float(gain.std()) / len(gain) ** 0.5
    for rule in ("nearest", "direction"):
        assert found(graded, rule) < 0.1


def test_a_release_of_the_label_alone_gives_the_class_mean_back():
    y = originals()[1]
    some = world(y.float()[:, None])
    graded, floor = grade(RidgeDecoder(), some), grade(MeanImage(), some)
    assert float(graded.targets.psnr.mean()) == pytest.approx(float(floor.targets.psnr.mean()), abs=0.05)
    assert found(graded) == pytest.approx(float(graded.targets.chance.mean()), abs=0.03)


def test_the_floors_guessers():
    x = originals()[0]
    some = world(noise(x))
    plain = grade(MeanImage(by_prediction=False), some)
    expected = x[: SIZES[0]].mean(0)
    assert torch.allclose(plain.images[0], expected, atol=1e-6)
    by_class = grade(MeanImage(), some)
    assert float(by_class.targets.psnr.mean()) > float(plain.targets.psnr.mean())
    # On its own images every aim is best at what it aims at.
    best = {aim: grade(MeanImage(aim=aim), some).targets for aim in ("mean", "psnr", "ssim")}
    assert float(best["ssim"].ssim.mean()) >= float(best["mean"].ssim.mean())
    assert float(best["psnr"].psnr.mean()) >= float(best["mean"].psnr.mean()) - 0.02
    # Readers are never handed what the target's prediction gave away.
    assert float(by_class.targets.read["clean"].double().mean()) < 0.65
    with pytest.raises(NotApplicableError):
        grade(MeanImage(), some, arm="shuffled")


def test_more_pairs_rebuild_more_and_too_many_are_refused():
    some = world(mixing(originals()[0]))
    few, many = grade(RidgeDecoder(), some, pairs=8), grade(RidgeDecoder(), some, pairs=150)
    assert float(many.targets.psnr.mean()) > float(few.targets.psnr.mean()) + 3
    with pytest.raises(NotApplicableError, match="fewer than 1000"):
        grade(RidgeDecoder(), some, pairs=1000)


def test_the_network_corrects_what_the_regression_cannot():
    x = originals()[0]
    curved = world(torch.sign(x - 0.5) * (x - 0.5).abs().sqrt() + torch.sin(9 * x).roll(1, dims=3))
    linear = grade(RidgeDecoder(), curved)
    corrected = grade(Decoder(form="image", steps=150), curved)
    assert float(corrected.targets.ssim.mean()) > float(linear.targets.ssim.mean())
    with pytest.raises(NotApplicableError):
        grade(Decoder(form="image"), world(vectors(x)))


def test_equal_seeds_give_equal_bits():
    some = world(vectors(originals()[0]))
    first, second = (grade(Decoder(steps=5), some) for _ in range(2))
    assert torch.equal(first.images, second.images)


def test_averages_of_repeated_releases_tell_what_one_does_not():
    x = originals()[0]
    repeats = x[:, None] + 0.7 * torch.randn((len(x), 24, *x.shape[1:]), generator=generator(6))
    averaged = grade(Averaging(), world(repeats), level="L4")
    single = grade(RidgeDecoder(), world(repeats[:, 0]))
    assert float(averaged.targets.psnr.mean()) > float(single.targets.psnr.mean()) + 1
    assert found(averaged) > found(single) + 0.3
    assert found(grade(Averaging(), world(repeats), level="L4", arm="ceiling")) == 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Halved(Defense):
    """Half of the image's numbers, as a smooth function of them."""

    def publish(self, x, generator):
        return Release(values=torch.tanh(2 * x.flatten(1)[:, ::2] - 1))


def test_gradients_through_the_defense_rebuild_more_than_they_started_from():
    x = originals()[0]
    some = world(torch.tanh(2 * x.flatten(1)[:, ::2] - 1))
    limits = (16, 40)
    for space in ("components", "pixels"):
        inversion = GradientInversion(space=space, steps=40, restarts=2)
        graded = grade(inversion, some, level="L4", defense=Halved(), limits=limits)
        assert found(graded) >= 0.95
        assert len(graded.targets.psnr) == 40
        assert not graded.flags
    shuffled = grade(GradientInversion(steps=5), some, level="L4", defense=Halved(), limits=limits, arm="shuffled")
    assert found(shuffled) < 0.2


def test_an_untrained_network_finds_the_image():
    x = originals()[0]
    prior = DeepPrior(steps=60, width=8)
    graded = grade(prior, world(x), level="L4", defense=DEFENSES.get("identity")(), limits=(4, 16))
    assert found(graded) >= 0.75


@pytest.mark.parametrize("name", ["constant", "pure-noise", "quantization"])
def test_a_defense_without_a_gradient_says_so(name):
    defense = DEFENSES.get(name)()
    some = world(defense.publish(originals()[0], generator(2)).values)
    for adversary in (GradientInversion(steps=2), DeepPrior(steps=2, width=4)):
        graded = grade(adversary, some, level="L4", defense=defense, limits=(2, 4))
        assert "ZERO_GRADIENT" in graded.flags


def test_a_defense_that_needs_more_than_l4_grants_is_not_applicable():
    some = world(originals()[0])
    for adversary in (GradientInversion(steps=2), DeepPrior(steps=2)):
        with pytest.raises(NotApplicableError, match="L5"):
            grade(adversary, some, level="L4", defense=DEFENSES.get("label-release")(), limits=(2, 4))
        with pytest.raises(NotApplicableError, match="no defense"):
            grade(adversary, some, level="L4", limits=(2, 4))
        with pytest.raises(KnowledgeError):
            grade(adversary, some, level="L3", limits=(2, 4))


def test_of_all_restarts_the_own_loss_decides():
    first = Descent(images=torch.zeros(2, 1, 1, 1), loss=torch.tensor([1.0, 3.0]), flat=False)
    second = Descent(images=torch.ones(2, 1, 1, 1), loss=torch.tensor([2.0, 2.0]), flat=False)
    assert best_of([first, second]).flatten().tolist() == [0.0, 1.0]


def test_without_images_nothing_is_silently_safe():
    some = world(originals()[0])
    bare = dataclasses.replace(
        some,
        **{name: dataclasses.replace(getattr(some, name), images=None) for name in ("train", "validation", "targets")},
    )
    for arm in ("attack", "ceiling", "shuffled"):
        with pytest.raises(NotApplicableError, match="originals"):
            grade(RidgeDecoder(), bare, arm=arm)


def test_pairs_are_granted_from_l3_on_and_predictions_with_the_goal():
    some = world(originals()[0])
    with pytest.raises(KnowledgeError):
        _ = Knowledge(some, ThreatModel(level="L2"), "y").pairs
    with pytest.raises(KnowledgeError):
        _ = Knowledge(some, ThreatModel(level="L3"), "y").pair_predictions
    view = Knowledge(some, ThreatModel(level="L3", pairs=5), "y", predictions=True)
    assert len(view.pairs[0]) == len(view.pair_predictions) == 5


class Nearest(Reconstruction):
    """Gives back the image of the nearest release that it has seen."""

    def __init__(self, release, images):
        self.release, self.images = release.flatten(1).float(), images

    def rebuild(self, release, prediction):
        return self.images[torch.cdist(release.flatten(1).float(), self.release).argmin(1)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cheat(Reconstructor):
    """Learns the graded rows by heart."""

    level = "L3"

    def fit(self, view, generator):
        return Nearest(view.leaked.targets.release, view.leaked.targets.images)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ignorant(Reconstructor):
    """Never looks at a release: learns noise in its place."""

    level = "L3"

    def fit(self, view, generator):
        release, images = view.pairs
        return Nearest(torch.randn(release.shape, generator=generator), images)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Swapped(Reconstructor):
    """Pairs every release with another image."""

    level = "L3"

    def fit(self, view, generator):
        release, images = view.pairs
        return Nearest(release, images.roll(1, dims=0))


def luck(graded):
    """The smallest p-value of the shuffled control's tests."""
    scores = graded.targets
    hits = {f"targets.hit.{rule}": (rank == 0).numpy() for rule, rank in scores.rank.items()}
    arrays = {"targets.chance": scores.chance.numpy(), "targets.psnr": scores.psnr.numpy(), **hits}
    return min(shuffled_control_p_values({**arrays, "targets.beside": scores.beside.numpy()}))


@pytest.mark.usefixtures("leaky_views")
def test_the_shuffled_arm_catches_who_has_seen_the_targets_and_nobody_else():
    some = world(noise(originals()[0]))
    assert found(grade(Cheat(), some)) == 1.0
    assert luck(grade(Cheat(), some, arm="shuffled")) < 1e-9
    for adversary in (RidgeDecoder(), Decoder(steps=10), Ignorant(), Swapped()):
        assert luck(grade(adversary, world(originals()[0]), arm="shuffled")) > 1e-3


@pytest.mark.parametrize("broken", [Ignorant(), Swapped()])
def test_the_ceiling_shows_who_cannot_see(broken):
    some = world(originals()[0])
    floor = grade(MeanImage(), some).targets.psnr.mean()
    ceiling = grade(broken, some, arm="ceiling")
    assert float(ceiling.targets.psnr.mean()) < float(floor)
    assert found(ceiling) < 0.1
    assert found(grade(RidgeDecoder(), some, arm="ceiling")) == 1.0


class Short(Reconstruction):
    def rebuild(self, release, prediction):
        return torch.zeros(1, 1, 8, 8)


class Endless(Reconstruction):
    def rebuild(self, release, prediction):
        return torch.full((len(release), 1, 8, 8), torch.inf)


@pytest.mark.parametrize(("made", "flag"), [(Short(), None), (Endless(), "NONFINITE_GUESS")])
def test_malformed_reconstructions_are_refused_or_flagged(made, flag):
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Wrong(Reconstructor):
        level = "L3"

        def fit(self, view, generator):
            return made

    if flag is None:
        with pytest.raises(KnowledgeError, match="shape"):
            grade(Wrong(), world(originals()[0]))
    else:
        assert grade(Wrong(), world(originals()[0])).flags == (flag,)
