"""The report: one run's facts as data, of which every other format is a pure function. `storage` keeps it.

Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from pydantic import ConfigDict, Field

from adversaries.evidence import Evidence, Record, Value
from vfc.registry import Registry

SCHEMA = 1
Outcome = Literal["held", "broken", "inconclusive"]
Verdict = Literal["held", "broken", "inconclusive", "measured"]
Status = Literal["complete", "partial"]
Level = Literal["error", "warn"]

INTERRUPTED = "the run was interrupted"
"""What is said of whatever an interrupted run did not come to."""


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
    """Where and when the report was made. Not part of the digest.

    `isolated`: whether the defender's code published and predicted in processes of its own; null without such code.
    `fit_s`, `publish_s`: seconds that the defense took to be fitted, in an earlier run where the fit comes from the
    cache, and to publish all parts; null where nobody knows.
    """

    git_commit: str | None = None
    dirty: bool | None = None
    python: str | None = None
    torch: str | None = None
    device: str | None = None
    platform: str | None = None
    isolated: bool | None = None
    started: str | None = None
    duration_s: float | None = None
    fit_s: float | None = None
    publish_s: float | None = None


class PartOfData(Record):
    """One part of the split."""

    size: int
    digest: str


class Dataset(Record):
    """The data that every attack was measured on."""

    name: str
    digest: str
    task: str
    classes: dict[str, int]
    split: str
    split_seed: int | None = None
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


class DeclaredSecret(Record):
    """What the defense declares that its attackers do not have."""

    kind: Literal["none", "target_weights", "symmetric", "asymmetric"] = "none"
    what: str = ""
    bits: float | None = None
    lifetime: Literal["dataset", "release", "value"] = "dataset"


class ReleaseFacts(Record):
    """What was published."""

    kind: str
    name: str
    digest: str
    shape: tuple[int, ...]
    dtype: str
    bounds: Bounds = Bounds()
    stochastic: Stochastic = Stochastic()
    call_dependent: bool | None = None
    first_nonfinite: int | None = None
    health: tuple[str, ...] = ()
    settings: dict[str, Any] = Field(default_factory=dict)
    secret: DeclaredSecret = DeclaredSecret()


class LadderControl(Record):
    """The target model as positive control of the attacks: whether one with all labels reads the release as well.

    `candidate` is the strongest on validation, `accuracy` its number, `ceiling` that of the strongest on the images.
    """

    status: Literal["matched", "unmatched", "unknown"]
    reason: str = ""
    candidate: str | None = None
    accuracy: Value | None = None
    ceiling: Value | None = None


class TargetFacts(Record):
    """How the target model does on releases and on images, and whether an attacker with all labels matches it."""

    accuracy: Value
    clean_accuracy: Value
    control: LadderControl | None = None


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
    """One gate judged: `observed` holds the bounds at the level it was judged by; `condition` what "held" rests on."""

    expr: str
    outcome: Outcome
    observed: Value
    reason: str
    level: Level = "error"
    waiver: Waiver | None = None
    source: Source | None = None
    condition: str = ""

    @property
    def decides(self) -> bool:
        """Whether the verdict listens to it: an error, and not waived."""
        return self.level == "error" and not (self.waiver is not None and self.waiver.active)


class Report(Record):
    """Everything one run found out. Frozen; `storage.sealed` fills in the digest.

    A run that was interrupted leaves a `partial` report of what was finished: no gate is decided on it.

    Raises:
        ValidationError: unknown or missing keys, or numbers that are not finite.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True, serialize_by_alias=True
    )

    schema_version: Literal[1] = Field(default=1, alias="schema")
    digest: str = ""
    status: Status = Field(default="complete", exclude_if=lambda status: status == "complete")
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
        return DISPLAYS.get("notebook")(self)


DISPLAYS: Registry[Callable[[Report], str]] = Registry("display", "reports.formats", "DISPLAYS", "vfc.displays")
"""Short forms of a report for where it is shown by itself; formats register theirs, and are imported when used."""
