"""Units of work of the protocol `mask-aware`: attackers who know the defense, and inference of the mask.

Axes: n images, d latent units.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor

from adversaries.attacks.mask.inference import MaskInference, recovery
from adversaries.attacks.mask.latent import MaskLatent
from adversaries.attacks.mask.opened_latent import Latent, open_latent
from adversaries.attacks.mask.readings import Reading, permuted, read_world
from adversaries.evaluation_data import EvaluationData
from adversaries.knowledge import Knowledge
from adversaries.threat import ThreatModel
from protocols.engine.handles import EvaluationHandle
from protocols.engine.task import Outcome, Task
from protocols.evaluation.label_task import LabelTask, graded_on_label, label_outcome
from vfc.config import configured
from vfc.errors import NotApplicableError
from vfc.seeding import derive_seed

BITS = "mask-bits"
"""File beside the world with the mask of every image: `train`, `validation` and `targets`, each (n, d)."""

MOST = 200
"""Releases that are read to infer a mask, at most."""


@dataclass(frozen=True, kw_only=True)
class InformedTask(Task):
    """An adversary of labels that knows the defense, on releases, or on what probes are given in their place.

    Args:
        label: the adversary, and what it is tried on.
        defense: digest of the fitted defense.
        reading: what probes are given; empty for releases.
        draw: which random mask.
    """

    label: LabelTask
    defense: str
    reading: str = ""
    draw: int = 0

    def measure(self, handle: EvaluationHandle) -> Outcome:
        """Fit and grade."""
        label = self.label
        graded = graded_on_label(
            label.make_adversary(),
            _reading(handle, self.reading, self.draw) if self.reading else handle.world(),
            label.goal,
            ThreatModel(level=label.level, labels_per_class=label.labels_per_class),
            arm=label.arm,
            seed=label.seed,
            fit_seed=derive_seed("fit", label.adversary, sorted(map(str, label.settings.items())), label.seed),
            defense=handle.defense(),
        )
        return label_outcome(graded, by_class=False)


@lru_cache(maxsize=4)
def _reading(handle: EvaluationHandle, reading: str, draw: int) -> EvaluationData:
    world = handle.world()
    return read_world(world, opened(handle), handle.arrays(BITS), cast(Reading, reading), draw)


def opened(handle: EvaluationHandle) -> Latent:
    """The defense's latent.

    Raises:
        NotApplicableError: there is none, or nobody knows the images that it is tried on.
    """
    images = handle.world().train.images
    if images is None:
        raise NotApplicableError("the originals are unknown")
    return open_latent(handle.defense(), images)


@dataclass(frozen=True, kw_only=True)
class MaskTask(Task):
    """Infer the mask from targets' releases; and see how well the known mask's latent is read off them.

    Args:
        world: digest of the world.
        defense: digest of the fitted defense.
        seed: attack seed.
        settings: options of `MaskInference`.
        latent: options of `mask-latent`.
        times: factor on all steps.
    """

    world: str
    defense: str
    seed: int
    settings: dict[str, Any]
    latent: dict[str, Any]
    times: int = 1

    def measure(self, handle: EvaluationHandle) -> Outcome:
        """Infer and compare; the inference is handed the decoder and releases, and nothing else."""
        started = time.perf_counter()
        latent = opened(handle)
        truth = handle.arrays(BITS)["targets"][:MOST] != 0
        release = handle.world().targets.release[:MOST]
        generator = torch.Generator().manual_seed(derive_seed("mask inference", self.seed))
        inference = replace(configured(MaskInference, self.settings, "mask-inference"), times=self.times)
        inverse = inference.fit(latent.decode, latent.units, generator, release.device)
        found = recovery(inverse(release), truth, per_image=latent.per_image)
        # The positive control: releases of latents of our own, under other masks of the same size.
        planted = permuted(truth, self.seed, per_image=latent.per_image, name="planted")
        own = torch.randn(planted.shape, generator=generator).to(release.device) * planted
        with torch.no_grad():
            known = latent.decode(own)
        control = recovery(inverse(known), planted, per_image=latent.per_image)
        arrays = {**found, "control": control["jaccard"], **self._errors(handle, latent, truth)}
        return Outcome(
            status="measured",
            arrays={name: values.cpu().double().numpy() for name, values in arrays.items()},
            cost={"seconds": round(time.perf_counter() - started, 4), "gradient_steps": inverse.trained},
        )

    def _errors(self, handle: EvaluationHandle, latent: Latent, truth: Tensor) -> Mapping[str, Tensor]:
        """Per target: the squared error of the masked latent that `mask-latent` reads, and its squared deviation."""
        world = handle.world()
        if world.targets.images is None:
            return {}
        true = latent.encode(world.targets.images[:MOST]) * truth
        # Which label the view is about does not matter: none is read.
        threat, label = ThreatModel(level="L4", labels_per_class="all"), next(iter(world.classes))
        view = Knowledge(world, threat, label, defense=handle.defense())
        found = {"spread": (true - true.mean(0)).square().sum(1)}
        adversary = configured(MaskLatent, {**self.latent, "recovery": "optimized"}, "mask-latent")
        optimized = adversary.inverse(view, torch.Generator().manual_seed(derive_seed("read", self.seed)))
        for way, read in (("learned", replace(optimized, steps=0)), ("optimized", optimized)):
            found[way] = (read(world.targets.release[:MOST]) - true).square().sum(1)
        return found
