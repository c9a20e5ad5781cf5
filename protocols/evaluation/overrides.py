"""`--set NAME.OPTION=VALUE`: checked before anything runs, and recorded where it acts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from adversaries.adversary import ADVERSARIES
from protocols.engine.settings import Settings
from protocols.evaluation.candidate import Candidate
from protocols.evaluation.protocol import PROTOCOLS
from vfc.config import checked_options
from vfc.defense import DEFENSES
from vfc.errors import UserError, unknown
from vfc.training import TrainSettings


def with_overrides(candidate: Candidate, settings: Settings) -> Candidate:
    """A candidate with the user's options; they show in its evidence.

    Raises:
        UserError: the option is one that tells candidates apart.
    """
    options = settings.options(candidate.adversary)
    if taken := sorted(set(options) & set(candidate.settings)):
        raise UserError(
            f"expected no --set for {candidate.adversary}.{taken[0]}, which the protocol itself varies",
            "leave it out",
        )
    return replace(candidate, settings={**candidate.settings, **options})


def check_overrides(settings: Settings, protocols: Sequence[str]) -> None:
    """Refuse overrides of what nobody has, values that do not fit, and what a protocol varies by itself.

    A known option of something that takes no part in this run is no mistake: a config file may serve many runs.

    Raises:
        UserError: says which.
    """
    known = {*ADVERSARIES.cards, *DEFENSES.cards, "train"}
    for key, value in settings.overrides:
        name, option = key.split(".", 1)
        if name not in known:
            raise unknown("name in --set", name, known)
        if name == "train" and option == "epochs":
            continue
        kind: type[Any] = TrainSettings
        if name != "train":
            kind = DEFENSES.get(name) if name in DEFENSES.cards else ADVERSARIES.get(name)
        checked_options(kind, {option: value}, name)
    for protocol in protocols:
        for candidate in PROTOCOLS.get(protocol)().candidates(["a model"], None):
            with_overrides(candidate, settings)
