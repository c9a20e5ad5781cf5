"""What a run will take, before it starts: every candidate is tried for a moment on noise of the same shape.

That takes seconds, once for each kind of run, and is kept in the cache. Time is assumed to grow with the rows, and with
the steps of whoever trains by steps; memory is what was measured of the hungriest kind, kernel readers.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from adversaries.adversary import Adversary
from adversaries.entries import length_of
from adversaries.evaluation_data import EvaluationData, Part
from adversaries.goals.assess import assess
from adversaries.goals.label import make_goal
from adversaries.registries import ADVERSARIES
from adversaries.threat import ThreatModel
from protocols.engine.budget import Budget, Labels
from protocols.engine.settings import digest_of
from protocols.evaluation.candidate import Candidate
from protocols.evaluation.label_task import make_adversary
from vfc.artifact import write_bytes
from vfc.models import build_model

FEW, SOME, CLASSES = 128, 512, 16
"""Rows of the two tries, and classes at most: of more there would be too few rows each."""

STEPS = (2, 10)
"""Optimizer steps of the two tries of whoever trains by steps."""

SHORT, LONG = 0.5, 3.0
"""Seconds of a first try: up to the one more rows are tried too, above the other it is not repeated."""

LANDMARKS, COPIES, PROGRAM = 2048, 6.5, 500_000_000
"""Columns of the kernel readers' features, how many such tables they hold at most, and bytes of an idle worker."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a run works on.

    Args:
        train, graded: labelled releases, and those that guesses are asked for.
        release, image: shapes of one; images are unknown beside some saved arrays.
        classes: of the task.
        models: architecture of every unintended model, by name.
        width: their channel multiplier.
    """

    train: int
    graded: int
    release: tuple[int, ...]
    image: tuple[int, ...] | None
    classes: int
    models: Mapping[str, str]
    width: float

    @property
    def memory(self) -> int:
        """Bytes of one worker at its worst: three copies of the releases, a kernel reader's tables, codes of labels."""
        columns = int(torch.Size(self.release).numel())
        exact = 8 if self.train * min(columns, LANDMARKS) <= 40_000_000 else 4
        tables = int(COPIES * exact * self.train * LANDMARKS)
        # Labels are one-hot as whole numbers, as real ones, and once more in what is left to explain.
        return PROGRAM + 3 * 4 * self.train * columns + tables + 3 * 8 * self.train * self.classes


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Seconds of one candidate: `start`, and so many for every labelled row or, of who trains by steps, every step."""

    start: float
    each: float
    by_steps: bool = False

    def seconds(self, candidate: Candidate, rows: int) -> float:
        """Of one whole fit on so many labelled rows, grading included."""
        length = length_of(candidate.adversary, candidate.settings)
        count = length.steps(candidate.settings, rows, 1.0) if self.by_steps and length is not None else rows
        return self.start + self.each * count


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a run is expected to take.

    Args:
        cells: fits.
        seconds: of one core for all of them.
        memory: bytes of one worker.
    """

    cells: int
    seconds: float
    memory: int

    def minutes(self, workers: int) -> float:
        """On so many workers."""
        return self.seconds / workers / 60

    def workers(self, wanted: int, memory: int) -> int:
        """How many workers there is room for in so many bytes; at least one."""
        return max(1, min(wanted, memory // self.memory))


def forecast(
    shape: Shape, candidates: Sequence[Candidate], budget: Budget, seeds: int, costs: Mapping[str, Cost]
) -> Forecast:
    """What the attacks on one label take: every number of labels, ceilings at the largest, and shuffled controls.

    Args:
        shape: what they work on.
        candidates: who competes.
        budget: how much is spent.
        seeds: how many attack seeds.
        costs: of the candidates, by name; whoever is missing does not apply, or could not be tried.
    """
    cells, seconds = 0, 0.0
    for candidate in candidates:
        cost = costs.get(candidate.name)
        if cost is None:
            continue
        labels, controls = fits_of(candidate, budget)
        rows = [shape.train if k == "all" else min(shape.train, int(k) * shape.classes) for k in labels]
        # Of a family that races half goes on after each round; its rounds are run from the start.
        races = cost.by_steps and "model" in candidate.settings
        share = sum(part * 0.5**turn for turn, part in enumerate(budget.rounds)) if races else 1.0
        fits = [share * cost.seconds(candidate, n) for n in rows]
        cells += seeds * (len(fits) + controls)
        seconds += seeds * (sum(fits) + controls * fits[-1])
    return Forecast(cells=cells, seconds=seconds, memory=shape.memory)


def attacks_labels(candidate: Candidate) -> bool:
    """Whether it guesses a label; others rebuild images, find them, tell members or fool the target."""
    return issubclass(ADVERSARIES.get(candidate.adversary), Adversary)


def fits_of(candidate: Candidate, budget: Budget) -> tuple[tuple[Labels, ...], int]:
    """With how many labels a candidate is fitted, and how many fits with the most are controls: ceilings, shuffles."""
    grows = attacks_labels(candidate) and ADVERSARIES.get(candidate.adversary).level >= "L2"
    labels = budget.labels if grows else budget.labels[-1:]
    return labels, (len(labels) if budget.ceiling_everywhere else 1) + int(grows and budget.shuffle_all)


def calibrated_costs(shape: Shape, candidates: Sequence[Candidate], code: str, cache: Path) -> dict[str, Cost]:
    """What every candidate takes on this machine, by name; measured now unless it was before.

    Args:
        shape: what they work on; how many rows there are does not matter.
        candidates: who competes.
        code: digest of the code that computes.
        cache: the folder of the cache.
    """
    found = known_costs(shape, candidates, code, cache)
    if found is None:
        found = dict(_measured(shape, candidates))
        content = {name: asdict(cost) for name, cost in found.items()}
        write_bytes(json.dumps(content).encode(), _file(shape, candidates, code, cache))
    return found


def known_costs(shape: Shape, candidates: Sequence[Candidate], code: str, cache: Path) -> dict[str, Cost] | None:
    """The same, if it was measured before."""
    try:
        content = json.loads(_file(shape, candidates, code, cache).read_text())
        return {name: Cost(**facts) for name, facts in content.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def _file(shape: Shape, candidates: Sequence[Candidate], code: str, cache: Path) -> Path:
    kind = {**asdict(shape), "train": 0, "graded": round(shape.graded / max(1, shape.train), 1)}
    names = [candidate.name for candidate in candidates]
    return cache / "machine" / f"{digest_of([kind, names, code])[:32]}.json"


def _measured(shape: Shape, candidates: Sequence[Candidate]) -> Iterator[tuple[str, Cost]]:
    worlds = [_noise(shape, rows) for rows in (FEW, SOME)]
    for candidate in filter(attacks_labels, candidates):
        length = length_of(candidate.adversary, candidate.settings)
        tries: list[tuple[int, EvaluationData, dict[str, Any]]]
        if length is None:
            tries = [(len(world.train), world, {}) for world in worlds]
        else:
            tries = [(steps, worlds[0], {"steps": steps}) for steps in STEPS]
        try:
            (count, world, changes), (more, larger, others) = tries
            first = _tried(candidate, world, changes)
            if first < LONG:  # whoever is the first of its kind also loads what it needs
                first = _tried(candidate, world, changes)
            if length is None and first > SHORT:
                yield candidate.name, Cost(start=0.0, each=first / count)
                continue
            second = _tried(candidate, larger, others)
        except Exception:
            continue
        each = max(0.0, (second - first) / (more - count))
        start = max(0.0, second - each * more)
        if length is not None:  # what is left grows with the rows that are graded
            start *= max(1.0, shape.graded / len(worlds[0].targets) / 2)
        yield candidate.name, Cost(start=start, each=each, by_steps=length is not None)


def _tried(candidate: Candidate, world: EvaluationData, changes: Mapping[str, Any]) -> float:
    """Processor seconds of one fit and its grading."""
    adversary: Any = replace(make_adversary(candidate.adversary, dict(candidate.settings), doubled=False), **changes)
    threat = ThreatModel(level=ADVERSARIES.get(candidate.adversary).level, labels_per_class="all")
    begun = time.process_time()
    assess(adversary, world, make_goal("task:label"), threat, arm="attack", seed=0, fit_seed=0)
    return time.process_time() - begun


def _noise(shape: Shape, rows: int) -> EvaluationData:
    """A world of the same shape that says nothing, with models that were never trained."""
    generator = torch.Generator().manual_seed(rows)
    classes = min(shape.classes, CLASSES)

    def part(count: int) -> Part:
        labels = torch.arange(count) % classes
        images = None if shape.image is None else torch.rand(count, *shape.image, generator=generator)
        same = shape.image == shape.release and images is not None
        release = images if same and images is not None else torch.randn(count, *shape.release, generator=generator)
        return Part(images=images, release=release, labels={"label": labels}, prediction=labels)

    graded = max(classes, round(rows * shape.graded / max(1, shape.train) / 2))
    models = {}
    if shape.image is not None:
        for name, architecture in shape.models.items():
            models[name] = build_model(
                architecture, channels=shape.image[0], side=shape.image[1], num_classes=classes, width=shape.width,
                mean=[0.5] * shape.image[0], std=[0.25] * shape.image[0], generator=generator,
            ).eval()  # fmt: skip
    train, validation, targets = part(rows), part(graded), part(graded)
    return EvaluationData(
        train=train, validation=validation, targets=targets, classes={"label": classes}, models=models
    )
