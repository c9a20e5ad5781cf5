"""Conducting `inversion`: who rebuilds images, on how many target images, and what stands beside the results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from adversaries.evaluation_data import EvaluationData
from adversaries.evidence import Value
from adversaries.goals.gallery import RULES, match_rate
from adversaries.goals.image_metrics import psnr, ssim
from adversaries.goals.reconstruction import ADVERSARIES, Reconstructor
from adversaries.statistics import estimates, levels
from adversaries.threat import parse_level
from protocols.engine.prepared import Prepared
from protocols.engine.publishing.world import shared_images
from protocols.engine.task import Rows
from protocols.evaluation.candidate import Candidate, collect, floor_guessers
from protocols.evaluation.context import Context
from protocols.evaluation.cross_protocol import rivals_from_readers
from protocols.evaluation.overrides import with_overrides
from protocols.evaluation.pairs import PairsEvaluation, pairs_statistic
from protocols.evaluation.protocol import Findings
from protocols.evaluation.results import Attempt, Competitor, Trial
from protocols.evaluation.statistic import Statistic
from protocols.inversion.task import REPEATS, InversionTask
from vfc.release import tensor_digest

NAME = "inversion"

LIMITS = {"smoke": (32, 100), "standard": (64, 256), "full": (128, 1000)}
"""How many rows of validation and targets are rebuilt by adversaries that optimize for each of them."""

FEWER = {"standard": (16, 100), "full": (64, 256)}
"""The same for those that train a network for each."""

ROWS = {"train": 2000, "validation": 500, "targets": 1000}
"""Several releases are published of so many images of every part, at most."""

SPENT: dict[str, dict[str, dict[str, Any]]] = {
    "smoke": {"decoder": {"steps": 100}, "gradient-inversion": {"steps": 60}},
    "standard": {"gradient-inversion": {"steps": 100}, "deep-prior": {"steps": 120}},
    "full": {
        "gradient-inversion": {"steps": 400, "restarts": 4},
        "deep-prior": {"steps": 1000},
        "rmle": {"steps": 1000},
    },
}
REPEATED = {"smoke": 8, "standard": 16, "full": 32}
DRAWS = 4
"""Releases whose mean is matched at every step, for a defense whose releases differ."""


SLOW = ("deep-prior", "replay-decoder")
"""Adversaries that train a network for each release, or on several times as many pairs: not at `smoke`."""

REFERENCES = ("inverse-network", "rmle")
"""Attacks of the literature that stand beside ours, so that the report shows who is stronger: at `full` only."""

AFFORD_FEWER = ("deep-prior", "rmle")
"""Adversaries of which fewer rows can be afforded than of the others that optimize for each."""


def rebuilders(budget: str = "full", *, planar: bool = True) -> tuple[Candidate, ...]:
    """Every adversary that rebuilds images; the floor's guessers come last.

    Args:
        budget: below `full` references are left out, at `smoke` others too, and some compete in one form only.
        planar: whether a release has two spatial axes.
    """
    everybody = (*collect("reconstruction"), *floor_guessers("reconstruction"))
    if budget == "full":
        return everybody
    everybody = tuple(each for each in everybody if each.adversary not in REFERENCES)
    if budget != "smoke":
        return everybody
    forms = {"decoder": ("form", "image" if planar else "vector"), "gradient-inversion": ("space", "components")}

    def kept(candidate: Candidate) -> bool:
        option, form = forms.get(candidate.adversary, ("", None))
        return candidate.adversary not in SLOW and candidate.settings.get(option) == form

    return tuple(each for each in everybody if kept(each))


def statistics_of(readers: Sequence[str], data: EvaluationData, task: str) -> tuple[Statistic, ...]:
    """How reconstructions are measured: PSNR, SSIM, identification in a gallery, and what clean models read off them.

    Args:
        readers: names of the clean models.
        data: whose target images are rebuilt.
        task: the label that is read.
    """
    hit, read = _floors(data, task)
    return (
        pairs_statistic("inversion.psnr", "reconstruction:psnr", "psnr", kind="mean", unit="dB", margin=0.5),
        pairs_statistic("inversion.ssim", "reconstruction:ssim", "ssim", kind="mean", unit="ssim"),
        pairs_statistic("inversion.identification", "reconstruction:identification", "hit", variants=RULES, floor=hit),
        pairs_statistic(
            "inversion.reader_accuracy", f"task:{task}", "read", variants=tuple(readers) or ("",), floor=read
        ),
    )


def conduct_inversion(context: Context) -> Findings:
    """Attack, choose for every statistic, and report."""
    prepared = context.prepared
    task = prepared.parts.task
    readers = [name for name in prepared.models if prepared.families is None or name != prepared.families.twin]
    competing = rebuilders(context.budget.name, planar=prepared.world.train.release.ndim == 4)
    repeats = _publish_repeats(context)
    evaluation = PairsEvaluation.of(
        context,
        NAME,
        [_competitor(context, each) for each in competing if _kind(each).level in context.levels],
        statistics_of(readers, prepared.world, task),
        lambda candidate: _task(context, candidate, repeats),
    )
    evaluation.run("rebuilding images")
    metrics = {board.statistic.name: evaluation.metric(board) for board in evaluation.boards}
    if not readers:
        metrics["inversion.reader_accuracy"] = Value.unknown("there is no clean model to read reconstructions")
    evidence = evaluation.evidence(_anchors(prepared, evaluation))
    _show(context, evaluation)
    return Findings(evidence=evidence, metrics=metrics, rivals=rivals_from_readers(evaluation.boards[-1]))


def _kind(candidate: Candidate) -> type[Reconstructor]:
    return ADVERSARIES.get(candidate.adversary)


def _competitor(context: Context, candidate: Candidate) -> Competitor:
    kind, spending = _kind(candidate), _spending(context, candidate)
    return Competitor(
        candidate=spending,
        level=parse_level(kind.level),
        grows=kind.learns_pairs,
        shuffles=not kind.blind,
        trains=spending.trains,
        blind=kind.blind,
    )


def _spending(context: Context, candidate: Candidate) -> Candidate:
    """The candidate with the user's options, and where there are none with what the budget spends."""
    chosen = with_overrides(candidate, context.settings)
    spent = dict(SPENT[context.budget.name].get(candidate.adversary, {}))
    if candidate.adversary in ("gradient-inversion", "deep-prior", "rmle") and context.prepared.observed.stochastic:
        spent["draws"] = DRAWS
    return Candidate(adversary=chosen.adversary, settings={**spent, **chosen.settings})


def _task(context: Context, candidate: Candidate, repeats: str) -> Callable[..., InversionTask]:
    """How many rows a candidate can afford, and the further releases that it reads."""
    kind = _kind(candidate)
    limits = LIMITS[context.budget.name] if kind.per_target else None
    if candidate.adversary in AFFORD_FEWER:
        limits = FEWER.get(context.budget.name, limits)
    return partial(InversionTask, beside=repeats if kind.reads_repeats else "", limits=limits)


def _publish_repeats(context: Context) -> str:
    """Several releases of the first images, written beside the data; their digest, empty where releases are equal."""
    prepared = context.prepared
    if prepared.publisher is None or context.threat < "L4" or not prepared.observed.stochastic:
        return ""
    some = {name: images[: ROWS[name]] for name, images in shared_images(prepared.parts).items()}
    times = REPEATED[context.budget.name]
    drawn = [prepared.publisher.together(some, f"repeat {turn}").values for turn in range(times)]
    repeats = {name: torch.stack([values[name] for values in drawn], dim=1) for name in some}
    prepared.place.save_beside(REPEATS, repeats)
    return tensor_digest(*repeats.values())


def _floors(data: EvaluationData, task: str) -> tuple[Rows, Rows]:
    """The floors that no guesser of images gives: a random member of the gallery, and the most frequent label."""
    targets = data.targets
    majority = int(torch.bincount(data.train.labels[task]).argmax())
    read = (targets.labels[task] == majority).double().numpy()
    return match_rate(len(targets), targets.prediction).numpy(), read


def _anchors(prepared: Prepared, evaluation: PairsEvaluation) -> dict[str, dict[str, Value]]:
    """What PSNR and SSIM would be for the image itself, another one, and the mean images."""
    images = prepared.world.targets.images
    if images is None or len(images) < 2:
        return {}
    other = images.roll(1, dims=0)
    found: dict[str, dict[str, Value]] = {}
    for board, measure in zip(evaluation.boards, (psnr, ssim), strict=False):
        own = found[board.statistic.goal] = {}
        for name, shown in (("anchor.image", images), ("anchor.other_image", other)):
            own[name] = estimates.mean(measure(shown, images).double().numpy(), board.statistic.unit)
        for position, competitor in enumerate(evaluation.results.competitors):
            settings = competitor.candidate.settings
            if not competitor.blind or settings.get("aim") != "mean":
                continue
            known = bool(settings["by_prediction"])
            if known and prepared.world.targets.prediction is None:
                continue
            name = "anchor.class_mean_image" if known else "anchor.mean_image"
            for contestant in board.contestants([Attempt(position, None)]):
                own[name] = levels.over_seeds([board.statistic.value(rows) for rows in board.rows(contestant)])
    return found


def _show(context: Context, evaluation: PairsEvaluation) -> None:
    """The worst leaks of the chosen reconstruction, for people to look at."""
    chosen = evaluation.chosen(evaluation.boards[0])
    targets = context.prepared.world.targets
    if chosen is None or targets.images is None:
        return
    arrays = evaluation.results.outcomes[Trial(chosen.attempt, "attack", context.seeds[0])].arrays
    picked = np.asarray(arrays["shown.rows"])
    rows = context.rows
    rows["gallery/original"] = targets.images[torch.from_numpy(picked)].numpy()
    rows["gallery/reconstruction"] = np.asarray(arrays["shown.images"])
    if evaluation.boards[-1].statistic.variants != ("",):
        rows["gallery/exposed"], rows["gallery/sure"] = arrays["shown.exposed"], arrays["shown.sure"]
    rows["gallery/psnr"], rows["gallery/ssim"] = (arrays[f"targets.{name}"][picked] for name in ("psnr", "ssim"))
    rows["gallery/rank"] = (
        np.minimum(*(arrays[f"targets.rank.{rule}"] for rule in ("nearest", "direction")))[picked] + 1
    )
    shape = targets.release.shape[1:]
    if len(shape) == 3 and shape[0] in (1, 3):
        values = targets.release[torch.from_numpy(picked)].double().nan_to_num(posinf=0, neginf=0)
        low, high = float(values.min()), float(values.max())
        rows["gallery/release"] = ((values - low) / max(high - low, 1e-12)).float().numpy()
