"""The report on a terminal: the verdict first, then everything that it rests on, and how to get it again.

Imports no torch. Every text of the report is made harmless before anything is laid out, so no name, path or message
can move the cursor, color the screen or pass for markup. Nothing is told by color alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.panel import Panel
from rich.rule import Rule
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from adversaries.health import MEANINGS
from reports.formats import tables
from reports.formats.curve import bars
from reports.formats.pictures import picture_on_terminal, spaced
from reports.gate.verdict import exit_code
from reports.model.attempt_index import AttemptIndex
from reports.model.catalog import example_gate
from reports.model.harmless import cleaned
from reports.model.pictures import CostCurve
from reports.model.report import Report
from reports.text import caveats, command, headline, phrases
from reports.text.changes import changes
from reports.text.findings import state_words
from reports.text.power import powers
from reports.text.sections import SectionContent, contents

_STYLES = {"held": "green", "broken": "red", "inconclusive": "yellow", "measured": "cyan"}
MOST_REASONS = 2
"""Gates whose reasons stand under the verdict; of more they follow below, so that the first screen has the curve."""

_SIGNS = {"held": "✓", "broken": "✗", "inconclusive": "?", "measured": "·"}
_ASCII = str.maketrans({"✓": "+", "✗": "x", "·": "-", "–": "-", "“": '"', "”": '"', "─": "-", "…": "."})


def render(report: Report, console: Console, rows: Mapping[str, Any] | None = None) -> None:
    """Print a report.

    Args:
        report: what was measured.
        console: where to print; its width, colors and encoding are respected.
        rows: the sidecar's arrays by key; without them there are no pictures.
    """
    plain = console.options.ascii_only
    color = console.color_system is not None and not console.no_color and not plain
    page = _Page(report, rows or {}, console.width, plain=plain, color=color)
    for renderable in page.sections():
        console.print(_Plain(renderable) if plain else renderable)


class _Plain:
    """A renderable with every character beyond ASCII replaced, for consoles that cannot show others."""

    def __init__(self, renderable: RenderableType) -> None:
        self.renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self.renderable, options):
            text = segment.text.translate(_ASCII).encode("ascii", "replace").decode()
            yield Segment(text, segment.style, segment.control)


class _Page:
    """The sections of one report.

    Args:
        report: as it was read; shown only after cleaning.
        rows: the sidecar's arrays.
        width: of the console.
        plain: ASCII only.
        color: whether the console shows colors.
    """

    def __init__(self, report: Report, rows: Mapping[str, Any], width: int, *, plain: bool, color: bool) -> None:
        self.command = command.command_lines(command.command_words(report), width - 1, plain=plain)
        self.report = Report.model_validate(cleaned(report.model_dump(by_alias=True), plain=plain))
        self.index = AttemptIndex(self.report)
        self.rows, self.width, self.plain, self.color = rows, width, plain, color

    def sections(self) -> Iterable[RenderableType]:
        """Everything, in the order in which it is read."""
        yield self._verdict()
        for title, body in (
            ("The numbers", self._numbers()),
            *([("Gates, and why", self._gates(reasons=True))] if len(self.report.gates) > MOST_REASONS else []),
            ("What would change this verdict", self._changes()),
            *((content.section.title, self._section(content)) for content in contents(self.index, self.rows)),
            ("Where the headline numbers come from", self._chosen()),
            ("Controls and flags", self._controls()),
            ("What the chosen adversaries are known to find", self._powers()),
            ("The release and the data", self._facts()),
            ("Not measured", self._not_measured()),
            *self._worst(),
            ("The same again", self._again()),
        ):
            yield Text("")
            yield Rule(Text(title, "bold"), align="left", characters="─", style="dim")
            yield from body

    def _verdict(self) -> RenderableType:
        report, style = self.report, _STYLES[self.report.verdict]
        head = Text(f"{_SIGNS[report.verdict]} {report.verdict.upper()}", f"bold {style}")
        head.append(
            f"  {phrases.verdict_sentence(report)}; exit code {exit_code(report.verdict, report.status)}", "not bold"
        )
        facts = headline.facts(report)
        what = Text("  ").join(Text(f"{name} ", "dim").append(str(fact), "not dim") for name, fact in facts.items())
        lines: list[RenderableType] = [head, what, Text(headline.plain_verdict(self.index), "bold")]
        lines += self._gates(reasons=len(report.gates) <= MOST_REASONS)
        lines += self._bars()
        title = Text(f" {report.tool.name} {report.tool.version} ")
        return Panel(Group(*lines), title=title, title_align="left", border_style=style, box=box.ROUNDED)

    def _bars(self) -> Iterable[RenderableType]:
        """What repurposing costs, one line for every K."""
        for picture in (one for content in contents(self.index, self.rows) for one in content.pictures):
            if isinstance(picture, CostCurve) and picture.points:
                yield from bars(picture, width=self.width - 4, plain=self.plain)

    def _numbers(self) -> Iterable[RenderableType]:
        yield self._headline()
        yield Text(headline.summary(self.index))
        yield from (Text(note, "dim") for note in headline.notes())

    def _headline(self) -> Table:
        grid = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
        for _ in range(3):
            grid.add_column(overflow="fold")
        for number in headline.numbers(self.index):
            grid.add_row(Text(number.title), Text(number.figure, "bold"), Text(number.remark, "dim"))
        return grid

    def _gates(self, *, reasons: bool) -> Iterable[RenderableType]:
        if not self.report.gates:
            yield Text(f"No gate was set. Set one with, for instance, --gate '{example_gate(self.report.metrics)}'.")
            return
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(no_wrap=self.width >= 40)
        grid.add_column(overflow="fold")
        for gate in self.report.gates:
            word, comma, rest = state_words(gate).partition(",")
            outcome = Text(f"{_SIGNS[gate.outcome]} {word}", f"bold {_STYLES[gate.outcome]}")
            said = Text(gate.expr, "bold").append(f"{comma}{rest}", "not bold")
            grid.add_row(outcome, said.append(f"\n{gate.reason}", "not bold") if reasons else said)
        yield grid

    def _changes(self) -> Iterable[RenderableType]:
        last = ""
        for subject, sentence in changes(self.index):
            if subject != last:
                yield Text(subject, "bold")
            yield Padding(Text(sentence), (0, 0, 0, 2))
            last = subject

    def _chosen(self) -> Iterable[RenderableType]:
        made = tables.arms_table(headline.chosen(self.index), self.width)
        if made is None:
            yield Text("No headline number was measured.")
        else:
            yield made
            yield Text(
                f"{headline.legend()}Floor: without the release; ceiling: the same adversary on the images;"
                " shuffled: on shuffled labels; undefended: against the same network without the defense. -: not run.",
                "dim",
            )
        others = tables.numbers_table(self.index, headline.others(self.index), self.width)
        if others is not None:
            yield from (Text(""), others)

    def _section(self, content: SectionContent) -> Iterable[RenderableType]:
        """One protocol: its pictures, its numbers, and the attempts that reached them."""
        if content.section.about:
            yield Text(content.section.about, "dim")
        for picture in content.pictures:
            yield from picture_on_terminal(picture, width=self.width, plain=self.plain, color=self.color)
        parts = (
            tables.numbers_table(self.index, content.numbers, self.width),
            tables.arms_table(((phrases.aim(one), one, None) for one in content.chosen), self.width),
        )
        yield from spaced([part for part in parts if part is not None])

    def _worst(self) -> Iterable[tuple[str, Iterable[RenderableType]]]:
        """The worst case of every protocol, where several ran."""
        made = tables.worst_table(self.index, self.width)
        if made is not None:
            yield "The worst case of every protocol", [made]

    def _controls(self) -> Iterable[RenderableType]:
        yield from (Text(sentence) for sentence in caveats.controls(self.index))
        for found in caveats.flagged(self.index):
            head = Text(found.flag, "bold red" if found.decides else "bold").append(f" ({found.weight}): ", "not bold")
            head.append(f"{found.meaning}.", "not bold")
            yield head
            chosen = f"; chosen: {caveats.listed(found.chosen)}" if found.chosen else "; none of them chosen"
            count = len(found.adversaries)
            names = f": {caveats.listed(found.adversaries)}" if count <= 4 else ""
            who = f"{count} adversar{'y' if count == 1 else 'ies'}{names}{chosen}. " if count else ""
            numbers = f"Numbers: {caveats.listed(found.metrics)}." if found.metrics else ""
            yield Padding(Text(who + numbers, "dim"), (0, 0, 0, 2), expand=False)

    def _powers(self) -> Iterable[RenderableType]:
        known = powers(self.index)
        chosen = [each for each in known if each.chosen]
        if not any(attempt.chosen for attempt in self.index.attempts):
            yield Text("No adversary was chosen, so there is nothing to say of any.")
            return
        if not any(each.measured_on for each in chosen):
            yield Text("Nothing was shipped about their power: how strong they are is shown by their ceilings alone.")
            return
        yield from (Text(each.sentence) for each in chosen)

    def _facts(self) -> Iterable[RenderableType]:
        yield from (Text(fact) for fact in caveats.release_facts(self.report))
        for flag in self.report.release.health:
            yield Text(flag, "bold").append(f": {MEANINGS.get(flag, 'unknown to this version')}.", "not bold")
        yield Text(caveats.data_facts(self.report))

    def _not_measured(self) -> Iterable[RenderableType]:
        for state, reason, who in caveats.not_measured(self.index):
            yield Text(f"{state}: ", "bold").append(f"{reason}.", "not bold")
            yield Padding(Text(who, "dim"), (0, 0, 0, 2), expand=False)
        silent = caveats.silent_protocols(self.report)
        if silent:
            yield Text(f"This report says nothing about {', '.join(silent)}: those protocols were not run.")

    def _again(self) -> Iterable[RenderableType]:
        if not any(self.command):
            yield Text("The report does not say which command made it.")
        yield from (Text(line, "bold", overflow="fold") for line in self.command)
        seen = self.report.provenance
        facts = [f"report {self.report.digest[:12] or 'without a digest'}"]
        facts += [f"{name} {value}" for name, value in (("python", seen.python), ("torch", seen.torch)) if value]
        facts += [f"on {seen.device}"] if seen.device else []
        facts += [f"{seen.duration_s:,.0f} s"] if seen.duration_s is not None else []
        yield Text("; ".join(facts), "dim")
