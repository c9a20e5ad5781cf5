"""How this process holds memory that was freed. Imports nothing heavy."""

# Structure: calibration does not count it.

from __future__ import annotations

import ctypes
import sys

_TRIM, _PAD, _MAPPED = -1, -2, -3
"""M_TRIM_THRESHOLD, M_TOP_PAD and M_MMAP_THRESHOLD of glibc's mallopt(3)."""

_SIZES = {_MAPPED: 32 << 20, _TRIM: 512 << 20, _PAD: 32 << 20}
"""Blocks above 32 MiB (the most that glibc takes) still go back to the system at once, and what is free above 512."""


def keep_freed() -> None:
    """Let tensors of one training step reuse the memory of the step before, where the C library is glibc.

    Otherwise glibc maps and unmaps every tensor above 128 KiB to begin with, and the system clears each page again:
    a tenth of the processor's time of a run on digits.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, size in _SIZES.items():
            mallopt(option, size)
