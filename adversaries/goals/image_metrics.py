"""PSNR and SSIM of image batches.

Axes: n images, c channels, h and w pixels. Images have the data range 1.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

MSE_FLOOR = 1e-10
"""Smallest mean squared error, so that identical images have a finite PSNR of 100 dB."""


def psnr(a: Float[Tensor, "n c h w"], b: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
    """Peak signal-to-noise ratio of each image in dB, with data range 1 and MSE >= 1e-10."""
    error = (a.double() - b.double()).square().flatten(1).mean(1).clamp_min(MSE_FLOOR)
    return (-10 * torch.log10(error)).float()


def ssim(a: Float[Tensor, "n c h w"], b: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
    """Structural similarity of each image, data range 1, averaged over channels and the valid region.

    Gaussian window of 11 pixels with sigma 1.5, below 11 pixels a uniform window of 7; population covariance.

    Source: Wang, Bovik, Sheikh, Simoncelli, Image quality assessment, 2004, doi:10.1109/TIP.2003.819861.
    """
    side = min(a.shape[2:])
    if side >= 11:
        offsets = torch.arange(11, dtype=torch.float64, device=a.device) - 5
        line = torch.exp(-offsets.square() / (2 * 1.5**2))
    else:
        line = torch.ones(min(7, side), dtype=torch.float64, device=a.device)
    rows, columns = (_band(line / line.sum(), length) for length in a.shape[2:])

    def blurred(images: Tensor) -> Tensor:
        return rows.T @ images @ columns

    x, y = a.double(), b.double()
    mean_x, mean_y = blurred(x), blurred(y)
    var_x, var_y = blurred(x * x) - mean_x**2, blurred(y * y) - mean_y**2
    covariance = blurred(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    similarity = similarity / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    return similarity.flatten(1).mean(1).float()


def _band(line: Float[Tensor, " k"], length: int) -> Float[Tensor, "length valid"]:
    """The matrix that slides a window over `length` pixels: x @ band is the valid convolution of rows with the line."""
    band = line.new_zeros(length, length - len(line) + 1)
    for start in range(band.shape[1]):
        band[start : start + len(line), start] = line
    return band
