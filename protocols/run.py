"""Runs protocols on a release and turns what was measured into a report."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import torch

from adversaries.calibration.shipped import Record, look_up
from adversaries.evidence import Evidence, Value
from adversaries.goals.image_metrics import psnr, ssim
from adversaries.health import TRUE_LABELS
from adversaries.statistics import estimates
from adversaries.threat import LEVELS, parse_level
from protocols.engine.budget import Budget, get_budget
from protocols.engine.executors.base import StoppedError
from protocols.engine.prepare import prepare
from protocols.engine.prepared import Prepared
from protocols.engine.provenance import provenance
from protocols.engine.workspace import Workspace
from protocols.evaluation.checks.bound_check import below_bound
from protocols.evaluation.checks.hard_plants import with_missed_plants
from protocols.evaluation.checks.target_control import affected, target_control, with_flags
from protocols.evaluation.context import Context
from protocols.evaluation.cross_protocol import strongest_of_all
from protocols.evaluation.evidence import Sidecar
from protocols.evaluation.metrics import target_metrics
from protocols.evaluation.plan import announced
from protocols.evaluation.protocol import PROTOCOLS, Findings, Protocol
from reports.model.report import INTERRUPTED, LadderControl, Report
from vfc.core.secret import NO_SECRET, Secret
from vfc.data import Dataset
from vfc.factory import ReleaseSpec
from vfc.splits import Parts
from vfc.version import VERSION


@dataclass(frozen=True, kw_only=True)
class Runner:
    """Runs protocols one after the other over the same world.

    Args:
        place: where the run works.
        check: refuses a release before anybody attacks it; None accepts every one.
        partial: whether a run that is interrupted while it attacks ends with a report of what is finished.
    """

    place: Workspace
    check: Callable[[Prepared], None] | None = None
    partial: bool = False

    def run(
        self, names: Sequence[str], spec: ReleaseSpec, dataset: Dataset, parts: Parts
    ) -> tuple[dict[str, Any], Sidecar]:
        """Everything of the report but what is known only at the end, and the arrays of its sidecar."""
        settings = self.place.settings
        prepared = prepare(settings, spec, dataset, parts, self.place.trainer(), self.place.scratch)
        if self.check is not None:
            self.check(prepared)
        for line in announced(self.place, names, prepared):
            self.place.reporter.note(line)
        release = release_block(prepared)
        rows: Sidecar = {}
        evidence: list[Evidence] = []
        metrics = {**target_metrics(prepared.target, prepared.targetless), **release_metrics(prepared, rows)}
        if prepared.target.release is not None:
            rows["target"] = prepared.target.release
        if prepared.target.clean is not None:
            rows["target.clean"] = prepared.target.clean
        budget, place = get_budget(settings.budget), self.place
        conducted = []
        for name in names:
            protocol = PROTOCOLS.get(name)()
            if protocol.missing or place.stopped:
                evidence += protocol.not_run(settings.seed, INTERRUPTED if place.stopped else "")
                continue
            found, place = self._conducted(protocol, prepared, budget, rows)
            conducted.append(found)
            evidence += found.evidence
            # A number that two protocols give comes from the one that was named first.
            metrics = {**found.metrics, **metrics}
        if settings.threat is not None:
            metrics |= against_everybody(conducted, parse_level(settings.threat))
        evidence, metrics = below_bound(evidence, metrics, rows)
        control = self._control(place, prepared, conducted, metrics, budget, rows)
        told = (TRUE_LABELS,) if prepared.told else ()
        metrics = with_flags(metrics, control, (*prepared.observed.health, *told))
        metrics = with_missed_plants(metrics, evidence)
        publisher = prepared.publisher
        report = {
            "status": "partial" if place.stopped else "complete",
            "isolated": None if publisher is None else publisher.isolated,
            "spent": dict(prepared.spent),
            "dataset": data_block(prepared.dataset, parts).block,
            "release": release,
            "target": {
                "accuracy": metrics["target.accuracy"],
                "clean_accuracy": metrics["target.clean_accuracy"],
                "control": control,
            },
            "evidence": evidence,
            "metrics": metrics,
            "calibration": calibration_block(evidence, prepared),
        }
        return report, rows

    def _conducted(
        self, protocol: Protocol, prepared: Prepared, budget: Budget, rows: Sidecar
    ) -> tuple[Findings, Workspace]:
        """What a protocol finds, and where the run goes on: once interrupted, nothing more is done there."""
        threat = parse_level(self.place.settings.level(protocol.name, protocol.threat))
        try:
            context = context_of(self.place, prepared, threat=threat, budget=budget, rows=rows)
            return protocol.conduct(context), self.place
        except KeyboardInterrupt:
            if not self.partial:
                raise
        self.place.reporter.note(
            "interrupted: writing what is finished (once more, and nothing is written); the same command resumes"
        )
        stopped = self.place.stop()
        try:
            # Once more, from the tasks that are finished; whatever is not counts as not run.
            context = context_of(stopped, prepared, threat=threat, budget=budget, rows=rows)
            return protocol.conduct(context), stopped
        except StoppedError:  # it would have to train something first
            return Findings(evidence=protocol.not_run(stopped.settings.seed, INTERRUPTED)), stopped

    def _control(
        self,
        place: Workspace,
        prepared: Prepared,
        conducted: Sequence[Findings],
        metrics: Mapping[str, Value],
        budget: Budget,
        rows: Sidecar,
    ) -> LadderControl | None:
        """Whether trained attackers match the target model; None where no number depends on them."""
        if not any(map(affected, metrics)):
            return None
        ladder = next((found.ladder.board for found in conducted if found.ladder is not None), None)
        return target_control(context_of(place, prepared, threat="L2", budget=budget, rows=rows), ladder)

    def finish(self, parts: dict[str, Any], command: dict[str, Any], started: datetime) -> Report:
        """The report, not judged yet."""
        isolated, spent = parts.pop("isolated"), parts.pop("spent")
        said = {
            "tool": {"name": "vfc-attack", "version": VERSION},
            "command": command,
            "provenance": provenance(started, self.place.device, isolated) | spent,
            "verdict": "measured",
        }
        return Report.model_validate(said | parts)


def context_of(place: Workspace, prepared: Prepared, *, threat: str, budget: Budget, rows: Sidecar) -> Context:
    """What a protocol is conducted on."""
    return Context(
        settings=place.settings,
        prepared=prepared,
        budget=budget,
        threat=threat,
        runner=place.runner,
        trainer=place.trainer(),
        cells=place.out / "cells",
        shared=place.root / "cells",
        scratch=place.scratch,
        rows=rows,
    )


def against_everybody(found: Sequence[Findings], threat: str) -> dict[str, Value]:
    """`adaptive.*` with everybody who attacked the task label, where the threat grants more than labels.

    Args:
        found: what the protocols found; without the ladder's numbers there is nothing to compute.
        threat: the highest level of these numbers.
    """
    numbers = next((each.ladder for each in found if each.ladder is not None), None)
    rivals = [rival for each in found for rival in each.rivals]
    if numbers is None or threat < "L3":
        return {}
    own = any(competitor.level >= "L3" for competitor in numbers.board.results.competitors)
    if not (own or rivals):
        return {}
    return strongest_of_all(numbers, rivals, [level for level in LEVELS[:5] if level <= threat])


@dataclass(frozen=True, kw_only=True)
class DataBlock:
    """The data as the report says it, and the floor of the task."""

    block: dict[str, Any]
    floor: float


def data_block(dataset: Dataset, parts: Parts) -> DataBlock:
    """Name, digests, task and sizes; and the majority rate on the targets, which the gates' limits depend on."""
    sizes, digests = parts.sizes, parts.digests
    truth = parts.targets.labels[parts.task]
    guess = torch.bincount(parts.pool_train.labels[parts.task]).argmax()
    return DataBlock(
        floor=float((truth == guess).double().mean()),
        block={
            "name": dataset.name,
            "digest": dataset.digest,
            "task": parts.task,
            "classes": dict(dataset.classes),
            "split": "paper" if parts.paper else "halves",
            "split_seed": parts.seed,
            "parts": {name: {"size": sizes[name], "digest": digests[name]} for name in sizes},
            "duplicates_removed": parts.duplicates_removed,
        },
    )


def release_block(prepared: Prepared) -> dict[str, Any]:
    """The release as the report says it."""
    return {
        "kind": prepared.kind,
        "name": prepared.name,
        **prepared.observed.report(),
        "settings": dict(prepared.settings),
        "secret": asdict(secret_of(prepared)),
    }


def secret_of(prepared: Prepared) -> Secret:
    """What the defense declares that its attackers do not have; nothing for saved arrays.

    Raises:
        UserError: the declaration is malformed.
    """
    return NO_SECRET if prepared.publisher is None else prepared.publisher.defense.declared_secret()


def release_metrics(prepared: Prepared, rows: Sidecar) -> dict[str, Value]:
    """`release.*`: how much the release looks like the image, and how much smaller it is."""
    targets = prepared.world.targets
    if targets.images is None:
        reason = "the originals are unknown"
        return {name: Value.unknown(reason) for name in ("release.psnr", "release.ssim", "release.compression")}
    of_image = targets.images[0].numel()
    of_release = targets.release[0].numel() * targets.release.element_size() / 4
    metrics = {"release.compression": estimates.exact(of_image / of_release, "ratio")}
    if targets.release.shape != targets.images.shape or not targets.release.is_floating_point():
        reason = "the release is not shaped like an image"
        return metrics | {name: Value.unknown(reason) for name in ("release.psnr", "release.ssim")}
    values = targets.release.float().nan_to_num(posinf=1e4, neginf=-1e4)
    for name, unit, measure in (("release.psnr", "dB", psnr), ("release.ssim", "ssim", ssim)):
        rows[name] = measure(values, targets.images).double().numpy()
        metrics[name] = estimates.mean(rows[name], unit, rows=name)
    return metrics


def calibration_block(evidence: Sequence[Evidence], prepared: Prepared) -> dict[str, Any]:
    """What is known of the power of everybody who attacked, as shipped; by name of the adversary.

    An adversary that was measured with several settings is only as well known as the least known of them; what it
    finds is told for the settings with which it was chosen, else for the first.
    """
    known: dict[str, list[tuple[bool, Record]]] = defaultdict(list)
    for row in evidence:
        # Diagnostics attack nothing, so they have no power to be known.
        # Who was left out of a race is not who was calibrated; who of its family went on speaks for it.
        if row.status == "measured" and "dropped" not in row.settings and (attack := row.arms.attack) is not None:
            record = look_up(row.adversary, row.settings, n=attack.n, dataset=prepared.dataset.name)
            known[row.adversary].append((row.chosen, record))
    found = {}
    for name, rows in known.items():
        first, *_ = sorted(rows, key=lambda each: not each[0])
        status = next((record.status for _, record in rows if record.status != "calibrated"), "calibrated")
        found[name] = asdict(first[1]) | {"status": status}
    return found
