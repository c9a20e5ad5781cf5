"""Content hashes of what is attacked: code, state and settings, never the place where a file lies."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from protocols.engine.settings import digest_of
from vfc.defense import Defense
from vfc.factory import ReleaseSpec
from vfc.handed.own_code import bytes_digest, digests_of, files_of, find, plain_text, with_imports
from vfc.release import tensor_digest


def fingerprint(defense: Defense) -> str:
    """Content hash of a fitted defense and its target."""
    return digest_of([*_content(defense), model_digest(defense.target)])


def digest_of_defense(defense: Defense) -> str:
    """Content hash of a fitted defense alone."""
    return digest_of(_content(defense))


def model_digest(model: nn.Module | None) -> str:
    """Content hash of a model's structure and weights; empty without one."""
    if model is None:
        return ""
    state = model.state_dict()
    return digest_of([plain_text(model), sorted(state), tensor_digest(*(state[name] for name in sorted(state)))])


def content_of(spec: ReleaseSpec) -> str:
    """What a release is, as text that is the same wherever its files lie; of a run folder its own digest says the rest.

    Raises:
        UserError: a file of it cannot be read.
    """
    if spec.kind == "factory":
        return f"factory {spec.attribute} {code_of_factory(spec)}"
    if spec.kind == "arrays":
        return f"arrays {bytes_digest(Path(spec.source))}"
    return spec.text if spec.kind in ("registered", "object") else spec.kind


def code_of_factory(spec: ReleaseSpec) -> str:
    """Digest of a factory's file, and of all modules of the user's own that it imports, directly or not.

    An object has a digest of its own. Of a module the whole package counts. Neither the standard library nor what is
    installed is followed: whoever imports that has it from a version.

    Raises:
        UserError: the file cannot be read.
    """
    if spec.kind == "object":
        return spec.text.rpartition(":")[2]
    if spec.source.endswith(".py"):
        first = Path(spec.source).resolve()
        files, folder = {"": first}, first.parent
    else:
        folder, top = Path.cwd(), spec.source.partition(".")[0]
        files = files_of(top, find(top, folder))
    return digest_of(digests_of(with_imports(files, folder, [spec.source.partition(".")[0]])))


def _content(defense: Defense) -> list[object]:
    state = defense.state()
    settings = {name: plain_text(value) for name, value in defense.settings().items()}
    tensors = tensor_digest(*(state[name] for name in sorted(state)))
    return [type(defense).__name__, settings, sorted(state), tensors]
