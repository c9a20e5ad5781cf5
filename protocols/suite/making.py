"""From graded rows to a suite on disk: every file in its place, and the manifest last."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from protocols.bench.study import status_of
from protocols.suite.freezing import OWN, SHARED, targets_digest
from reports.model.files import REPORT, SIDECAR
from reports.model.report import Report
from reports.studies.bench.data import Entry
from reports.studies.suite.manifest import (
    ANSWERS,
    DEFENSES,
    IMAGES,
    MANIFEST,
    POOL,
    TRUTH,
    FrozenDefense,
    Manifest,
    Status,
    Suite,
    open_suite,
    seal,
)
from vfc.artifact import whole_folder
from vfc.errors import UserError
from vfc.release import tensor_digest
from vfc.version import VERSION

FROZEN = "frozen"
"""Folder of a row with what is frozen of it."""

NEEDS = tuple(f"{FROZEN}/{name}.safetensors" for name in (*SHARED, "attack", "answers"))
"""Files of a row's folder without which it cannot be frozen."""

_PLACES: Mapping[str, str] = {"pool": POOL, "truth": TRUTH, "images": IMAGES}


@dataclass(frozen=True, kw_only=True)
class Maker:
    """Puts a suite together.

    Args:
        name: of the suite.
        out: its folder, which appears when everything is in it.
        labels: how many labelled releases per class our attacks were granted.
        seed, budget: of our attacks.
    """

    name: str
    out: Path
    labels: tuple[int, ...]
    seed: int
    budget: str

    def assemble(self, work: Path, entries: Sequence[Entry]) -> Suite:
        """Copy what is frozen into its place, and seal it.

        Args:
            work: where the rows have their folders.
            entries: one per defense.

        Raises:
            UserError: nothing could be frozen, or it cannot be written.
        """
        graded = [(entry, entry.report) for entry in entries if entry.report is not None]
        if not graded:
            reasons = "; ".join(f"{entry.name}: {entry.reason}" for entry in entries)
            raise UserError(f"expected a defense that can be frozen, got none ({reasons})", "choose others")
        with whole_folder(self.out) as folder:
            first = work / graded[0][0].folder / FROZEN
            for name, place in _PLACES.items():
                _copy(first / f"{name}.safetensors", folder / place)
            frozen = {entry.name: self._frozen(entry, report, work, folder) for entry, report in graded}
            missing = {entry.name: _missing(entry) for entry in entries if entry.report is None}
            data = graded[0][1].dataset
            asked = {data.task: data.classes[data.task]} | {
                name: data.classes[name] for name in data.classes if name in _attributes(graded[0][1])
            }
            manifest = Manifest(
                name=self.name,
                made_with=VERSION,
                dataset=data.model_copy(update={"classes": asked}),
                seed=self.seed,
                budget=self.budget,
                labels=self.labels,
                defenses=dict(sorted({**frozen, **missing}.items())),
                files={},
            )
            seal(folder, manifest)
        return open_suite(str(self.out))

    def _frozen(self, entry: Entry, report: Report, work: Path, folder: Path) -> FrozenDefense:
        from safetensors.torch import load_file

        source, place = work / entry.folder / FROZEN, folder / DEFENSES / entry.folder
        attack = load_file(source / "attack.safetensors")
        # What is frozen must be what our own attacks were measured on.
        if tensor_digest(attack["targets.release"]) != report.release.digest:
            raise UserError(
                f"expected the releases of report {report.digest[:12]} of {entry.name}, got others",
                "make the suite again with --fresh",
            )
        for name in OWN:
            goes = (
                folder / ANSWERS / f"{entry.folder}.safetensors" if name == "answers" else place / f"{name}.safetensors"
            )
            if (source / f"{name}.safetensors").is_file():
                _copy(source / f"{name}.safetensors", goes)
        for name in (REPORT, SIDECAR):
            _copy(work / entry.folder / name, place / name)
        return FrozenDefense(
            status="measured" if status_of(entry) == "measured" else "incomplete",
            folder=entry.folder,
            report=report.digest,
            targets=targets_digest(attack),
        )


def check_out(out: Path, *, fresh: bool) -> None:
    """Refuse a folder that holds a suite already, which is frozen, or anything else.

    Raises:
        UserError: it does.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / MANIFEST).is_file():
        raise UserError(f"expected an empty folder for the suite, got other files in {out}", "choose another --out")
    if not fresh:
        raise UserError(
            f"expected a new suite, got {open_suite(str(out)).manifest.name}, which is frozen in {out}",
            "give it the next version number, or make it again with --fresh",
        )


def _attributes(report: Report) -> set[str]:
    return {row.goal.partition(":")[2] for row in report.evidence if row.goal.startswith("attribute:")}


def _missing(entry: Entry) -> FrozenDefense:
    status: Status = "failed" if entry.applicable else "not applicable"
    return FrozenDefense(status=status, reason=entry.reason)


def _copy(source: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, place)
