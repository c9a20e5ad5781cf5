"""The report: one run's facts as data, and the files that hold it. Every other format is a pure function of it.

Imports no torch; numpy and safetensors only when the sidecar is read or written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NoReturn

from pydantic import ConfigDict, Field, ValidationError

from adversaries.evidence import Evidence, Record, Value
from reports.files import replace_whole
from vfc.errors import UserError

SCHEMA = 1
REPORT, SIDECAR = "report.json", "report.safetensors"
Outcome = Literal["held", "broken", "inconclusive"]
Verdict = Literal["held", "broken", "inconclusive", "measured"]
Level = Literal["error", "warn"]

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
    }
)
"""Settings that cannot change a result, and so are no part of the digest."""


class Tool(Record):
    """Which program wrote the report."""

    name: str
    version: str


class Settings(Record):
    """Options of the command: those that were passed, and all of them with their defaults."""

    passed: dict[str, Any] = Field(default_factory=dict)
    with_defaults: dict[str, Any] = Field(default_factory=dict)


class Command(Record):
    """What was asked for."""

    argv: tuple[str, ...] = ()
    settings: Settings = Settings()


class Provenance(Record):
    """Where and when the report was made. Not part of the digest."""

    git_commit: str | None = None
    dirty: bool | None = None
    python: str | None = None
    torch: str | None = None
    device: str | None = None
    platform: str | None = None
    started: str | None = None
    duration_s: float | None = None


class PartOfData(Record):
    """One part of the split."""

    size: int
    digest: str


class Dataset(Record):
    """The data everybody was measured on."""

    name: str
    digest: str
    task: str
    classes: dict[str, int]
    split: str
    parts: dict[str, PartOfData]
    duplicates_removed: int = 0


class Bounds(Record):
    """Range of the release's numbers: as the defense declares it, and as seen."""

    declared: tuple[float, float] | None = None
    observed: tuple[float, float] | None = None


class Stochastic(Record):
    """Whether two releases of one image differ: as the defense declares it, and as seen."""

    declared: bool | None = None
    observed: bool | None = None


class ReleaseFacts(Record):
    """What was published."""

    kind: str
    name: str
    digest: str
    shape: tuple[int, ...]
    dtype: str
    bounds: Bounds = Bounds()
    stochastic: Stochastic = Stochastic()
    batch_dependent: bool | None = None
    first_nonfinite: int | None = None
    health: tuple[str, ...] = ()
    settings: dict[str, Any] = Field(default_factory=dict)


class TargetFacts(Record):
    """How the target model does on releases and on images."""

    accuracy: Value
    clean_accuracy: Value


class Calibration(Record):
    """What is known about one adversary's power."""

    digest: str
    finds: Any = None
    false_alarms: Any = None
    status: str


class Source(Record):
    """Where a gate was written: a file as the user named it, and a line counted from 1."""

    file: str
    line: int


class Waiver(Record):
    """Leave to ignore a gate until a day (ISO 8601). It stays visible; `active` says whether it still counted."""

    until: str
    reason: str
    active: bool


class GateResult(Record):
    """One gate judged: `observed` holds the bounds at the level it was judged by."""

    expr: str
    outcome: Outcome
    observed: Value
    reason: str
    level: Level = "error"
    waiver: Waiver | None = None
    source: Source | None = None

    @property
    def decides(self) -> bool:
        """Whether the verdict listens to it: an error, and not waived."""
        return self.level == "error" and not (self.waiver is not None and self.waiver.active)


class Report(Record):
    """Everything one run found out. Frozen; `sealed` fills in the digest.

    Raises:
        ValidationError: unknown or missing keys, or numbers that are not finite.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True, serialize_by_alias=True
    )

    schema_version: Literal[1] = Field(default=1, alias="schema")
    digest: str = ""
    tool: Tool
    command: Command
    provenance: Provenance = Provenance()
    dataset: Dataset
    release: ReleaseFacts
    target: TargetFacts
    evidence: tuple[Evidence, ...] = ()
    metrics: dict[str, Value] = Field(default_factory=dict)
    calibration: dict[str, Calibration] = Field(default_factory=dict)
    gates: tuple[GateResult, ...] = ()
    verdict: Verdict

    def _repr_html_(self) -> str:
        """A short form for notebooks."""
        from reports.notebook import render_short

        return render_short(self)


def digest(report: Report) -> str:
    """SHA-256 of everything that can differ between runs that are not equal, as 64 hexadecimal digits.

    Left out: provenance, the digest itself, each evidence's cost, where a gate was written, command.argv and settings
    WITHOUT_EFFECT.
    """
    return _digest(_plain(report))


def sealed(report: Report) -> Report:
    """The same report with its digest filled in."""
    return report.model_copy(update={"digest": digest(report)})


def dump(report: Report) -> bytes:
    """Canonical JSON: sealed, sorted keys, two spaces, UTF-8, no NaN."""
    content = _plain(sealed(report))
    return (json.dumps(content, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


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
    replace_whole(folder / SIDECAR, save(arrays, metadata={"digest": digest(report)}))
    replace_whole(folder / REPORT, dump(report))
    return folder / REPORT


def load(path: Path | str) -> Report:
    """Read a report and check that nobody changed it.

    Args:
        path: report.json, or the folder that holds it.

    Raises:
        UserError: missing, truncated, no JSON, of a newer schema, not a report, or changed by hand.
    """
    file, again = _locate(path), "run vfc attack again"
    try:
        content = json.loads(file.read_bytes(), parse_constant=_no_constant)
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


def load_rows(path: Path | str, report: Report) -> dict[str, Any]:
    """Read the arrays beside a report: numpy arrays by sidecar key.

    Args:
        path: report.json, or the folder that holds it.
        report: what `load` returned for it.

    Raises:
        UserError: the sidecar is missing, truncated, or belongs to another report.
    """
    from safetensors import SafetensorError, safe_open

    file = _locate(path).with_suffix(".safetensors")
    if not file.is_file():
        raise UserError(f"expected the per-target rows at {file}, got no such file", "keep it beside the report")
    try:
        with safe_open(file, framework="numpy") as arrays:
            owner = (arrays.metadata() or {}).get("digest")
            rows = {key: arrays.get_tensor(key) for key in arrays.keys()}  # noqa: SIM118  (no mapping)
    except (SafetensorError, OSError) as error:
        raise UserError(f"expected the per-target rows at {file}, got {error}", "run vfc attack again") from None
    if owner != report.digest:
        raise UserError(
            f"expected the rows of report {report.digest[:12]} at {file}, got those of {str(owner)[:12]}",
            "keep both files of one run together",
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
    command["settings"] = {
        kind: {name: value for name, value in settings.items() if name.replace("-", "_") not in WITHOUT_EFFECT}
        for kind, settings in command.get("settings", {}).items()
    }
    kept["command"] = command
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _locate(path: Path | str) -> Path:
    file = Path(path)
    return file / REPORT if file.is_dir() else file


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name}, which is no JSON number")
