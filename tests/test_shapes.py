"""Types and shapes in signatures are checked while tests run: without it many tests ask less than they seem to."""

import pytest
import torch
from jaxtyping import TypeCheckError

from adversaries.goals.image_metrics import ssim
from vfc.training import TrainSettings, augment, train_classifier


def test_wrong_shapes_and_types_are_refused():
    images = torch.rand(2, 1, 8, 8)
    assert ssim(images, images).shape == (2,)
    with pytest.raises(TypeCheckError):
        ssim(images[0], images[0])
    with pytest.raises(TypeCheckError):
        augment(images, "no generator")
    with pytest.raises(TypeCheckError, match="train_classifier"):
        train_classifier(torch.nn.Flatten(), images, torch.zeros(3).long(), TrainSettings(steps=1), torch.Generator())
