"""What is seen of a release, on defenses written for it."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from adversaries.goals.image_metrics import psnr, ssim
from protocols.engine.publishing.observation import Observation
from protocols.engine.publishing.publisher import Publisher, picture_of
from vfc.defense import Defense
from vfc.release import Release

IMAGES = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(3))


@dataclass(frozen=True, kw_only=True)
class Plain(Defense):
    stochastic: ClassVar[bool] = False

    def publish(self, x, generator):
        return Release(values=x, bounds=(0.0, 1.0))


@dataclass(frozen=True, kw_only=True)
class Secretly(Plain):
    """Declares that it is deterministic, and is not."""

    def publish(self, x, generator):
        return Release(values=x + torch.rand(x.shape, generator=generator))


@dataclass(frozen=True, kw_only=True)
class Crowd(Plain):
    def publish(self, x, generator):
        return Release(values=x - x.mean(0, keepdim=True))


@dataclass(frozen=True, kw_only=True)
class Hole(Plain):
    def publish(self, x, generator):
        values = x.clone()
        values[x[:, 0, 0, 0] > 0.9] = float("nan")
        return Release(values=values)


PARTS = {"train": IMAGES.flip(0).square(), "targets": IMAGES}


def look(defense, parts=PARTS, seed=0):
    publisher = Publisher(defense=defense, classes=10, seed=seed, device="cpu")
    values = publisher.together(parts, "parts").values
    labels = torch.arange(len(parts["train"])) % 10
    return Observation(publisher=publisher, images_of=parts, published=values, labels=labels).observed()


def test_a_plain_release_raises_no_flag():
    seen = look(Plain())
    assert seen.health == ()
    assert (seen.stochastic, seen.call_dependent, seen.first_nonfinite) == (False, False, None)


def test_randomness_is_seen_whatever_is_declared():
    seen = look(Secretly())
    assert (seen.declared_stochastic, seen.stochastic) == (False, True)
    assert "RANDOM_RELEASE" in seen.health


def test_a_release_that_depends_on_its_company_is_seen():
    seen = look(Crowd())
    assert seen.call_dependent
    assert {"CALL_DEPENDENT", "OUT_OF_BOUNDS"} <= set(seen.health)


def test_the_first_row_that_is_not_finite_is_named():
    seen = look(Hole())
    assert seen.first_nonfinite == int(torch.nonzero(IMAGES[:, 0, 0, 0] > 0.9)[0])
    assert "NONFINITE_RELEASE" in seen.health
    assert seen.bounds[1] <= 1


def test_the_same_seed_publishes_the_same():
    first = Publisher(defense=Secretly(), classes=10, seed=0, device="cpu")
    again = Publisher(defense=Secretly(), classes=10, seed=1, device="cpu")
    assert torch.equal(first.publish(IMAGES, "a"), first.publish(IMAGES, "a"))
    assert not torch.equal(first.publish(IMAGES, "a"), first.publish(IMAGES, "b"))
    assert not torch.equal(first.publish(IMAGES, "a"), again.publish(IMAGES, "a"))


def test_a_picture_has_256_steps_in_the_unit_range():
    release = 20 * IMAGES - 5
    for form in ("clip", "rescale"):
        picture = picture_of(release, form, release)
        assert float(picture.min()) >= 0
        assert float(picture.max()) <= 1
        assert torch.allclose(picture * 255, (picture * 255).round(), atol=1e-4)
    assert float(picture_of(release, "rescale", release).std()) > 0.2


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 8, 8), (3, 10, 10)])
def test_psnr_and_ssim_agree_with_scikit_image(shape):
    generator = torch.Generator().manual_seed(1)
    a = torch.rand(5, *shape, generator=generator)
    b = (a + 0.2 * torch.randn(a.shape, generator=generator)).clamp(0, 1)
    gaussian = {"gaussian_weights": True, "sigma": 1.5, "truncate": 3.5, "use_sample_covariance": False}
    options = gaussian if shape[1] >= 11 else {"win_size": 7, "use_sample_covariance": False}
    for x, y, p, s in zip(a.double().numpy(), b.double().numpy(), psnr(a, b), ssim(a, b), strict=True):
        assert float(p) == pytest.approx(peak_signal_noise_ratio(x, y, data_range=1), abs=1e-4)
        _, whole = structural_similarity(x, y, data_range=1, channel_axis=0, full=True, **options)
        pad = 5 if shape[1] >= 11 else 3
        valid = whole[:, pad:-pad, pad:-pad].mean()
        assert float(s) == pytest.approx(valid, abs=1e-5)


def test_identical_images_have_a_finite_psnr():
    assert psnr(IMAGES, IMAGES).numpy() == pytest.approx(np.full(40, 100.0))
