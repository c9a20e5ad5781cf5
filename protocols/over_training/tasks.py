"""The two tasks of a course over training, one of each per checkpoint: its layers, and who was a member by them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adversaries.attacks.membership.layers import MODEL, read_layers
from adversaries.attacks.membership.signals import Measured
from adversaries.diagnostics.layers import LayerLeakage, LayerSettings, measure_layers
from adversaries.diagnostics.over_training import QUANTITIES
from adversaries.diagnostics.spectra import Effort
from adversaries.goals.membership import Truth
from protocols.engine.handles import EvaluationHandle
from protocols.engine.task import Outcome, Task
from protocols.over_training.membership import Sightings, attacked
from vfc.seeding import derive_seed

Load = Callable[[], nn.Module]


@dataclass(frozen=True, kw_only=True)
class Scene(EvaluationHandle):
    """What a checkpoint is measured on; tasks of a course run in this process, so it holds what they need.

    Args:
        load: the network.
        images: diagnostics are measured on these.
        origin: how errors name the network.
    """

    load: Load
    images: Tensor
    origin: str


@dataclass(frozen=True, kw_only=True)
class Company(Scene):
    """What membership is asked of; `images` are those in question.

    Args:
        labels: of the images in question.
        truth: who of them is a member.
        shadows: the attacker's own networks at the same point of training.
        universe, universe_labels: images that these could have been trained on, as many as are read.
        member: which of those every shadow was trained on.
        inside: which of the images in question.
    """

    labels: Tensor
    truth: Truth
    shadows: Sequence[Load]
    universe: Tensor
    universe_labels: Tensor
    member: Truth
    inside: Truth


@dataclass(frozen=True, kw_only=True)
class LayersTask(Task):
    """Degrees of freedom and Jacobians of some layers at one checkpoint.

    Args:
        state, code, images: digests of weights, architecture and images.
        layers: names.
        samples, method, memory, straight_through: of `adversaries.diagnostics.layers`; memory in bytes.
        seed: of probes.
    """

    state: str
    code: str
    images: str
    layers: tuple[str, ...]
    samples: int
    method: str
    memory: int
    straight_through: bool
    seed: int

    def measure(self, place: EvaluationHandle) -> Outcome:
        """Measure."""
        scene = _scene(place)
        started = time.perf_counter()
        found = measure_layers(
            scene.load().to(scene.device),
            scene.images.to(scene.device),
            self.layers,
            # The same probes at every checkpoint.
            torch.Generator().manual_seed(derive_seed("layers", self.seed)),
            settings=LayerSettings(
                samples=self.samples,
                straight_through=self.straight_through,
                effort=Effort(method=self.method, memory=self.memory),
            ),
            origin=scene.origin,
        )
        return _said([_layer(layer) for layer in found], started)


@dataclass(frozen=True, kw_only=True)
class MembershipTask(Task):
    """Membership by every layer, and by the whole network, at one checkpoint.

    Args:
        state, code, images: digests of weights, architecture, and of the images in question with their labels.
        shadows: digests of the shadows' weights.
        universe: digest of the images that shadows are read on.
        layers: names.
        ignore: beginning of the names of parameters that are not the network's own.
        seed: of controls.
        cells: how many attacks the study makes.
    """

    state: str
    code: str
    images: str
    shadows: tuple[str, ...]
    universe: str
    layers: tuple[str, ...]
    ignore: str
    seed: int
    cells: int

    def measure(self, place: EvaluationHandle) -> Outcome:
        """Read everything, then attack layer by layer."""
        company = _company(place)
        started = time.perf_counter()
        real = self._read(company, company.load, company.images, company.labels)
        candidates = [self._read(company, load, company.images, company.labels) for load in company.shadows]
        universe = [self._read(company, load, company.universe, company.universe_labels) for load in company.shadows]
        rows: dict[str, Any] = {}
        for name in (*self.layers, MODEL):
            if name not in real:
                rows[name] = {"reason": "the layer gives no single tensor when the model reads an image"}
                continue
            seen = Sightings(
                real=real[name],
                candidates=[each[name] for each in candidates],
                universe=[each[name] for each in universe],
                member=company.member,
                inside=company.inside,
            )
            rows[name] = attacked(seen, company.truth, derive_seed(name, self.seed), self.cells)
        return _said(rows, started)

    def _read(self, company: Company, load: Load, images: Tensor, labels: Tensor) -> dict[str, Measured]:
        model = load().to(company.device)
        return read_layers(model, images, labels, self.layers, ignore=self.ignore, device=company.device)


def said(outcome: Outcome) -> Any:
    """What a finished task found; raises `RuntimeError` with its reason when it found nothing."""
    if outcome.status != "measured":
        raise RuntimeError(outcome.reason or outcome.status)
    return json.loads(outcome.arrays["said"].tobytes())


def _scene(place: EvaluationHandle) -> Scene:
    if not isinstance(place, Scene):
        raise TypeError(f"expected a scene, got {type(place).__name__}")
    return place


def _company(place: EvaluationHandle) -> Company:
    if not isinstance(place, Company):
        raise TypeError(f"expected a company, got {type(place).__name__}")
    return place


def _layer(layer: LayerLeakage) -> dict[str, Any]:
    return {
        "name": layer.name,
        "kind": layer.kind,
        "shape": list(layer.shape),
        "method": layer.method,
        "notes": list(layer.notes),
        "metrics": {name: layer.values[name].model_dump(mode="json") for name in QUANTITIES if name in layer.values},
    }


def _said(found: Any, started: float) -> Outcome:
    text = json.dumps(found, allow_nan=False, sort_keys=True).encode()
    return Outcome(
        status="measured",
        cost={"seconds": round(time.perf_counter() - started, 4)},
        arrays={"said": np.frombuffer(text, np.uint8).copy()},
    )
