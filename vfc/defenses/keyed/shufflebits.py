"""A secret permutation of the bits of every number (ShuffleBits)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, cast

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from vfc.core.secret import LIFETIMES, Secret, parse_secret
from vfc.defense import DEFENSES, Defense, FitData
from vfc.defenses.keyed.bit_permutation import (
    BITS,
    BitPermutation,
    floats_of,
    narrow,
    orders_from,
    permute_each,
    words_of,
)
from vfc.defenses.keyed.prf import KEY_BYTES, NONCE_WORDS, Key, draw_key, draw_nonces, integers, streams
from vfc.defenses.support import require_choice, require_fitted, require_state
from vfc.errors import UserError
from vfc.release import Release

PERMUTED = ("image", "features")


@dataclass(frozen=True, kw_only=True)
class ShuffleKey:
    """What encrypts and decrypts.

    Args:
        order: the permutation of all numbers; used at lifetime `dataset` only.
        master: the key from which all other permutations follow.
        shape: of what one release stands for, without the row.
    """

    order: Int[Tensor, " 32"]
    master: Key
    shape: tuple[int, ...]


@DEFENSES.register("shufflebits", variants=({"lifetime": "release"}, {"lifetime": "value"}))
@dataclass(frozen=True, kw_only=True)
class ShuffleBits(Defense):
    """Permutes the 32 bits of every float32 number by a secret permutation; the intended use permutes them back.

    What a claim is worth depends on how long a permutation lives: one for the whole data set, a new one for every
    release, or a new one for every number. The paper means the last (a one-time pad); the sanity check of its code
    uses one permutation for all numbers of an array. At `release` and `value` permutations follow from a master key
    and a public nonce (SHAKE-256), four words in front of each release. Permuted words are often NaN or infinity as
    floats, so words are published as integers in [0, 2^32); decryption is exact to the last bit.

    Threat model (the paper's): attackers know the model and feature vectors of their own; they lack the key.
    Known breaks: of images, one permutation is found from 16 to 64 known numbers (`known-bits`), or without any from
    images of the attacker's own and unlabelled releases (`matched-bits`), a single release included. Of features
    (`of=features`): one permutation is found from unlabelled releases and from features that another network, the
    attacker's own, has of other images, neither paired nor in the same places (`matched-features`), a single release
    included; who reads the numbers found needs labelled releases, for what they stand for is the target's own. Known
    numbers would do there, too, but no attacker below L5 has the target, so none is tried, and images are rebuilt from
    features by decoders that know nothing of bits. A new permutation for every number still shows how many bits are
    set and which numbers are zero (`popcounts`, `signs`), of features as of images. Not authenticated.
    Use authenticated encryption instead: it is as fast and leaks only the length.
    Cost: two table look-ups per number at `dataset`; hashing and sorting 128 bytes per number at `value`. Eight bytes
    are published for every four.

    Args:
        lifetime: how much is permuted alike: the whole `dataset`, one `release`, or one `value`. A permutation has
            log2(32!) = 117.7 bits, the number on the card; where they follow from a master key it has 256.
        of: what is permuted: the `image`, or the target's `features` (what its head reads).

    Source: Ni, Huttunen, Rahtu, "On the Importance of Encrypting Deep Features", 2021, arXiv 2108.07147.
    """

    stochastic: ClassVar[bool] = False
    keyed: ClassVar[bool] = True
    secret: ClassVar[Mapping[str, object] | None] = {
        "kind": "symmetric",
        "what": "the permutation of the bits",
        "bits": 117.7,
        "lifetime": "dataset",
    }

    lifetime: str = "dataset"
    of: str = "image"
    fitted: ShuffleKey | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_choice("lifetime", self.lifetime, LIFETIMES)
        require_choice("of", self.of, PERMUTED)
        # A fact about the settings: who draws nonces publishes something else every time.
        object.__setattr__(self, "stochastic", self.lifetime != "dataset")

    def declared_secret(self) -> Secret:
        """The permutation, with the lifetime of the option; behind many of them is one master key."""
        if self.lifetime == "dataset":
            changes: dict[str, object] = {"bits": round(math.lgamma(BITS + 1) / math.log(2), 1)}
        else:
            what = "the master key of the permutations of the bits"
            changes = {"what": what, "bits": 8 * KEY_BYTES, "lifetime": self.lifetime}
        return parse_secret({**(self.secret or {}), **changes}, DEFENSES.name_of(type(self)))

    def fit(self, data: FitData, generator: torch.Generator) -> ShuffleBits:
        """Draw the keys."""
        order = torch.randperm(BITS, generator=generator, device=generator.device).cpu()
        with torch.no_grad():
            shape = tuple(self._plain(data.images[:1], data.target).shape[1:])
        key = ShuffleKey(order=order, master=draw_key(generator), shape=shape)
        return self._replace(target=data.target, fitted=key)

    def publish(self, x: Float[Tensor, "n c h w"], generator: torch.Generator) -> Release:
        """Words as int64: shaped like what they hold at `dataset`, else a row of nonce and words."""
        key = require_fitted(self.fitted, "shufflebits")
        plain = self._plain(x, require_fitted(self.target, "shufflebits"))
        words, bounds = words_of(plain), (0.0, 2.0**32 - 1)
        if self.lifetime == "dataset":
            return Release(values=BitPermutation(order=key.order)(words.flatten()).reshape(plain.shape), bounds=bounds)
        nonces = draw_nonces(len(x), generator)
        rows = zip(words.cpu(), self._orders(key, nonces, words.shape[1]), strict=True)
        hidden = torch.stack([permute_each(row, orders) for row, orders in rows])
        return Release(values=torch.cat([nonces, hidden], dim=1).to(x.device), bounds=bounds)

    def decrypt(self, values: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
        """The numbers behind published words, bit for bit, for whoever has the key."""
        key = require_fitted(self.fitted, "shufflebits")
        words = integers(values)
        if self.lifetime == "dataset":
            opened = BitPermutation(order=key.order).inverse()(narrow(words).flatten())
            return floats_of(opened.reshape(words.shape)).reshape(-1, *key.shape)
        nonces, hidden = words[:, :NONCE_WORDS], words[:, NONCE_WORDS:]
        rows = zip(hidden, self._orders(key, nonces, hidden.shape[1]), strict=True)
        opened = torch.stack([permute_each(row, orders.argsort(1)) for row, orders in rows])
        return floats_of(opened).reshape(-1, *key.shape)

    def predict(self, values: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n classes"] | None:
        """The target's logits on the decrypted numbers."""
        target = require_fitted(self.target, "shufflebits")
        plain = self.decrypt(values).to(values.device)
        reader = target if self.of == "image" else cast("nn.Module", target.head)
        logits: Tensor = reader(plain)
        return logits

    def state(self) -> dict[str, Tensor]:
        """The keys, and the shape of what is permuted."""
        key = require_fitted(self.fitted, "shufflebits")
        return {"order": key.order, "master": key.master, "shape": torch.tensor(key.shape)}

    def with_state(self, state: Mapping[str, Tensor], target: nn.Module) -> ShuffleBits:
        """The same keys again."""
        key = ShuffleKey(
            order=require_state(state, "order").cpu(),
            master=require_state(state, "master").cpu(),
            shape=tuple(require_state(state, "shape").tolist()),
        )
        return self._replace(target=target, fitted=key)

    def _plain(self, x: Float[Tensor, "n c h w"], target: nn.Module) -> Float[Tensor, "n ..."]:
        if self.of == "image":
            return x
        features = getattr(target, "features", None)
        if not callable(features) or not isinstance(getattr(target, "head", None), nn.Module):
            raise UserError(
                f"expected a target with features and a head, got {type(target).__name__}", "set of to image"
            )
        found: Tensor = features(x)
        return found

    def _orders(self, key: ShuffleKey, nonces: Int[Tensor, "n 4"], count: int) -> list[Int[Tensor, "k 32"]]:
        """The permutations of every release: one, or one for each of its `count` numbers."""
        draws = count if self.lifetime == "value" else 1
        return [orders_from(stream) for stream in streams(key.master, nonces, BITS * draws)]
