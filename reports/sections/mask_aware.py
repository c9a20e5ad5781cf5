"""The section of what knowing the mask is worth.

The sidecar may hold `mask/bits`, of shape (d,), (h, w) or (c, h, w): which latent numbers are kept, 0 or 1.
"""

from __future__ import annotations

from reports.model.attempt_index import Attempt, AttemptIndex, best
from reports.model.metric import Metric
from reports.model.pictures import MOST, Mask
from reports.model.pixels import in_rows
from reports.model.section import SECTIONS, Arrays, Section

_METRICS = (
    Metric(name="mask.gain", better="down", unit="difference", meaning="accuracy gained by knowing the mask"),
    Metric(
        name="mask.recovery",
        better="down",
        unit="rate",
        meaning="Jaccard index of the mask inferred from releases alone",
    ),
)


@SECTIONS.register("mask-aware")
def mask_aware() -> Section:
    """What an attacker gains by knowing which latent numbers are kept."""
    return Section(
        protocol="mask-aware",
        title="Knowing the mask",
        about="What an attacker gains by knowing which latent numbers are kept.",
        order=50,
        metrics=_METRICS,
        headlines=("mask.gain", "mask.recovery"),
        pictures=_pictures,
        reached=_reached,
    )


def _reached(index: AttemptIndex, name: str) -> Attempt | None:  # noqa: ARG001  (a section's shape)
    """The gain is a difference; whoever knows the mask reached it."""
    own = mask_aware().chosen(index)
    return best(attempt for attempt in own if attempt.adversary.startswith("mask-") and attempt.arm("floor"))


def _pictures(index: AttemptIndex, rows: Arrays) -> list[Mask]:  # noqa: ARG001  (a section's shape)
    found = mask(rows)
    return [] if found is None else [found]


def mask(rows: Arrays) -> Mask | None:
    """The mask; None without one."""
    bits = rows.get("mask/bits")
    if bits is None or bits.ndim not in (1, 2, 3) or 0 in bits.shape:
        return None
    import numpy as np

    kept = np.nan_to_num(bits.astype(np.float64)) > 0
    channels = in_rows(kept) if kept.ndim == 1 else kept
    channels = 255 * channels.reshape(-1, *channels.shape[-2:])[:MOST].astype(np.uint8)
    return Mask(channels=tuple(channels), kept=float(kept.mean()), size=int(kept.size))
