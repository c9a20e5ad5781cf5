"""What `vfc.attack` and its siblings do: objects of the caller become settings, and the engine of the commands runs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from protocols.commands.attack import measure
from protocols.commands.bench import BenchOptions, measure_bench
from protocols.commands.options.gates import split_gates
from protocols.engine.settings import Settings
from protocols.keywords import checked, texts
from reports.opened import OpenedBench, OpenedReport
from vfc.errors import UserError
from vfc.handed.held import FOLDERS_LENT

NO_BENCH = ("release", "protocols", "gates", "preset", "accept")
"""Settings that mean nothing in a bench."""


def attack(
    defense: object,
    *,
    images: object,
    labels: object,
    attributes: Mapping[str, object] | Sequence[str] | None,
    test: object,
    release: object,
    target: object,
    dataset: str | None,
    protocols: str | Sequence[str],
    gates: str | Sequence[str],
    threat: str | None,
    budget: str,
    seed: int,
    out: str | Path | None,
    **options: Any,
) -> OpenedReport:
    """Attack a defense, judge the gates, and return the report; see `vfc.attack`, which is this."""
    further = checked(options, "vfc.attack", attack, ("config",))
    with _visiting(), _folder(out) as place, _folder(None) as beside:
        if release is not None:
            _refuse("beside release", defense=defense, dataset=dataset, test=test)
            settings = _arrays(beside, release, labels, images, attributes, target)
        else:
            settings = _data(images, labels, attributes, test, dataset) | _defense(defense, target)
        limits, preset = split_gates(tuple(map(str, texts(gates))), further.pop("preset", None))
        chosen = Settings(
            **(settings | further),
            protocols=tuple(map(str, texts(protocols))),
            gates=limits,
            preset=preset,
            threat=threat,
            budget=budget,
            seed=seed,
            out=str(place),
            # A policy of the working folder is for the command line; a program says itself what it asks for.
            config=os.devnull,
        )
        said = _call("vfc.attack", defense if release is None else release, protocols=chosen.protocols, budget=budget)
        found = measure(chosen, {}, [said])
    return OpenedReport(report=found.report, rows=found.rows)


def bench(
    defenses: object,
    *,
    images: object,
    labels: object,
    attributes: Mapping[str, object] | Sequence[str] | None,
    test: object,
    target: object,
    dataset: str | None,
    threat: str | None,
    budget: str,
    seed: int,
    out: str | Path | None,
    **options: Any,
) -> OpenedBench:
    """Put defenses under the same adversaries and into one table; see `vfc.bench`, which is this."""
    further = checked(options, "vfc.bench", bench, ("config", *NO_BENCH))
    with _visiting(), _folder(out) as place:
        settings = _data(images, labels, attributes, test, dataset)
        named: list[str] = []
        names: dict[str, str] = {}
        for title, each in _several(defenses):
            found = _defense(each, target)
            named.append(str(found.pop("release")))
            settings |= found
            if title is not None and names.setdefault(named[-1], title) != title:
                raise UserError(
                    f"expected different defenses, got the same one as {names[named[-1]]!r} and {title!r}", "drop one"
                )
        own = BenchOptions(defenses=",".join(named), sweep=False, files={}, names=names)
        chosen = Settings(
            **(settings | further),
            threat=threat,
            budget=budget,
            seed=seed,
            out=str(place),
            config=os.devnull,
        )
        said = _call("vfc.bench", ", ".join(named), budget=budget)
        table, _ = measure_bench(chosen, own, {}, [said])
    return OpenedBench(bench=table)


def _several(defenses: object) -> list[tuple[str | None, object]]:
    """Defenses with what their rows are called, where that was said."""
    if isinstance(defenses, Mapping):
        return [(str(name), each) for name, each in defenses.items()]
    return [(None, each) for each in (defenses if isinstance(defenses, list | tuple) else [defenses])]


def _defense(value: object, target: object) -> dict[str, Any]:
    """The settings of a defense: what `--release` takes as text, or an object held in this process."""
    if value is None:
        raise UserError(
            "expected a defense or release=, got neither",
            "hand over a torch module, a function, or published values as release=",
        )
    if isinstance(value, str | Path):
        if target is not None and not isinstance(target, str):
            raise UserError(
                f"expected the name of an architecture as target beside {str(value)!r}, got {type(target).__name__}",
                "leave target out, and give the defense's own module the target as its attribute `target`",
            )
        return {"release": str(value)} | ({} if target is None else {"target": target})

    from vfc.handed.objects import hold_defense

    return {"release": hold_defense(value, target), "no_isolation": True}


def _data(
    images: object, labels: object, attributes: Mapping[str, object] | Sequence[str] | None, test: object, dataset: Any
) -> dict[str, Any]:
    """The settings of the data: a name that `--dataset` takes, or images held in this process."""
    if images is None:
        derived = _derived(labels)
        _refuse("without images", labels=None if derived else labels, test=test)
        if isinstance(attributes, Mapping):
            raise UserError("expected names of labels as attributes without images, got arrays", "give images= too")
        return {"dataset": dataset, "attributes": texts(attributes or ()), "labels": derived}
    _refuse("beside images", dataset=dataset)
    if labels is None:
        raise UserError("expected labels beside images, got none", "give labels=, one class per image")

    from vfc.handed.arrays import hold_images

    named = attributes if isinstance(attributes, Mapping) else {}
    found: dict[str, Any] = {"dataset": hold_images(images, labels, named, test)}
    return found | ({} if isinstance(attributes, Mapping) else {"attributes": texts(attributes or ())})


def _derived(labels: object) -> tuple[str, ...]:
    """Labels to derive, as `--label` has them; none if these are others."""
    found = texts(labels) if isinstance(labels, str | list | tuple) else ()
    return found if all(isinstance(each, str) and "=" in each for each in found) else ()


def _arrays(
    folder: Path, release: object, labels: object, images: object, attributes: object, target: object
) -> dict[str, Any]:
    """Published values as a file of saved arrays, which is attacked like every other."""
    if isinstance(release, str | Path):
        _refuse("beside a file", labels=labels, images=images, attributes=attributes, target=target)
        return {"release": str(release)}
    if labels is None:
        raise UserError("expected labels beside release, got none", "give labels=, one class per row of the release")

    from vfc.handed.published import save_published

    return {"release": str(save_published(folder / "release.safetensors", release, labels, images, attributes, target))}


def _refuse(where: str, **given: object) -> None:
    """Refuse what has no meaning here; raises `UserError`."""
    for name, value in given.items():
        if value is not None:
            raise UserError(f"expected no {name} {where}, got one", f"leave {name} out")


@contextmanager
def _visiting() -> Iterator[None]:
    """Afterwards the caller's process holds nothing of the run, and computes with the threads that it had."""
    import torch

    from vfc.handed.held import DATASETS_HELD, DEFENSES_HELD

    threads, before = torch.get_num_threads(), {*DATASETS_HELD, *DEFENSES_HELD}
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        for held in (DATASETS_HELD, DEFENSES_HELD):
            for text in held.keys() - before:
                del held[text]


@contextmanager
def _folder(out: str | Path | None) -> Iterator[Path]:
    """Where a run works: the folder asked for, else one that is gone afterwards."""
    if out is not None:
        yield Path(out)
        return
    with tempfile.TemporaryDirectory(prefix="vfc-") as name:
        folder = Path(name)
        FOLDERS_LENT.add(folder)
        try:
            yield folder
        finally:
            FOLDERS_LENT.discard(folder)


def _call(function: str, subject: object, **given: object) -> str:
    """A call as text, for the record; of objects only the name."""
    word = repr(subject) if isinstance(subject, str) else getattr(subject, "__name__", type(subject).__name__)
    words = [str(word), "...", *(f"{name}={value!r}" for name, value in given.items())]
    return f"{function}({', '.join(words)})"
