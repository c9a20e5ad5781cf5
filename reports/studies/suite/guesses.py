"""Guesses that somebody else made about the targets of a suite. Imports no torch; numpy only when they are read."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

from vfc.errors import UserError, unknown

CONTROLS = ("ceiling", "shuffled")
"""Arrays of the controls; each has the form of the guesses."""

_SCORES = ("guesses", "probabilities")
_ORDER = ("targets_digest", "index")
_TEXTS = ("suite", "by")
_FIX = "see docs/suite.md for the form of such a file"


@dataclass(frozen=True, kw_only=True)
class Guesses:
    """Guesses in the order of the suite's targets, one class per target.

    Args:
        attack: made from the releases.
        ceiling: by the same method, fitted and applied on the images; None if it was not tried.
        shuffled: by the same method, fitted with the suite's permuted labels; None if it was not tried.
        by: who made them; empty if the file does not say.
        digest: of the file.
    """

    attack: NDArray[Any]
    ceiling: NDArray[Any] | None
    shuffled: NDArray[Any] | None
    by: str
    digest: str


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What guesses must be about.

    Args:
        suite: its name.
        suite_digest: its digest.
        targets_digest: of the defense's target releases.
        index: number of every target, in the suite's order.
        classes: how many classes the label has.
    """

    suite: str
    suite_digest: str
    targets_digest: str
    index: NDArray[Any]
    classes: int


def read_guesses(path: Path, expected: Expected) -> Guesses:
    """Read an `.npz` of guesses, and put them into the order of the suite's targets.

    Args:
        path: a file with `guesses` (n,), class numbers, or `probabilities` (n, k); with `targets_digest` if they are in
            the suite's order, or `index` (n,) with the number of the target of each; optionally with `ceiling` and
            `shuffled`, of either form, and the texts `suite` and `by`.
        expected: what they must be about.

    Raises:
        UserError: the file cannot be read, or is not about these targets, or holds what is no class.
    """
    arrays, digest = _arrays(path)
    for name in arrays:
        if name not in (*_SCORES, *_ORDER, *CONTROLS, *_TEXTS):
            raise unknown(f"array in {path}", name, (*_SCORES, *_ORDER, *CONTROLS, *_TEXTS))
    given = [name for name in _SCORES if name in arrays]
    if len(given) != 1:
        raise UserError(f"expected one of {' and '.join(_SCORES)} in {path}, got {' and '.join(given) or 'none'}", _FIX)
    suite = _text(arrays, "suite", path)
    if suite and suite not in (expected.suite, expected.suite_digest):
        raise UserError(
            f"expected guesses about {expected.suite} ({expected.suite_digest[:12]}), got guesses about {suite[:64]}: "
            "a suite of another version",
            "guess again on this one, or name the other as --suite",
        )
    classes = {
        name: _classes(arrays[name], name, path, expected) for name in (*given, *CONTROLS) if name in arrays
    }  # fmt: skip
    order = _order(arrays, path, expected)
    ordered = {name: values[order] for name, values in classes.items()}
    return Guesses(
        attack=ordered[given[0]],
        ceiling=ordered.get("ceiling"),
        shuffled=ordered.get("shuffled"),
        by=_text(arrays, "by", path),
        digest=digest,
    )


def _arrays(path: Path) -> tuple[dict[str, NDArray[Any]], str]:
    import numpy as np

    try:
        data = path.read_bytes()
        if not zipfile.is_zipfile(io.BytesIO(data)):
            raise UserError(f"expected an .npz of arrays in {path}, got no zip archive", _FIX)
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}, hashlib.sha256(data).hexdigest()
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}", "name an .npz file") from None
    # numpy, zipfile and zlib each have their own words for a broken file.
    except Exception as error:
        found = "objects, which are never unpickled" if "pickle" in str(error) else f"{type(error).__name__}: {error}"
        raise UserError(f"expected an .npz of arrays in {path}, got {found}", _FIX) from None


def _classes(values: NDArray[Any], name: str, path: Path, expected: Expected) -> NDArray[Any]:
    """One class per target, from class numbers (n,) or from probabilities (n, k)."""
    import numpy as np

    n, k = len(expected.index), expected.classes
    each: dict[str, list[tuple[int, ...]]] = {"guesses": [(n,)], "probabilities": [(n, k)]}
    forms = each.get(name, [(n,), (n, k)])
    if values.shape not in forms:
        wanted = " or ".join(map(str, forms))
        raise UserError(f"expected {name!r} of shape {wanted} in {path}, got {values.shape}", _FIX)
    if values.dtype.kind not in "biuf":
        raise UserError(f"expected numbers in {name!r} of {path}, got {values.dtype}", _FIX)
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise UserError(f"expected finite numbers in {name!r} of {path}, got {bad} that are NaN or infinite", _FIX)
    if values.ndim == 2:
        best: NDArray[Any] = values.argmax(1)
        return best
    if (values != np.round(values)).any() or values.min() < 0 or values.max() >= k:
        found = f"numbers between {values.min():g} and {values.max():g}"
        raise UserError(f"expected whole numbers from 0 to {k - 1} in {name!r} of {path}, got {found}", _FIX)
    return values.astype(np.int64)


def _order(arrays: Mapping[str, NDArray[Any]], path: Path, expected: Expected) -> NDArray[Any]:
    """Where in the file the guess about each target stands."""
    import numpy as np

    n = len(expected.index)
    if "index" in arrays:
        index = arrays["index"]
        if index.shape != (n,) or index.dtype.kind not in "iu":
            raise UserError(f"expected {n} integers in 'index' of {path}, got {index.dtype} of {index.shape}", _FIX)
        order = np.argsort(index, kind="stable")
        back = np.argsort(expected.index, kind="stable")
        if not (index[order] == expected.index[back]).all():
            known = len(np.intersect1d(index, expected.index))
            raise UserError(
                f"expected each of the {n} targets of {expected.suite} once in 'index' of {path}, got {known} of them: "
                "these are guesses about other targets",
                "take targets.index of the defense's attack.safetensors",
            )
        found = np.empty(n, np.int64)
        found[back] = order
        return found
    digest = _text(arrays, "targets_digest", path)
    if not digest:
        raise UserError(
            f"expected 'targets_digest' or 'index' in {path}, got neither: nobody knows about which targets these are",
            "save targets.index of the defense's attack.safetensors as index",
        )
    if digest != expected.targets_digest:
        raise UserError(
            f"expected guesses about the targets {expected.targets_digest[:12]}, got guesses about {digest[:12]} in "
            f"{path}: other targets, another order, another defense, or a suite of another version",
            "guess again on this suite",
        )
    return np.arange(n)


def _text(arrays: Mapping[str, NDArray[Any]], name: str, path: Path) -> str:
    found = arrays.get(name)
    if found is None:
        return ""
    if found.dtype.kind != "U" or found.size != 1:
        raise UserError(f"expected one text as {name!r} in {path}, got {found.dtype} of shape {found.shape}", _FIX)
    return str(found.reshape(-1)[0])[:200]
