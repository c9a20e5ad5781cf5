"""What a defense declares that its attackers do not have."""

# Structure: calibration does not count it.

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast, get_args

from vfc.errors import UserError

SecretKind = Literal["none", "target_weights", "symmetric", "asymmetric"]
Lifetime = Literal["dataset", "release", "value"]
KINDS: tuple[str, ...] = get_args(SecretKind)
LIFETIMES: tuple[str, ...] = get_args(Lifetime)
_FORM = 'write secret = {"kind": "symmetric", "what": "the key", "bits": 128, "lifetime": "dataset"}'


@dataclass(frozen=True, kw_only=True)
class Secret:
    """A declared secret.

    Args:
        kind: `symmetric` (whoever publishes and whoever reads share it), `asymmetric` (only the reader has it),
            `target_weights` (the target model itself; everybody's attackers lack it, so it excuses nothing), or `none`.
        what: what stays secret, in words that finish "as long as ... stays secret".
        bits: its size.
        lifetime: how much is published under one secret: a whole data set, one release, or one value.
    """

    kind: SecretKind
    what: str = ""
    bits: float | None = None
    lifetime: Lifetime = "dataset"


NO_SECRET = Secret(kind="none")


def parse_secret(declared: object, origin: str) -> Secret:
    """The secret that a defense declares.

    Args:
        declared: a mapping with `kind` and, for a symmetric or asymmetric one, `what`, `bits` and `lifetime`; a
            `Secret`; or None, for no secret.
        origin: how errors name the defense.

    Raises:
        UserError: it is anything else.
    """
    if declared is None:
        return NO_SECRET
    if isinstance(declared, Secret):
        declared = vars(declared)
    if not isinstance(declared, Mapping):
        raise UserError(f"expected the secret of {origin} to be a mapping, got {type(declared).__name__}", _FORM)
    unknown = sorted(str(key) for key in set(declared) - {"kind", "what", "bits", "lifetime"})
    if unknown:
        raise UserError(f"expected kind, what, bits and lifetime in the secret of {origin}, got {unknown[0]}", _FORM)
    kind, what = declared.get("kind", "none"), declared.get("what", "")
    bits, lifetime = declared.get("bits"), declared.get("lifetime", "dataset")
    if not isinstance(kind, str) or kind not in KINDS:
        raise UserError(f"expected the secret's kind of {origin} to be one of {', '.join(KINDS)}, got {kind!r}", _FORM)
    if not isinstance(lifetime, str) or lifetime not in LIFETIMES:
        choices = ", ".join(LIFETIMES)
        raise UserError(f"expected the secret's lifetime of {origin} to be one of {choices}, got {lifetime!r}", _FORM)
    text = " ".join(what.split()) if isinstance(what, str) else ""
    # It ends sentences of verdicts: nothing invisible may stand for a secret, and nothing may move the cursor there.
    readable = isinstance(what, str) and text.isprintable() and (not text or any(map(str.isalnum, text)))
    if not readable or len(text) > 200:
        raise UserError(f"expected a short text for what is secret in {origin}, got {str(what)[:50]!r}", _FORM)
    number = isinstance(bits, int | float) and not isinstance(bits, bool) and 0 < bits < 1e12
    if bits is not None and not number:
        raise UserError(f"expected a positive number of bits for the secret of {origin}, got {bits!r}", _FORM)
    if kind in ("symmetric", "asymmetric") and (not text or bits is None):
        raise UserError(f"expected `what` and `bits` of the {kind} secret of {origin}, got none", _FORM)
    return Secret(
        kind=cast("SecretKind", kind),
        what=text,
        bits=None if bits is None else float(cast("float", bits)),
        lifetime=cast("Lifetime", lifetime),
    )
