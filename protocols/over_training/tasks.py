"""The two tasks of every checkpoint: measure its layers, and attack membership through each of them."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adversaries.attacks.membership.layers import MODEL, read_layers
from adversaries.attacks.membership.signals import Measured
from adversaries.diagnostics.layers import LayerSettings, measure_layers
from adversaries.diagnostics.spectra import Effort
from adversaries.goals.membership import Shadows
from adversaries.goals.membership_grading import MembershipInputs
from adversaries.statistics.training_course import QUANTITIES
from protocols.engine.handles import EvaluationHandle
from protocols.engine.task import Outcome, Task
from protocols.over_training.membership import attacked
from protocols.over_training.source import Source, load_sources, save_sources
from vfc.seeding import derive_seed

IMAGES, ASKED, NETWORKS = "layer-images", "membership-images", "networks.json"
"""Files beside the handle: what layers are measured on, what membership is asked of, and where networks are."""


def save_networks(handle: EvaluationHandle, network: Source, shadows: Sequence[Source] = ()) -> None:
    """Say where the network in question and its shadows are."""
    save_sources([network, *shadows], handle.folder / NETWORKS)


@dataclass(frozen=True, kw_only=True)
class CheckpointTask(Task):
    """What both tasks depend on.

    Args:
        position: of the checkpoint among its network's.
        state, code, images: digests of weights, architecture, and of the images with their labels if these count.
        layers: names.
        seed: of probes, or of controls.
    """

    position: int
    state: str
    code: str
    images: str
    layers: tuple[str, ...]
    seed: int


@dataclass(frozen=True, kw_only=True)
class LayersTask(CheckpointTask):
    """Degrees of freedom and Jacobians of some layers at one checkpoint.

    Args:
        samples, method, memory, straight_through: of `adversaries.diagnostics.layers`; memory in bytes.
    """

    samples: int
    method: str
    memory: int
    straight_through: bool

    def measure(self, handle: EvaluationHandle) -> Outcome:
        """Measure."""
        started = time.perf_counter()
        source = load_sources(handle.folder / NETWORKS)[0]
        found = measure_layers(
            source.load(self.position).to(handle.device),
            handle.arrays(IMAGES)["images"],
            self.layers,
            # The same probes at every checkpoint.
            torch.Generator().manual_seed(derive_seed("layers", self.seed)),
            settings=LayerSettings(
                samples=self.samples,
                straight_through=self.straight_through,
                effort=Effort(method=self.method, memory=self.memory),
            ),
            origin=source.origin,
        )
        return _outcome([layer.report(QUANTITIES) for layer in found], started)


@dataclass(frozen=True, kw_only=True)
class LayerMembershipTask(CheckpointTask):
    """Membership by every layer, and by the whole network, at one checkpoint.

    Args:
        shadows: digests of the shadows' weights.
        universe: digest of the images that shadows are read on.
        ignore: beginning of the names of parameters that are not the network's own.
        cells: how many attacks the study makes.
    """

    shadows: tuple[str, ...]
    universe: str
    ignore: str
    cells: int

    def measure(self, handle: EvaluationHandle) -> Outcome:
        """Read everything, then attack layer by layer."""
        started = time.perf_counter()
        network, *shadows = load_sources(handle.folder / NETWORKS)
        arrays = handle.arrays(ASKED)
        truth, member, inside = (arrays[name].cpu().numpy() for name in ("truth", "member", "inside"))

        def read(source: Source, images: str, labels: str) -> dict[str, Measured]:
            model = source.load(self.position).to(handle.device)
            asked: tuple[Tensor, Tensor] = arrays[images], arrays[labels]
            return read_layers(model, *asked, self.layers, ignore=self.ignore, device=handle.device)

        real = read(network, "images", "labels")
        candidates = [read(shadow, "images", "labels") for shadow in shadows]
        universe = [read(shadow, "universe", "universe_labels") for shadow in shadows]
        rows: dict[str, Any] = {}
        for name in (*self.layers, MODEL):
            if name not in real:
                rows[name] = {"reason": "the layer gives no single tensor when the model reads an image"}
                continue
            seen = Shadows(
                names=real[name].names,
                universe=[each[name].readings for each in universe],
                member=member,
                candidates=[each[name].readings for each in candidates],
                inside=inside,
            )
            inputs = MembershipInputs(real=real[name].readings, shadows=seen)
            rows[name] = attacked(inputs, truth, derive_seed(name, self.seed), self.cells)
        return _outcome(rows, started)


def payload(outcome: Outcome) -> Any:
    """What a finished task found; raises `RuntimeError` with its reason when it found nothing."""
    if outcome.status != "measured":
        raise RuntimeError(outcome.reason or outcome.status)
    return json.loads(outcome.arrays["json"].tobytes())


def _outcome(found: Sequence[Any] | Mapping[str, Any], started: float) -> Outcome:
    text = json.dumps(found, allow_nan=False, sort_keys=True).encode()
    return Outcome(
        status="measured",
        cost={"seconds": round(time.perf_counter() - started, 4)},
        arrays={"json": np.frombuffer(text, np.uint8).copy()},
    )
