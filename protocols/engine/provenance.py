"""Where and with what a run was made, and the digest of the code that its results depend on."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import entry_points, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from protocols.engine.settings import digest_of

GROUPS = ("vfc.adversaries", "vfc.datasets", "vfc.defenses", "vfc.models", "vfc.protocols", "vfc.sections")
"""Entry-point groups of third parties."""


@cache
def code_digest(device: str, threads: int) -> str:
    """Digest of the sources of whatever computes, of the libraries' versions, and of how torch computes."""
    total = hashlib.sha256()
    for package in ("vfc", "adversaries", "protocols"):
        total.update(_content(package).encode())
    versions = [version(name) for name in ("numpy", "scipy", "scikit-learn", "pillow", "torchvision")]
    return digest_of([total.hexdigest(), torch.__version__, versions, _plugins(), device, threads])


def _plugins() -> list[list[str]]:
    """What third parties registered: the packages' versions, and the content of their files."""
    found = []
    for group in GROUPS:
        for point in entry_points(group=group):
            installed = point.dist.version if point.dist is not None else ""
            found.append([group, point.name, point.value, installed, _content(point.module.partition(".")[0])])
    return sorted(found)


def _content(package: str) -> str:
    """Digest of the sources of an installed package or module, which is not imported; of nothing if it is not found."""
    total = hashlib.sha256()
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        spec = None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(folder).rglob("*.py")):
            total.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    if spec is not None and spec.submodule_search_locations is None and spec.origin is not None:
        total.update(Path(spec.origin).read_bytes())
    return total.hexdigest()


def provenance(started: datetime, device: str, isolated: bool | None) -> dict[str, Any]:
    """Git commit, versions, device, platform, when the run took place, and whether the defense had own processes."""
    return {
        "git_commit": _git("rev-parse", "HEAD"),
        "dirty": None if (status := _git("status", "--porcelain")) is None else bool(status),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "platform": platform.platform(),
        "isolated": isolated,
        "started": started.isoformat(timespec="seconds"),
        "duration_s": round((datetime.now(UTC) - started).total_seconds(), 1),
    }


def _git(*arguments: str) -> str | None:
    """What git says of the checkout that holds the code; None outside of one."""
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
