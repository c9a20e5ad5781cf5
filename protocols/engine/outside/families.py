"""Which models an evaluation has: those that are trained for it, and those that come from outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from protocols.engine.outside.models import OutsideModel, outside_model
from protocols.engine.settings import Settings
from vfc.data import Dataset
from vfc.errors import UserError
from vfc.models import default_models


@dataclass(frozen=True, kw_only=True)
class Families:
    """Which models are trained.

    Args:
        target: name of the target: its architecture, or the name of a model from outside.
        unintended: names and architectures of the unintended models; the near twin is among them.
        twin: name of the near twin, or None.
        width: channel multiplier of those that are trained here.
        outside: names of models that are not trained here, the target's perhaps among them.
        brought: those of them that were just read; a run folder has copies instead.
    """

    target: str
    unintended: Mapping[str, str]
    twin: str | None
    width: float
    outside: frozenset[str] = frozenset()
    brought: Mapping[str, OutsideModel] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings, dataset: Dataset, *, twin: bool = True) -> Families:
        """The families that settings ask for, or the defaults for the image size.

        Raises:
            UserError: a model does not exist, is for other images, is named twice, or is of the target's architecture.
        """
        target = outside_model(settings.target, dataset)
        own = settings.target if target is None else target.architecture
        names, width = default_models(dataset.shape[1], own)
        models: dict[str, str] = {}
        brought = {} if target is None else {target.name: target}
        for text in settings.unintended or names:
            found = outside_model(text, dataset)
            name, architecture = (text, text) if found is None else (found.name, found.architecture)
            if (own and architecture == own) or (target is not None and name == target.name):
                raise UserError(
                    f"expected unintended models of other architectures than the target's, got {text!r} beside "
                    f"{settings.target!r}",
                    "its near twin is always trained besides",
                )
            if name in models:
                raise UserError(f"expected different unintended models, got {text!r} twice", "name each once")
            models[name] = architecture or name
            if found is not None:
                brought[name] = found
        wide = settings.width if settings.width is not None else width
        name = settings.target if target is None else target.name
        # Nobody here can train another one of an architecture that is not of the zoo.
        twin_name = f"{name}-twin" if twin and own else None
        if twin_name is not None:
            models[twin_name] = own
            wide = wide if target is None or settings.width is not None else target.width
        return cls(
            target=name,
            unintended=models,
            twin=twin_name,
            width=wide,
            outside=frozenset(brought),
            brought=brought,
        )

    @classmethod
    def of_run(cls, run: Mapping[str, Any]) -> Families:
        """The families of a run folder, from what it says of itself."""
        return cls(
            target=run["target"],
            unintended=run["models"],
            twin=run["twin"],
            width=run["width"],
            outside=frozenset(run["outside"]),
        )
