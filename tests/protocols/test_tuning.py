"""Which point of a sweep its defender would choose."""

import json

import torch
from sklearn.linear_model import Ridge

from protocols.bench.tuning import FILE, ridge, with_choice
from reports.studies.bench.data import Entry, bench_of
from reports.studies.bench.notes import notes
from reports.studies.bench.page import render_bench_html
from tests.reports.builder import build
from tests.reports.pages import Page


def swept(out, **points):
    """Rows of one sweep with what was measured on the defender's validation part; None for nothing."""
    entries = []
    for name, found in points.items():
        (out / name).mkdir(parents=True)
        (out / name / FILE).write_text(json.dumps(found and {"accuracy": found[0], "read": found[1]}))
        entries.append(Entry(name=name, defense="nopeek", folder=name, report=build(), point={"weight": 0.1}))
    return entries


def chosen(entries, out):
    return [entry.name for entry in with_choice(entries, out) if entry.chosen]


def test_the_least_read_point_that_keeps_its_use_is_chosen(tmp_path):
    entries = swept(tmp_path, weak=(1.0, 0.9), good=(0.95, 0.6), same=(0.96, 0.6), useless=(0.94, 0.1), blank=None)
    assert chosen(entries, tmp_path) == ["good"]


def test_rows_without_a_point_and_failed_rows_are_never_chosen(tmp_path):
    entries = [
        *swept(tmp_path, kept=(0.9, 0.9)),
        Entry(name="failed", defense="nopeek", folder="failed", reason="it raised", point={"weight": 0.9}),
        Entry(name="identity", defense="identity", folder="identity", report=build()),
    ]
    assert chosen(entries, tmp_path) == ["kept"]
    assert chosen(entries[1:], tmp_path) == []


def test_the_page_says_which_point_was_chosen_and_by_what(tmp_path):
    entries = with_choice(swept(tmp_path, weak=(1.0, 0.9), good=(0.95, 0.6)), tmp_path)
    found = bench_of(entries, dataset="digits", task="digit", targets=450, budget="smoke", threat=None)
    assert any("would choose good" in sentence for sentence in notes(found))
    text = Page(render_bench_html(found)).text
    assert text.count("its defender's choice") == 1


def test_the_reader_is_ridge_regression():
    generator = torch.Generator().manual_seed(0)
    rows, held = (torch.randn((n, 3, 4), generator=generator) for n in (80, 200))
    labels = (rows[:, 0, 0] + 0.5 * rows[:, 1, 1] > 0.2).long() + (rows[:, 2, 2] > 1).long()
    flat, others = rows.flatten(1), held.flatten(1)
    scaled, read = ((each - flat.mean(0)) / flat.std(0) for each in (flat, others))
    # scikit-learn's penalty is on the weights of features that are not divided by their number.
    theirs = Ridge(alpha=12.0).fit(scaled.double().numpy(), torch.eye(3)[labels].double().numpy())
    expected = theirs.predict(read.double().numpy()).argmax(1)
    found = ridge(rows, labels, held, 3)
    assert (found.numpy() == expected).all()
    constant = torch.cat([rows, torch.ones(80, 1, 4)], dim=1), torch.cat([held, torch.zeros(200, 1, 4)], dim=1)
    assert torch.equal(ridge(constant[0], labels, constant[1], 3), found)
