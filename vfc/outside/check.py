"""Whether a model from outside does what a classifier must: answer, answer alike twice, and beat a guess."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from scipy.stats import binom
from torch import Tensor, nn

from vfc.core.suitability import answers
from vfc.errors import UserError
from vfc.training import predict_logits

MOST = 512
"""Images on which a model from outside is measured before anything is trained."""

LEVEL = 0.01
"""Chance that a model which only guesses is taken for one that does not."""

_FEW = 16


@dataclass(frozen=True, kw_only=True)
class Measured:
    """How a model did.

    Args:
        hits: right answers.
        n: images.
        floor: share of the largest class among them.
    """

    hits: int
    n: int
    floor: float


def check_classifier(
    model: nn.Module, images: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"], classes: int, origin: str
) -> Measured:
    """Run a model from outside on some clean images, and refuse what is no classifier of them.

    Args:
        model: images in [0, 1] to logits; put into eval mode.
        images: its owner's, never the targets; the first `MOST` count.
        labels: their classes.
        classes: how many there are.
        origin: how errors name the model.

    Raises:
        UserError: it fails on such images, gives another number of logits or NaN, is not in eval mode, or is at chance.
    """
    images, labels = images[:MOST], labels[:MOST]
    model.eval()
    _check_mode(model, origin)
    with torch.no_grad():
        few = answers(model, images[:_FEW].clone(), classes, origin)
        again, pair = model(images[:_FEW].clone()), model(images[:2].clone())
    scale = float(few.abs().max()) or 1.0
    if float((again - few).abs().max()) > 1e-3 * scale or float((pair - few[:2]).abs().max()) > 1e-2 * scale:
        raise UserError(
            f"expected {origin} to answer alike twice and beside other images, got different logits: it draws random "
            "numbers or reads batch statistics, as in training",
            "let eval() switch off its dropout and batch statistics",
        )
    guess = predict_logits(model, images).argmax(1)
    hits, n = int((guess == labels).sum()), len(labels)
    floor = float(torch.bincount(labels).max()) / n
    if float(binom.sf(hits - 1, n, floor)) > LEVEL:
        raise UserError(
            f"expected {origin} to know the classes, got {hits} of {n} clean images right, which guessing the largest "
            f"class does too ({floor:.2f})",
            "check its weights, its normalization (images here are in [0, 1]) and the order of the classes",
        )
    return Measured(hits=hits, n=n, floor=floor)


def _check_mode(model: nn.Module, origin: str) -> None:
    training = [name or "itself" for name, module in model.named_modules() if module.training]
    if training:
        raise UserError(
            f"expected {origin} in eval mode, got {training[0]} still in train mode after eval()",
            "let its train() and eval() reach every part",
        )
