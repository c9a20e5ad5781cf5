"""The threat model in words: what the attacker knows, level by level, and what accuracy it reached."""

from __future__ import annotations

from collections import defaultdict

from reports.model.attempt_index import Attempt, AttemptIndex
from reports.text.caveats import listed
from reports.text.phrases import LEVELS

KNOWLEDGE = {
    "images": "clean, labelled images of its own",
    "models": "models trained on them",
    "unlabelled": "releases without labels",
    "labelled": "labelled releases",
    "pairs": "pairs of its own images and their releases",
    "defense": "the defense: weights, mask, noise law",
    "target": "the target model's own predictions",
}
"""What an attacker may see, in words."""


def threats(index: AttemptIndex) -> list[dict[str, str]]:
    """What the attacker knows: a row per level that attacked, with the range of accuracies of its honest attacks."""
    task = f"task:{index.report.dataset.task}"
    groups: dict[str, list[Attempt]] = defaultdict(list)
    for attempt in index.attempts:
        groups[attempt.level].append(attempt)
    found = []
    before: set[str] = set()
    for level, attempts in sorted(groups.items()):
        knows = dict.fromkeys(name for attempt in attempts for row in attempt.rows for name in row.threat.knows)
        new = [KNOWLEDGE.get(name, name) for name in knows if name not in before]
        labels = sorted({str(attempt.labels) for attempt in attempts if attempt.labels is not None}, key=_numeric)
        measured = [attempt for attempt in attempts if attempt.status == "measured"]
        rates = [value for one in measured if one.honest and one.goal == task and (value := one.arm("attack"))]
        reached = [value.value for value in rates if value.value is not None]
        found.append(
            {
                "level": level,
                "word": LEVELS.get(level, ""),
                "knows": ("also " if before and new else "") + (", ".join(new) or "nothing more"),
                "labels": f"K = {', '.join(labels)}" if labels else "none",
                "who": listed(dict.fromkeys(attempt.adversary for attempt in attempts), 12),
                "count": f"{len(measured)} of {len(attempts)}",
                "range": f"{min(reached):.3f} to {max(reached):.3f}" if reached else "–",
            }
        )
        before |= set(knows)
    return found


def _numeric(labels: str) -> tuple[bool, int]:
    return (False, int(labels)) if labels.isdecimal() else (True, 0)
