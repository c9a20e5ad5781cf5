"""Permutations of the 32 bits of words, by table look-up and one by one.

Axes: n releases, d words of one release, k permutations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

BITS = 32
_HALF, _LOW = 16, 0xFFFF
_CHUNK = 32_768


@dataclass(frozen=True, kw_only=True)
class BitPermutation:
    """One permutation of the bits of a word: bit j of the result is bit `order[j]` of the word.

    Two tables, one for each half of a word, hold where its bits go, so that a word costs two look-ups.

    Args:
        order: a permutation of 0 to 31.
    """

    order: Int[Tensor, " 32"]

    def inverse(self) -> BitPermutation:
        """The permutation that takes this one back."""
        return BitPermutation(order=self.order.argsort())

    def __call__(self, words: Int[Tensor, " m"]) -> Int[Tensor, " m"]:
        """Permuted words in [0, 2^32).

        Args:
            words: int32 words, of which only the bits matter.
        """
        low, high = (table.to(words.device) for table in self._tables())
        found = _empty(len(words), words.device)
        # Pieces that stay in the processor's cache, and intermediate results that are written again and again.
        index = torch.empty(min(len(words), _CHUNK), dtype=torch.int32, device=words.device)
        other = torch.empty(min(len(words), _CHUNK), dtype=torch.int64, device=words.device)
        for piece, out in zip(words.split(_CHUNK), found.split(_CHUNK), strict=True):
            at, part = index[: len(piece)], other[: len(piece)]
            torch.bitwise_and(piece, _LOW, out=at)
            torch.index_select(low, 0, at, out=out)
            torch.bitwise_right_shift(piece, _HALF, out=at).bitwise_and_(_LOW)
            torch.index_select(high, 0, at, out=part)
            out.bitwise_or_(part)
        return found

    def _tables(self) -> tuple[Int[Tensor, " 65536"], Int[Tensor, " 65536"]]:
        numbers = torch.arange(2**_HALF)
        tables = [torch.zeros_like(numbers), torch.zeros_like(numbers)]
        for place, bit in enumerate(self.order.tolist()):
            tables[bit // _HALF] |= ((numbers >> bit % _HALF) & 1) << place
        return tables[0], tables[1]


def _empty(count: int, device: torch.device) -> Int[Tensor, " m"]:
    """Memory for int64; numpy asks the system for large pages, which halves the time of ten million words."""
    if device.type == "cpu":
        return torch.from_numpy(np.empty(count, dtype=np.int64))
    return torch.empty(count, dtype=torch.int64, device=device)


def words_of(values: Float[Tensor, "n ..."]) -> Int[Tensor, "n d"]:
    """The int32 words that hold float32 numbers, row by row."""
    return values.float().contiguous().reshape(len(values), -1).view(torch.int32)


def floats_of(words: Shaped[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """The float32 numbers that words hold; NaN and infinity with all their bits.

    Args:
        words: integers of any type, of which only the lowest 32 bits matter.
    """
    return narrow(words).contiguous().view(torch.float32)


def narrow(words: Shaped[Tensor, "n ..."]) -> Int[Tensor, "n ..."]:
    """The lowest 32 bits of integers, as int32."""
    low = words.long() & 0xFFFFFFFF
    return torch.where(low >= 2**31, low - 2**32, low).to(torch.int32)


def orders_from(stream: Int[Tensor, " m"]) -> Int[Tensor, "k 32"]:
    """One permutation from every 32 random words: the order that sorts them.

    Two of 32 words are equal with a chance of 1.2e-7, so permutations are uniform up to that.
    """
    return torch.from_numpy(np.argsort(stream.numpy().astype(np.uint32).reshape(-1, BITS), axis=1, kind="stable"))


def permute_each(words: Int[Tensor, " m"], orders: Int[Tensor, "k 32"]) -> Int[Tensor, " m"]:
    """Permute the bits of every word by its own permutation, or all by the same one (k = 1).

    Args:
        words: of which only the lowest 32 bits matter.
        orders: bit j of result i is bit `orders[i, j]` of word i.

    Returns:
        Words in [0, 2^32).
    """
    bits = (words.long()[:, None] >> orders) & 1
    return (bits << torch.arange(BITS)).sum(1)
