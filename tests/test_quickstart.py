"""The page that shows the ten lines is run as it is written."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^```python\n# (\S+)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))


def test_every_block_of_python_has_a_file_and_ten_lines_are_ten():
    assert PAGE.count("```python") == len(FILES) == 3
    assert all(len(FILES[name].strip().splitlines()) <= 10 for name in ("digits.py", "cifar.py"))
    assert len(FILES["my_defense.py"].strip().splitlines()) <= 20


def test_digits_as_written(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "VFC_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "digits.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    first = done.stdout.splitlines()[:24]
    assert re.search(r"BROKEN|INCONCLUSIVE|HELD", first[1])
    assert any("adaptive.accuracy@1 <= 0.5" in line for line in first)
    assert "Keeps " in done.stdout
    assert (tmp_path / "report.html").stat().st_size < 2**20
