"""PSNR and SSIM against the libraries that define them."""

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import structural_similarity_index_measure

from adversaries.goals.image_metrics import psnr, ssim


def pictures(shape, seed):
    generator = torch.Generator().manual_seed(seed)
    a = torch.rand(shape, generator=generator)
    return a, (a + 0.2 * torch.randn(shape, generator=generator)).clamp(0, 1)


@pytest.mark.parametrize("shape", [(3, 1, 8, 8), (3, 1, 10, 9), (3, 3, 32, 32), (2, 1, 28, 28), (2, 3, 11, 16)])
def test_they_agree_with_scikit_image(shape):
    a, b = pictures(shape, 3)
    small = min(shape[2:]) < 11
    window = {"win_size": 7} if small else {"gaussian_weights": True, "sigma": 1.5}
    for x, y, decibels, similarity in zip(a.numpy(), b.numpy(), psnr(a, b).numpy(), ssim(a, b).numpy(), strict=True):
        assert decibels == pytest.approx(peak_signal_noise_ratio(x, y, data_range=1), abs=1e-5)
        per_channel = [
            structural_similarity(
                p.astype(np.float64), q.astype(np.float64), data_range=1, use_sample_covariance=False, **window
            )
            for p, q in zip(x, y, strict=True)
        ]
        assert similarity == pytest.approx(np.mean(per_channel), abs=1e-5)


def test_ssim_agrees_with_torchmetrics_up_to_its_padding():
    a, b = pictures((4, 3, 64, 64), 5)
    theirs = structural_similarity_index_measure(b, a, data_range=1.0, gaussian_kernel=True, sigma=1.5)
    assert float(ssim(a, b).mean()) == pytest.approx(float(theirs), abs=1e-2)


def test_equal_images_have_the_largest_values():
    a, _ = pictures((2, 1, 16, 16), 1)
    assert psnr(a, a).tolist() == pytest.approx([100.0, 100.0], abs=1e-4)
    assert ssim(a, a).tolist() == pytest.approx([1.0, 1.0], abs=1e-6)


def test_a_constant_error_has_the_psnr_of_the_formula():
    a = torch.full((1, 1, 8, 8), 0.25)
    assert float(psnr(a, a + 0.1)) == pytest.approx(20.0, abs=1e-4)
