"""Where the states of a network come from: a run folder, a training of our own, or a user's module."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from glob import glob
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from protocols.engine.own_module import build_module
from protocols.engine.settings import digest_of
from vfc.artifact import load_model
from vfc.checkpoints import FEWEST, SUFFIXES, Kept, kept, load_state, numbered_by, read_state
from vfc.core.network import Network
from vfc.core.objective import kl_per_dimension
from vfc.defense import DEFENSES
from vfc.errors import UserError
from vfc.handed.own_code import plain_text
from vfc.models import rebuild

FROZEN = "target."
"""Names of parameters in front of which `Deployed` puts this belong to the frozen target."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """States of one network over its training, as data from which any process loads them.

    Args:
        title: for readers.
        origin: how errors name it.
        steps: rising; 0 is the fresh network.
        digests: of every state.
        code: digest of the architecture.
        kind: a classifier of ours, VFC's network in front of its target, or a user's module.
        where: what the loader of that kind needs.
        ignore: beginning of the names of parameters that are not its own; empty for none.
    """

    title: str
    origin: str
    steps: tuple[int, ...]
    digests: tuple[str, ...]
    code: str
    kind: Literal["target", "encoder", "module"]
    where: Mapping[str, Any]
    ignore: str = ""

    def load(self, position: int) -> nn.Module:
        """The network at a position of `steps`, on the CPU in eval mode.

        Raises:
            UserError: its files are missing or damaged.
        """
        loaders: Mapping[str, Callable[..., nn.Module]] = {
            "target": _load_target,
            "encoder": _load_encoder,
            "module": _load_module,
        }
        return loaders[self.kind](position, **self.where).eval()


def save_sources(sources: Sequence[Source], path: Path) -> None:
    """Write some sources for the workers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(source) for source in sources]))


def load_sources(path: Path) -> list[Source]:
    """What `save_sources` wrote."""
    found = json.loads(path.read_text())
    return [Source(**{**each, "steps": tuple(each["steps"]), "digests": tuple(each["digests"])}) for each in found]


class Deployed(nn.Module):
    """What becomes of an image: encoder, mask, decoder, and the frozen target's answer.

    Args:
        network: of VFC.
        target: releases to logits.
    """

    def __init__(self, network: Network, target: nn.Module) -> None:
        super().__init__()
        self.encoder, self.mask, self.decoder, self.target = network.encoder, network.mask, network.decoder, target

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        """The target's logits on the release of the latent's mean."""
        mu, log_variance = self.encoder(x)
        kept = self.mask(mu, kl_per_dimension(mu, log_variance), torch.Generator().manual_seed(0))
        logits: Tensor = self.target(self.decoder(mu * kept).float())
        return logits


def of_target(states: Kept, title: str) -> Source:
    """A classifier that `protocols.engine.training_jobs.train_model` trained."""
    return Source(
        title=title,
        origin=str(states.folder),
        steps=states.steps,
        digests=states.digests,
        code=digest_of(states.about["architecture"]),
        kind="target",
        where={"folder": str(states.folder)},
    )


def _load_target(position: int, folder: str) -> nn.Module:
    states = kept(Path(folder), "target")
    model = rebuild(states.about["architecture"])
    load_state(model, states.state(states.steps[position]), folder)
    return model


def of_encoder(states: Kept, target: Path, title: str) -> Source:
    """VFC's network in front of its target; the target is the trained one at every step.

    Args:
        states: of the part `encoder`.
        target: file of the target model.
        title: for readers.
    """
    return Source(
        title=title,
        origin=str(states.folder),
        steps=states.steps,
        digests=states.digests,
        code=digest_of([states.about["defense"], states.about["training"]]),
        kind="encoder",
        where={"folder": str(states.folder), "target": str(target)},
        ignore=FROZEN,
    )


def _load_encoder(position: int, folder: str, target: str) -> nn.Module:
    states = kept(Path(folder), "encoder")
    kind: Any = DEFENSES.get(states.about["defense"])
    settings = states.about["training"].items()
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in settings}
    defense = kind(**given).with_state(states.state(states.steps[position]), load_model(Path(target)))
    return Deployed(defense.fitted, defense.target)


def of_files(model: str, classes: int, seed: int, pattern: str) -> Source:
    """A user's module and its saved state dicts, in the order of the steps in their names.

    Args:
        model: the factory, which takes every state in turn.
        classes: number of task classes, for the factory.
        seed: of its first weights.
        pattern: of paths, as the shell knows them.

    Raises:
        UserError: fewer than three files, names that tell no order, or states that do not fit.
    """
    module = build_module(model, classes, seed)
    files = sorted(path for path in map(Path, glob(pattern, recursive=True)) if not path.is_dir())
    odd = [file for file in files if file.suffix not in SUFFIXES]
    if odd:
        raise UserError(f"expected {', '.join(SUFFIXES)} files as {pattern}, got {odd[0]}", "narrow the pattern")
    if len(files) < FEWEST:
        raise UserError(
            f"expected {FEWEST} or more checkpoints as {pattern}, got {len(files)} files", "check the path, quoted"
        )
    numbered = numbered_by(files)
    ordered = [numbered[step] for step in sorted(numbered)]
    for file in ordered:
        load_state(module, read_state(file), str(file))  # one that does not fit is told before anything is measured
    return Source(
        title=model,
        origin=model,
        steps=tuple(sorted(numbered)),
        digests=tuple(hashlib.sha256(file.read_bytes()).hexdigest() for file in ordered),
        code=code_of(module),
        kind="module",
        where={"model": model, "classes": classes, "seed": seed, "files": [str(file.absolute()) for file in ordered]},
    )


def _load_module(position: int, model: str, classes: int, seed: int, files: Sequence[str]) -> nn.Module:
    module, file = build_module(model, classes, seed), files[position]
    load_state(module, read_state(Path(file)), file)
    return module


def code_of(module: nn.Module) -> str:
    """Digest of a module's architecture and of the files of its classes."""
    files = set()
    for part in module.modules():
        kind = type(part)
        if not kind.__module__.startswith("torch."):
            try:
                files.add(inspect.getfile(kind))
            except (OSError, TypeError):  # made without a file
                continue
    return digest_of(
        [plain_text(module), sorted(hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in files)]
    )
