"""A protocol as data: which candidates attack which label, under which threat model by default."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vfc.registry import Registry


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One adversary with its options, as it competes with the others.

    Args:
        adversary: registered name.
        settings: its options; `model` names the unintended model that it starts from.
        headline: False for the near twin, which is reported apart and enters no headline number.
    """

    adversary: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    headline: bool = True

    @property
    def name(self) -> str:
        """A name that no other candidate has, fit for people."""
        words = [str(value) for value in self.settings.values() if isinstance(value, str)]
        inner = self.settings.get("options")
        if isinstance(inner, Mapping):
            words += [str(value) for value in inner.values() if isinstance(value, str)]
        return " ".join([self.adversary, *words])


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Who attacks, and what they are after.

    Args:
        name: as `--protocol` takes it.
        threat: the default threat level.
        candidates: from the names of the unintended models and of the near twin to the candidates, in the order that
            breaks ties.
        adaptive: whether the `adaptive.*` numbers come from it.
    """

    name: str
    threat: str
    candidates: Callable[[Sequence[str], str | None], tuple[Candidate, ...]]
    adaptive: bool = False


PROTOCOLS: Registry[Callable[[], Protocol]] = Registry("protocol", "protocols.recipes", "PROTOCOLS", "vfc.protocols")
