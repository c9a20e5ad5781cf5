"""A run's forecast from its settings and its data, in words, and the room that it needs on this machine."""

from __future__ import annotations

from collections.abc import Sequence

from adversaries.registries import ADVERSARIES
from protocols.engine.budget import get_budget
from protocols.engine.executors.choose import make_room, workers_of
from protocols.engine.executors.processes import available_memory
from protocols.engine.outside.families import Families
from protocols.engine.prepared import Prepared
from protocols.engine.provenance import code_digest
from protocols.engine.settings import Settings
from protocols.engine.workspace import Workspace
from protocols.evaluation.candidate import Candidate
from protocols.evaluation.forecast import Forecast, Shape, fits_of, forecast, known_costs
from protocols.evaluation.protocol import PROTOCOLS
from vfc.data import Dataset
from vfc.splits import Parts

GB = 1e9


def shape_of(
    parts: Parts, dataset: Dataset, families: Families | None, release: Sequence[int], *, images: bool
) -> Shape:
    """What the attacks of a run work on.

    Args:
        parts, dataset: the data.
        families: the unintended models; None without any.
        release: shape of one release.
        images: whether the originals are known.
    """
    return Shape(
        train=len(parts.pool_train),
        graded=len(parts.pool_validation) + len(parts.targets),
        release=tuple(release),
        image=dataset.shape if images else None,
        classes=dataset.classes[parts.task],
        models={} if families is None else dict(families.unintended),
        width=1.0 if families is None else families.width,
    )


def competing(names: Sequence[str], settings: Settings, shape: Shape, twin: str | None) -> list[Candidate]:
    """Everybody who attacks labels under some protocols, each as often as it is fitted."""
    found = []
    for name in names:
        protocol = PROTOCOLS.get(name)()
        threat = settings.threat or protocol.threat
        found += [
            each
            for each in protocol.candidates(list(shape.models), twin)
            if ADVERSARIES.get(each.adversary).level <= threat
        ]
    return found


def said(found: Forecast, settings: Settings, device: str) -> str:
    """One line about time and memory."""
    free = available_memory()
    wanted = workers_of(settings, device)
    workers = wanted if free is None else found.workers(wanted, free)
    room = "" if free is None else f" of {free / GB:.1f} GB that are free"
    fewer = "" if workers == wanted else f" in place of {wanted}, for there is no room for more"
    short = ""
    if free is not None and found.memory > free:
        short = "; that is more than there is, so the largest attacks may fail: give fewer rows, or more memory"
    return (
        f"about {found.minutes(workers):.2g} minutes for {found.cells} fits of attacks on labels "
        f"({found.seconds:.0f} seconds of one core), and {workers * found.memory / GB:.1f} GB at most{room}, on "
        f"{workers} worker{'s' * (workers != 1)}{fewer}{short}; training, and further checks of budget "
        f"{settings.budget}, come on top"
    )


def made_room(place: Workspace, names: Sequence[str], prepared: Prepared, twin: str | None) -> list[str]:
    """Let no more be done at a time than there is memory for, and progress know what is to come.

    Args:
        place: where the run works.
        names: its protocols.
        prepared: what it works on.
        twin: the near twin, or None.

    Returns:
        Lines that say so, and what the run will take, if this machine was measured for it.
    """
    train, settings = prepared.world.train, place.settings
    images, release = train.images is not None, train.release.shape[1:]
    shape = shape_of(prepared.parts, prepared.dataset, prepared.families, release, images=images)
    room, lines = make_room(place.executor, shape.memory), []
    if room is not None:
        lines.append(f"memory: one attack may need {shape.memory / GB:.1f} GB, so {room} run at a time")
    candidates = competing(names, settings, shape, twin)
    fits = [fits_of(each, get_budget(settings.budget)) for each in candidates]
    place.reporter.expect(len(settings.attack_seeds()) * sum(len(labels) + controls for labels, controls in fits))
    costs = known_costs(shape, candidates, code_digest(place.device, settings.threads), place.root)
    if costs is not None:
        found = forecast(shape, candidates, get_budget(settings.budget), len(settings.attack_seeds()), costs)
        lines.append(f"plan: {said(found, settings, place.device)}")
    return lines
