"""Ready-made gates: `paper`, `standard` and `strict`.

The limits are conventions, not laws: a suppression ratio of 2 is what the published setting calls a success; a target
may lose a tenth of its accuracy; with one label per class it must stay 1.25 times as accurate as any attacker, and to
come 90 % of the way to it must cost 10; a fifth of what the images give away of an attribute may remain. None is about
all labels: no useful release without a secret can hold such a gate. Models of images cannot read a release of another
shape, so that `standard` and `strict` ask nothing about transfer there, which would stay inconclusive for ever.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from vfc.errors import unknown

PRESETS = ("paper", "standard", "strict")

RATIO, RETENTION, RATIO_AT_ONE, LABELS, ATTRIBUTE_LEAKAGE = 2.0, 0.9, 1.25, 10, 0.2


def preset_gates(name: str, attributes: Sequence[str], floor: float | None, *, pictures: bool = True) -> list[str]:
    """The gates of a preset.

    Args:
        name: one of PRESETS. `strict` has the gates of `standard`; that it asks for calibration is the policy's.
        attributes: private attributes that are attacked.
        floor: rate of the task's floor; no ratio asked for is more than 80 % of what labels alone allow.
        pictures: whether models of images can read the release.

    Raises:
        UserError: there is no such preset.
    """
    if name not in PRESETS:
        raise unknown("preset of gates", name, PRESETS)
    allowed = math.inf if not floor else math.floor(80 / floor) / 100
    ratio = min(RATIO, allowed)
    gates = [f"transfer.suppression_ratio >= {ratio:g}"] if pictures or name == "paper" else []
    if name != "paper":
        gates += [
            f"target.retention >= {RETENTION:g}",
            f"adaptive.suppression_ratio@1 >= {min(RATIO_AT_ONE, allowed):g}",
        ]
        gates += [f"adaptive.labels_to_90 >= {LABELS:g}"]
        gates += [f"attribute.{attribute}.leakage <= {ATTRIBUTE_LEAKAGE:g}" for attribute in attributes]
    return gates
