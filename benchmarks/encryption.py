"""Speed of ShuffleBits: words by table look-up against one string of binary digits per number, in one run.

    python -m benchmarks.encryption [--numbers 10000000] [--strings 20000] [--repeats 5]

Single-threaded. The string implementations are timed on the first `--strings` numbers and scaled. Two of them: `numpy`
turns each float into 32 characters, indexes them as an array by the permutation and joins them again, the plain way to
write it; `list` is the quickest that we could write without an array, a comprehension over an integer's characters.
"""

from __future__ import annotations

import argparse
import struct
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from vfc.defense import DEFENSES
from vfc.defenses.keyed.bit_permutation import BitPermutation, words_of


def by_array(values: Sequence[float], order: Sequence[int]) -> list[int]:
    """Every number as an array of binary digits, bit 0 first."""
    key, found = np.array(order), []
    for value in values:
        digits = format(struct.unpack("!I", struct.pack("!f", value))[0], "032b")[::-1]
        found.append(int("".join(np.array(list(digits))[key])[::-1], 2))
    return found


def by_list(words: Sequence[int], order: Sequence[int]) -> list[int]:
    """Every word as a list of binary digits, bit 0 first."""
    found = []
    for word in words:
        digits = format(word, "032b")[::-1]
        found.append(int("".join([digits[bit] for bit in order])[::-1], 2))
    return found


def best(call: Callable[[], object], repeats: int) -> float:
    """The least seconds of several calls."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def main() -> None:
    """Print nanoseconds per number and ratios, after seeing that all give the same words."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--numbers", type=int, default=10_000_000)
    parser.add_argument("--strings", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(options.numbers, generator=generator)
    permutation = BitPermutation(order=torch.randperm(32, generator=generator))
    order, words = permutation.order.tolist(), words_of(values[None])[0]
    some = values[: options.strings].tolist()
    numbers = (words[: options.strings].long() & 0xFFFFFFFF).tolist()
    if not by_array(some, order) == by_list(numbers, order) == permutation(words)[: options.strings].tolist():
        raise SystemExit("expected the same words from all implementations, got different ones")
    ours = best(lambda: permutation(words), options.repeats) / options.numbers
    slow = {
        "numpy": best(lambda: by_array(some, order), options.repeats) / options.strings,
        "list": best(lambda: by_list(numbers, order), options.repeats) / options.strings,
    }
    sys.stdout.write(f"tables  {ours * 1e9:10.1f} ns per number, {ours * options.numbers:.3f} s in all\n")
    for name, seconds in slow.items():
        sys.stdout.write(f"{name:7} {seconds * 1e9:10.1f} ns per number, {seconds / ours:.0f} times as long\n")
    images = torch.rand(1000, 1, 16, 16, generator=generator)
    for lifetime in ("release", "value"):
        key = DEFENSES.get("shufflebits")(lifetime=lifetime)
        fitted = key.with_state(
            {
                "order": permutation.order,
                "master": torch.zeros(32, dtype=torch.uint8),
                "shape": torch.tensor([1, 16, 16]),
            },
            torch.nn.Identity(),
        )
        seconds = best(lambda use=fitted: use.publish(images, generator), options.repeats) / images.numel()
        sys.stdout.write(f"{lifetime:7} {seconds * 1e9:10.1f} ns per number, with hashing\n")


if __name__ == "__main__":
    main()
