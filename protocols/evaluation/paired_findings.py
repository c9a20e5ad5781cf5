"""From a board of scores to evidence and to the numbers of the catalog."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adversaries import health
from adversaries.evidence import Arms, AttackBudget, Cost, Evidence, Status, Threat, Value
from adversaries.statistics import estimates
from adversaries.threat import Grant, grants
from protocols.evaluation.label_evidence import Sidecar
from protocols.evaluation.score_board import Aspect, Attempt, Contestant, ScoreBoard, Spot


@dataclass(frozen=True, kw_only=True)
class PairedFindings:
    """Reads one board.

    Args:
        board: the outcomes.
        protocol: name of the protocol.
        sidecar: arrays of the report; rows that numbers come from are added.
        beside: further numbers of the evidence that a number comes from, by goal (anchors).
    """

    board: ScoreBoard
    protocol: str
    sidecar: Sidecar
    beside: Mapping[str, Mapping[str, Value]]

    def metric(self, aspect: Aspect) -> Value:
        """The number of the contestant chosen on validation, with its flags and its missed rivals."""
        board = self.board
        tried = board.tried()
        failed = any(outcome.status == "failed" for outcome in board.outcomes.values())
        flags = {flag for attempt in tried for flag in board.dishonest(attempt)} | ({"CRASHED"} if failed else set())
        contestants = board.contestants(aspect, tried)
        chosen = board.choose(aspect, contestants)
        if chosen is None:
            return Value.unknown(self._absent(tried), unit=aspect.unit, flags=tuple(sorted(flags)))
        missed = board.missed(aspect, chosen, contestants)
        flags |= set(board.doubts(aspect, chosen)) | ({"SELECTION_MISSED"} if missed else set())
        flags |= self._silence(aspect, chosen, contestants)
        value = self._value(aspect, chosen)
        rivals = tuple(self._value(aspect, rival) for rival in missed)
        return value.model_copy(update={"flags": tuple(sorted(flags)), "also": rivals})

    def evidence(self, aspect: Aspect, *, absent: bool) -> list[Evidence]:
        """One row per attempt and seed, each in its best variant.

        Args:
            aspect: how attempts are measured.
            absent: whether attempts that were not measured are listed here.
        """
        board = self.board
        chosen = board.choose(aspect, board.contestants(aspect, board.tried()))
        found: list[Evidence] = []
        best: dict[Attempt, Contestant] = {}
        for attempt in board.tried():
            own = board.contestants(aspect, [attempt])
            if own:
                best[attempt] = max(own, key=lambda each: board.strength(aspect, each))
        extra = self._comparisons(aspect, list(best.values()))
        for attempt in board.tried():
            if attempt in best:
                contestant = chosen if chosen is not None and chosen.attempt == attempt else best[attempt]
                found += self._measured(aspect, contestant, extra.get(attempt, set()), contestant == chosen)
            elif absent:
                found += self._unmeasured(aspect, attempt)
        return found

    def keys(self, aspect: Aspect, contestant: Contestant) -> list[str]:
        """Where the sidecar keeps the rows of every seed."""
        name = self.board.candidates[contestant.attempt.candidate].name.replace(" ", "-")
        words = [str(contestant.attempt.pairs)] if contestant.attempt.pairs is not None else []
        words += [contestant.variant] if contestant.variant else []
        return [f"{self.protocol}/{aspect.goal}/{'@'.join([name, *words])}/{seed}" for seed in self.board.seeds]

    def _value(self, aspect: Aspect, contestant: Contestant) -> Value:
        rows, keys = self.board.rows(aspect, contestant), self.keys(aspect, contestant)
        for key, row in zip(keys, rows, strict=True):
            self.sidecar[key] = row.astype("uint8") if aspect.hits else row  # type: ignore[assignment]
        return self.board.value(aspect, rows, keys)

    def _silence(self, aspect: Aspect, chosen: Contestant, contestants: Sequence[Contestant]) -> set[str]:
        """Doubts that remain although the chosen contestant itself has none."""
        board = self.board
        if chosen.attempt.candidate not in board.blind:
            # Without its control nobody knows whether the choice is honest.
            return set() if board.measured(board.largest(chosen.attempt), "shuffled") else {"CRASHED"}
        # The floor's guesser won: that says something only if somebody who looks at releases was able to see.
        seeing = board.choose(aspect, (c for c in contestants if c.attempt.candidate not in board.blind))
        if seeing is None:
            return {"CEILING_MISSED"}
        return set(board.doubts(aspect, seeing)) & set(health.POWER)

    def _absent(self, attempts: Sequence[Attempt]) -> str:
        outcomes = [outcome for spot, outcome in self.board.outcomes.items() if spot.attempt in attempts]
        reasons = Counter(outcome.reason for outcome in outcomes if outcome.reason)
        return reasons.most_common(1)[0][0] if reasons else "no adversary for it was measured"

    def _measured(self, aspect: Aspect, contestant: Contestant, extra: set[str], chosen: bool) -> list[Evidence]:
        board, attempt = self.board, contestant.attempt
        flags = tuple(sorted({*board.doubts(aspect, contestant), *extra}))
        rows = {arm: board.rows(aspect, self._at(contestant, arm), arm=arm) for arm in ("ceiling", "shuffled")}
        self._value(aspect, contestant)
        found = []
        for position, (seed, row) in enumerate(zip(board.seeds, board.rows(aspect, contestant), strict=True)):
            attack = board.value(aspect, [row], [self.keys(aspect, contestant)[position]])
            beside = {arm: board.value(aspect, [r[position]]) if r else None for arm, r in rows.items()}
            validation = board.rows(aspect, contestant, part="validation")[position]
            metrics = {"validation": board.value(aspect, [validation])}
            if doubled := board.rows(aspect, contestant, doubled=True):
                metrics["doubled"] = board.value(aspect, [doubled[position]])
            if chosen:
                metrics |= self.beside.get(aspect.goal, {})
            outcome = board.outcomes[Spot(attempt, "attack", seed)]
            found.append(
                Evidence(
                    protocol=self.protocol,
                    adversary=board.candidates[attempt.candidate].adversary,
                    goal=aspect.goal,
                    threat=self._threat(attempt, int(outcome.cost["gradient_steps"])),
                    seed=seed,
                    status="measured",
                    arms=Arms(attack=attack, floor=board.floor(aspect, len(row)), **beside),
                    metrics=metrics,
                    health=flags,
                    chosen=chosen,
                    cost=Cost.model_validate(outcome.cost),
                    settings=self._settings(contestant),
                )
            )
        return found

    def _at(self, contestant: Contestant, arm: str) -> Contestant:
        """Where an arm of a contestant stands: ceilings of as many pairs where there are any, else of the most."""
        if arm == "ceiling" and self.board.measured(contestant.attempt, arm):
            return contestant
        return contestant._replace(attempt=self.board.largest(contestant.attempt))

    def _unmeasured(self, aspect: Aspect, attempt: Attempt) -> list[Evidence]:
        found = []
        for seed in self.board.seeds:
            outcome = self.board.outcomes[Spot(attempt, "attack", seed)]
            status: Status = outcome.status  # type: ignore[assignment]
            if status == "measured":
                continue
            found.append(
                Evidence(
                    protocol=self.protocol,
                    adversary=self.board.candidates[attempt.candidate].adversary,
                    goal=aspect.goal,
                    threat=self._threat(attempt, None),
                    seed=seed,
                    status=status,
                    reason=outcome.reason,
                    health=("CRASHED",) if status == "failed" else (),
                    settings=self._settings(Contestant(attempt)),
                )
            )
        return found

    def _threat(self, attempt: Attempt, steps: int | None) -> Threat:
        level = self.board.levels[attempt.candidate]
        pairs = attempt.pairs if isinstance(attempt.pairs, int) else None
        known = tuple(k.name.lower() for k in Grant if k in grants(level) and k.name)
        return Threat(level=level, knows=known, budget=AttackBudget(pairs=pairs, steps=steps))

    def _settings(self, contestant: Contestant) -> dict[str, object]:
        settings: dict[str, object] = dict(self.board.candidates[contestant.attempt.candidate].settings)
        if contestant.attempt.pairs is not None:
            settings["pairs"] = contestant.attempt.pairs
        if contestant.variant:
            settings["read_by"] = contestant.variant
        return settings

    def _comparisons(self, aspect: Aspect, contestants: Sequence[Contestant]) -> dict[Attempt, set[str]]:
        """WEAKER_THAN_LOWER_LEVEL and BUDGET_NOT_MONOTONE, between the best of levels and of numbers of pairs."""
        board, found = self.board, dict[Attempt, set[str]]()
        seeing = [c for c in contestants if c.attempt.candidate not in board.blind]
        levels = sorted({board.levels[c.attempt.candidate] for c in seeing})
        best = [
            board.choose(aspect, [c for c in seeing if board.levels[c.attempt.candidate] == level]) for level in levels
        ]
        curve = [board.choose(aspect, [c for c in seeing if c.attempt.pairs == pairs]) for pairs in board.grid]
        for flag, row in (("WEAKER_THAN_LOWER_LEVEL", best), ("BUDGET_NOT_MONOTONE", curve)):
            for position, later in enumerate(row):
                for earlier in row[:position]:
                    if later is not None and earlier is not None and board.gains(aspect, earlier, later):
                        found.setdefault(later.attempt, set()).add(flag)
        return found


def unknown_metrics(aspects: Sequence[Aspect], reason: str) -> dict[str, Value]:
    """Every number of some aspects, not known."""
    return {aspect.name: Value.unknown(reason, unit=aspect.unit) for aspect in aspects}


def anchor(rows: object, aspect: Aspect) -> Value:
    """A number to compare with: mean over targets."""
    return estimates.mean(rows, aspect.unit)
