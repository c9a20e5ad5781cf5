"""Two of the twenty kills of `benchmarks/kills.py`, on a shorter run."""

import sys

import pytest

from benchmarks.kills import survive

TRANSFER = (
    "attack", "--release", "identity", "--protocol", "transfer", "--budget", "smoke", "--unintended", "mlp",
    "--width", "0.25", "--set", "train.steps=40", "--executor", "processes", "--quiet",
)  # fmt: skip


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="sessions are counted in /proc")
def test_a_run_that_is_killed_twice_loses_nothing(tmp_path):
    found = survive(TRANSFER, tmp_path, 2, 0)
    assert len(found.kills) == 2
    assert found.lossless, found
    assert list(found.digests) == ["out/report.json"]
    assert "no report" not in found.digests["out/report.json"]
