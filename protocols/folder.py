"""The folder that a run writes to: one run each, resumable."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from vfc.errors import UserError

FILE = "settings.json"
_OURS = (
    FILE,
    "cells",
    "trained",
    ".work",
    "report.json",
    "report.safetensors",
    "run.json",
    "manifest.json",
    "target.safetensors",
    "defense.safetensors",
    "undefended.safetensors",
    "model-*.safetensors",
    "ablation.*",
)
"""What runs write, as patterns."""


def claim(out: Path, identity: dict[str, Any], *, fresh: bool) -> None:
    """Make the folder, or resume in it if it holds the same run.

    Args:
        out: the folder.
        identity: the settings that can change a result.
        fresh: discard what an earlier run left there (and nothing else).

    Raises:
        UserError: it holds other settings or other files, or cannot be written.
    """
    text = json.dumps(identity, indent=1, sort_keys=True)
    file = out / FILE
    try:
        if out.exists() and not out.is_dir():
            raise UserError(f"expected a folder as --out, got the file {out}", "choose another --out")
        ours = file.exists()
        if fresh and ours:
            for path in [path for pattern in _OURS for path in out.glob(pattern)]:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        if file.exists():
            _compare(out, file.read_text(encoding="utf-8"), identity)
        elif not ours and out.is_dir() and any(out.iterdir()):
            raise UserError(
                f"expected an empty folder or an earlier run as --out, got other files in {out}", "choose another --out"
            )
        shutil.rmtree(out / ".work", ignore_errors=True)
        out.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write to {out}: {error.strerror or error}", "choose another --out") from error


def _compare(out: Path, text: str, identity: dict[str, Any]) -> None:
    try:
        held = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"expected JSON in {out / FILE}, got a damaged file", "use --fresh or another --out") from error
    wanted = json.loads(json.dumps(identity))
    if held == wanted:
        return
    names = sorted(name for name in {*held, *wanted} if held.get(name) != wanted.get(name))
    shown = ", ".join(f"{name} {held.get(name)!r}, now {wanted.get(name)!r}" for name in names[:3])
    raise UserError(f"{out} holds a run with other settings ({shown})", "use --fresh to discard it, or another --out")
