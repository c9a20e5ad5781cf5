"""The command line as a program of its own: code of a defense that ends it in C gets no verdict."""

import os
import subprocess
import sys

import pytest

from tests.protocols.conftest import QUICK
from vfc.isolation.guardian import can_guard

DEFENSE = """
import ctypes
from torch import nn

def end(here):
    if here == "WHERE":
        ctypes.CDLL(None)._exit(0)

end("import")


class Own(nn.Module):
    def fit(self, images, labels):
        end("fit")

    def forward(self, x):
        return x

def build():
    return Own()
"""


@pytest.mark.skipif(not can_guard(), reason="no guardian here")
@pytest.mark.parametrize("where", ["import", "fit"])
def test_a_factory_that_ends_the_program_is_exit_2(small_npz, tmp_path, where):
    (tmp_path / "own.py").write_text(DEFENSE.replace("WHERE", where))
    done = subprocess.run(
        [
            sys.executable, "-m", "vfc", "attack", "--release", "own.py:build", "--out", "a", "--protocol", "transfer",
            "--budget", "smoke", *QUICK, "--dataset", f"npz:{small_npz}", "--task", "side", "--executor", "local",
        ],
        cwd=tmp_path, env={**os.environ, "VFC_CACHE_DIR": str(small_npz.parent / "cache")},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    (told,) = [line for line in done.stderr.splitlines() if "error:" in line]
    assert "ended (exit code 0) before there was a verdict" in told
    assert not (tmp_path / "a" / "report.json").exists()
