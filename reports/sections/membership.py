"""The section of membership.

The sidecar may hold `roc/<adversary>/fpr` and `roc/<adversary>/tpr`, both of shape (m,): an ROC curve, false positive
rates ascending.
"""

from __future__ import annotations

from reports.model.attempt_index import AttemptIndex
from reports.model.metric import Metric
from reports.model.pictures import RocCurves, finite_numbers
from reports.model.section import SECTIONS, Arrays, Section

_METRICS = (
    Metric(
        name="membership.advantage",
        better="down",
        unit="difference",
        meaning="true minus false positive rate at a threshold fixed on shadow data",
        predicted=True,
    ),
    Metric(name="membership.tpr@0.01", better="down", unit="rate", meaning="true positive rate at 1 % false positives"),
    Metric(
        name="membership.exposed",
        better="down",
        unit="rate",
        meaning="share of the images in question that the attack picks out itself and names right, member or not",
    ),
)


@SECTIONS.register("membership")
def membership() -> Section:
    """Whether an attacker can tell which images the defense was fitted on."""
    return Section(
        protocol="membership",
        title="Membership",
        about="Whether an attacker can tell which images the defense was fitted on.",
        order=60,
        metrics=_METRICS,
        headlines=("membership.advantage", "membership.tpr@0.01"),
        identifiers=("OWASP AISVS 11.3.3", "MITRE ATLAS AML.T0024.000"),
        pictures=_pictures,
    )


def _pictures(index: AttemptIndex, rows: Arrays) -> list[RocCurves]:  # noqa: ARG001  (a section's shape)
    curves = rocs(rows)
    return [RocCurves(curves=curves)] if curves else []


def rocs(rows: Arrays) -> dict[str, tuple[list[float], list[float]]]:
    """False and true positive rates by adversary; curves without points or with half of their points are left out."""
    found = {}
    for key in sorted(rows):
        if key.startswith("roc/") and key.endswith("/fpr"):
            false, true = finite_numbers(rows[key]), finite_numbers(rows.get(f"{key[:-4]}/tpr", ()))
            if false and len(false) == len(true):
                found[key[4:-4]] = (false, true)
    return found
