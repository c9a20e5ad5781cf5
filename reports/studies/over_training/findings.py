"""What a course over training says, as data: `overtraining.json` but for its settings and provenance. Imports no torch.

The file is `{schema, settings, title, part, steps, images, image_shape, notes, membership, layers, model, correlations,
provenance}`. A number is a `Value`; lists beside `steps` have one entry per checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from adversaries.evidence import Value
from adversaries.health import HONESTY
from adversaries.statistics import estimates, levels
from adversaries.statistics.rank_correlation import spearman
from adversaries.statistics.training_course import HEURISTICS, change, modified_change_ratio, reduction, turn

NO_ORDER = (
    "At the end of training the membership advantages of all layers lie within each other's intervals, each bound at "
    "5 % / number of layers: their order, and whatever correlates with it, may be chance."
)
FEW_LAYERS = (
    "Few layers say little: the layers of one network are neither many nor independent of each other, and these are "
    "the numbers of one training."
)


def layers_over(steps: Sequence[int], found: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """One entry per layer from what `LayersTask` found at every checkpoint.

    Args:
        steps: of the checkpoints.
        found: layers of every checkpoint, in one order.
    """
    rows = []
    for layer in zip(*found, strict=True):
        first = layer[0]
        names = [name for name in first["metrics"] if all(name in each["metrics"] for each in layer)]
        notes = dict.fromkeys(note for each in layer for note in each["notes"])
        rows.append(
            {
                "name": first["name"],
                "kind": first["kind"],
                "shape": first["shape"],
                "method": next((each["method"] for each in layer if each["method"]), ""),
                "notes": list(notes),
                "courses": {name: _course(steps, [each["metrics"][name] for each in layer]) for name in names},
                "membership": None,
            }
        )
    return rows


def _course(steps: Sequence[int], values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    course = [Value.model_validate(value) for value in values]
    turned = turn(course)
    return {
        "values": list(values),
        "cv": change(course).model_dump(mode="json"),
        "mcr": modified_change_ratio(course).model_dump(mode="json"),
        "reduction": reduction(course).model_dump(mode="json"),
        "fall_then_rise": {**asdict(turned), "step": None if turned.position is None else steps[turned.position]},
    }


def with_membership(layers: Sequence[dict[str, Any]], found: Sequence[Mapping[str, Any]], whole: str) -> list[Any]:
    """Enter what `LayerMembershipTask` found at every checkpoint; returns the rows of the whole network.

    Args:
        layers: from `layers_over`, completed in place.
        found: by layer, per checkpoint.
        whole: the whole network's name there.
    """
    for layer in layers:
        layer["membership"] = [each[layer["name"]] for each in found]
    return [each[whole] for each in found]


def layers_differ(layers: Sequence[Mapping[str, Any]]) -> bool:
    """Whether at the end of training some layer's advantage lies apart from another's, interval from interval.

    The most distant two of many are compared, so every bound is at `estimates.ALPHA` / number of layers.
    """
    known = [leak for leak in map(_leak, layers) if leak is not None]
    again = [levels.recompute(leak, estimates.ALPHA / len(known)) for leak in known]
    bounds = [(leak.low, leak.high) for leak in again if leak.low is not None and leak.high is not None]
    return bool(bounds) and max(low for low, _ in bounds) > min(high for _, high in bounds)


def left_out(layers: Sequence[Mapping[str, Any]]) -> str:
    """Which layers are compared with no other, because an adversary there was not honest; empty if none."""
    names = [layer["name"] for layer in layers if _dishonest((layer["membership"] or [{}])[-1])]
    if not names:
        return ""
    return f"Left out of the rank correlations, since an adversary there was dropped as dishonest: {', '.join(names)}."


def _dishonest(row: Mapping[str, Any]) -> bool:
    return bool(set(row.get("health", ())) & set(HONESTY))


def _leak(layer: Mapping[str, Any]) -> Value | None:
    """The advantage at the end of training; None where there is none, or an honesty flag beside it."""
    row = (layer["membership"] or [{}])[-1]
    if "advantage" not in row or _dishonest(row):
        return None
    found = Value.model_validate(row["advantage"])
    return None if found.value is None else found


def correlations(layers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Spearman's rank correlation over layers of every summary with the measured advantage at the end of training.

    A layer with an honesty flag beside its advantage is left out.
    """
    leaks = [_leak(layer) for layer in layers]
    names = dict.fromkeys(name for layer in layers for name in layer["courses"])
    rows = []
    for name in names:
        for heuristic in HEURISTICS:
            pairs = []
            for layer, leak in zip(layers, leaks, strict=True):
                number = layer["courses"].get(name, {}).get(heuristic, {}).get("value")
                if leak is not None and leak.value is not None and number is not None:
                    pairs.append((number, leak.value))
            found = spearman([pair[0] for pair in pairs], [pair[1] for pair in pairs])
            rows.append({"quantity": name, "heuristic": heuristic, **asdict(found)})
    return rows


def turned(layers: Sequence[Mapping[str, Any]], quantity: str) -> tuple[int, int]:
    """In how many layers a quantity first fell and then rose, and in how many that could be decided."""
    known = [layer["courses"][quantity]["fall_then_rise"]["found"] for layer in layers if quantity in layer["courses"]]
    return sum(each is True for each in known), sum(each is not None for each in known)
