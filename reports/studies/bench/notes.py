"""What a reader of the bench must know, in sentences that are made from its numbers. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

from reports.gate.condition import secret_words
from reports.model.numbers import figure, number
from reports.studies.bench.data import Bench, Row

LEADERS = 3
"""Rows that are told as leading the transfer column."""

ORDER = (
    "Ordered by what repurposing costs (labels to 90 %, most first), then by less leakage of the worst attribute, then "
    "by fewer images identified, then by reconstructions less close (PSNR); never by the transfer ratio."
)
UNMATCHED, UNKNOWN = "†", "?"
"""Marks of rows whose attacks nobody vouches for."""


def notes(bench: Bench) -> list[str]:
    """All sentences, in the order in which they are read: first those of `answer`."""
    said = [*answer(bench), *leaders(bench), *_secrets(bench), *_controls(bench)]
    if picked := [row.name for row in bench.rows if row.chosen]:
        said.append(
            f"Of each sweep its defender would choose {_listed(picked)}: the point that a linear reader reads least of "
            "those that keep 95 % of the sweep's best task accuracy, on the defender's own validation part."
        )
    failed = [row for row in bench.rows if row.status == "failed"]
    if failed:
        said.append(f"Nothing could be measured of {_listed([row.name for row in failed])}: the row says why.")
    if any(row.status == "incomplete" for row in bench.rows):
        said.append("In incomplete rows some adversaries failed: a stronger one may be among them.")
    if bench.budget == "smoke":
        said.append("Budget smoke: one draw of labels and no doubled training, so small differences say nothing.")
    return said


def answer(bench: Bench) -> list[str]:
    """How dear the dearest rows are to repurpose, of those that the question is about; and how rows are ordered."""
    ordinary = [row for row in bench.graded if not row.mark and not row.hides_behind_secret]
    asked = [row for row in ordinary if row.control == "matched" and row.status == "measured"]
    cost = {row.name: value for row in asked if (value := row.values.get("labels_to_90")) and value.value is not None}
    if len(cost) < 2:
        return [ORDER]
    most = max(cost.values(), key=lambda value: (value.censored, value.value))
    dearest = [name for name, value in cost.items() if (value.censored, value.value) == (most.censored, most.value)]
    labels = ("more than " if most.censored else "") + number(most.value or 0.0, "count")
    one, others = most.value == 1 and not most.censored, len(ordinary) - len(cost)
    further = f" Of {others} further ones it is not known." if others else ""
    what = f"{labels} labelled release{'' if one else 's'} per class {'brings' if one else 'bring'}"
    return [
        f"Of {len(cost)} rows that keep no secret, are not extreme by design and are read about as well as by the "
        f"target model, the dearest to repurpose {'is' if len(dearest) == 1 else 'are'} {_listed(dearest)}: {what} an "
        f"attacker 90 % of the way to the target model.{further}",
        ORDER,
    ]


def leaders(bench: Bench) -> list[str]:
    """Which rows lead the transfer column, and what their other columns show."""
    found = leading(bench)
    if not found:
        return []
    extreme = sum(bool(row.mark) for row in found)
    by_design = f", {extreme} of them extreme by design" if extreme else ""
    first = f"The transfer ratio alone would put {_listed([row.name for row in found])} first{by_design}."
    return [first, *(_shown(row, bench) for row in found)]


def leading(bench: Bench) -> list[Row]:
    """The rows with the largest transfer ratios, largest first: of those whose target model is clearly ahead."""
    known = [
        row for row in bench.graded
        if (value := row.values.get("transfer_ratio")) is not None and value.low is not None and value.low > 1
    ]  # fmt: skip
    return sorted(known, key=lambda row: (-(row.number("transfer_ratio") or 0.0), row.name))[:LEADERS]


def _shown(row: Row, bench: Bench) -> str:
    """What one row shows besides its transfer ratio."""
    mark = f" ({row.mark})" if row.mark else ""
    parts = []
    labels = row.values.get("labels_to_90")
    if labels is not None and labels.value is not None:
        unit = "labelled release" if labels.value == 1 and not labels.censored else "labelled releases"
        shown = f"more than {number(labels.value, 'count')}" if labels.censored else number(labels.value, "count")
        verb = "brings" if unit == "labelled release" else "bring"
        parts.append(f"{shown} {unit} per class {verb} an attacker 90 % of the way to its target model")
    if (accuracy := row.number("at_10")) is not None:
        parts.append(f"with 10 the strongest attack reaches {accuracy:.3f}")
    if (leakage := row.number("worst_leakage")) is not None:
        parts.append(f"leakage about {row.worst} is {leakage:.2f} (0: the floor, 1: the images)")
    if (found := row.number("identification")) is not None:
        parts.append(f"{100 * found:.0f} % of its images are identified by their reconstructions")
    if (linked := row.number("linked")) is not None:
        parts.append(f"{100 * linked:.0f} % of its releases find their image")
    place = f"place {bench.rows.index(row) + 1} of {len(bench.rows)} in this table"
    what = "; ".join(parts) or "nothing else of it is known"
    ratio = number(row.number("transfer_ratio") or 0.0, "ratio")
    return f"{row.name}{mark}: a transfer ratio of {ratio}, but {what}: {place}."


def _secrets(bench: Bench) -> list[str]:
    """Whose numbers rest on a declared secret, and whose secret was none."""
    said = []
    for row in bench.graded:
        if not row.hides_behind_secret:
            continue
        if row.control == "matched":
            said.append(
                f"{row.name} declares a secret ({row.secret.kind}), yet attackers read it about as well as its target "
                "model: the secret is broken or was none."
            )
        else:
            words = secret_words(row.secret)
            said.append(f"What {row.name} keeps, it keeps as long as its declared secret does: {words}.")
    return said


def _controls(bench: Bench) -> list[str]:
    """Which rows' attacks are not vouched for by the target model."""
    said = []
    if unmatched := [row.name for row in bench.graded if row.control == "unmatched"]:
        said.append(
            f"{UNMATCHED} Attackers with all labels stay clearly short of the target model of {_listed(unmatched)}: "
            "these attacks are too weak or there is a secret, so low numbers in these rows are no sign of safety."
        )
    if unknown := [row.name for row in bench.graded if row.control == "unknown"]:
        said.append(
            f"{UNKNOWN} No target model above the floor vouches for the attacks on {_listed(unknown)}: low numbers in "
            "these rows are no sign of safety."
        )
    return said


def mark_of(row: Row) -> str:
    """The mark of a row whose attacks nobody vouches for; else empty."""
    return {"unmatched": UNMATCHED, "unknown": UNKNOWN}.get(row.control, "")


def secret_of(row: Row) -> str:
    """The declared secret for a narrow column; a dash for none."""
    if not row.values:
        return ""
    if row.secret.kind == "none":
        return "-"
    bits = "" if row.secret.bits is None else f" {row.secret.bits:g} bits"
    return f"{row.secret.kind.replace('_', ' ')}{bits}"


BESIDE = ("row", "number", "floor", "here", "undefended", "ceiling", "printed", "source")
"""Headings of what stands beside what papers print."""


def beside(row: Row) -> list[tuple[str, ...]]:
    """What papers print: a cell for every heading of `BESIDE`, ours with intervals, and why they differ."""
    found: list[tuple[str, ...]] = []
    for each in row.published:
        floor, undefended, ceiling = (
            "-" if value is None else figure(value)
            for value in (each.controls.floor, each.controls.undefended, each.controls.ceiling)
        )
        ours = (floor, figure(each.ours), undefended, ceiling)
        found.append((row.name, each.metric, *ours, f"{each.theirs:g}", each.source, each.differs))
    return found


def _listed(names: Sequence[str]) -> str:
    """Names as a list in a sentence."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
