"""Published tables are made by commands that are there, once, and every number stands beside what was published."""

from __future__ import annotations

import itertools
import json
import shlex
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from protocols.cli import run
from protocols.commands.reproduce import parsed_values
from protocols.engine.settings import Settings, parse_override
from protocols.evaluation.overrides import check_overrides
from protocols.evaluation.registry import PROTOCOLS
from protocols.reproduction.recipe import Step, recipe_of, recipes, words_of
from protocols.verbs.program import program
from reports.model.catalog import lookup
from reports.model.storage import write
from reports.studies.bench.published import published
from tests.reports.builder import build, number
from vfc.errors import UserError

RECIPE = """
title = "A table"
source = "Nobody, 2026"
differs = ["everything"]
[scales.small]
needs = "nothing"
seeds = 2
steps = [{ name = "attack", run = "attack --dataset {data} --release {out}/x" }]
[[rows]]
what = "strongest attack"
report = "attack"
metric = "adaptive.accuracy"
published = ".5"
[[rows]]
what = "never measured"
report = "attack"
metric = "membership.advantage"
"""


class Commands:
    """Stands in for the processes of the steps: writes a report, or ends with a code."""

    def __init__(self) -> None:
        self.seen: list[list[str]] = []
        self.code = 0

    def __call__(self, words: list[str], **_: object) -> SimpleNamespace:
        self.seen.append(words[3:])
        if self.code not in (0, 1, 3):
            return SimpleNamespace(returncode=self.code)
        out = Path(words[words.index("--out") + 1])
        seed = int(words[words.index("--seed") + 1])
        value = number(0.4 + 0.2 * seed, 0.3, 0.7, unit="rate")
        write(build(metrics={"adaptive.accuracy": value}), {}, out)
        return SimpleNamespace(returncode=self.code)


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    fake = Commands()
    monkeypatch.setattr(subprocess, "run", fake)
    return fake


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    file = tmp_path / "table.toml"
    file.write_text(RECIPE)
    return str(file)


@pytest.mark.parametrize("name", recipes())
def test_every_recipe_names_verbs_options_values_and_metrics_that_exist(name: str) -> None:
    recipe = recipe_of(name)
    for scale in recipe.scales.values():
        for step in scale.steps:
            words = words_of(step, {**scale.defaults, "target": "cnn", "dataset": "digits"}, seed=0, out=Path("out"))
            known = {option for each in program.commands[words[0]].params for option in each.opts}
            assert {word for word in words if word.startswith("--")} <= known
            values = [after for word, after in itertools.pairwise(words) if word == "--set"]
            check_overrides(Settings(overrides=tuple(map(parse_override, values))), [])
            named = {after for word, after in itertools.pairwise(words) if word == "--protocol"}
            assert named <= {*PROTOCOLS.cards, "all"}
        folders = {step.name for step in scale.steps}
        assert {row.report.partition("/")[0] for row in recipe.rows} <= folders
    for row in recipe.rows:
        assert lookup(row.metric) is not None


def test_the_table_of_prifu_stands_beside_the_same_numbers_as_a_bench() -> None:
    recipe = recipe_of("prifu-table5")
    said = {(row.report.rpartition("/")[2], row.metric): row.published for row in recipe.rows if row.published}
    for step in (step for scale in recipe.scales.values() for step in scale.steps):
        words = shlex.split(step.run)
        asked = {option: words[words.index(option) + 1] for option in ("--label", "--task", "--attribute")}
        assert asked == {"--label": "living=label:2,3,4,5,6,7", "--task": "living", "--attribute": "label"}
    dataset = build().dataset.model_copy(
        update={"name": "cifar10", "task": "living", "classes": {"label": 10, "living": 2}}
    )
    report = build(dataset=dataset)
    for defense in ("ci", "maxent-arl", "ran", "pan", "disco", "cfb", "nopeek", "prifu"):
        theirs = {each.metric: each.theirs for each in published(defense, report)}
        assert len(theirs) == 4
        for metric, value in theirs.items():
            number, _, unit = said[defense, metric].partition(" ")
            assert float(number) / (100 if unit == "%" else 1) == pytest.approx(value)
    # Their baseline is the network without its filters; the images themselves are the ceiling.
    assert {said["baseline", metric] for metric in theirs} == {"94.13 %", "51.39 %", "14.81 dB", ".3816"}
    assert "identity" not in {report for report, _ in said}


def test_a_table_is_made_and_kept(recipe: str, commands: Commands, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ["reproduce", recipe, "--out", str(out), "--with", "data=digits"]
    assert run(command) == 3  # one number is missing
    assert [words[:3] for words in commands.seen] == [["attack", "--dataset", "digits"]] * 2
    made = json.loads((out / "reproduction.json").read_text())
    assert made["rows"][0]["value"]["value"] == pytest.approx(0.5)
    assert made["rows"][0]["value"]["per_seed"] == pytest.approx([0.4, 0.6])
    assert made["rows"][1]["value"]["reason"] == "the report has no membership.advantage"
    text = (out / "reproduction.md").read_text()
    assert "Differs: everything" in text
    assert f"vfc attack --dataset digits --release {out}/seed-0/x --seed 0" in text
    assert run(command) == 3
    assert len(commands.seen) == 2  # read back
    assert run([*command, "--", "--executor", "local"]) == 3
    assert commands.seen[-1][-2:] == ["--executor", "local"]


def test_a_step_that_fails_ends_the_run_and_keeps_the_rest(recipe: str, commands: Commands, tmp_path: Path) -> None:
    command = ["reproduce", recipe, "--out", str(tmp_path / "out"), "--with", "data=digits"]
    commands.code = 2
    assert run(command) == 2
    commands.code = -2
    assert run(command) == 130
    assert not (tmp_path / "out" / "reproduction.json").exists()
    commands.code = 1
    assert run(command) == 3
    assert len(commands.seen) == 4


def test_what_is_shown_is_not_run(
    recipe: str, commands: Commands, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["reproduce", recipe, "--out", str(tmp_path / "o"), "--with", "data=digits", "--show"]) == 0
    assert capsys.readouterr().out.count("vfc attack --dataset digits") == 2
    assert not commands.seen
    assert run(["reproduce"]) == 0
    assert "vfc-digits" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["vfc-digit"], "expected a known recipe"),
        (["vfc-digits", "--scale", "paper"], "expected a scale of this table, got paper"),
        (["none.toml"], "cannot read none.toml"),
        (["vfc-digits", "--with", "x"], "expected --with NAME=VALUE, got 'x'"),
    ],
)
def test_mistakes_are_sentences(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["reproduce", *words]) == 2
    assert message.split(",")[0].split()[-1] in capsys.readouterr().err


@pytest.mark.parametrize("seeds", [str(2**70), "9" * 5000, "[" * 30 + "]" * 30, "= 3"])
def test_a_recipe_is_read_as_every_other_config_file(seeds: str, tmp_path: Path) -> None:
    file = tmp_path / "table.toml"
    file.write_text(RECIPE.replace("seeds = 2", f"seeds = {seeds}"))
    with pytest.raises(UserError, match=r"table\.toml, got|in .*table\.toml"):
        recipe_of(str(file))


def test_a_word_that_nobody_has_given_is_named() -> None:
    with pytest.raises(UserError, match="expected a value of data, got none"):
        words_of(Step(name="a", run="attack --dataset {data}"), {}, seed=0, out=Path("out"))
    assert parsed_values(["a=b=c"]) == {"a": "b=c"}
