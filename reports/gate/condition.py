"""On what condition a gate may hold although no attacker matches the target model: an accepted secret."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from reports.model.report import DeclaredSecret, Report
from vfc.errors import UserError

ACCEPTABLE = ("symmetric", "asymmetric")
"""Kinds of secrets that can excuse an attacker; the target's weights cannot, for no attacker has them anyway."""

LIFTED = "TARGET_UNMATCHED"
"""The one flag that an accepted secret lifts."""


def check_accepted(kinds: Iterable[str]) -> tuple[str, ...]:
    """The kinds of secrets that a gate's owner accepts, checked.

    Raises:
        UserError: there is no such kind, or it excuses nothing.
    """
    found = tuple(dict.fromkeys(kinds))
    for kind in found:
        if kind not in ACCEPTABLE:
            raise UserError(
                f"expected accepted secrets among {', '.join(ACCEPTABLE)}, got {kind!r}",
                "the target's weights are unknown to every attacker here, so they excuse nothing"
                if kind == "target_weights"
                else "leave it out",
            )
    return found


def secret_words(secret: DeclaredSecret) -> str:
    """A secret in words: what, its bits and its lifetime."""
    bits = "unknown bits" if secret.bits is None else f"{secret.bits:g} bits"
    return f"{secret.what} ({bits}, per {secret.lifetime})"


def condition(report: Report, accepted: Collection[str]) -> str:
    """The condition of every gate that holds; empty if no secret was declared and accepted."""
    secret = report.release.secret
    if secret.kind not in ACCEPTABLE or secret.kind not in accepted:
        return ""
    return f"as long as {secret_words(secret)} stays secret"


def not_accepted(report: Report, accepted: Collection[str]) -> str:
    """What the gate's owner could accept and did not; empty if there is nothing."""
    secret = report.release.secret
    if secret.kind not in ACCEPTABLE or secret.kind in accepted:
        return ""
    return f"the defense declares a secret, {secret_words(secret)}, which --accept-secret {secret.kind} would accept"
