"""Runs every command of README.md and docs/*.md but the two that set up, in a copy of what git knows.

`python -m tests.readme_commands`: commands stand in fenced blocks of kind `sh`, one a line; `# exit N` behind a command
says with which code it must end.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SETUP = "python3 -m venv"


def commands(text: str) -> list[tuple[str, int]]:
    """Commands of a Markdown text, with the exit codes that they must have."""
    found = []
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for line in block.splitlines():
            command, _, comment = line.partition("  # exit ")
            found.append((command.strip(), int(comment) if comment else 0))
    return found


def documents() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def main() -> int:
    """Run them all; returns how many did not end as they must."""
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        names = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True, text=True).stdout
        subprocess.run(
            ["tar", "--create", "--null", "--files-from=-", f"--file={folder}/tree.tar"],
            cwd=ROOT, input=names, text=True, check=True,
        )  # fmt: skip
        subprocess.run(["tar", "--extract", "--file=tree.tar"], cwd=folder, check=True)
        for document in documents():
            for command, code in commands(document.read_text(encoding="utf-8")):
                if command.startswith(SETUP):
                    continue
                started = time.monotonic()
                done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, check=False)
                ended = "ok" if done.returncode == code else f"FAILED with {done.returncode}, expected {code}"
                sys.stdout.write(f"{ended}: {command} ({time.monotonic() - started:.0f} s)\n")
                sys.stdout.flush()
                if done.returncode != code:
                    failures += 1
                    sys.stdout.write(done.stdout[-2000:] + done.stderr[-2000:])
    return failures


if __name__ == "__main__":
    sys.exit(main())
