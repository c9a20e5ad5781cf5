"""What a number of the report means: its name, its unit, and which way is better for the defender.

Names hold placeholders: `<a>` an attribute, `<label>` the task or an attribute, `@K` labelled releases per class,
`@EPS` a perturbation budget.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

_PLACEHOLDERS = {
    "<a>": r"(?P<attribute>[\w-]+)",
    "<label>": r"(?P<label>[\w-]+)",
    "@K": r"@(?P<labels>[0-9]+|all)",
    "@EPS": r"@(?P<budget>[0-9]*\.?[0-9]+(?:e-?[0-9]+)?(?:/[0-9]+)?)",
}


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One row of the catalog.

    Args:
        name: the name, possibly with placeholders.
        better: which way is better for the defender; None: no way, and `--baseline` skips it.
        unit: `rate` (in [0, 1]), `difference` (of rates, in [-1, 1]), `ratio`, `leakage`, `count`, `dB`, `bits`, ...
        meaning: one sentence, without its full stop.
        over_floor: a ratio over at least the floor, so that labels alone allow 1 / floor at most.
        protocols: which protocols produce it; a section leaves it empty for itself and the protocols that include it.
        task_protocol: of `protocols`, the one that produces it for the task label, where the others produce it for
            attributes; empty where the label makes no difference.
        diagnostic: for a number that nobody attacked for: +1 if more of it means more leakage, -1 if more of it
            promises less; None otherwise. `vfc predict` correlates it with the numbers that are `predicted`.
        predicted: whether `vfc predict` asks how well diagnostics predict it; more of it is worse for the defender.
        needs_labels: whether it needs labelled releases, beside those that name K.
        from_zero: whether K may be 0, an attack without labels.
        refuted: under which name evidence keeps a bound after a measured attack has refuted it.
        identifiers: labels of the entries of OWASP AISVS and MITRE ATLAS that fit it; filled in by the catalog.
    """

    name: str
    better: Literal["up", "down"] | None
    unit: str
    meaning: str
    over_floor: bool = False
    protocols: tuple[str, ...] = ()
    task_protocol: str = ""
    diagnostic: Literal[1, -1] | None = None
    predicted: bool = False
    needs_labels: bool = False
    from_zero: bool = False
    refuted: str = ""
    identifiers: tuple[str, ...] = ()

    def maximum(self, floor: float | None = None) -> float | None:
        """The largest value that labels alone allow; None: no limit, or one that needs an unknown floor."""
        if self.over_floor:
            return 1 / floor if floor else None
        return 1.0 if self.unit in ("rate", "difference") else None

    def minimum(self) -> float | None:
        """The smallest possible value; None: no limit."""
        return {"rate": 0.0, "ratio": 0.0, "count": 0.0, "difference": -1.0}.get(self.unit)

    def match(self, name: str) -> dict[str, str] | None:
        """The placeholders' texts if `name` is this metric, else None."""
        found = re.fullmatch(self._pattern, name)
        return None if found is None else found.groupdict()

    def producers(self, name: str, task: str | None) -> tuple[str, ...]:
        """The protocols that produce `name`, which this metric matches, where the task label is called `task`."""
        label = (self.match(name) or {}).get("label")
        if label is None or task is None or not self.task_protocol:
            return self.protocols
        if label == task:
            return (self.task_protocol,)
        return tuple(protocol for protocol in self.protocols if protocol != self.task_protocol)

    @property
    def _pattern(self) -> str:
        pattern = re.escape(self.name)
        for placeholder, expression in _PLACEHOLDERS.items():
            pattern = pattern.replace(re.escape(placeholder), expression)
        return pattern
