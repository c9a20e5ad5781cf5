"""`vfc predict`: whether the attack-free numbers of many releases predict what attacks reach. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from protocols.commands.output import printing, write_formats
from reports.model.storage import load, refuse_partial
from reports.studies.prediction.correlate import predict
from reports.studies.prediction.data import Prediction
from reports.studies.prediction.formats import csv_prediction, json_prediction, markdown_prediction

_RENDERERS: dict[str, Callable[[Prediction], str]] = {
    "markdown": markdown_prediction,
    "csv": csv_prediction,
    "json": json_prediction,
}


def run_predict(paths: Sequence[str], files: Mapping[str, str]) -> int:
    """Write the formats asked for, all or none; without any, show the table on the terminal.

    Args:
        paths: report.json files, or the folders that hold them.
        files: file by format: markdown, csv, json.

    Raises:
        UserError: a report cannot be used, they do not fit together, or a file cannot be written.
    """
    reports = [load(path) for path in paths]
    for report in reports:
        refuse_partial(report, "for every row")
    found = predict(reports)
    if not files:
        _show(found)
        return 0
    write_formats(paths, files, {name: partial(render, found) for name, render in _RENDERERS.items()})
    return 0


def _show(found: Prediction) -> None:
    from rich.console import Console

    from reports.studies.prediction.formats import render_prediction

    with printing():
        render_prediction(found, Console())
