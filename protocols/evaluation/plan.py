"""What a run is going to do and take, from its settings and its data, in words; and the room for it."""

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
from protocols.evaluation.overrides import with_overrides
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


def competing(
    name: str, settings: Settings, models: Sequence[str], twin: str | None, attributes: int
) -> list[Candidate]:
    """Everybody who competes under a protocol, once for every label that it is about.

    Args:
        name: of the protocol.
        settings: what was asked for.
        models: names of the unintended models, with the near twin among them.
        twin: the near twin, or None.
        attributes: how many private labels there are.
    """
    protocol = PROTOCOLS.get(name)()
    threat = settings.level(name, protocol.threat)
    granted = [
        with_overrides(each, settings)
        for each in protocol.candidates(models, twin)
        if ADVERSARIES.get(each.adversary).level <= threat
    ]
    return granted * (attributes if protocol.per_attribute else 1)


def private(settings: Settings, dataset: Dataset) -> int:
    """How many labels attackers want to know besides the task."""
    return len(settings.attributes) or len(dataset.classes) - 1


def planned(names: Sequence[str], settings: Settings, models: Sequence[str], twin: str | None, attributes: int) -> str:
    """One line that says what a run is going to do.

    Args:
        names: of the protocols.
        settings, models, twin, attributes: as in `competing`.
    """
    budget, parts = get_budget(settings.budget), []
    for name in names:
        candidates = competing(name, settings, models, twin, attributes)
        fits = sum(len(fits_of(each, budget)[0]) for each in candidates) * len(settings.attack_seeds())
        attacks = f", up to {fits} attacks and their controls" if fits else ""
        parts.append(f"{name} (up to {settings.level(name, PROTOCOLS.get(name)().threat)}{attacks})")
    race = " to ".join(f"{share:.3g}" for share in budget.rounds)
    trained = (
        "everybody is trained to the end" if len(budget.rounds) == 1 else f"models race from {race} of the training"
    )
    return f"plan: {'; '.join(parts)}; budget {budget.name}: {trained}"


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


def announced(place: Workspace, names: Sequence[str], prepared: Prepared) -> list[str]:
    """Say what is going to be done; let no more be done at a time than there is memory for, and progress know it.

    Args:
        place: where the run works.
        names: its protocols.
        prepared: what it works on.

    Returns:
        Lines that say so: what is planned, what there is room for, and what the run will take, if this machine was
        measured for it.
    """
    train, settings = prepared.world.train, place.settings
    images, release = train.images is not None, train.release.shape[1:]
    shape = shape_of(prepared.parts, prepared.dataset, prepared.families, release, images=images)
    asked = (*_models(prepared), private(settings, prepared.dataset))
    room, lines = make_room(place.executor, shape.memory), [planned(names, settings, *asked)]
    if room is not None:
        lines.append(f"memory: one attack may need {shape.memory / GB:.1f} GB, so {room} run at a time")
    candidates = [each for name in names for each in competing(name, settings, *asked)]
    fits = [fits_of(each, get_budget(settings.budget)) for each in candidates]
    place.reporter.expect(len(settings.attack_seeds()) * sum(len(labels) + controls for labels, controls in fits))
    costs = known_costs(shape, candidates, code_digest(place.device, settings.threads), place.root)
    if costs is not None:
        found = forecast(shape, candidates, get_budget(settings.budget), len(settings.attack_seeds()), costs)
        lines.append(f"plan: {said(found, settings, place.device)}")
    return lines


def _models(prepared: Prepared) -> tuple[list[str], str | None]:
    families = prepared.families
    return ([], None) if families is None else (list(families.unintended), families.twin)
