"""`vfc.attack` and its siblings: the same run as the command line, on objects and arrays of the caller."""

import inspect
import os
import pkgutil
import re
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

import vfc
from protocols import api
from protocols.evaluation.label_task import LabelTask
from protocols.keywords import keywords
from protocols.leakage.study import LeakageTask
from vfc.core.split import SplitAt
from vfc.defense import Defense
from vfc.errors import UserError
from vfc.handed.held import DEFENSES_HELD
from vfc.release import Release
from vfc.version import VERSION

ROOT = Path(__file__).resolve().parents[2]
FAST = {
    "protocols": "transfer",
    "budget": "smoke",
    "unintended": ("mlp",),
    "width": 0.25,
    "overrides": (("train.steps", 40),),
    "executor": "local",
}


@pytest.fixture(scope="module")
def digits():
    data = load_digits()
    return (data.images[:800, None] / 16).astype(np.float32), data.target[:800]


def halved(x):
    return nn.functional.interpolate(nn.functional.avg_pool2d(x, 2), scale_factor=2)


class Halved(nn.Module):
    """Noise on an image of half the size, which is scaled up again."""

    def __init__(self, noise):
        super().__init__()
        self.noise = noise

    def forward(self, x):
        return halved(x) + self.noise * torch.sin(99 * x)


class Odd(nn.Module):
    """Reads whether a picture is bright."""

    def forward(self, release):
        bright = release.flatten(1).mean(1) - 0.3
        return torch.stack([-bright, bright], 1)


def test_importing_costs_nothing():
    code = (
        "import sys, time\nstart = time.perf_counter()\nimport vfc\nspent = time.perf_counter() - start\n"
        "heavy = {'torch', 'numpy', 'protocols', 'reports', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy\nprint(spent)"
    )
    times = [
        float(subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    ]
    assert min(times) < 0.05


ORDER = ["python", "reports", "parts", "testing", "settings"]
"""Pages, in the order in which their examples stand on each other."""

REFERENCE = [
    name
    for page in sorted((ROOT / "docs/reference").glob("*.md"), key=lambda path: ORDER.index(path.stem))
    for name in re.findall(r"^::: (\S+)", page.read_text(), re.MULTILINE)
]
SHOWN_BY_OTHERS = {
    "Value",
    "GateResult",
    "FitData",
    "Release",
    "Adversary",
    "Attack",
    "Knowledge",
    "Protocol",
    "Section",
    "Settings",
}


def test_the_reference_is_documented_with_examples_that_run(digits, tmp_path, monkeypatch, capsys, vfc_report):
    assert {f"vfc.{name}" for name in vfc.__all__} < set(REFERENCE)
    monkeypatch.chdir(tmp_path)
    images, labels = digits
    space = {"vfc": vfc, "release": images.reshape(len(images), -1), "labels": labels, "images": images}
    space |= {"torch": torch, "dataclass": dataclass, "Defense": Defense, "Release": Release, "SplitAt": SplitAt}
    for name in REFERENCE:
        text = inspect.getdoc(pkgutil.resolve_name(name))
        example = re.search(r"```python\n(.*?)```", text, re.DOTALL)
        assert (example is None) is (name.rpartition(".")[2] in SHOWN_BY_OTHERS), name
        exec(textwrap.dedent(example[1]) if example else "", space)
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("broken 0.")  # who shifts by one pixel hides nothing
    assert "labels" in shown[1]
    assert "plain" in shown[1]
    assert space["guesses"].shape == (200,)
    assert "Other models that never saw a release: " in shown[2]
    assert "identity" in space["fix"]
    assert float(space["published"].values.max()) == pytest.approx(0.1)
    tests = {name: test for name, test in space.items() if name.startswith("test_")}
    assert len(tests) == 2
    for test in tests.values():
        test(*([vfc_report] if "vfc_report" in inspect.signature(test).parameters else []))


def test_a_function_is_attacked_in_this_process(digits, tmp_path, capsys):
    images, _ = digits
    calls = []

    def watched(x):
        calls.append(len(x))
        return halved(x)

    labels = {"bright": (images.mean((1, 2, 3)) > 0.3).astype(int)}
    given = {"images": images, "labels": labels, "target": Odd(), "gates": "target.accuracy >= 0.9", **FAST}
    report = vfc.attack(watched, out=tmp_path / "out", **given)
    assert f"writing to {tmp_path}" in " ".join(capsys.readouterr().err.split())
    assert calls
    assert report.report.provenance.isolated is False
    assert report.report.release.name == "watched"
    assert report.metrics["target.accuracy"].value > 0.95  # halving keeps every mean
    assert report.verdict == "held"
    assert report.exit_code == 0
    assert report.summary.startswith("Keeps ")
    assert "<script" not in report._repr_html_()
    assert report.to_html(tmp_path / "page.html").read_text().startswith("<!doctype html>")
    again = vfc.load_report(tmp_path / "out")
    assert again.report == report.report
    assert set(again.rows) == set(report.rows)
    assert "vfc.attack(watched" in str(again)


def test_equal_objects_are_equal_runs_wherever_tasks_are_done(digits, monkeypatch):
    """Workers have no object of the caller's: tasks that ask for the defense come back to this process."""
    images, labels = (each[:240] for each in digits)
    here = []
    for kind in (LabelTask, LeakageTask):
        monkeypatch.setattr(kind, "measure", watched(kind.measure, here))
    given = {"images": images, "labels": labels, **FAST, "protocols": ("transfer", "leakage"), "no_cache": True}
    reports = []
    for executor in ("local", "processes"):
        here.append(executor)
        reports.append(vfc.attack(halved, **given | {"executor": executor, "workers": 2}).report)
    assert reports[0].digest == reports[1].digest
    assert reports[1].metrics["leakage.dof.effective"].value is not None
    assert LabelTask in here[: here.index("processes")]
    assert here[here.index("processes") :] == ["processes", LeakageTask]


def watched(measure, here):
    def noted(task, place):
        here.append(type(task))
        return measure(task, place)

    return noted


def test_defenses_of_one_class_are_rows_of_their_own(digits, monkeypatch, tmp_path):
    """In a list they are counted, in a mapping they have the names given; one head serves them all."""
    images, _ = digits
    given = {"images": images, "labels": {"bright": (images.mean((1, 2, 3)) > 0.3).astype(int)}, "out": tmp_path}
    seen, heads = [], set()

    def keep(study):
        seen.append([(row.name, row.folder) for row in study.rows])
        heads.update(type(DEFENSES_HELD[row.spec.text].target) for row in study.rows if row.spec.kind == "object")
        return [study._entry(row, reason="not graded here") for row in study.rows]

    monkeypatch.setattr("protocols.bench.study.Study.conduct", keep)
    table = vfc.bench([Halved(0.1), Halved(0.3), Odd()], target=Odd(), **given)
    assert {row.name for row in table.rows} == {"Halved-1", "Halved-2", "Odd"}
    vfc.bench([lambda x: x, lambda x: 1 - x], target=Odd(), **given | {"out": None})
    assert heads == {Odd}
    vfc.bench({"mild, at first": Halved(0.1), "strong": Halved(0.3), "base": "identity"}, **given | {"out": None})
    names = [["Halved-1", "Halved-2", "Odd"], ["function-1", "function-2"], ["mild, at first", "strong", "base"]]
    assert [[name for name, _ in rows] for rows in seen] == names
    assert all(len({folder for _, folder in rows}) == len(rows) for rows in seen)
    same = Halved(0.1)
    for wrong, says in (
        ({"a": same, "b": same}, "got the same one as 'a' and 'b'"),
        ({"a": "identity,vfc"}, "expected one defense as 'a'"),
        ({"a b": Halved(0.1), "a-b": Halved(0.2)}, "expected different names"),
    ):
        with pytest.raises(UserError, match=says):
            vfc.bench(wrong, **given | {"out": None})
    with pytest.raises(UserError, match="attribute `target`"):
        vfc.bench([Halved(0.1), "identity"], target=Odd(), **given)


SCRIPT = """
import os
import vfc
from sklearn.datasets import load_digits
print("started")
data = load_digits()
report = vfc.attack(
    lambda x: x.roll(1, dims=3), images=data.images[:600, None] / 16, labels=data.target[:600], protocols="transfer",
    budget="smoke", unintended=["mlp", "vgg11"], width=0.25, overrides=[("train.steps", 4)], workers=2, no_cache=True,
)
print(report.verdict)
"""


def test_a_script_without_a_guard_runs_once_and_its_workers_serve(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["started", "measured"]
    assert "started" not in done.stderr


def test_published_values_are_attacked_as_saved_arrays_are(digits, capsys):
    images, labels = digits
    latents = images.reshape(len(images), -1)
    report = vfc.attack(release=latents, labels=labels, target=labels, protocols="transfer", budget="smoke")
    said = capsys.readouterr().err
    assert "plan: transfer" in said
    assert "writing to" not in said  # that folder is gone by now
    assert report.report.release.kind == "arrays"
    assert report.metrics["target.accuracy"].value == 1
    with pytest.raises(UserError, match="expected no test beside release"):
        vfc.attack(release=images, labels=labels, test=(images, labels))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "expected a defense or release="),
        ({"defense": halved, "labels": [1]}, "expected no labels without images"),
        ({"defense": halved, "images": np.zeros((4, 1, 8, 8))}, "expected labels beside images"),
        ({"defense": halved, "dataset": "digits", "budgett": "smoke"}, "unknown option 'budgett'"),
        ({"defense": "identity", "target": nn.Flatten()}, "name of an architecture"),
        ({"release": np.zeros((4, 2))}, "expected labels beside release"),
        ({"release": (np.zeros((4, 2)), 1), "labels": [0, 1, 0, 1]}, "release[0]"),
        ({"defense": halved, "images": np.zeros((4, 1, 8, 8)), "dataset": "a"}, "no dataset beside images"),
    ],
)  # fmt: skip
def test_mistakes_are_named(given, says):
    with pytest.raises(UserError) as found:
        vfc.attack(**given)
    assert says in str(found.value)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"datset": "digits"}, "did you mean 'dataset'?"),
        ({"budgett": "smoke"}, "did you mean 'budget'?"),
        ({"gate": "transfer.accuracy <= 0.5"}, "did you mean 'gates'?"),
        ({"protocol": "transfer"}, "did you mean 'protocols'?"),
        ({"image": np.zeros((4, 1, 8, 8)), "labels": [0, 1, 0, 1]}, "did you mean 'images'?"),
        ({"identity_extra": ()}, "unknown option 'identity_extra'"),
    ],
)  # fmt: skip
def test_a_misspelled_keyword_is_answered_with_the_right_one(given, says):
    with pytest.raises(UserError, match=re.escape(says)) as found:
        vfc.attack(halved, **given)
    assert "help(vfc.attack) has all" in str(found.value)
    assert not {"verbosity", "identity_extra"} & set(re.findall(r"\w+", found.value.fix))
    with pytest.raises(UserError, match=r"did you mean 'budget'.* help\(vfc.bench\) has all"):
        vfc.bench("identity", budgett="smoke")


def test_help_has_every_keyword():
    for function, own in ((vfc.attack, api.attack), (vfc.bench, api.bench)):
        known = keywords(own, ("config", *(() if function is vfc.attack else api.NO_BENCH)))[0]
        parameters = set(inspect.signature(function).parameters) - {"options"}
        assert parameters < known
        absent = [name for name in known - parameters if f"`{name}" not in inspect.getdoc(function)]
        assert not absent


def test_labels_are_derived_where_there_are_no_images(monkeypatch):
    seen = []

    def keep(settings, *_):
        seen.append(settings.labels)
        raise UserError("seen", "enough")

    monkeypatch.setattr("protocols.api.measure", keep)
    for labels in ("even=digit:0,2,4,6,8", ["even=digit:0,2,4,6,8"], ("even=digit:0,2,4,6,8",)):
        with pytest.raises(UserError, match="seen"):
            vfc.attack("identity", dataset="digits", labels=labels, task="even")
    assert seen == [("even=digit:0,2,4,6,8",)] * 3
    for labels in (["cat", "dog"], np.array(["a=b"]), np.arange(4)):
        with pytest.raises(UserError, match="expected no labels without images"):
            vfc.attack("identity", dataset="digits", labels=labels)


def test_the_folder_of_a_bench_is_told_from_a_report(tmp_path):
    (tmp_path / "Halved-1").mkdir()
    (tmp_path / "bench.json").write_text("{}")
    for path in (tmp_path, tmp_path / "bench.json"):
        with pytest.raises(UserError, match=r"got the bench .*another one: no row was measured"):
            vfc.load_report(path)
    (tmp_path / "Halved-1" / "report.json").write_text("{}")
    with pytest.raises(UserError, match=re.escape(f"name the report of a row: {tmp_path / 'Halved-1'}")):
        vfc.load_report(str(tmp_path))
    (tmp_path / "bench.json").unlink()
    with pytest.raises(UserError, match="run vfc attack first"):
        vfc.load_report(tmp_path)


def test_the_version_is_the_distributions():
    assert vfc.__version__ == VERSION


def test_one_text_is_one_value_and_a_mapping_is_a_mapping(monkeypatch):
    seen = []

    def keep(settings, *_):
        seen.append(settings)
        raise UserError("seen", "enough")

    monkeypatch.setattr("protocols.api.measure", keep)
    pairs = (("fine-tune.steps", 3), ("train.steps", 1))
    mapping = {"train.steps": 1, "fine-tune.steps": 3}
    for overrides in (mapping, {"train": {"steps": 1}, "fine-tune.steps": 3}, list(pairs), ["train.steps=1", pairs[0]]):
        with pytest.raises(UserError, match="seen"):
            vfc.attack(
                "identity", dataset="digits", unintended="mlp, vgg11", attributes="ink", accept="symmetric",
                protocols="transfer", gates="transfer.accuracy <= 0.5", overrides=overrides,
            )  # fmt: skip
        assert seen[-1].overrides == pairs
    one = seen[-1]
    assert (one.unintended, one.attributes, one.accept) == (("mlp", "vgg11"), ("ink",), ("symmetric",))
    for wrong, says in (
        (
            {"overrides": {"steps": 1}},
            "expected name.option in overrides, got 'steps'; write overrides={\"train.steps\"",
        ),
        ({"overrides": 3}, "expected overrides as a mapping, got 3"),
        ({"unintended": [3]}, "expected another value of vfc.attack.unintended"),
        ({"width": "wide"}, "expected another value of vfc.attack.width, got 'wide'"),
    ):
        with pytest.raises(UserError, match=re.escape(says)):
            vfc.attack("identity", **wrong)


def test_one_adversary_learns_from_plain_arrays(digits):
    images, labels = digits
    rows = images.reshape(len(images), -1)
    fitted = vfc.fit_adversary("linear", rows[:600], labels[:600])
    guesses = fitted.guess(rows[600:])
    assert (guesses.numpy() == labels[600:]).mean() > 0.85
    assert fitted.scores(torch.from_numpy(rows[600:])).shape == (200, 10)
    shuffled = vfc.fit_adversary("linear", rows[:600], np.random.default_rng(0).permutation(labels[:600]))
    assert (shuffled.guess(rows[600:]).numpy() == labels[600:]).mean() < 0.3
    with pytest.raises(UserError, match="of shape"):
        fitted.guess(images)
    for name, options, says in (
        ("liner", {}, "did you mean 'linear'"),
        ("linear", {"stepz": 1}, "unknown option of linear"),
        ("frozen", {}, "does not apply.*unintended model"),
        ("frozen", {"model": "cnn"}, "does not apply.*no unintended model 'cnn'"),
        ("spreading-features", {}, "does not apply.*unintended model"),
    ):
        with pytest.raises(UserError, match=says):
            vfc.fit_adversary(name, rows, labels, **options)


def test_a_package_of_the_same_name_is_met_with_a_sentence(tmp_path):
    (tmp_path / "protocols").mkdir()
    (tmp_path / "protocols" / "__init__.py").write_text("")
    code = "import sys; sys.path.insert(0, '.'); import vfc; vfc.load_report('x')"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "expected the package 'protocols' that comes with vfc" in done.stderr
