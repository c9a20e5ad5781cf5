"""Grades one row as `vfc attack` does, or says why it cannot be graded."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from protocols.bench.plan import Planned
from protocols.engine.prepared import Prepared
from protocols.engine.workspace import workspace
from protocols.run import Runner
from reports.gate.verdict import verdict
from reports.model.report import Report
from reports.model.storage import sealed, write
from reports.studies.prediction.data import CONTROLS
from vfc.data import Dataset
from vfc.errors import UserError
from vfc.splits import Parts

SAME = 1e-6
"""Releases that differ by less than this share of their largest number are the same."""


@dataclass(frozen=True, kw_only=True)
class Grader:
    """Grades rows on the same data.

    Args:
        dataset, parts: the data.
        device: where to compute.
        passed, argv: the command, for the record.
        keep: writes what is to be kept of a release besides its report, into the row's folder; None keeps nothing.
    """

    dataset: Dataset
    parts: Parts
    device: str
    passed: dict[str, Any]
    argv: Sequence[str]
    keep: Callable[[Prepared, Path], None] | None = None

    def grade(self, row: Planned) -> Report:
        """Fit, publish, attack, and write the report of a row into its folder.

        Raises:
            Exception: whatever the defense raises; finished cells are kept.
        """
        started, settings = datetime.now(UTC), row.settings
        out = Path(str(settings.out))

        def check(prepared: Prepared) -> None:
            refuse_useless(prepared)
            if self.keep is not None:
                self.keep(prepared, out)

        with workspace(settings, out, settings.identity(), self.device) as place:
            runner = Runner(place=place, check=check)
            facts, rows = runner.run(settings.protocols, row.spec, self.dataset, self.parts)
            said = {"passed": self.passed, "with_defaults": json.loads(json.dumps(asdict(settings)))}
            report = runner.finish(facts, {"argv": list(self.argv), "settings": said}, started)
            report = sealed(report.model_copy(update={"verdict": verdict((), report.evidence)}))
            write(report, rows, out)
        return report


def refuse_useless(prepared: Prepared) -> None:
    """Refuse a release that tells nothing because its defense broke; those that tell nothing by design are graded.

    Raises:
        UserError: most releases are not finite (diverged), or all are the same (collapsed).
    """
    release = prepared.world.targets.release
    finite = torch.isfinite(release).flatten(1).all(1) if release.is_floating_point() else torch.ones(len(release)) > 0
    broken = len(release) - int(finite.sum())
    if 2 * broken > len(release):
        raise UserError(
            f"diverged: {broken} of {len(release)} releases hold NaN or infinity", "change its options with --set"
        )
    if CONTROLS.get(prepared.name) is not None:
        return
    values = release[finite].double()
    scale = float(values.abs().max()) or 1.0
    if float((values - values[:1]).abs().max()) <= SAME * scale:
        raise UserError("collapsed: it publishes the same for every image", "change its options with --set")


def reason_of(error: Exception) -> str:
    """Why a row failed, in one line."""
    if isinstance(error, UserError):
        return error.what
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}".rstrip(": ")
