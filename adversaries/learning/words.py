"""Permuted bits of 32-bit words: how they show, and how the permutation is found.

Axes: n releases, d words of one release, g groups of releases with one permutation each, m known words.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from adversaries.learning.kernels import spread
from vfc.errors import NotApplicableError

BITS, NONCE = 32, 16
_LEAST_RANGE, _LEAST_SIZE = 2**24, 1e30
_FEW = 300_000
"""So many words are looked at when statistics are taken, at most."""

_SWAPS = 400
_GROUPS = 128


def words_in(release: Shaped[Tensor, "n ..."]) -> Int[Tensor, "n d"]:
    """The 32-bit words of a release, in [0, 2^32).

    Integers are words if they fill more than 24 bits; floats if some are so large, or not finite, that they look like
    something else that is carried as a float.

    Raises:
        NotApplicableError: the release holds ordinary numbers.
    """
    rows = release.reshape(len(release), -1)
    if rows.dtype in (torch.int32, torch.int64):
        low, high = int(rows.min()), int(rows.max())
        if low >= -(2**31) and high < 2**32 and high - low >= _LEAST_RANGE:
            return words_like(release)
    elif rows.dtype == torch.float32 and not bool((rows.abs() < _LEAST_SIZE).all()):
        return words_like(release)
    raise NotApplicableError("the release holds ordinary numbers and no 32-bit words")


def words_like(release: Shaped[Tensor, "n ..."]) -> Int[Tensor, "n d"]:
    """Words of releases that are known to hold words, however few of them are looked at."""
    rows = release.reshape(len(release), -1)
    if rows.is_floating_point():
        return rows.float().contiguous().view(torch.int32).long() & 0xFFFFFFFF
    return rows.long() & 0xFFFFFFFF


def carried(words: Int[Tensor, "n d"], count: int) -> Int[Tensor, "n e"]:
    """The last `count` words of every release, in front of which a nonce of up to `NONCE` words may stand.

    Raises:
        NotApplicableError: there are fewer, or so many more that they stand for something else.
    """
    further = words.shape[1] - count
    if not 0 <= further <= NONCE:
        raise NotApplicableError(
            f"a release holds {words.shape[1]} words, which are not the {count} values of an image with a nonce of at "
            f"most {NONCE}"
        )
    return words[:, further:]


def nonce_length(words: Int[Tensor, "n d"]) -> int:
    """How many of the first `NONCE` words are a nonce: those in front with as many bits set as random words have.

    A random word has 16 set bits with a variance of 8; numbers of one scale do not, however their bits are permuted.
    """
    counts = popcounts(words[:, :NONCE]).double()
    far = 5 / max(1, len(words)) ** 0.5
    random = ((counts.mean(0) - 16).abs() <= far * 8**0.5) & (
        (counts.var(0, correction=0) - 8).abs() <= far * 8 * 2**0.5
    )
    return int(random.long().cumprod(0).sum())


def words_of(values: Float[Tensor, "n ..."]) -> Int[Tensor, "n d"]:
    """The words that hold float32 numbers, in [0, 2^32)."""
    return values.float().contiguous().reshape(len(values), -1).view(torch.int32).long() & 0xFFFFFFFF


def bits_of(words: Int[Tensor, "*n"]) -> Float[Tensor, "*n 32"]:
    """The bits of words as zeros and ones, the lowest first."""
    return ((words[..., None] >> torch.arange(BITS, device=words.device)) & 1).float()


def popcounts(words: Int[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """How many bits are set in every word."""
    return torch.cat([bits_of(rows).sum(-1) for rows in torch.split(words, max(1, _FEW // words.shape[1]))])


def restored(words: Int[Tensor, "n d"], orders: Int[Tensor, "g 32"]) -> Float[Tensor, "n d"]:
    """The numbers behind words whose bits were permuted; what is not finite becomes 0.

    Args:
        words: in which bit j is bit `order[j]` of the number.
        orders: one for all releases, or one for each.
    """
    found = torch.zeros_like(words)
    for place in range(BITS):
        found |= ((words >> place) & 1) << orders[:, place, None].to(words.device)
    signed = torch.where(found >= 2**31, found - 2**32, found).to(torch.int32)
    return torch.nan_to_num(signed.contiguous().view(torch.float32), nan=0.0, posinf=0.0, neginf=0.0)


def known_order(hidden: Int[Tensor, " m"], plain: Int[Tensor, " m"]) -> Int[Tensor, " 32"]:
    """The permutation that explains known words best: columns of bits matched by the fewest differences.

    Args:
        hidden: words with permuted bits.
        plain: the words that they were made from.
    """
    here, there = bits_of(hidden), bits_of(plain)
    apart = here.T @ (1 - there) + (1 - here).T @ there
    return torch.from_numpy(linear_sum_assignment(apart.cpu().numpy())[1])


@dataclass(frozen=True, kw_only=True)
class BitStatistics:
    """What the bits of unpermuted numbers look like, as logarithms of probabilities.

    Args:
        single: of a bit being zero, and one, at every position.
        pairs: of two bits of a word being (1, 1), (1, 0), (0, 1), (0, 0), over all positions; 0 for one with itself.
    """

    single: Float[Tensor, "2 d 32"]
    pairs: Float[Tensor, "32 32 4"]

    @classmethod
    def of(cls, plain: Int[Tensor, "n d"]) -> BitStatistics:
        """Counts of some words, with half a count added so that nothing is impossible."""
        bits = bits_of(_some(plain))
        ones = (bits.sum(0) + 0.5) / (len(bits) + 1)
        joint = _together(bits[None])[0]
        pairs = ((joint + 0.25) / (bits.shape[0] * bits.shape[1] + 1)).log()
        pairs[range(BITS), range(BITS)] = 0
        return cls(single=torch.stack([(1 - ones).log(), ones.log()]), pairs=pairs)

    def match(self, hidden: Int[Tensor, "g n d"]) -> Int[Tensor, "g 32"]:
        """The most likely permutation of every group of releases, without any known plaintext.

        Single bits are matched by their frequency at every position, and by that over all positions (two starts,
        linear assignment); then two bits are swapped as long as single bits and pairs of bits become more likely.
        """
        return torch.cat([self._match(groups)[0] for groups in torch.split(hidden, _GROUPS)])

    def likelihood(self, hidden: Int[Tensor, "g n d"]) -> float:
        """Logarithm of how likely the words of all groups are, each under its most likely permutation."""
        return float(sum(self._match(groups)[1].sum() for groups in torch.split(hidden, _GROUPS)))

    def _match(self, hidden: Int[Tensor, "g n d"]) -> tuple[Int[Tensor, "g 32"], Float[Tensor, " g"]]:
        bits = torch.stack([bits_of(_some(group)) for group in hidden])
        ones, rows = bits.sum(1), bits.shape[1]
        alone = torch.einsum("gdj,db->gjb", ones, self.single[1])
        alone = alone + torch.einsum("gdj,db->gjb", rows - ones, self.single[0])
        frequent, expected = ones.mean(1) / rows, self.single[1].exp().mean(0)
        apart = -(frequent[:, :, None] - expected).abs()
        joint = _together(bits)
        joint[:, range(BITS), range(BITS)] = 0
        best = torch.zeros(len(hidden), BITS, dtype=torch.long)
        score = torch.full((len(hidden),), -torch.inf, dtype=torch.double)
        for likeness in (alone, apart):
            starts = [linear_sum_assignment(-each.cpu().numpy())[1] for each in likeness]
            orders, reached = self._climb(torch.from_numpy(np.stack(starts)), alone.double(), joint.double())
            better = reached > score
            best[better], score[better] = orders[better], reached[better]
        return best, score

    def _climb(
        self, orders: Int[Tensor, "g 32"], alone: Float[Tensor, "g 32 32"], joint: Float[Tensor, "g 32 32 4"]
    ) -> tuple[Int[Tensor, "g 32"], Float[Tensor, " g"]]:
        """Swap the two bits that gain most until no swap gains; orders, and their log-likelihoods."""
        pairs, group = self.pairs.double(), torch.arange(len(orders))
        for _ in range(_SWAPS):
            # own[g, j, b]: all pairs of j, were it bit b and the others as they are.
            own = torch.einsum("gjpc,bgpc->gjb", joint, pairs[:, orders])
            total = own + alone
            now = total.gather(2, orders[:, :, None])[..., 0]
            moved = total.gather(2, orders[:, None, :].expand(-1, BITS, -1))
            chosen = pairs[orders[:, :, None], orders[:, None, :]]
            mutual = (joint * chosen).sum(-1) + (joint * chosen.transpose(1, 2)).sum(-1)
            gain = moved + moved.transpose(1, 2) - now[:, :, None] - now[:, None, :] + mutual
            gain.diagonal(dim1=1, dim2=2).zero_()
            most, place = gain.flatten(1).max(1)
            moving = most > 1e-6
            if not bool(moving.any()):
                break
            first, second = place // BITS, place % BITS
            swapped = orders.clone()
            swapped[group, first], swapped[group, second] = orders[group, second], orders[group, first]
            orders = torch.where(moving[:, None], swapped, orders)
        single = alone.gather(2, orders[:, :, None])[..., 0].sum(1)
        within = torch.einsum("gjpc,gjpc->g", joint, pairs[orders[:, :, None], orders[:, None, :]]) / 2
        return orders, single + within


def _some(words: Int[Tensor, "n d"]) -> Int[Tensor, "m d"]:
    return words[spread(len(words), max(1, _FEW // words.shape[1])).to(words.device)]


def _together(bits: Float[Tensor, "g n d 32"]) -> Float[Tensor, "g 32 32 4"]:
    """How often two bits of one word are (1, 1), (1, 0), (0, 1), (0, 0)."""
    rows = bits.flatten(1, 2)
    both = rows.transpose(1, 2) @ rows
    ones = rows.sum(1)
    first, second = ones[:, :, None] - both, ones[:, None, :] - both
    return torch.stack([both, first, second, rows.shape[1] - both - first - second], dim=-1)
