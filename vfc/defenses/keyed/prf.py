"""Keys, nonces, and pseudorandom functions of both.

Axes: n releases.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import torch
from jaxtyping import Int, Shaped, UInt8
from torch import Tensor

KEY_BYTES = 32
NONCE_WORDS = 4
"""A nonce is so many words of 32 bits: among 2^50 releases two have the same with a chance below 2^-28."""

Key = UInt8[Tensor, " 32"]


def draw_key(generator: torch.Generator) -> Key:
    """A key of 256 bits.

    It comes from the run's generator, so that a run can be repeated; a deployment takes it from the operating system.
    """
    return torch.randint(256, (KEY_BYTES,), generator=generator, device=generator.device).to(torch.uint8).cpu()


def draw_nonces(count: int, generator: torch.Generator) -> Int[Tensor, "n 4"]:
    """One public nonce for every release, as words in [0, 2^32)."""
    return torch.randint(2**32, (count, NONCE_WORDS), generator=generator, device=generator.device).cpu()


def pads(key: Key, nonces: Int[Tensor, "n 4"], modulus: int) -> Int[Tensor, " n"]:
    """One number in [0, modulus) for every nonce, which nobody without the key can tell from a uniform one.

    Keyed BLAKE2b, 128 bits of it modulo `modulus`: the distance from uniform is below modulus / 2^128.

    Source: Aumasson, Neves, Wilcox-O'Hearn, Winnerlein, "BLAKE2", 2013, RFC 7693.
    """
    secret = key.numpy().tobytes()
    numbers = [
        int.from_bytes(hashlib.blake2b(nonce, key=secret, digest_size=16).digest(), "big") % modulus
        for nonce in _bytes(nonces)
    ]
    return torch.tensor(numbers, dtype=torch.int64)


def streams(key: Key, nonces: Int[Tensor, "n 4"], count: int) -> Iterator[Int[Tensor, " count"]]:
    """For every nonce `count` words in [0, 2^32): SHAKE-256 of key and nonce, as keyed sponges allow.

    Source: FIPS 202; Bertoni, Daemen, Peeters, Van Assche, "Permutation-based encryption, authentication and
    authenticated encryption", DIAC 2012.
    """
    secret = key.numpy().tobytes()
    for nonce in _bytes(nonces):
        data = bytearray(hashlib.shake_256(secret + nonce).digest(4 * count))
        yield torch.frombuffer(data, dtype=torch.int32).long() & 0xFFFFFFFF


def integers(values: Shaped[Tensor, "n ..."]) -> Int[Tensor, "n d"]:
    """Published integers as int64 rows on the CPU, whatever type they were carried in."""
    rows = values.detach().cpu().reshape(len(values), -1)
    return rows.double().nan_to_num().round().long() if rows.is_floating_point() else rows.long()


def _bytes(nonces: Int[Tensor, "n 4"]) -> Iterator[bytes]:
    for row in (nonces & 0xFFFFFFFF).tolist():
        yield b"".join(word.to_bytes(4, "big") for word in row)
