"""`vfc predict`: whether the attack-free numbers of many releases predict what attacks reach. Imports no torch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from protocols.commands.output import printing
from reports.model.files import write_all
from reports.model.storage import REPORT, load
from reports.studies.prediction.correlate import predict
from reports.studies.prediction.data import Prediction
from reports.studies.prediction.formats import csv_prediction, json_prediction, markdown_prediction
from vfc.errors import UserError

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
    found = predict([load(path) for path in paths])
    if not files:
        _show(found)
        return 0
    targets = [Path(file).resolve() for file in files.values()]
    sources = {((Path(path) / REPORT) if Path(path).is_dir() else Path(path)).resolve() for path in paths}
    if len(set(targets)) < len(targets) or set(targets) & sources:
        raise UserError("expected a file of its own for every format, got one twice", "name different files")
    write_all({Path(file): _RENDERERS[name](found).encode() for name, file in files.items()})
    for file in files.values():
        sys.stderr.write(f"wrote {''.join(c if c.isprintable() else '?' for c in file)}\n")
    return 0


def _show(found: Prediction) -> None:
    from rich.console import Console

    from reports.studies.prediction.formats import render_prediction

    with printing():
        render_prediction(found, Console())
