"""A suite on disk: the frozen releases of a bench, and the manifest that names and digests every file of it.

    suite.json                             the manifest
    pool.safetensors                       the attacker's images and labels, and which labelled releases K grants
    defenses/NAME/attack.safetensors       releases of the pool and of the targets
    defenses/NAME/predictions.safetensors  what the target model predicts: for attribute attacks alone
    defenses/NAME/report.json              our own attacks on these releases, with report.safetensors
    grader/                                the targets' labels and images, for the grader and the ceiling alone

Imports no torch; numpy and safetensors only when arrays are read.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, ValidationError

from adversaries.evidence import Record
from reports.model.files import json_bytes, json_digest, write_all
from reports.model.report import Dataset, Report
from reports.model.storage import load, load_rows
from vfc.config import user_cache_folder
from vfc.errors import UserError, unknown

MANIFEST, POOL, GRADER, DEFENSES = "suite.json", "pool.safetensors", "grader", "defenses"
TRUTH, IMAGES, ANSWERS = f"{GRADER}/truth.safetensors", f"{GRADER}/images.safetensors", f"{GRADER}/answers"
ATTACK = "attack.safetensors"
SCHEMA = 1
_NAME = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*-[0-9]{1,6}")
_AGAIN = "make it again, or fetch it again"

Status = Literal["measured", "incomplete", "not applicable", "failed"]


class FrozenFile(Record):
    """One file of a suite."""

    sha256: str
    size: int


class FrozenDefense(Record):
    """One defense of a suite.

    `report` is the digest of our own report, `targets` that of the target releases and their order; both are empty
    where nothing could be measured, for a `reason`.
    """

    status: Status
    reason: str = ""
    folder: str = ""
    report: str = ""
    targets: str = ""


class Manifest(Record):
    """What a suite is.

    `labels`: how many labelled releases per class our attacks were granted; the suite says which these were.
    `digest`: of everything but the digest itself, the version of the program, and the files of our reports, whose own
    digests count: equal suites have equal digests.
    """

    schema_version: Literal[1] = Field(default=1, alias="schema")
    name: str
    digest: str = ""
    made_with: str
    dataset: Dataset
    seed: int
    budget: str
    labels: tuple[int, ...]
    defenses: dict[str, FrozenDefense]
    files: dict[str, FrozenFile]

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True)

    @property
    def version(self) -> int:
        """The number behind the name."""
        return int(self.name.rpartition("-")[2])


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A suite that was found on disk.

    Args:
        folder: where it is.
        manifest: what it says of itself.
    """

    folder: Path
    manifest: Manifest

    def defense(self, name: str) -> FrozenDefense:
        """One of its defenses.

        Raises:
            UserError: it has none of that name, or nothing of it could be frozen.
        """
        found = self.manifest.defenses.get(name)
        if found is None:
            raise unknown(f"defense of {self.manifest.name}", name, self.manifest.defenses)
        if not found.folder:
            raise UserError(
                f"expected a defense that {self.manifest.name} could freeze, got {name!r}: {found.reason}",
                "choose another one",
            )
        return found

    def arrays(self, file: str) -> dict[str, Any]:
        """The numpy arrays of one file of it, checked against its digest.

        Raises:
            UserError: the file is missing or damaged, or no part of the suite.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load as unpack

        try:
            return unpack(self._checked(file))
        except (SafetensorError, ValueError, TypeError) as error:
            raise UserError(f"expected arrays in {self.folder / file}, got {error}", _AGAIN) from None

    def report(self, name: str) -> tuple[Report, dict[str, Any]]:
        """Our own report on one of its defenses, and that report's arrays.

        Raises:
            UserError: they are missing, damaged, or others than the suite was made with.
        """
        frozen = self.defense(name)
        folder = self.folder / DEFENSES / frozen.folder
        report = load(folder)
        if report.digest != frozen.report:
            raise UserError(
                f"expected report {frozen.report[:12]} in {folder}, got {report.digest[:12]}: it is of another suite",
                _AGAIN,
            )
        return report, load_rows(folder, report)

    def verify(self) -> None:
        """Check every file against the manifest.

        Raises:
            UserError: one is missing, damaged or too many.
        """
        for file in self.manifest.files:
            self._checked(file)
        present = {str(path.relative_to(self.folder).as_posix()) for path in _files_of(self.folder)}
        if extra := sorted(present - set(self.manifest.files)):
            raise UserError(
                f"expected only files of the manifest in {self.folder}, got {', '.join(extra[:5])}", "move them away"
            )

    def _checked(self, file: str) -> bytes:
        expected = self.manifest.files.get(file)
        if expected is None:
            raise UserError(f"expected {file} in the manifest of {self.folder}, got none", _AGAIN)
        try:
            data = (self.folder / file).read_bytes()
        except OSError as error:
            raise UserError(f"cannot read {self.folder / file}: {error.strerror or error}", _AGAIN) from None
        if hashlib.sha256(data).hexdigest() != expected.sha256:
            raise UserError(
                f"{self.folder / file} is damaged: expected {expected.size} bytes of digest {expected.sha256[:12]}, "
                f"got {len(data)} others",
                _AGAIN,
            )
        return data


def suites_folder() -> Path:
    """Where suites are kept unless they were put elsewhere."""
    return user_cache_folder() / "suites"


def check_name(name: str) -> str:
    """A suite's name: words, and a version number behind them.

    Raises:
        UserError: it has another form.
    """
    if not _NAME.fullmatch(name):
        raise UserError(f"expected a name with a version behind it, as digits-1, got {name!r}", "name it so")
    return name


def open_suite(named: str) -> Suite:
    """The suite that `--suite` names: a folder, or a name in the user's cache folder.

    Raises:
        UserError: there is none, or its manifest cannot be used.
    """
    for folder in (Path(named), suites_folder() / named):
        if (folder / MANIFEST).is_file():
            return Suite(folder=folder, manifest=_read(folder / MANIFEST))
    known = [path.parent.name for path in sorted(suites_folder().glob(f"*/{MANIFEST}"))]
    error = unknown("suite", named, known)
    raise UserError(error.what, f"{error.fix}; make it with vfc suite make, or name its folder")


def seal(folder: Path, manifest: Manifest) -> Suite:
    """Write the manifest of a folder whose other files are all there, with their digests and its own."""
    files = {}
    for path in sorted(_files_of(folder)):
        data = path.read_bytes()
        name = str(path.relative_to(folder).as_posix())
        files[name] = FrozenFile(sha256=hashlib.sha256(data).hexdigest(), size=len(data))
    whole = manifest.model_copy(update={"files": files})
    whole = whole.model_copy(update={"digest": digest_of(whole)})
    write_all({folder / MANIFEST: json_bytes(whole.model_dump(mode="json", by_alias=True))})
    return Suite(folder=folder, manifest=whole)


def digest_of(manifest: Manifest) -> str:
    """SHA-256 of what two suites must share to be one and the same."""
    content = manifest.model_dump(mode="json", by_alias=True)
    files = {name: facts["sha256"] for name, facts in content.pop("files").items() if "/report." not in name}
    kept = {name: part for name, part in content.items() if name not in ("digest", "made_with")}
    return json_digest([kept, files])


def _files_of(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)


def _read(file: Path) -> Manifest:
    try:
        content: Any = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"expected a suite's manifest in {file}, got {error}", _AGAIN) from None
    found = content.get("schema") if isinstance(content, Mapping) else None
    if isinstance(found, int) and found > SCHEMA:
        raise UserError(f"expected a suite of schema {SCHEMA}, got schema {found} in {file}", "use a newer vfc")
    try:
        manifest = Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"]) or "the manifest"
        raise UserError(f"expected a suite's manifest in {file}, got {where}: {first['msg']}", _AGAIN) from None
    check_name(manifest.name)
    if digest_of(manifest) != manifest.digest:
        raise UserError(f"expected {file} as vfc wrote it, got other content: changed by hand", _AGAIN)
    return manifest
