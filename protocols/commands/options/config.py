"""What a config file may say, whichever verb reads it. Imports no torch."""

from __future__ import annotations

from protocols.commands.options.leakage import LEAKAGE
from protocols.commands.options.shared import ATTACK, DATA, MODEL, RUN, with_options


def config_keys() -> set[str]:
    """Every key that a config file may hold at its top."""

    def every() -> None:
        """Holds the options."""

    with_options(ATTACK, DATA, MODEL, RUN, LEAKAGE)(every)
    names = {str(option.name) for option in every.__click_params__}  # type: ignore[attr-defined]
    return (names | {"set", "policy", "defense", "ablate"}) - {"config", "overrides"}
