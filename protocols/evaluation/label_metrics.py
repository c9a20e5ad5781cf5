"""From a board of outcomes to the numbers of the catalog, each with the flags of the adversary it was chosen from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from adversaries.evidence import Value
from adversaries.statistics import estimates, levels
from protocols.evaluation.board import Attempt, Board, Rows

Measure = Callable[[Rows, int], Value]
"""From the attack's right-or-wrong rows and the seed to one number."""


@dataclass(frozen=True, kw_only=True)
class TargetRows:
    """Right or wrong per target for the intended use; None where there is no target model.

    Args:
        release: on the release as published.
        clean: on the images themselves.
        picture: on the release made a real picture.
    """

    release: Rows | None = None
    clean: Rows | None = None
    picture: Rows | None = None


@dataclass(frozen=True, kw_only=True)
class LabelMetrics:
    """Computes the metrics of one board.

    Args:
        board: the outcomes.
        target: how the intended use did on the same targets.
        per_class: mean number of labelled releases per class in the whole pool, which is what `all` stands for.
        rows: arrays of the sidecar; those that leakage is bootstrapped from are added.
    """

    board: Board
    target: TargetRows
    per_class: float
    rows: dict[str, Rows]

    def best(self, attempts: Sequence[Attempt], measure: Measure) -> Value:
        """A number of the adversary chosen on validation, over seeds, with its flags and its missed rivals."""
        board = self.board
        dropped = {f for a in attempts if board.measured(a, "attack") for f in board.dishonest(a)}
        flags = dropped | ({"CRASHED"} if board.crashed(attempts) else set())
        if absent := board.cannot_learn(attempts):
            return Value.unknown(absent, flags=tuple(sorted(flags)))
        chosen = board.choose(attempts)
        if chosen is None:
            reason = "no adversary for it was measured" if attempts else "there is no adversary for it here"
            return Value.unknown(reason, flags=tuple(sorted(flags)))
        missed = board.missed(chosen, attempts)
        flags |= set(board.doubts(chosen)) | ({"SELECTION_MISSED"} if missed else set())
        # Without its control nobody knows whether the choice is honest.
        flags |= {"CRASHED"} if board.uncontrolled(chosen) else set()
        value = self._over_seeds(chosen, measure)
        rivals = tuple(self._over_seeds(rival, measure) for rival in missed)
        return value.model_copy(update={"flags": tuple(sorted(flags)), "also": rivals})

    def accuracy(self, attempts: Sequence[Attempt]) -> Value:
        """Accuracy of the chosen adversary."""
        return self.best(attempts, lambda rows, _seed: estimates.rate(int(rows.sum()), len(rows)))

    def suppression(self, attempts: Sequence[Attempt], target: Rows | None = None) -> Value:
        """Suppression ratio against the chosen adversary; `target` defaults to the target on the release."""
        hits = self.target.release if target is None else target
        if hits is None:
            return Value.unknown("the release names no target model", unit="ratio")
        return self.best(attempts, lambda rows, _seed: estimates.suppression(hits, rows, self.board.floor))

    def leakage(self, name: str, attempts: Sequence[Attempt]) -> Value:
        """Leakage of the chosen adversary, against the ceiling chosen in the same way on the images."""
        if self.board.planted:
            return Value.unknown("the originals are unknown, so there is no ceiling on the images", unit="leakage")
        ceiling = self.board.choose(attempts, "ceiling")
        if ceiling is None:
            return Value.unknown("there is no ceiling: nothing was measured on the images", unit="leakage")

        def measure(rows: Rows, seed: int) -> Value:
            above = self.board.rows(ceiling, "ceiling", seed)
            if above is None:  # `choose` only returns attempts with all seeds
                return Value.unknown("the ceiling was not measured", unit="leakage")
            key = f"{name}/{len([k for k in self.rows if k.startswith(name)])}"
            self.rows[key] = np.stack([rows, self.board.floor, above])
            return estimates.leakage(rows, self.board.floor, above, seed=seed, rows=key)

        return self.best(attempts, measure)

    def labels_to(self, share: float) -> Value:
        """Smallest K of the grid whose accuracy reaches floor + share * (target - floor).

        The bounds come from those of the accuracies: `low` is where the upper bound first reaches the goal, `high`
        where the lower bound does.
        """
        if self.target.release is None:
            return Value.unknown("the release names no target model", unit="count")
        floor, target = float(self.board.floor.mean()), float(self.target.release.mean())
        if target <= floor:
            return Value.unknown("the target model is not above the floor", unit="count")
        goal = floor + share * (target - floor)
        curve = [
            (self.per_class if labels == "all" else float(labels), self.accuracy(self._up_to_l2(labels)))
            for labels in self.board.grid
        ]
        # A pool can be smaller than a K of the grid, so that `all` is not always the largest.
        curve = sorted((point for point in curve if point[1].value is not None), key=lambda point: point[0])
        if not curve:
            return Value.unknown("no adversary was measured at any number of labels", unit="count")
        largest = curve[-1][0]

        def first(numbers: list[tuple[float, float | None]]) -> tuple[float, bool]:
            """The first K with such a number at the goal, and whether there is none."""
            for labels, number in numbers:
                if number is not None and number >= goal:
                    return labels, False
            return largest, True

        value, censored = first([(labels, v.value) for labels, v in curve])
        low, _ = first([(labels, v.high) for labels, v in curve])
        high, _ = first([(labels, v.low) for labels, v in curve])
        flags = tuple(sorted({flag for _, v in curve for flag in v.flags}))
        found = Value(
            value=value,
            low=low,
            high=high,
            n=len(self.board.floor),
            unit="count",
            method="first K of the grid that reaches the goal",
            censored=censored,
            flags=flags,
        )
        best = [max(n for n in (v.value, *(o.value for o in v.also)) if n is not None) for _, v in curve]
        rival, none = first([(labels, number) for (labels, _), number in zip(curve, best, strict=True)])
        if (rival, none) == (value, censored):
            return found
        # A rival that selection missed reaches the goal earlier; gates are judged on it too.
        return found.model_copy(
            update={"also": (found.model_copy(update={"value": rival, "low": rival, "high": rival, "censored": none}),)}
        )

    def transfer(self) -> dict[str, Value]:
        """`transfer.*`: frozen unintended models, the near twin apart."""
        frozen = self._named("frozen")
        pictures = self._named("frozen-picture")
        twin = self._named("frozen", twin=True)
        metrics = {
            "transfer.accuracy": self.accuracy(frozen),
            "transfer.suppression_ratio": self.suppression(frozen),
            "transfer.leakage": self.leakage("transfer.leakage", frozen),
            "transfer.twin.accuracy": self.accuracy(twin),
            "transfer.twin.suppression_ratio": self.suppression(twin),
        }
        if any(self.board.measured(attempt, "attack") for attempt in pictures):
            metrics["transfer.picture.accuracy"] = self.accuracy(pictures)
        if self.target.picture is not None:
            metrics["transfer.picture.suppression_ratio"] = self.suppression(pictures, self.target.picture)
        return metrics

    def adaptive(self, levels: Sequence[str]) -> dict[str, Value]:
        """`adaptive.*`: the strongest of all levels that the threat model allows."""
        board = self.board
        metrics = self.strongest(levels)
        if "L1" in levels:
            metrics["adaptive.accuracy@0"] = self.accuracy(board.attempts(levels=levels))
        if "L2" in levels:
            for labels in board.grid:
                attempts = self._up_to_l2(labels)
                metrics[f"adaptive.accuracy@{labels}"] = self.accuracy(attempts)
                metrics[f"adaptive.suppression_ratio@{labels}"] = self.suppression(attempts)
            metrics["adaptive.labels_to_half"] = self.labels_to(0.5)
            metrics["adaptive.labels_to_90"] = self.labels_to(0.9)
        return metrics

    def strongest(self, levels: Sequence[str]) -> dict[str, Value]:
        """`adaptive.*` at the largest number of labels."""
        largest = self.board.attempts(self.board.grid[-1], levels=levels)
        return {
            "adaptive.accuracy": self.accuracy(largest),
            "adaptive.suppression_ratio": self.suppression(largest),
            "adaptive.leakage": self.leakage("adaptive.leakage", largest),
        }

    def with_missed(self, metrics: Mapping[str, Value], missed: Sequence[Sequence[Rows]]) -> dict[str, Value]:
        """The strongest numbers, with those of clearly stronger rivals who were graded on the first targets only.

        Args:
            metrics: from `strongest`.
            missed: of every such rival, right or wrong about the first targets, by seed.
        """
        if not missed:
            return dict(metrics)

        def ratio(rows: Rows) -> Value:
            target = self.target.release
            if target is None:
                return Value.unknown("the release names no target model", unit="ratio")
            return estimates.suppression(target[: len(rows)], rows, self.board.floor[: len(rows)])

        def rate(rows: Rows) -> Value:
            return estimates.rate(int(rows.sum()), len(rows))

        measures = {"adaptive.accuracy": rate, "adaptive.suppression_ratio": ratio}
        found = {}
        for name, value in metrics.items():
            flags = tuple(sorted({*value.flags, "SELECTION_MISSED"}))
            beside: list[Value] = []
            if (measure := measures.get(name)) is not None:
                beside = [levels.over_seeds([measure(rows) for rows in seeds]) for seeds in missed]
            found[name] = value.model_copy(update={"flags": flags, "also": (*value.also, *beside)})
        return found

    def _up_to_l2(self, labels: int | str) -> list[Attempt]:
        return self.board.attempts(labels, levels=("L0", "L1", "L2"))

    def _named(self, adversary: str, *, twin: bool = False) -> list[Attempt]:
        return [
            attempt
            for attempt in self.board.attempts(levels=("L0",), twin=twin)
            if self.board.candidates[attempt.candidate].adversary == adversary
            and self.board.candidates[attempt.candidate].headline != twin
        ]

    def _over_seeds(self, attempt: Attempt, measure: Measure) -> Value:
        values = [
            measure(rows, seed)
            for seed in self.board.seeds
            if (rows := self.board.rows(attempt, "attack", seed)) is not None
        ]
        return levels.over_seeds(values)


def target_metrics(target: TargetRows, reason: str) -> dict[str, Value]:
    """`target.*`: the intended use on the release, on the images and on the picture."""

    def rate(rows: Rows | None) -> Value:
        return Value.unknown(reason) if rows is None else estimates.rate(int(np.sum(rows)), len(rows))

    metrics = {"target.accuracy": rate(target.release), "target.clean_accuracy": rate(target.clean)}
    if target.release is None or target.clean is None:
        reason = reason or "nobody knows the target's predictions on the images"
        metrics["target.clean_accuracy"] = Value.unknown(reason) if target.clean is None else rate(target.clean)
        metrics["target.retention"] = Value.unknown(reason, unit="ratio")
    else:
        metrics["target.retention"] = estimates.retention(target.release, target.clean)
    if target.picture is not None:
        metrics["target.picture.accuracy"] = rate(target.picture)
    return metrics
