"""Memory that was freed is used again."""

import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from protocols.memory import keep_freed
{keep}
def step():
    kept = [torch.ones(1 << 20) for _ in range(8)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
step()
first = step()
for _ in range(5):
    last = step()
print(last - first)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_a_step_reuses_the_memory_of_the_step_before():
    def faults(keep: str) -> int:
        done = subprocess.run(
            [sys.executable, "-c", FAULTS.format(keep=keep)], capture_output=True, text=True, check=True
        )
        return int(done.stdout)

    # A mapping grows by its top pad at most once more; without, every step faults every page again.
    assert faults("keep_freed()") < 0.25 * faults("")
