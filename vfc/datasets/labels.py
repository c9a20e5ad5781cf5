"""Labels derived from existing ones: `living=label:2,3,4` and `age_group=age:<18,<40,<60,>=60`. Imports no torch."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vfc.errors import UserError, unknown

_FORM = "expected NAME=LABEL:VALUE,VALUE,... or NAME=LABEL:<BOUND,...,>=BOUND"
_COMPARE: dict[str, Callable[[npt.NDArray[np.int64], int], npt.NDArray[np.bool_]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, kw_only=True)
class Derivation:
    """How one label follows from another.

    Args:
        name: the new label.
        source: the label that it is made from.
        members: the source's classes that become class 1, all others 0; empty when there are bins.
        bins: (operator, bound) pairs; a row's class is the first that holds; empty when there are members.
    """

    name: str
    source: str
    members: tuple[int, ...] = ()
    bins: tuple[tuple[str, int], ...] = ()

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the new label's classes are called."""
        if self.bins:
            return tuple(f"{compare}{bound}" for compare, bound in self.bins)
        return (f"not {self.name}", self.name)

    def apply(self, labels: Mapping[str, npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
        """The new label's values, shape (n,), from labels of shape (n,) by name.

        Raises:
            UserError: the source or one of its classes does not exist, the name is taken, or the bins leave a gap.
        """
        if self.source not in labels:
            raise unknown("label", self.source, labels)
        if self.name in labels:
            raise UserError(f"label {self.name!r} exists already", f"choose another name than {', '.join(labels)}")
        values = labels[self.source]
        if not self.bins:
            absent = sorted(set(self.members) - set(values.tolist()))
            if absent:
                known = ", ".join(map(str, np.unique(values).tolist()))
                raise UserError(f"label {self.source!r} has no class {absent[0]}", f"its classes: {known}")
            return np.isin(values, self.members).astype(np.int64)
        holds = np.stack([_COMPARE[compare](values, bound) for compare, bound in self.bins])
        if not holds.any(0).all():
            lost = int(values[~holds.any(0)].min())
            raise UserError(f"no bin of {self.name!r} holds {self.source} {lost}", "end with an open bin, such as >=60")
        classes: npt.NDArray[np.int64] = holds.argmax(0).astype(np.int64)
        return classes


def parse_label(text: str) -> Derivation:
    """Read one `--label`.

    Args:
        text: `NAME=LABEL:2,3,4` (class 1 for these classes, else 0) or `NAME=LABEL:<18,<40,>=40` (one class per bin).

    Raises:
        UserError: the text has another form.
    """
    match = re.fullmatch(r"\s*([A-Za-z_]\w*)\s*=\s*([A-Za-z_]\w*)\s*:\s*(\S.*?)\s*", text)
    if match is None:
        raise UserError(f"{_FORM}, got {text!r}", "for example living=label:2,3,4")
    name, source, rest = match.groups()
    items = [item.strip() for item in rest.split(",")]
    if all(re.fullmatch(r"[0-9]{1,18}", item) for item in items):
        return Derivation(name=name, source=source, members=tuple(sorted({int(item) for item in items})))
    bins = [re.fullmatch(r"(<=|>=|<|>)\s*(-?[0-9]{1,18})", item) for item in items]
    if len(bins) < 2 or any(found is None for found in bins):
        raise UserError(
            f"{_FORM}, got {rest!r} for {name!r}", "give classes as numbers, or two bins or more with < <= > >="
        )
    return Derivation(
        name=name, source=source, bins=tuple((found[1], int(found[2])) for found in bins if found is not None)
    )


def check_from_zero(what: str, values: npt.NDArray[np.int64], write: str) -> None:
    """Refuse classes that start higher than 0: the first ones would be classes that nobody has.

    Args:
        what: how errors call them.
        values: the classes, shape (n,).
        write: what to write with the lowest subtracted, up to the name of the array.

    Raises:
        UserError: they do.
    """
    if (lowest := int(values.min())) > 0:
        raise UserError(
            f"expected class numbers from 0 as {what}, got {lowest} to {int(values.max())}", f"{write} - {lowest}"
        )
