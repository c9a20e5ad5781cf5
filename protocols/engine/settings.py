"""What a run was asked to do, as data. Imports no torch.

`Settings.identity` holds what can change a result; its digest names the default output folder and decides whether an
existing folder belongs to the same run.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from protocols.engine.budget import get_budget
from vfc.config import parsed_value, read_toml, tool_table
from vfc.errors import UserError, unknown

WITHOUT_EFFECT = (
    *("out", "fresh", "no_cache", "executor", "workers", "verbosity", "data_root", "download", "config"),
    *("fit_limit", "call_limit", "job_limit", "ray_address"),
)
"""Settings that cannot change a result."""

JOB_LIMIT = 43_200.0
"""Seconds that one job of an executor may take: far more than any honest one."""

CALL_LIMIT = 600.0
"""Seconds that the defender's code may take for one call."""

EXECUTORS = ("auto", "local", "processes", "ray")
"""Where jobs run: `auto` means here while the work is small, and in processes once it is not."""

SPLITS = ("halves", "paper")
"""How training images are divided between defender and attacker."""

BY_CONTENT = ("release", "dataset", "target", "unintended")
"""Settings that may name files; `identity_extra` holds what is in them, under the same names."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Every option of a long verb, with its default.

    Args:
        protocols: names of protocols, in the order given.
        release: what is attacked: a registered defense, a run folder, a factory or saved arrays.
        dataset: what `--dataset` accepts; None means digits, or the run folder's own.
        target: the target model: an architecture to train, a file of weights, or a factory.
        unintended: the unintended models, likewise; empty means the default families.
        width: channel multiplier of all models; None means the default for the image size.
        task: the label that the target predicts; None for the data set's first.
        attributes: private attributes; empty means all other labels.
        labels: derived labels, such as `living=label:2,3,4`.
        threat: highest level of knowledge; None means the protocol's default.
        levels: the default of some protocols where it is another one than their own, as in a bench.
        seed: seed of everything.
        seeds: attack seeds; None means the budget's.
        split: `halves`, or `paper` to give both sides the whole training part.
        split_seed: salt of the split; None means the run folder's own, else the seed.
        budget: smoke, standard or full.
        overrides: options of adversaries, of the defense or of training, as `name.option`.
        gates: gate expressions.
        preset: ready-made gates: paper, standard or strict.
        accept: kinds of declared secrets that the gates' owner accepts.
        config: the config file that the user named; its policy is read when gates are judged.
        no_isolation: run the defender's code in the run's own process, for debuggers; it may then remember.
        ray_address: of a running Ray cluster; None for `$RAY_ADDRESS`, else one on this machine.
        fit_limit: seconds that the defender's code may take to be fitted.
        call_limit: seconds that it may take for any other call.
        job_limit: seconds that a job may take in a worker.
        threads: arithmetic threads of every fit; part of the identity because sums depend on it.
        identity_extra: further parts of the identity, and the content of files that others name (see BY_CONTENT).
    """

    protocols: tuple[str, ...] = ()
    release: str = "vfc"
    dataset: str | None = None
    target: str = "cnn"
    unintended: tuple[str, ...] = ()
    width: float | None = None
    task: str | None = None
    attributes: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    threat: str | None = None
    levels: tuple[tuple[str, str], ...] = ()
    seed: int = 0
    seeds: int | None = None
    split: str = "halves"
    split_seed: int | None = None
    device: str = "auto"
    threads: int = 1
    budget: str = "standard"
    overrides: tuple[tuple[str, Any], ...] = ()
    gates: tuple[str, ...] = ()
    preset: str | None = None
    accept: tuple[str, ...] = ()
    config: str | None = None
    data_root: str | None = None
    download: bool = False
    out: str | None = None
    fresh: bool = False
    no_cache: bool = False
    no_isolation: bool = False
    executor: str = "auto"
    workers: int | None = None
    ray_address: str | None = None
    fit_limit: float = 7200.0
    call_limit: float = CALL_LIMIT
    job_limit: float = JOB_LIMIT
    verbosity: int = 0
    identity_extra: tuple[tuple[str, Any], ...] = field(default=())

    def identity(self) -> dict[str, Any]:
        """What can change the evidence, as JSON-ready data. Gates judge it and are not part of it."""
        data = asdict(self)
        for name in (*WITHOUT_EFFECT, "gates", "preset", "accept"):
            del data[name]
        data["overrides"] = dict(self.overrides)
        if not self.levels:
            del data["levels"]
        extra = dict(self.identity_extra)
        # A file counts by its content, where that is known, and not by its place.
        data |= {name: extra.pop(name) for name in BY_CONTENT if name in extra}
        data["identity_extra"] = extra
        return data

    def digest(self) -> str:
        """SHA-256 of the identity."""
        return digest_of(self.identity())

    def level(self, protocol: str, default: str) -> str:
        """The highest level of knowledge under a protocol whose own default is `default`."""
        return self.threat or dict(self.levels).get(protocol, default)

    def options(self, name: str) -> dict[str, Any]:
        """The overrides of one adversary, defense or stage."""
        prefix = f"{name}."
        return {key.removeprefix(prefix): value for key, value in self.overrides if key.startswith(prefix)}

    def out_folder(self, verb: str) -> Path:
        """Where the run writes."""
        return Path(self.out) if self.out else Path("runs") / f"{verb}-{self.digest()[:8]}"

    def attack_seeds(self) -> tuple[int, ...]:
        """The seeds of the attack."""
        count = self.seeds if self.seeds is not None else get_budget(self.budget).seeds
        return tuple(range(self.seed, self.seed + count))


def digest_of(data: object) -> str:
    """SHA-256 of canonical JSON, as hexadecimal text."""
    return hashlib.sha256(json.dumps(data, sort_keys=True, allow_nan=False).encode()).hexdigest()


def parse_override(text: str) -> tuple[str, Any]:
    """`name.option=value`, where value is read as JSON if it is JSON and as text otherwise."""
    key, equals, value = text.partition("=")
    if not equals or "." not in key:
        raise UserError(f"expected --set name.option=value, got {text!r}", "for example --set fine-tune.steps=400")
    return key.strip(), parsed_value(value, key.strip())


def overrides_of(table: Any) -> dict[str, Any]:
    """The `set` table of a config file as overrides: `"linear.steps" = 3`, or `[set.linear]` with `steps = 3`.

    Raises:
        UserError: it is no table of that form.
    """
    if not isinstance(table, dict):
        raise UserError(
            f"expected a table as `set` in the config file, got {table!r}", "write [set] and below it train.epochs = 3"
        )
    found: dict[str, Any] = {}
    for name, value in table.items():
        options = {f"{name}.{option}": item for option, item in value.items()} if isinstance(value, dict) else None
        for key, item in (options or {name: value}).items():
            found |= dict([parse_override(f"{key}={json.dumps(item, default=str)}")])
    return found


def config_file(path: str | None) -> Path | None:
    """The config file that counts: the one that the user named, else vfc.toml or pyproject.toml of this folder."""
    files = [Path(path)] if path else [Path("vfc.toml"), Path("pyproject.toml")]
    return next((file for file in files if path or file.is_file()), None)


def read_config(path: str | None, known: set[str]) -> dict[str, Any]:
    """Options from `vfc.toml` or `[tool.vfc]` of pyproject.toml; empty without either.

    Args:
        path: the file that the user named; None looks into the current folder.
        known: names of options that exist.

    Raises:
        UserError: unreadable, no TOML, or an unknown key.
    """
    if path == "":
        raise UserError("expected a config file, got an empty name", "leave --config out, or name a file")
    for file in [Path(path)] if path else [Path("vfc.toml"), Path("pyproject.toml")]:
        if not path and not file.is_file():
            continue
        data: dict[str, Any] | None = read_toml(file)[1]
        if data is not None and file.name == "pyproject.toml":
            data = tool_table(data, file)
        if data is None:
            continue
        options = {key.replace("-", "_"): value for key, value in data.items()}
        for key in options:
            if key not in known:
                raise unknown(f"key in {file}", key, known)
        return options
    return {}
