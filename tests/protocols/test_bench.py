"""`vfc bench` on small data: rows that are kept, read back, refused and failed."""

import csv
import io
from types import SimpleNamespace

import pytest
import torch

from protocols.bench.grading import refuse_useless
from protocols.bench.plan import PROTOCOLS, names_of, planned, points_of, specs_of, with_attributes, with_levels
from protocols.bench.study import Study
from protocols.engine.progress import Reporter
from protocols.engine.settings import Settings
from protocols.evaluation.plan import competing
from protocols.evaluation.plan import planned as announcement
from reports.model.storage import load, write
from tests.reports.builder import build
from tests.reports.pages import Page
from vfc.data import Dataset, ImageSet, load_dataset
from vfc.errors import NotApplicableError, UserError
from vfc.registries import DEFENSES

FACTORIES = '''
import torch
from torch import nn

class Raises(nn.Module):
    def forward(self, x):
        raise ValueError("no images today")

class Fixed(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value, self.target = value, nn.Sequential(nn.Flatten(), nn.Linear(64, 2))

    def forward(self, x):
        return torch.full_like(x, self.value)

def raises():
    return Raises()

def collapses():
    return Fixed(0.25)

def diverges():
    return Fixed(float("nan"))
'''  # fmt: skip


def data():
    images = ImageSet(images=torch.rand(8, 1, 8, 8), labels={"side": torch.arange(8) % 2})
    return Dataset(name="digits", task="side", train=images, test=None, classes={"side": 2})


def rows(names, *, sweep=False, **settings):
    return planned(Settings(**settings), specs_of(names_of(names)), data(), sweep=sweep)


def test_all_means_every_registered_defense():
    assert names_of("all") == tuple(DEFENSES.cards)
    assert names_of("vfc, identity,vfc") == ("vfc", "identity")
    assert [row.name for row in rows("identity,vfc")] == ["identity", "vfc"]


@pytest.mark.parametrize(
    ("names", "words"),
    [(" , ", "got none"), ("vcf", "did you mean 'vfc'"), ("./nowhere.py:build", "nowhere.py"), ("x.npz", "x.npz")],
)
def test_a_name_that_nobody_has_is_refused_before_anything_runs(names, words):
    with pytest.raises(UserError, match=words):
        rows(names)


def test_releases_that_bring_their_own_data_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "saved.npz").write_bytes(b"")
    for name in ("./run", "saved.npz"):
        with pytest.raises(UserError, match="brings its own"):
            rows(name)


def test_options_of_one_defense_leave_the_other_rows_alone():
    options = (("linear.iterations", 3), ("nopeek.weight", 0.2))
    nopeek, vfc = rows("nopeek,vfc", overrides=options)
    assert nopeek.settings.overrides == options
    assert vfc.settings.overrides == options[:1]
    assert vfc.settings.digest() == rows("vfc", overrides=options[:1])[0].settings.digest()


def test_one_defense_stands_in_several_rows_by_the_options_behind_its_name():
    found = rows("fmd, fmd[labels=oracle],fmd[labels=oracle,steps=7]", overrides=(("fmd.steps", 3),))
    assert [row.name for row in found] == ["fmd", "fmd[labels=oracle]", "fmd[labels=oracle,steps=7]"]
    assert [dict(row.settings.overrides) for row in found] == [
        {"fmd.steps": 3}, {"fmd.steps": 3, "fmd.labels": "oracle"}, {"fmd.steps": 7, "fmd.labels": "oracle"},
    ]  # fmt: skip
    assert {row.spec.name for row in found} == {"fmd"}
    assert {row.settings.release for row in found} == {"fmd"}
    assert len({row.folder for row in found}) == len({row.settings.digest() for row in found}) == 3
    swept = rows("nopeek[layer=body.0]", sweep=True)
    assert swept[0].name.startswith("nopeek[layer=body.0] weight=")
    with pytest.raises(UserError, match="beside --sweep"):
        rows("nopeek[weight=0.3]", sweep=True)


@pytest.mark.parametrize(
    ("name", "words"),
    [("fmd[label=oracle]", "label"), ("fmd[labels]", "labels"), ("fmd[steps=many]", "steps"), ("fdm[steps=2]", "fmd")],
)
def test_options_behind_a_name_that_it_does_not_have_are_refused(name, words):
    with pytest.raises(UserError, match=words):
        rows(name)


def test_everybody_includes_the_variants_on_the_cards():
    lifetimes = ["shufflebits", "shufflebits[lifetime=release]", "shufflebits[lifetime=value]"]
    found = names_of("all", variants=True)
    assert [name for name in found if name.startswith("shufflebits")] == lifetimes
    assert set(found) - set(lifetimes) < set(DEFENSES.cards)
    assert [dict(row.settings.overrides) for row in rows(",".join(lifetimes))][1:] == [
        {"shufflebits.lifetime": "release"}, {"shufflebits.lifetime": "value"},
    ]  # fmt: skip


def test_who_was_trained_against_an_adversary_is_judged_by_its_break():
    settings = with_levels(Settings(attributes=("ink",)))
    (row,) = planned(settings, specs_of(["ci"]), data(), sweep=False)
    assert "decensor" in {each.adversary for each in competing("attribute", row.settings, ["a"], None, 1)}
    assert "attribute (up to L3" in line_of(row.settings)
    assert "adaptive-probe (up to L2" in line_of(row.settings)
    assert with_levels(Settings(threat="L1")).level("attribute", "L2") == "L1"
    # A run without levels of its own keeps the identity that it had.
    assert "levels" not in Settings().identity()
    assert row.settings.identity()["levels"]


def line_of(settings):
    return announcement(PROTOCOLS, settings, ["a"], None, 1)


def test_a_sweep_grades_every_point_of_the_grid_on_the_card():
    found = rows("nopeek,identity", sweep=True)
    weights = DEFENSES.cards["nopeek"].facts["sweep"]["weight"]
    assert len(weights) > 1
    assert [row.point for row in found] == [*({"weight": weight} for weight in weights), {}]
    assert found[0].name == f"nopeek weight={weights[0]:g}"
    assert dict(found[0].settings.overrides) == {"nopeek.weight": weights[0]}
    assert len({row.folder for row in found}) == len(found)
    with pytest.raises(UserError, match="beside --sweep"):
        rows("nopeek", sweep=True, overrides=(("nopeek.weight", 0.3),))


def test_every_grid_on_a_card_is_one_that_its_defense_takes():
    from vfc.config import configured

    swept = [name for name, card in DEFENSES.cards.items() if "sweep" in card.facts]
    # Whoever trades the task against something has a grid; nulls, keyed ones and strawmen trade nothing.
    assert {name for name, card in DEFENSES.cards.items() if ".noise." in card.module} <= set(swept)
    assert {name for name, card in DEFENSES.cards.items() if ".keyed." in card.module}.isdisjoint(swept)
    trained = (".adversarial.", ".bottleneck.")
    assert {name for name, card in DEFENSES.cards.items() if any(each in card.module for each in trained)} <= set(swept)
    for name in swept:
        for point in points_of(name, sweep=True):
            made = configured(DEFENSES.get(name), point, name)
            assert {option: getattr(made, option) for option in point} == point


def test_on_digits_the_attribute_is_ink_unless_others_are_named():
    digits = load_dataset("digits")
    assert with_attributes(Settings(), digits).attributes == ("ink",)
    assert with_attributes(Settings(attributes=("parity",)), digits).attributes == ("parity",)
    assert with_attributes(Settings(), load_dataset("digits", task="ink")).attributes == ()
    assert with_attributes(Settings(), data()).attributes == ()


class Grader:
    """Grades by heart, and counts."""

    def __init__(self, out):
        self.out, self.graded, self.broken, self.interrupted = out, [], set(), set()

    def __call__(self, row):
        self.graded.append(row.name)
        if row.name in self.interrupted:
            raise KeyboardInterrupt
        if row.name in self.broken:
            raise UserError("expected luck, got none", "try again")
        report = build(release=build().release.model_copy(update={"name": row.name}))
        write(report, {}, self.out / row.folder)
        return load(self.out / row.folder)


@pytest.mark.parametrize(
    ("name", "release", "words"),
    [
        ("vfc", torch.full((6, 3), 0.3), "collapsed"),
        ("vfc", torch.zeros(6, 3), "collapsed"),
        ("vfc", torch.tensor([[1.0], [float("nan")], [float("inf")], [float("nan")]]), "diverged"),
        ("vfc", torch.tensor([[1.0], [2.0], [float("nan")]]), None),
        ("shufflebits", torch.tensor([[1], [2]], dtype=torch.int32), None),
        ("constant", torch.full((6, 3), 0.5), None),
    ],
)
def test_a_release_that_broke_is_refused_and_a_null_by_design_is_not(name, release, words):
    world = SimpleNamespace(targets=SimpleNamespace(release=release))
    prepared = SimpleNamespace(name=name, world=world)
    if words is None:
        refuse_useless(prepared)
        return
    with pytest.raises(UserError, match=words):
        refuse_useless(prepared)


def study(out, names, grader, *, code="c", **settings):
    return Study(rows=rows(names, **settings), out=out, code=code, grade=grader, reporter=Reporter(quiet=True))


def test_a_row_that_raises_fails_alone_and_is_tried_again(tmp_path):
    grader = Grader(tmp_path)
    grader.broken = {"identity"}
    first = study(tmp_path, "identity,vfc", grader).conduct()
    assert [(entry.report is None, entry.reason) for entry in first] == [(True, "expected luck, got none"), (False, "")]
    grader.broken = set()
    second = study(tmp_path, "identity,vfc", grader).conduct()
    assert all(entry.report is not None for entry in second)
    assert grader.graded == ["identity", "vfc", "identity"]


def test_a_defense_without_meaning_for_the_data_is_told_apart_from_one_that_failed(tmp_path):
    def grade(row):
        raise NotApplicableError("no null space")

    (entry,) = study(tmp_path, "nte", grade).conduct()
    assert (entry.report, entry.applicable, entry.reason) == (None, False, "no null space")


def test_finished_rows_are_read_back_unless_settings_code_or_report_changed(tmp_path):
    grader = Grader(tmp_path)
    study(tmp_path, "identity", grader).conduct()
    (again,) = study(tmp_path, "identity", grader).conduct()
    assert again.report is not None
    assert grader.graded == ["identity"]
    study(tmp_path, "identity,vfc", grader).conduct()
    assert grader.graded == ["identity", "vfc"]
    study(tmp_path, "identity", grader, seed=1).conduct()
    study(tmp_path, "identity", grader, code="other").conduct()
    study(tmp_path, "identity", grader, code="other").conduct()
    assert grader.graded == ["identity", "vfc", "identity", "identity"]
    (tmp_path / "identity" / "report.json").write_text("{}")
    study(tmp_path, "identity", grader, code="other").conduct()
    (tmp_path / "bench.json").write_text("[")
    study(tmp_path, "identity", grader, code="other").conduct()
    assert len(grader.graded) == 6


def test_an_interrupted_bench_keeps_its_finished_rows(tmp_path):
    grader = Grader(tmp_path)
    grader.interrupted = {"vfc"}
    with pytest.raises(KeyboardInterrupt):
        study(tmp_path, "identity,vfc", grader).conduct()
    grader.interrupted = set()
    assert len(study(tmp_path, "identity,vfc", grader).conduct()) == 2
    assert grader.graded == ["identity", "vfc", "vfc"]


def test_the_verb_grades_what_it_can_and_says_what_it_cannot(vfc, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(FACTORIES)
    broken = ",".join(f"mine.py:{name}" for name in ("raises", "collapses", "diverges"))
    arguments = ("bench", "--defenses", f"identity,{broken}", "--out", "b", "--threat", "L0", "--csv", "table.csv")
    code, out, err = vfc(*arguments)
    assert code == 3, err
    assert "Traceback" not in err
    lines = list(csv.DictReader(io.StringIO((tmp_path / "table.csv").read_text())))
    assert (tmp_path / "b" / "bench.csv").read_text() == (tmp_path / "table.csv").read_text()
    assert [(line["row"], line["status"]) for line in lines] == [
        ("identity", "measured"), ("mine.py:collapses", "failed"), ("mine.py:diverges", "failed"),
        ("mine.py:raises", "failed"),
    ]  # fmt: skip
    assert lines[0]["transfer_ratio"]
    assert float(lines[0]["publish_seconds"]) > 0
    assert "collapsed" in lines[1]["reason"]
    assert "diverged" in lines[2]["reason"]
    assert "no images today" in lines[3]["reason"]
    assert "known leak" in out
    page = Page((tmp_path / "b" / "bench.html").read_text())
    assert page.open == []
    report = load(tmp_path / "b" / "identity")
    # The time of the fit lies beside it, so that who finds it in the cache knows it, too.
    assert report.provenance.fit_s == float(lines[0]["fit_seconds"]) > 0
    assert report.command.settings.with_defaults["protocols"] == list(PROTOCOLS)
    # The finished row is read back, and its report stays as it is.
    monkeypatch.setattr("protocols.run.Runner.run", lambda *_, **__: pytest.fail("it ran again"))
    code, _, err = vfc("bench", "--defenses", "identity", "--out", "b", "--threat", "L0")
    assert code == 0, err
    assert "identity: read back" in err
    assert load(tmp_path / "b" / "identity").digest == report.digest


def test_a_folder_of_other_settings_is_refused(vfc, tmp_path):
    code, _, err = vfc("bench", "--defenses", "identity", "--out", "b", "--threat", "L9")
    assert code == 2
    assert "unknown threat level" in err
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "theirs.txt").write_text("x")
    code, _, err = vfc("bench", "--defenses", "identity", "--out", "b", "--threat", "L0")
    assert code == 2
    assert "other files" in err
