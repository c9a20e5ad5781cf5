"""What a report's numbers rest on, in sentences: controls, flags, the release itself, and what was not measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from adversaries.evidence import Value
from adversaries.health import HONESTY, MEANINGS, POWER
from reports.gate.condition import ACCEPTABLE, secret_words
from reports.model.attempt_index import Attempt, AttemptIndex
from reports.model.catalog import sections
from reports.model.harmless import short
from reports.model.numbers import number
from reports.model.report import Report
from reports.text.hard_plants import hard_plants
from reports.text.phrases import per_class

FLOOR_GUESSER = "majority"
"""The floor's own guesser competes too; that it finds nothing says nothing about the others."""


@dataclass(frozen=True, kw_only=True)
class Flagged:
    """One health flag, with the adversaries and numbers that carry it.

    Args:
        flag: its name.
        weight: what it does to gates, in words.
        meaning: what it says, in words.
        adversaries: names of those that carry it, each once.
        chosen: those among them that a headline number came from, with their K.
        metrics: numbers that carry it.
    """

    flag: str
    weight: str
    meaning: str
    adversaries: tuple[str, ...]
    chosen: tuple[str, ...]
    metrics: tuple[str, ...]

    @property
    def decides(self) -> bool:
        """Whether it forbids that a gate holds."""
        return self.flag in POWER or self.flag in HONESTY


def flagged(index: AttemptIndex) -> list[Flagged]:
    """Every flag of the report, those that decide gates first."""
    carriers: dict[str, list[Attempt]] = defaultdict(list)
    for attempt in index.attempts:
        for flag in attempt.flags:
            carriers[flag].append(attempt)
    metrics: dict[str, list[str]] = defaultdict(list)
    for name, value in index.report.metrics.items():
        for flag in value.flags:
            metrics[flag].append(name)
    order = [*HONESTY, *POWER, *MEANINGS]
    known = sorted({*carriers, *metrics}, key=lambda flag: (order.index(flag) if flag in order else len(order), flag))
    return [
        Flagged(
            flag=flag,
            weight=_weight(flag),
            meaning=MEANINGS.get(flag, "a flag that this version does not know"),
            adversaries=tuple(dict.fromkeys(attempt.name for attempt in carriers[flag])),
            chosen=tuple(_with_labels(attempt) for attempt in carriers[flag] if attempt.chosen),
            metrics=tuple(metrics[flag]),
        )
        for flag in known
    ]


def controls(index: AttemptIndex) -> list[str]:
    """Whether the attacks worked, and which controls say so."""
    # Diagnostics are measured too, but attack nothing.
    measured = [each for each in index.attempts if each.status == "measured" and each.arm("attack") is not None]
    if not measured:
        return ["No attack was measured, so there are no controls."]
    shuffled = sum(attempt.arm("shuffled") is not None for attempt in measured)
    ceilings = sum(attempt.arm("ceiling") is not None for attempt in measured)
    undefended = sum(attempt.arm("undefended") is not None for attempt in measured)
    sentences = [
        *_control(index.report),
        f"{_count(len(measured), 'attack')} measured; controls: {ceilings} on the images, or on planted labels where "
        f"those are unknown (ceiling); {shuffled} on shuffled labels; {undefended} without the defense (undefended).",
    ]
    plants = hard_plants(measured)
    sentences += [plant.sentence for plant in plants]
    decisive = [f for f in flagged(index) if f.decides and (set(f.adversaries) - {FLOOR_GUESSER} or f.metrics)]
    if not decisive:
        guesser = any(f.decides for f in flagged(index))
        but = f", except on {FLOOR_GUESSER}, which sees no release" if guesser else ""
        if any(plant.overlooked for plant in plants):
            sentences.append(
                f"No flag forbids that a gate holds{but}, but a planted leak of a hard kind was not found."
            )
        else:
            sentences.append(f"All controls that ran are clean: no flag forbids that a gate holds{but}.")
    if not shuffled:
        sentences.append("No shuffled control ran, so it was not checked that the attacks see no label they must not.")
    return sentences


def _control(report: Report) -> list[str]:
    """Whether the attacks come close to the target model, which is known to read the release."""
    control, target = report.target.control, report.target.accuracy
    if control is None:
        return []
    if control.status == "unknown":
        return [
            f"No target model vouches for the attacks: {control.reason}. Supply `prediction`, `predict` or `target`."
        ]
    if control.accuracy is None:
        return [f"The target model is matched by nobody: {control.reason}."]
    who = f"{short(control.candidate or 'an attack', 60)} {_share(control.accuracy)}"
    beside = f"target model {_share(target)}, strongest attack with all labels {who}"
    if control.ceiling is not None:
        beside += f", on the images {_share(control.ceiling)}"
    if control.status == "matched":
        secret = " The declared secret is broken or was none." if report.release.secret.kind in ACCEPTABLE else ""
        return [f"The attacks read the release about as well as the target model does ({beside}).{secret}"]
    return [
        f"The attacks stay clearly short of the target model ({beside}): they are too weak here or there is a secret, "
        "so that their silence shows nothing."
    ]


def _share(value: Value) -> str:
    return "unknown" if value.value is None else number(value.value)


def _secret(report: Report) -> list[str]:
    """The secret that the defense declares, if any."""
    secret = report.release.secret
    if secret.kind == "none":
        return []
    what = secret_words(secret) if secret.kind in ACCEPTABLE else "the target's weights, which no attacker here has"
    return [
        f"Its defense declares a secret ({secret.kind}): {short(what, 300)}.",
        "A target model that is public has no secret: then whoever runs it (L5) reads every release as it does.",
    ]


def _isolation(report: Report) -> list[str]:
    """That the defender's code could remember, where it had no processes of its own."""
    if report.provenance.isolated is not False:
        return []
    return [
        "Its code published and predicted in the run's own process (isolated: false), so a predict that remembers what "
        "was published is not found out: the target model's numbers, and what is compared with them, rest on its word. "
        "It has processes of its own on Linux and the CPU, by a name or a factory and without --no-isolation."
    ]


def release_facts(report: Report) -> list[str]:
    """What the release is, as declared and as seen."""
    facts = [_shape(report), _bounds(report), _stochastic(report), *_secret(report), *_isolation(report)]
    dependent = report.release.call_dependent
    if dependent is None:
        facts.append("Whether a release depends on the call in which it is published was not observed.")
    else:
        word = "depends" if dependent else "does not depend"
        facts.append(f"The release of an image {word} on the call in which it is published.")
    if report.release.first_nonfinite is not None:
        facts.append(
            f"It holds NaN or infinite numbers, first in the release of target image {report.release.first_nonfinite} "
            "(counted from 0)."
        )
    return facts


def data_facts(report: Report) -> str:
    """How the data was split."""
    parts = ", ".join(f"{name.replace('_', ' ')} {part.size:,}" for name, part in report.dataset.parts.items())
    every = per_class(report)
    labels = "" if every is None else f"; “all” is {number(every, 'count')} labelled releases per class"
    removed = _count(report.dataset.duplicates_removed, "duplicate")
    salt = report.dataset.split_seed
    salted = "" if salt is None else f", split seed {salt}"
    return f"Split “{report.dataset.split}”{salted}: {parts or 'sizes unknown'}; {removed} removed{labels}."


def not_measured(index: AttemptIndex) -> list[tuple[str, str, str]]:
    """What was not run or does not apply: state, reason and names; grouped by reason."""
    groups: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for attempt in index.attempts:
        for row in attempt.rows:
            if row.status != "measured":
                labels = groups[row.status.replace("_", " "), row.reason or "no reason was given"][attempt.name]
                if attempt.labels is not None and str(attempt.labels) not in labels:
                    labels.append(str(attempt.labels))
    found = [(state, reason, _names(names)) for (state, reason), names in groups.items()]
    numbers: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, value in index.report.metrics.items():
        if value.value is None:
            numbers[value.reason or "no reason was given"][name] = []
    found += [("no number", reason, _names(names)) for reason, names in numbers.items()]
    order = {"failed": 0, "not run": 1, "no number": 2, "not applicable": 3}
    return sorted(found, key=lambda group: order[group[0]])


def silent_protocols(report: Report) -> tuple[str, ...]:
    """Protocols that this report says nothing about."""
    ran = {row.protocol for row in report.evidence}
    covered = ran | {name for section in sections() if section.protocol in ran for name in section.includes}
    return tuple(section.protocol for section in sections() if section.protocol not in covered)


def listed(names: Iterable[str], most: int = 6) -> str:
    """Names with commas, the rest counted."""
    all_names = [short(name, 48) for name in names]
    more = len(all_names) - most
    return ", ".join(all_names[:most]) + (f" and {more} more" if more > 0 else "")


def _names(names: Mapping[str, list[str]]) -> str:
    return listed((f"{name} (K = {', '.join(labels)})" if labels else name for name, labels in names.items()), 12)


def _with_labels(attempt: Attempt) -> str:
    return attempt.name if attempt.labels is None else f"{attempt.name} (K = {attempt.labels})"


def _weight(flag: str) -> str:
    if flag in HONESTY:
        return "drops the adversary and forbids that a gate holds"
    return "forbids that a gate holds" if flag in POWER else "informs"


def _shape(report: Report) -> str:
    release, metrics = report.release, report.metrics
    sizes = " x ".join(map(str, release.shape)) or "one number"
    text = f"{release.name} ({release.kind}): each release is {sizes}, {release.dtype}"
    looks = metrics.get("release.psnr")
    if looks is not None and looks.value is not None:
        return f"{text}, shaped like its image (peak signal-to-noise ratio to it {number(looks.value)} dB)."
    if looks is not None and looks.reason:
        return f"{text}; {looks.reason}."
    return f"{text}."


def _bounds(report: Report) -> str:
    bounds, picture = report.release.bounds, report.metrics.get("target.picture.accuracy")
    declared = (
        "it declares no bounds"
        if bounds.declared is None
        else f"it declares [{bounds.declared[0]:g}, {bounds.declared[1]:g}]"
    )
    if bounds.observed is None:
        return f"No finite number of it was seen; {declared}."
    low, high = bounds.observed
    text = f"It ranges over [{low:.3g}, {high:.3g}]"
    looks = report.metrics.get("release.psnr")
    shaped = picture is not None or (looks is not None and looks.value is not None)
    if bounds.declared is not None and (low < bounds.declared[0] or high > bounds.declared[1]):
        declared += " and leaves them"
    if not shaped or (low >= 0 and high <= 1):
        return f"{text}; {declared}."
    text = f"{text}, so it is not an image; {declared}"
    whole = report.target.accuracy.value
    if picture is None or picture.value is None or whole is None:
        return f"{text}."
    moved = f"falls from {number(whole)} to" if picture.value < whole else "stays at"
    return f"{text}. Clipped or rescaled to [0, 1] and 8 bit, the target model {moved} {number(picture.value)}."


def _stochastic(report: Report) -> str:
    declared, observed = report.release.stochastic.declared, report.release.stochastic.observed
    declares = {
        None: "it declares nothing about that",
        True: "it declares that they differ",
        False: "it declares that they do not",
    }
    if observed is None:
        return f"Whether two releases of one image differ was not observed; {declares[declared]}."
    seen = "Two releases of one image differ" if observed else "Two releases of one image are equal"
    if declared == observed:
        return f"{seen}, as declared."
    return f"{seen}, but {declares[declared]}." if declared is not None else f"{seen}; {declares[declared]}."


def _count(count: int, word: str) -> str:
    return f"{count:,} {word}{'s' if count != 1 else ''}"
