"""The target's predicted class under a secret linear function of public random numbers: a null of a known cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from vfc.core.secret import Secret, parse_secret
from vfc.defense import DEFENSES, Defense, FitData
from vfc.defenses.keyed.prf import integers
from vfc.defenses.support import require_fitted, require_range, require_state
from vfc.release import Release
from vfc.training import predict_logits


def prime_from(least: int) -> int:
    """The smallest prime that is at least `least`."""
    number = max(2, least)
    while any(number % divisor == 0 for divisor in range(2, math.isqrt(number) + 1)):
        number += 1
    return number


@dataclass(frozen=True, kw_only=True)
class LinearKey:
    """A secret linear form over the integers modulo a prime.

    Args:
        form: its coefficients, in [0, prime).
        prime: at least the number of classes.
        classes: how many classes the target tells apart.
    """

    form: Int[Tensor, " d"]
    prime: int
    classes: int

    def __call__(self, u: Int[Tensor, "n d"]) -> Int[Tensor, " n"]:
        """<form, u> modulo the prime."""
        return (u @ self.form) % self.prime


@DEFENSES.register("linear-mask")
@dataclass(frozen=True, kw_only=True)
class LinearMask(Defense):
    """Strawman of a known cost: publishes random u and the predicted class plus a secret linear form of u.

    With p the smallest prime that is not below the number of classes, r = (u, y^ + <a, u> mod p), u uniform in Z_p^d.
    Of a release whose u is outside the span of those with a known label, nothing is known: the class is under a
    one-time pad. About d labelled releases solve for a, and then everything that was ever published is read. Whoever
    learns by averages (every probe that descends a gradient) sees noise however many labels he has.

    Threat model: attackers with fewer than about d labelled releases. It is here to catch evaluators: it looks safe to
    every probe that learns by averages and is not; never trust a "held" of it without its secret.
    Known breaks: Gaussian elimination over Z_p (the adversary `modular`), from about d labels on.
    Cost: one forward pass of the target per image; d + 1 integers are published.

    Args:
        dimension: d, how many random numbers each release carries, 1 to 4096. The secret has d log2 p bits: 111 for
            the default and ten classes, the number on the card.

    Source: learning parity with noise and its kin: Blum, Kalai, Wasserman, "Noise-tolerant learning, the parity
    problem, and the statistical query model", 2003, arXiv cs/0010022.
    """

    stochastic: ClassVar[bool] = True
    keyed: ClassVar[bool] = True
    secret: ClassVar[Mapping[str, object] | None] = {
        "kind": "symmetric",
        "what": "the linear form of the mask",
        "bits": 111,
        "lifetime": "dataset",
    }

    dimension: int = 32
    fitted: LinearKey | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_range("dimension", self.dimension, 1, 4096)

    def declared_secret(self) -> Secret:
        """The secret, with its real size once it is drawn."""
        if self.fitted is None:
            return super().declared_secret()
        bits = round(self.dimension * math.log2(self.fitted.prime), 1)
        return parse_secret({**(self.secret or {}), "bits": bits}, DEFENSES.name_of(type(self)))

    def fit(self, data: FitData, generator: torch.Generator) -> LinearMask:
        """Draw the form."""
        prime = prime_from(data.num_classes)
        form = torch.randint(prime, (self.dimension,), generator=generator, device=generator.device).cpu()
        return self._replace(target=data.target, fitted=LinearKey(form=form, prime=prime, classes=data.num_classes))

    def publish(self, x: Float[Tensor, "n c h w"], generator: torch.Generator) -> Release:
        """Random numbers in [0, p) and the masked class, as int64."""
        key = require_fitted(self.fitted, "linear-mask")
        classes = predict_logits(require_fitted(self.target, "linear-mask"), x).argmax(1).cpu()
        shape = (len(x), self.dimension)
        u = torch.randint(key.prime, shape, generator=generator, device=generator.device).cpu()
        values = torch.cat([u, ((classes + key(u)) % key.prime)[:, None]], dim=1)
        return Release(values=values.to(x.device), bounds=(0.0, key.prime - 1.0))

    def predict(self, values: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n classes"] | None:
        """One for the class under the mask, zero for all others."""
        key = require_fitted(self.fitted, "linear-mask")
        words = integers(values)
        opened = (words[:, -1] - key(words[:, :-1])) % key.prime
        return nn.functional.one_hot(opened, key.prime)[:, : key.classes].float().to(values.device)

    def state(self) -> dict[str, Tensor]:
        """The form, the prime and the number of classes."""
        key = require_fitted(self.fitted, "linear-mask")
        return {"form": key.form, "prime": torch.tensor(key.prime), "classes": torch.tensor(key.classes)}

    def with_state(self, state: Mapping[str, Tensor], target: nn.Module) -> LinearMask:
        """The same form again."""
        key = LinearKey(
            form=require_state(state, "form").cpu(),
            prime=int(require_state(state, "prime")),
            classes=int(require_state(state, "classes")),
        )
        return self._replace(target=target, fitted=key)
