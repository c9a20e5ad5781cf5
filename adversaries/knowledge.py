"""What an attacker sees: the restricted sight of a `EvaluationData` under one threat model.

Axes: n images or releases, c channels, h and w pixels, m granted rows.
"""

# Structure: calibration does not count it.

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from adversaries.evaluation_data import EvaluationData, Part
from adversaries.threat import Grant, ThreatModel
from vfc.defense import Defense
from vfc.errors import KnowledgeError, NotApplicableError
from vfc.seeding import derive_seed

_CALL = 512
"""Images a query, as many as are published in one call."""


def first_per_class(labels: Int[Tensor, " n"], per_class: int, classes: int) -> Int[Tensor, " m"]:
    """Positions of the first `per_class` rows of every class, in their order.

    Raises:
        NotApplicableError: some class has fewer rows.
    """
    picked = []
    for value in range(classes):
        rows = torch.nonzero(labels == value).flatten()
        if len(rows) < per_class:
            raise NotApplicableError(
                f"the attacker pool has {len(rows)} rows of class {value}, fewer than {per_class} labels per class"
            )
        picked.append(rows[:per_class])
    return torch.cat(picked).sort().values


class Knowledge:
    """The attacker's whole world under one threat model.

    Asking for what the threat model does not grant raises `KnowledgeError`. What an attacker may change (models) is
    copied.

    Args:
        world: the evaluation.
        threat: what the attacker knows.
        label: the label that the attacker is after.
        predictions: whether the goal grants the target's predictions on releases.
        defense: the fitted defense, asked from L3 on and handed out from L4 on.
    """

    def __init__(
        self,
        world: EvaluationData,
        threat: ThreatModel,
        label: str,
        *,
        predictions: bool = False,
        defense: Defense | None = None,
    ) -> None:
        # What an attacker is graded on is not within its reach, whatever it tries.
        self._world = replace(world, validation=world.validation.nothing(), targets=world.targets.nothing())
        self.threat, self.label = threat, label
        self._predictions, self._defense = predictions, defense

    @property
    def num_classes(self) -> int:
        """How many values the attacked label has."""
        return self._world.classes[self.label]

    @property
    def release_shape(self) -> tuple[int, ...]:
        """Shape of one release."""
        return tuple(self._world.train.release.shape[1:])

    @property
    def image_shape(self) -> tuple[int, ...] | None:
        """Shape of one image, or None when images are unknown."""
        images = self._world.train.images
        return None if images is None else tuple(images.shape[1:])

    @property
    def image_shaped(self) -> bool:
        """Whether the clean models can read a release without an adapter."""
        return self.release_shape == self.image_shape and self._world.train.release.is_floating_point()

    @property
    def images(self) -> tuple[Float[Tensor, "n c h w"], Int[Tensor, " n"]]:
        """The attacker's own clean images with the attacked label (L0)."""
        self._require(Grant.IMAGES, "clean images of its own")
        part = self._world.train
        if part.images is None:
            raise NotApplicableError("the originals are unknown")
        order = self._order("images", len(part))
        return part.images[order], part.labels[self.label][order]

    @property
    def own_labels(self) -> Int[Tensor, " n"]:
        """The attacked label of the attacker's own images (L0), known even where the images themselves are not."""
        self._require(Grant.IMAGES, "labels of its own images")
        labels = self._world.train.labels[self.label]
        return labels[self._order("images", len(labels))]

    @property
    def knows_prediction(self) -> bool:
        """Whether the attacker is told what the target predicts on every release."""
        return self._predictions and self._world.train.prediction is not None

    @property
    def own_predictions(self) -> Int[Tensor, " n"] | None:
        """The target's predictions on the releases of its own images, in the order of `own_labels` (L0).

        None where there is no target.

        Raises:
            KnowledgeError: the goal does not grant them.
        """
        self._require(Grant.IMAGES, "labels of its own images")
        seen = self._told
        return None if seen is None else seen[self._order("images", len(seen))]

    @property
    def model_names(self) -> tuple[str, ...]:
        """Names of the unintended models (L0)."""
        self._require(Grant.MODELS, "unintended models")
        return tuple(self._world.models)

    def model(self, name: str) -> nn.Module:
        """A fresh copy, in eval mode, of the unintended model called `name` (L0)."""
        self._require(Grant.MODELS, "unintended models")
        if name not in self._world.models:
            raise NotApplicableError(f"there is no unintended model {name!r} here")
        return copy.deepcopy(self._world.models[name]).eval()

    @property
    def release_range(self) -> tuple[float, float]:
        """Smallest and largest finite value of the pool's releases (L0: whoever sees a few releases knows it)."""
        values = self._world.train.release
        finite = values[torch.isfinite(values)] if values.is_floating_point() else values
        return (float(finite.min()), float(finite.max())) if finite.numel() else (0.0, 0.0)

    @property
    def unlabelled(self) -> Shaped[Tensor, "n ..."]:
        """Releases of the attacker's pool, without labels (L1), in an order that tells nothing of images or labels."""
        self._require(Grant.UNLABELLED, "unlabelled releases")
        release = self._world.train.release
        return release[self._order("unlabelled", len(release))]

    @property
    def unlabelled_calls(self) -> Int[Tensor, " n"] | None:
        """Number of the call that each release of `unlabelled` was published in (L1); None where nobody knows."""
        self._require(Grant.UNLABELLED, "the calls of unlabelled releases")
        call = self._world.train.call
        return None if call is None else call[self._order("unlabelled", len(call))]

    @property
    def labelled(self) -> tuple[Shaped[Tensor, "m ..."], Int[Tensor, " m"]]:
        """The labelled releases that the budget grants (L2): K of every class, or the whole pool."""
        self._require(Grant.LABELLED, "labelled releases")
        part = self._world.train
        rows = self._granted
        return part.release[rows], part.labels[self.label][rows]

    @property
    def labelled_calls(self) -> Int[Tensor, " m"] | None:
        """Number of the call that each labelled release was published in (L2); None where nobody knows."""
        self._require(Grant.LABELLED, "the calls of labelled releases")
        call = self._world.train.call
        return None if call is None else call[self._granted]

    @property
    def labelled_predictions(self) -> Int[Tensor, " m"] | None:
        """The target's predictions on the labelled releases, row by row (L2); None where there is no target.

        Raises:
            KnowledgeError: the goal does not grant them.
        """
        self._require(Grant.LABELLED, "labelled releases")
        seen = self._told
        return None if seen is None else seen[self._granted]

    @property
    def defense(self) -> Defense:
        """The fitted defense: weights, mask, decoder and all (L4). Its target is handed out with L5 only.

        Raises:
            NotApplicableError: only releases were given.
        """
        self._require(Grant.DEFENSE, "the defense")
        if self._defense is None:
            raise NotApplicableError("only releases were given, and no defense to ask")
        if Grant.TARGET in self.threat.knows:
            return self._defense
        return replace(self._defense, target=None)

    @property
    def pairs(self) -> tuple[Shaped[Tensor, "n ..."], Float[Tensor, "n c h w"]]:
        """Releases with the images they stand for (L3), as many as the budget grants.

        Raises:
            NotApplicableError: the originals are unknown, or the pool has fewer pairs.
        """
        self._require(Grant.PAIRS, "pairs of image and release")
        part, budget = self._world.train, self.threat.pairs
        if part.images is None:
            raise NotApplicableError("the originals are unknown, so there are no pairs")
        count = len(part) if budget == "all" else budget
        if count > len(part):
            raise NotApplicableError(f"the attacker pool has {len(part)} pairs, fewer than {count}")
        return part.release[:count].clone(), part.images[:count].clone()

    @torch.no_grad()
    def ask(self, images: Float[Tensor, "m c h w"], generator: torch.Generator) -> Shaped[Tensor, "m ..."]:
        """What the deployed defense publishes for images of the attacker's making (L3): a black box, target and all.

        Raises:
            NotApplicableError: only releases were given, or it answers in another shape than it published.
        """
        self._require(Grant.PAIRS, "queries")
        if self._defense is None:
            raise NotApplicableError("only releases were given, and no defense to ask")
        answers = [self._defense.publish(rows, generator).values for rows in torch.split(images, _CALL)]
        if any(each.shape[1:] != self.release_shape for each in answers):
            raise NotApplicableError("the defense answers in another shape than it published")
        return torch.cat(answers).to(self._world.train.release.dtype)

    def longer(self, answers: Shaped[Tensor, "m ..."], images: Float[Tensor, "m c h w"], rows: Tensor) -> Knowledge:
        """The same sight of a pool that holds answers to queries too (L3); what the target says of those is unknown.

        Args:
            answers: from `ask`.
            images: what was asked.
            rows: of which pair each of these is a copy, whose labels it has.
        """
        self._require(Grant.PAIRS, "queries")
        part = self._world.train
        labels = {name: torch.cat([values, values[rows]]) for name, values in part.labels.items()}
        seen = None if part.images is None else torch.cat([part.images, images])
        train = Part(images=seen, release=torch.cat([part.release, answers]), labels=labels)
        return Knowledge(replace(self._world, train=train), self.threat, self.label, defense=self._defense)

    @property
    def labelled_pairs(self) -> Int[Tensor, " m"]:
        """Which of all pairs the labelled releases are, row by row (L3)."""
        self._require(Grant.PAIRS, "pairs of image and release")
        return self._granted

    @property
    def pair_predictions(self) -> Int[Tensor, " n"] | None:
        """The target's predictions on the releases of `pairs`, row by row (L3); None where there is no target.

        Raises:
            KnowledgeError: the goal does not grant them.
        """
        seen = self._told
        return None if seen is None else seen[: len(self.pairs[0])].clone()

    @property
    def _told(self) -> Int[Tensor, " n"] | None:
        """The target's predictions on the pool's releases, if the goal grants them."""
        if not self._predictions:
            raise KnowledgeError("the target's predictions were asked for, but the goal does not grant them")
        return self._world.train.prediction

    @property
    def _granted(self) -> Int[Tensor, " m"]:
        """Positions of the labelled releases that the budget grants."""
        labels, budget = self._world.train.labels[self.label], self.threat.labels_per_class
        if budget is None:
            raise KnowledgeError("labelled releases were asked for without a budget of labels")
        if budget == "all":
            return torch.arange(len(labels), device=labels.device)
        return first_per_class(labels, budget, self.num_classes)

    def _order(self, what: str, rows: int) -> Int[Tensor, " n"]:
        """A fixed permutation of its own for each kind of knowledge.

        The rows of the world are aligned; handed out as they are, a label or an image could be matched with its release
        by position, which is knowledge that the level does not grant.
        """
        generator = torch.Generator().manual_seed(derive_seed("view", what))
        return torch.randperm(rows, generator=generator).to(self._world.train.release.device)

    def _require(self, what: Grant, words: str) -> None:
        if what not in self.threat.knows:
            raise KnowledgeError(f"{words} asked for, but threat level {self.threat.level} does not grant them")
