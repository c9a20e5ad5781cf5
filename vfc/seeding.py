"""Seeds that depend on what they are for, and modules whose initial weights depend on a generator alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


def derive_seed(*parts: object) -> int:
    """A seed in [0, 2**63) that depends on every part's text; the same on every machine."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def seeded(build: Callable[[], T], generator: torch.Generator) -> T:
    """Call `build` with the global random state set from `generator`, and restore that state afterwards.

    Module constructors know only the global state; everything else is handed a generator.
    """
    import torch

    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()
