"""`benchmarks/gpu.sh`, with tiny sizes on the CPU: every step of it runs, and says how long it took."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reports.model.storage import load

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(shutil.which("timeout") is None, reason="no timeout(1) here")
def test_the_script_runs_on_the_cpu_with_tiny_sizes(tmp_path):
    env = {**os.environ, "TINY": "1", "PYTHON": sys.executable}
    done = subprocess.run(
        [ROOT / "benchmarks" / "gpu.sh", tmp_path / "out"],
        cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    head, *steps = [line.split("\t") for line in done.stdout.splitlines()]
    assert head == ["step", "seconds", "code"]
    assert [name for name, _, _ in steps] == ["train", "attack"]
    assert all(float(seconds) > 0 and code in ("0", "3") for _, seconds, code in steps)
    assert load(tmp_path / "out" / "attack").status == "complete"
