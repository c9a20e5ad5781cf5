"""The target's predicted class under a one-time pad that only key holders can take off: a reference null."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from vfc.defense import DEFENSES, Defense, FitData
from vfc.defenses.keyed.prf import NONCE_WORDS, Key, draw_key, draw_nonces, integers, pads
from vfc.defenses.support import require_fitted, require_state
from vfc.release import Release
from vfc.training import predict_logits


@dataclass(frozen=True, kw_only=True)
class SealingKey:
    """A fitted seal.

    Args:
        key: 256 bits.
        classes: how many classes the target tells apart.
    """

    key: Key
    classes: int


@DEFENSES.register("sealed")
@dataclass(frozen=True, kw_only=True)
class Sealed(Defense):
    """Reference null: publishes a fresh nonce and the target's predicted class plus a keyed pad, modulo the classes.

    With C classes, r = (nonce, y^ + PRF_k(nonce) mod C). Whoever has k computes the pad and takes it off, so the
    intended use is as good as on the images. Without k the release is as good as uniform noise, whatever the class:
    neither other pairs of release and label nor other images with their releases help.

    Threat model: everybody who lacks k, with any number of labels and pairs; not someone who may ask for the
    intended use's answers, nor someone who alters releases (nothing is authenticated). With k (threat level L4 hands
    it out with the fitted defense) the predicted class is read off, and nothing else was published.
    Known breaks: none without k, short of one in BLAKE2b; a repeated nonce would give two classes' difference away.
    Cost: one forward pass of the target and one hash per image; five integers are published.

    Source: none; textbook symmetric encryption with a pseudorandom function (Goldreich, Goldwasser, Micali, "How to
    construct random functions", 1986), as a control for what a secret can do.
    """

    stochastic: ClassVar[bool] = True
    keyed: ClassVar[bool] = True
    secret: ClassVar[Mapping[str, object] | None] = {
        "kind": "symmetric",
        "what": "the key of the pads",
        "bits": 256,
        "lifetime": "dataset",
    }

    fitted: SealingKey | None = field(default=None, repr=False, compare=False)

    def fit(self, data: FitData, generator: torch.Generator) -> Sealed:
        """Draw the key."""
        return self._replace(target=data.target, fitted=SealingKey(key=draw_key(generator), classes=data.num_classes))

    def publish(self, x: Float[Tensor, "n c h w"], generator: torch.Generator) -> Release:
        """Four words of nonce and the padded class, as int64."""
        seal = require_fitted(self.fitted, "sealed")
        classes = predict_logits(require_fitted(self.target, "sealed"), x).argmax(1).cpu()
        nonces = draw_nonces(len(x), generator)
        hidden = (classes + pads(seal.key, nonces, seal.classes)) % seal.classes
        values = torch.cat([nonces, hidden[:, None]], dim=1)
        return Release(values=values.to(x.device), bounds=(0.0, 2.0**32 - 1))

    def predict(self, values: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n classes"] | None:
        """One for the class under the pad, zero for all others."""
        seal = require_fitted(self.fitted, "sealed")
        words = integers(values)
        opened = (words[:, -1] - pads(seal.key, words[:, :NONCE_WORDS], seal.classes)) % seal.classes
        return nn.functional.one_hot(opened, seal.classes).float().to(values.device)

    def state(self) -> dict[str, Tensor]:
        """The key and the number of classes."""
        seal = require_fitted(self.fitted, "sealed")
        return {"key": seal.key, "classes": torch.tensor(seal.classes)}

    def with_state(self, state: Mapping[str, Tensor], target: nn.Module) -> Sealed:
        """The same key again."""
        seal = SealingKey(key=require_state(state, "key").cpu(), classes=int(require_state(state, "classes")))
        return self._replace(target=target, fitted=seal)
