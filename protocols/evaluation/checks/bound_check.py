"""A lower bound on every attacker's error, held against the attacks that were measured beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from adversaries import health
from adversaries.evidence import Evidence, Value
from adversaries.goals.reconstruction import ADVERSARIES
from adversaries.statistics import intervals
from protocols.evaluation.evidence import Sidecar

BOUND = "leakage.mse_bound"
FLAG, VOID = "BELOW_BOUND", "bound.void"
_PSNR = "reconstruction:psnr"


def below_bound(
    evidence: Sequence[Evidence], metrics: Mapping[str, Value], rows: Sidecar
) -> tuple[list[Evidence], dict[str, Value]]:
    """Declare the bound void if an attack is clearly below it; the attack stands.

    What the bound was stays with the evidence of the protocol that computed it, as `bound.void`.

    The bound is about estimates from one release, so that averages of several are no argument against it. Those below
    it carry the flag too.

    Args:
        evidence: of all protocols.
        metrics: of the catalog.
        rows: PSNR of every target, by attempt.
    """
    bound = metrics.get(BOUND)
    if bound is None or not bound.value:
        return list(evidence), dict(metrics)
    rivals = [i for i, row in enumerate(evidence) if _errors(row, rows) is not None]
    level = health.LEVEL / max(1, len(rivals))
    beaten: dict[int, float] = {}
    for position in rivals:
        errors = _errors(evidence[position], rows)
        if errors is not None and intervals.mean_bounds(errors, level)[2] < bound.value:
            beaten[position] = float(errors.mean())
    if not beaten:
        return list(evidence), dict(metrics)
    best = min(beaten, key=lambda position: beaten[position])
    reason = (
        f"{evidence[best].adversary} reaches a mean squared error of {beaten[best]:.3g}, below the bound of "
        f"{bound.value:.3g} ({bound.method}): the bound does not hold here"
    )
    void = Value.unknown(reason, unit=bound.unit, flags=tuple(sorted({*bound.flags, FLAG})))
    flagged = []
    for position, row in enumerate(evidence):
        update: dict[str, object] = {}
        if position in beaten:
            update["health"] = tuple(sorted({*row.health, FLAG}))
        if row.protocol == "leakage":
            update["metrics"] = {**row.metrics, VOID: bound}
        flagged.append(row.model_copy(update=update))
    return flagged, {**metrics, BOUND: void}


def _errors(row: Evidence, rows: Sidecar) -> np.ndarray[tuple[int], np.dtype[np.float64]] | None:
    """Mean squared error of every target, of an attack that reads one release of each."""
    attack = row.arms.attack
    if row.goal != _PSNR or attack is None or attack.rows not in rows or "NONFINITE_GUESS" in row.health:
        return None
    if ADVERSARIES.get(row.adversary).reads_repeats:
        return None
    psnr = np.asarray(rows[attack.rows], dtype=np.float64)
    return 10 ** (-psnr / 10) if len(psnr) > 1 else None
