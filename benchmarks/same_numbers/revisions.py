"""Revisions of this repository side by side: each checked out by itself, and what its runs wrote.

Imported by `compare.py`.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.same_numbers.cases import NET, cases, make_inputs

ROOT = Path(__file__).resolve().parents[2]
STOPPED = (130, -signal.SIGINT, -signal.SIGTERM)
"""Exit codes of whoever was interrupted: then everything ends."""
WHERE = {name: version(name) for name in ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "torchattacks")}


@dataclass(frozen=True)
class Revision:
    """One side: its files, where its results are kept, and whether results that are there are used again."""

    tree: Path
    folder: Path
    reuse: bool

    def run(self, case: str) -> dict[str, Any]:
        """Run a case, or find that it was run; exit codes, and seconds by clock and by CPU."""
        folder, about = self.folder / case, self.folder / case / "about.json"
        asked = {"commands": cases()[case], "net": NET, "where": {**WHERE, "machine": machine()}}
        if self.reuse and about.exists():
            known: dict[str, Any] = json.loads(about.read_text(encoding="utf-8"))
            if asked.items() <= known.items():
                return {**known, "kept": "*"}
        shutil.rmtree(folder, ignore_errors=True)
        make_inputs(folder / "inputs", self.tree)
        with tempfile.TemporaryDirectory(dir=self.folder) as cache:
            shared, own = self.folder / "trained", Path(cache) / "trained"
            shared.mkdir(exist_ok=True)
            shutil.copytree(shared, own, copy_function=os.link)
            done = [self._command(words, folder, cache) for words in cases()[case]]
            for part in own.iterdir():
                with suppress(OSError):  # it is there already
                    part.rename(shared / part.name)
        for path in [path for name in ("cells", ".work") for path in folder.rglob(name)]:
            shutil.rmtree(path)
        found = {**asked, **{name: [each[i] for each in done] for i, name in enumerate(("codes", "wall", "cpu"))}}
        about.write_text(json.dumps(found, indent=1), encoding="utf-8")
        return {**found, "kept": " "}

    def _command(self, words: list[str], folder: Path, cache: str) -> tuple[int, float, float]:
        project = tomllib.loads((self.tree / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        module, _, function = project["scripts"]["vfc"].partition(":")
        code = f"import sys, {module} as m; assert {str(self.tree)!r} in m.__file__, m.__file__; m.{function}()"
        env = {name: value for name, value in os.environ.items() if not name.startswith("VFC_")}
        env = {"PYTHONHASHSEED": "0", **env, "PYTHONPATH": str(self.tree), "VFC_CACHE_DIR": cache}
        env |= {"CUDA_VISIBLE_DEVICES": "", **{f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}}
        started = time.monotonic()
        with (folder / "log.txt").open("ab") as log:
            command = [sys.executable, "-c", code, *words]
            process = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log)
            _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode in STOPPED:
            raise SystemExit("interrupted")
        return process.returncode, time.monotonic() - started, used.ru_utime + used.ru_stime


def machine() -> str:
    """The processor: sums may depend on it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return " ".join([platform.python_version(), *[line for line in lines if "model name" in line][:1]])


@contextmanager
def checked_out(revision: str | None, keep: Path | None, *, reuse: bool = False) -> Iterator[Revision]:
    """A commit in a worktree of its own, or without a revision a copy of the working tree as it is now.

    Args:
        revision: a commit, or None.
        keep: results stay there, in a folder by the name of the commit; None: nowhere.
        reuse: whether results that are there are used again.
    """
    with tempfile.TemporaryDirectory(prefix="same-numbers-") as scratch:
        tree, name = Path(scratch).resolve() / "tree", "working-tree"
        git = ["git", "-C", str(ROOT)]
        try:
            if revision:
                name = subprocess.check_output([*git, "rev-parse", f"{revision}^{{commit}}"], text=True)[:12]
                subprocess.run([*git, "worktree", "add", "--quiet", "--detach", tree, name], check=True)
            else:
                files = subprocess.check_output([*git, "ls-files", "-co", "--exclude-standard"], text=True)
                for file in filter(lambda file: (ROOT / file).is_file(), files.splitlines()):
                    (tree / file).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(ROOT / file, tree / file)
            folder = (keep or Path(scratch)).resolve() / name
            if not reuse:
                shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True, exist_ok=True)
            yield Revision(tree, folder, reuse)
        finally:
            if revision:
                subprocess.run([*git, "worktree", "remove", "--force", tree], check=False)
