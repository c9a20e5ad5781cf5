"""Memory that was freed is used again."""

import os
import subprocess
import sys

import pytest

FAULTS = """
import ctypes, resource, torch
from protocols.memory import keep_freed
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE: a huge page is one fault, whoever asks for it
{keep}
def step():
    kept = [torch.ones(1 << 20) for _ in range(8)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    first = step()
for _ in range(5):
    last = step()
print(last - first)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_a_step_reuses_the_memory_of_the_step_before():
    def faults(keep: str) -> int:
        done = subprocess.run(
            [sys.executable, "-c", FAULTS.format(keep=keep)], capture_output=True, text=True, check=True,
            env={**os.environ, "OMP_NUM_THREADS": "2"},
        )  # fmt: skip
        return int(done.stdout)

    # glibc begins with 128 KiB for both limits, and learns others or not, as its heap happens to lie: held here.
    begins = "libc = ctypes.CDLL(None); libc.mallopt(-3, 1 << 17); libc.mallopt(-1, 1 << 17)"
    given_back = faults(begins)
    assert given_back > 8 * 512  # pages of 4 KiB, of every second tensor at least
    assert faults(f"{begins}; keep_freed()") < 0.25 * given_back
