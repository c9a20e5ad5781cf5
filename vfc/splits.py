"""Who owns which images: the defender, the attacker, and the targets that everyone is graded on.

Every image's place depends on the hash of its content, salted with a seed, and on its task label, never on its
position in a file. The salt stops defenses that were made before it was drawn from telling targets from pool by their
content; where the targets are a public test part it tells nothing, for everybody knows them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor

from vfc.data import Dataset, ImageSet
from vfc.errors import UserError, unknown

TARGET_SHARE = (1, 4)
VALIDATION_SHARE = (1, 5)
PARTS = ("defender_train", "defender_validation", "pool_train", "pool_validation", "targets")


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The parts of one evaluation; rows inside each are in content-hash order.

    Args:
        defender_train: what the defender fits on.
        defender_validation: what the defender tunes on; part of `defender_train` if `paper`.
        pool_train: the attacker's own images.
        pool_validation: the part of the attacker's pool that chooses between candidates.
        targets: the images that everyone is graded on.
        task: the label by which the parts are stratified.
        paper: whether both sides got the whole training part, as the papers do. The defender fits on all of it; the
            attacker holds a fifth out, because choosing between attacks that saw the images would choose badly.
        duplicates_removed: rows left out because another row has the same image.
        seed: the salt of the hashes by which the parts were drawn.
    """

    defender_train: ImageSet
    defender_validation: ImageSet
    pool_train: ImageSet
    pool_validation: ImageSet
    targets: ImageSet
    task: str
    paper: bool
    duplicates_removed: int
    seed: int = 0

    @property
    def sizes(self) -> dict[str, int]:
        """Number of images by part."""
        return {name: len(getattr(self, name)) for name in PARTS}

    @property
    def digests(self) -> dict[str, str]:
        """Content hash by part."""
        return {name: getattr(self, name).digest for name in PARTS}


def split(dataset: Dataset, *, task: str | None = None, paper: bool = False, seed: int = 0) -> Parts:
    """Divide a data set between defender, attacker and targets.

    Targets are the test part, or a quarter of everything (digits: 450, gaussian: 2,000). The rest is halved (digits:
    600 and 747); a fifth of each half, rounded up, is its owner's validation part. Each image content is kept once:
    among the targets if the test part has it, else in the training part; of repeats with different labels, the row
    with the lowest labels stays.

    Args:
        dataset: what to divide.
        task: the label to stratify by; None for the data set's task.
        paper: give both sides the whole training part, as the papers do. The defender fits on all of it, so that its
            validation part (a fifth) is nothing new to it; the attacker holds that fifth out.
        seed: the salt of the hashes; another one draws other parts, but for the targets of a data set with a test part.

    Raises:
        UserError: an unknown task, or a class too small to be in every part.
    """
    task = dataset.task if task is None else task
    if task not in dataset.classes:
        raise unknown("label", task, dataset.classes)
    classes = dataset.classes[task]
    if dataset.test is not None:
        targets = _unique(dataset.test, set())
        rest = _unique(dataset.train, set(targets.row_hashes))
        before = len(dataset.test) + len(dataset.train)
    else:
        before = len(dataset.train)
        everything = _unique(dataset.train, set())
        count = dataset.target_rows
        if count is None:
            count = len(everything) * TARGET_SHARE[0] // TARGET_SHARE[1]
        targets, rest = _divide(everything, task, classes, count, seed)
    removed = before - len(targets) - len(rest)
    if paper:
        defender = pool = rest
    else:
        count = len(rest) // 2 if dataset.defender_rows is None else dataset.defender_rows
        defender, pool = _divide(rest, task, classes, count, seed)
    defender_validation, defender_train = _hold_out(defender, task, classes, seed)
    pool_validation, pool_train = _hold_out(pool, task, classes, seed)
    if paper:
        defender_train = rest
    parts = Parts(
        defender_train=defender_train,
        defender_validation=defender_validation,
        pool_train=pool_train,
        pool_validation=pool_validation,
        targets=targets,
        task=task,
        paper=paper,
        duplicates_removed=removed,
        seed=seed,
    )
    _check(parts, dataset)
    return parts


def apportion(sizes: Sequence[int], total: int) -> list[int]:
    """Share `total` among classes in proportion to their sizes, by the largest remainder.

    Args:
        sizes: rows per class.
        total: how many to share out, at most the sum of the sizes.

    Returns:
        Rows per class; they add up to exactly `total`, and none exceeds its class. Of equal remainders the lower class
        comes first.
    """
    everything = sum(sizes)
    quotas = [divmod(total * size, everything) for size in sizes]
    shares = [whole for whole, _ in quotas]
    by_remainder = sorted(range(len(sizes)), key=lambda c: (-quotas[c][1], c))
    for position in by_remainder[: total - sum(shares)]:
        shares[position] += 1
    return shares


def _unique(images: ImageSet, taken: set[bytes]) -> ImageSet:
    """Rows in content-hash order, each content once, without those in `taken`."""
    names = sorted(images.labels)
    labels = list(zip(*(images.labels[name].tolist() for name in names), strict=True)) or [()] * len(images)
    hashes = images.row_hashes
    seen, kept = set(taken), []
    for row in sorted(range(len(images)), key=lambda i: (hashes[i], labels[i])):
        if hashes[row] not in seen:
            seen.add(hashes[row])
            kept.append(row)
    return images.take(torch.tensor(kept, dtype=torch.long))


def _divide(images: ImageSet, task: str, classes: int, count: int, seed: int) -> tuple[ImageSet, ImageSet]:
    """The first `count` rows by salted hash, class by class in proportion, and the others; both keep their order."""
    values = images.labels[task]
    if not 0 < count < len(images):
        raise UserError(f"expected more than {count} different images to divide, got {len(images)}", "add images")
    shares = torch.tensor(apportion(torch.bincount(values, minlength=classes).tolist(), count))
    first = _rank(values, classes, _salted_order(images, seed)) < shares[values]
    return images.take(torch.nonzero(first).flatten()), images.take(torch.nonzero(~first).flatten())


def _hold_out(images: ImageSet, task: str, classes: int, seed: int) -> tuple[ImageSet, ImageSet]:
    share, of = VALIDATION_SHARE
    return _divide(images, task, classes, -(-len(images) * share // of), seed)


def _salted_order(images: ImageSet, seed: int) -> Int64[Tensor, " n"]:
    """Rows in the order of their salted hashes, in which parts are drawn."""
    salt = f"split {seed} ".encode()
    salted = [hashlib.sha256(salt + content).digest() for content in images.row_hashes]
    return torch.tensor(sorted(range(len(salted)), key=salted.__getitem__), dtype=torch.long)


def _rank(values: Int64[Tensor, " n"], classes: int, order: Int64[Tensor, " n"]) -> Int64[Tensor, " n"]:
    """Each row's position among the rows of its own class, when rows are taken in an order."""
    rank = torch.empty_like(values)
    for value in range(classes):
        rows = order[values[order] == value]
        rank[rows] = torch.arange(len(rows))
    return rank


def _check(parts: Parts, dataset: Dataset) -> None:
    for name in PARTS:
        counts = torch.bincount(getattr(parts, name).labels[parts.task], minlength=dataset.classes[parts.task])
        if int(counts.min()) == 0:
            missing = int(counts.argmin())
            raise UserError(
                f"class {missing} of label {parts.task!r} in {dataset.name} is too small to be in every part "
                f"({name.replace('_', ' ')} has none)",
                "add images of it, merge it into another class with --label, or choose another --task",
            )
