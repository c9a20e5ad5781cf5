"""The files that hold a report: its digest, canonical JSON, the sidecar of arrays, and reading both with care.

Imports no torch; numpy and safetensors only when the sidecar is read or written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from reports.model.collector import collector_paused
from reports.model.files import REPORT, SIDECAR, arrays_digest, json_bytes, json_digest, replace_whole
from reports.model.report import SCHEMA, Report
from vfc.errors import UserError

WITHOUT_EFFECT = frozenset(
    {
        "out",
        "resume",
        "fresh",
        "no_cache",
        "executor",
        "workers",
        "quiet",
        "verbose",
        "verbosity",
        "data_root",
        "download",
        "config",
        "fit_limit",
        "call_limit",
        "job_limit",
        "ray_address",
    }
)
"""Settings that cannot change a result, and so are no part of the digest."""


def digest(report: Report) -> str:
    """SHA-256 of everything that can differ between runs that are not equal, as 64 hexadecimal digits.

    Left out: provenance, the digest itself, each evidence's cost, where a gate was written, command.argv, settings
    WITHOUT_EFFECT, and the folders of the files that settings name.
    """
    return _digest(_plain(report))


def sealed(report: Report) -> Report:
    """The same report with its digest filled in."""
    return report.model_copy(update={"digest": digest(report)})


def dump(report: Report) -> bytes:
    """Canonical JSON: sealed, sorted keys, two spaces, UTF-8, no NaN."""
    return json_bytes(_plain(sealed(report)))


def write(report: Report, rows: Mapping[str, Any], folder: Path) -> Path:
    """Write report.json and report.safetensors, each as a whole or not at all, the report last.

    Args:
        report: what was found.
        rows: numpy arrays by sidecar key.
        folder: is made if it does not exist.

    Returns:
        The path of report.json.
    """
    import numpy as np
    from safetensors.numpy import save

    folder.mkdir(parents=True, exist_ok=True)
    arrays = {key: np.ascontiguousarray(rows[key]) for key in sorted(rows)}
    owner = digest(report)
    replace_whole(folder / SIDECAR, save(arrays, metadata={"digest": owner, "sha256": arrays_digest(arrays, owner)}))
    replace_whole(folder / REPORT, dump(report))
    return folder / REPORT


@collector_paused()
def load(path: Path | str) -> Report:
    """Read a report and check that it is as it was written.

    Args:
        path: report.json, or the folder that holds it.

    Raises:
        UserError: missing, truncated, no JSON, of a newer schema, not a report, or changed by hand.
    """
    file, again = _locate(path), "run vfc attack again"
    try:
        content = json.loads(file.read_bytes(), parse_constant=_no_constant, parse_int=_integer)
    except FileNotFoundError:
        raise UserError(f"expected a report at {file}, got no such file", "run vfc attack first") from None
    except OSError as error:
        raise UserError(f"expected a readable report at {file}, got {error}", "check the file") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"expected JSON in {file}, got {error}", f"it is truncated or no report; {again}") from None
    found = content.get("schema") if isinstance(content, dict) else None
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise UserError(f"expected a report in {file}, got JSON without a schema number", "pass a report.json")
    if found > SCHEMA:
        raise UserError(f"expected a report of schema {SCHEMA}, got schema {found} in {file}", "use a newer vfc")
    try:
        report = Report.model_validate(content)
        fresh = _digest(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"]) or "the report"
        raise UserError(f"expected a whole report in {file}, got {where}: {first['msg']}", again) from None
    except ValueError as error:
        raise UserError(f"expected finite numbers in {file}, got {error}", again) from None
    if report.digest != fresh:
        raise UserError(
            f"expected the digest {fresh[:12]} in {file}, got {report.digest[:12] or 'none'}: changed by hand",
            f"use the report as vfc wrote it, or {again}",
        )
    return report


def refuse_partial(report: Report, role: str) -> None:
    """Refuse a report of an interrupted run where its numbers would be taken for those of a whole one.

    Args:
        report: which one.
        role: what it would be taken as, in the words of the sentence.

    Raises:
        UserError: its run was interrupted.
    """
    if report.status == "partial":
        raise UserError(f"expected a finished run {role}, got one that was interrupted", "run its command again")


def load_rows(path: Path | str, report: Report) -> dict[str, Any]:
    """Read the arrays beside a report: numpy arrays by sidecar key.

    Args:
        path: report.json, or the folder that holds it.
        report: what `load` returned for it.

    Raises:
        UserError: the sidecar is missing, damaged, or belongs to another report.
    """
    from safetensors import SafetensorError, safe_open

    file = _locate(path).with_suffix(".safetensors")
    if not file.is_file():
        raise UserError(f"expected the per-target rows at {file}, got no such file", "keep it beside the report")
    try:
        with safe_open(file, framework="numpy") as arrays:
            about = arrays.metadata() or {}
            rows = {key: arrays.get_tensor(key) for key in arrays.keys()}  # noqa: SIM118  (no mapping)
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise UserError(f"expected the per-target rows at {file}, got {error}", "run vfc attack again") from None
    if about.get("digest") != report.digest:
        raise UserError(
            f"expected the rows of report {report.digest[:12]} at {file}, got those of {str(about.get('digest'))[:12]}",
            "keep both files of one run together",
        )
    if about.get("sha256") != arrays_digest(rows, report.digest):
        raise UserError(
            f"expected the per-target rows at {file} as they were written, got others: damaged or changed by hand",
            "restore the file, or run vfc attack again",
        )
    return rows


def _plain(report: Report) -> dict[str, Any]:
    return report.model_dump(mode="json", by_alias=True)


def _digest(content: Mapping[str, Any]) -> str:
    """The digest of a report's JSON, with its keys as they are in the file."""
    kept = {key: part for key, part in content.items() if key not in ("digest", "provenance")}
    kept["evidence"] = [{k: part for k, part in row.items() if k != "cost"} for row in content.get("evidence", [])]
    kept["gates"] = [{k: part for k, part in gate.items() if k != "source"} for gate in content.get("gates", [])]
    command = {key: part for key, part in content["command"].items() if key != "argv"}
    release = content.get("release", {}).get("kind", "registered")
    command["settings"] = {
        kind: {name: _without_place(name, value, release) for name, value in settings.items() if _counts(name)}
        for kind, settings in command.get("settings", {}).items()
    }
    kept["command"] = command
    return json_digest(kept)


def _counts(name: str) -> bool:
    return name.replace("-", "_") not in WITHOUT_EFFECT


def _without_place(name: str, value: Any, release: str) -> Any:
    """A setting without the place of the file that it names, whose content the report holds by its digest."""
    if name == "release" and release != "registered":
        return release
    if name == "dataset" and isinstance(value, str) and ":" in value:
        return value.partition(":")[0]
    return value


def _locate(path: Path | str) -> Path:
    if path == "":
        raise UserError("expected a report, got an empty name", "name a report.json, or the folder that holds it")
    file = Path(path)
    return file / REPORT if file.is_dir() else file


def _integer(digits: str) -> int:
    if len(digits) > 20 or abs(int(digits)) >= 2**64:
        raise ValueError(f"an integer of {len(digits)} digits")
    return int(digits)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name}, which is no JSON number")
