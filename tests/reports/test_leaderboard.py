"""The leaderboard: an entry is what its files show, and one that says more is refused."""

import io
import json

import numpy as np
import pytest
from rich.console import Console

from adversaries.statistics import estimates
from reports.model.report import DeclaredSecret
from reports.model.storage import load, write
from reports.studies.leaderboard.board import read_board
from reports.studies.leaderboard.page import board_json, render_board, render_board_html
from reports.studies.suite.grading import Question, dump, grade
from tests.reports.builder import build, number
from tests.reports.pages import Page
from tests.suites import TARGETS, attack, suite, world
from vfc.errors import UserError

BEST, TEN = "adaptive.suppression_ratio", "adaptive.accuracy@10"


@pytest.fixture
def entries(tmp_path):
    """A folder of entries, and a way to put one there."""
    folder = tmp_path / "entries"
    folder.mkdir()

    def put(file="mine", /, **facts):
        (folder / f"{file}.json").write_text(json.dumps({"id": file, "defense": "vfc", **facts}))
        return folder

    return put


def measured(folder, **changes):
    """A report beside the entries, and what an entry says of it."""
    write(build(**changes), {}, folder.parent / "run")
    return {"report": "../run", "digest": load(folder.parent / "run").digest}


def only(folder):
    (line,) = read_board(folder)
    return line


def test_the_status_is_what_the_files_show(entries):
    folder = entries()
    assert only(folder).status == "claimed"
    run = measured(folder, metrics={TEN: estimates.rate(90, 450)})
    entries(measured=run)
    assert (only(folder).status, only(folder).why) == ("claimed", "it claims no limit that a report could confirm")
    entries(measured=run, claim={"dataset": "digits", "gates": [f"{TEN} <= 0.3"]})
    assert only(folder).status == "reproduced"
    entries(measured=run, claim={"dataset": "digits", "gates": [f"{TEN} <= 0.3", f"{TEN} <= 0.1"]})
    assert only(folder).status == "claimed"
    assert [each.outcome for each in only(folder).claims] == ["held", "broken"]
    entries(measured=run, claim={"dataset": "digits", "gates": [f"{TEN} <= 0.3"]}, status="withdrawn")
    assert only(folder).status == "withdrawn"


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"status": "reproduced"}, "expected the status 'claimed'"),
        ({"status": "great"}, "status"),
        ({"id": "no spaces"}, "id"),
        ({"colour": "red"}, "colour"),
        ({"measured": {"report": "../nowhere", "digest": "d"}}, "nowhere"),
        ({"measured": {"digest": "0000"}}, "expected report 0000"),
        ({"measured": {"numbers": {BEST: 3.0}}}, "= 2 as the report says"),
        ({"measured": {"numbers": {"adaptive.accuracy@10": 0.1}}}, "a number that the report has"),
        ({"measured": {}, "defense": "prifu"}, "a report on prifu"),
        ({"measured": {}, "secret": {"kind": "symmetric", "what": "a key", "bits": 128}}, "the secret that the report"),
        ({"measured": {}, "status": "reproduced"}, "expected the status 'claimed'"),
        ({"measured": {}, "status": "reproduced", "claim": {"dataset": "digits", "gates": [f"{BEST} >= 5"]}}, "broken"),
        ({"claim": {"gates": ["nonsense"]}}, "METRIC OP NUMBER"),
        ({"measured": {}, "claim": {"gates": [f"{BEST} >= 1"]}}, "the data set that the claim"),
        ({"measured": {}, "claim": {"dataset": "cifar100", "gates": [f"{BEST} >= 1"]}}, "dataset cifar100 as"),
        ({"measured": {}, "claim": {"dataset": "digits", "task": "ink"}}, "task ink as"),
        ({"measured": {}, "claim": {"settings": {"latent": 3}}}, "latent 3 as"),
    ],
)
def test_an_entry_that_says_more_than_its_files_is_refused(entries, facts, words):
    folder = entries()
    if "measured" in facts:
        facts = facts | {"measured": measured(folder) | facts["measured"]}
    entries(**facts)
    with pytest.raises(UserError, match=words):
        read_board(folder)


def test_numbers_may_be_rounded_and_nothing_more(entries):
    folder = entries()
    run = measured(folder, metrics={BEST: number(2.01249, 1.8, 2.2)})
    for said in (2.012, 2.0125, 2.01249):
        entries(measured=run | {"numbers": {BEST: said}})
        assert only(folder).report is not None
    for said in (2.013, 2.01, 2.0126):
        entries(measured=run | {"numbers": {BEST: said}})
        with pytest.raises(UserError, match="as the report says"):
            read_board(folder)


def graded(tmp_path, right, *, controls=True, ours=120, ceiling=True, leaky=False):
    """A grade of guesses that are right so often, beside our attack, and its report.

    The ceiling misses, or permuted labels are guessed, if asked for.
    """
    made = suite(tmp_path / "suite", attacks=[attack([1] * ours + [0] * (TARGETS - ours))])
    truth = world().targets.labels["side"].numpy()
    arrays = {"guesses": np.where(np.arange(TARGETS) < right, truth, 1 - truth)}
    if controls:
        permuted = made.arrays("grader/truth.safetensors")["side.shuffled"]
        sane = np.where(np.arange(TARGETS) % 2, permuted, 1 - permuted)
        arrays |= {"ceiling": truth if ceiling else np.zeros_like(truth), "shuffled": permuted if leaky else sane}
    path = tmp_path / "guesses.npz"
    np.savez(path, index=made.arrays("defenses/identity/attack.safetensors")["targets.index"], by="Ada", **arrays)
    found = grade(made, path, Question(defense="identity", labels=10))
    (tmp_path / "grade.json").write_bytes(dump(found))
    return found, {"report": str(made.folder / "defenses" / "identity"), "digest": found.report}


@pytest.mark.parametrize(
    ("right", "controls", "status"),
    [(160, True, "unreliable"), (160, False, "externally attacked"), (121, True, "externally attacked")],
)
def test_an_entry_is_unreliable_as_soon_as_a_controlled_attack_is_clearly_ahead(
    entries, tmp_path, right, controls, status
):
    found, run = graded(tmp_path, right, controls=controls)
    external = [{"grade": "../grade.json", "digest": found.digest}]
    folder = entries(defense="identity", measured=run, external=external)
    line = only(folder)
    assert line.status == status
    if status == "unreliable":
        assert "Ada" in line.why
    for wrong, words in [
        ({"external": [external[0] | {"digest": "0"}]}, "expected grade 0"),
        (
            {"external": external, "measured": measured(folder) | {"report": "../run"}, "defense": "vfc"},
            "expected a grade on vfc",
        ),
        ({"external": external, "status": "reproduced"}, f"expected the status '{status}'"),
    ]:
        entries(**{"defense": "identity", "measured": run, **wrong})
        with pytest.raises(UserError, match=words):
            read_board(folder)


def test_a_hit_counts_although_its_ceiling_missed_and_not_if_permuted_labels_are_hit_too(entries, tmp_path):
    for changes, status in [({"ceiling": False}, "unreliable"), ({"leaky": True}, "claimed")]:
        found, run = graded(tmp_path / status, 160, **changes)
        (tmp_path / "grade.json").write_bytes(dump(found))
        folder = entries(
            defense="identity", measured=run, external=[{"grade": "../grade.json", "digest": found.digest}]
        )
        assert found.ahead
        assert only(folder).status == status


def test_no_grade_lifts_an_entry_whose_claim_its_report_does_not_confirm(entries, tmp_path):
    found, run = graded(tmp_path, 121)
    external = [{"grade": "../grade.json", "digest": found.digest}]
    loose, strict, unknown = (f"{BEST} >= {limit}" for limit in ("1", "5", "1.9"))
    for gates, status, says in [
        ([loose], "externally attacked", "the report confirms every claimed limit"),
        ([strict], "claimed", f"broken of {strict}"),
        ([unknown], "claimed", f"inconclusive of {unknown}"),
    ]:
        folder = entries(defense="identity", measured=run, external=external, claim={"dataset": "tiny", "gates": gates})
        assert only(folder).status == status
        assert says in only(folder).why
    folder = entries(defense="identity", external=external, claim={"dataset": "tiny", "gates": [strict]})
    assert only(folder).status == "claimed"  # a report that is left out hides nothing
    found, run = graded(tmp_path / "ahead", 160)
    (tmp_path / "grade.json").write_bytes(dump(found))
    external = [{"grade": "../grade.json", "digest": found.digest}]
    folder = entries(defense="identity", measured=run, external=external, claim={"dataset": "tiny", "gates": [strict]})
    assert only(folder).status == "unreliable"
    assert f"broken of {strict}" in only(folder).why


def test_an_attack_counts_whoever_names_it(entries, tmp_path):
    found, run = graded(tmp_path, 160)
    external = [{"grade": "../grade.json", "digest": found.digest}]
    entries("attacker", defense="identity", measured=run, external=external)
    folder = entries("author", defense="identity", measured=run)
    assert [(line.entry.id, line.status) for line in read_board(folder)] == [
        ("attacker", "unreliable"),
        ("author", "unreliable"),
    ]


def test_a_void_grade_is_no_attack(entries, tmp_path):
    found, run = graded(tmp_path, 160, leaky=True)
    assert found.standing == "void"
    external = [{"grade": "../grade.json", "digest": found.digest}]
    folder = entries(
        defense="identity", measured=run, external=external, claim={"dataset": "tiny", "gates": [f"{BEST} >= 1"]}
    )
    line = only(folder)
    assert (line.status, line.attacks, len(line.grades)) == ("reproduced", (), 1)


def test_entries_are_toml_json_or_a_literal_in_a_python_file_that_never_runs(entries):
    folder = entries("a")
    (folder / "b.toml").write_text('id = "b"\ndefense = "vfc"\n')
    (folder / "c.py").write_text('raise SystemExit("it ran")\nENTRY = {"id": "c", "defense": "c.py:build"}\n')
    (folder / "helper.py").write_text("x = 1\n")
    (folder / "notes.txt").write_text("none")
    assert [line.entry.id for line in read_board(folder)] == ["a", "b", "c"]
    (folder / "d.py").write_text("ENTRY = dict(id='d')\n")
    with pytest.raises(UserError, match=r"d\.py"):
        read_board(folder)
    (folder / "d.py").unlink()
    (folder / "d.toml").write_text('id = "b"\ndefense = "vfc"\n')
    with pytest.raises(UserError, match="twice"):
        read_board(folder)
    with pytest.raises(UserError, match="a folder of entries"):
        read_board(folder / "nowhere")


def test_the_page_runs_nothing_and_shows_what_is_hostile_as_text(entries, tmp_path):
    found, run = graded(tmp_path, 160)
    entries(
        "identity", defense="identity", measured=run, external=[{"grade": "../grade.json", "digest": found.digest}],
        name="<script>alert(1)</script>", code="javascript:alert(1)", claim={"text": "\x1b[31m red"},
    )  # fmt: skip
    folder = entries("other", code="https://example.org/x")
    lines = read_board(folder)
    page = Page(render_board_html(lines))
    assert page.open == []
    assert not page.every("script")
    assert "<script>alert(1)</script>" in page.text
    assert "\x1b" not in page.text
    assert [tag["href"] for tag in page.every("a")] == ["https://example.org/x"]
    assert "clearly ahead of ours" in page.text
    assert f"{len(lines)} entries." in page.text
    assert "1 entry." in Page(render_board_html(lines[:1])).text
    console = Console(width=140, record=True, file=io.StringIO())
    render_board(lines, console)
    assert "unreliable" in console.export_text()
    said = json.loads(board_json(lines))["entries"]
    assert [each["status"] for each in said] == [line.status for line in lines]


def test_secrets_must_be_said_as_the_report_declares_them(entries):
    folder = entries()
    secret = {"kind": "symmetric", "what": "the key", "bits": 128.0, "lifetime": "release"}
    release = build().release.model_copy(update={"secret": DeclaredSecret(**secret)})
    run = measured(folder, release=release)
    entries(measured=run)
    with pytest.raises(UserError, match="the secret that the report"):
        read_board(folder)
    entries(measured=run, secret=secret)
    assert only(folder).entry.secret.bits == 128


def test_a_secret_excuses_a_claim_only_where_the_boards_owner_accepts_it(entries):
    folder = entries()
    secret = {"kind": "symmetric", "what": "the key", "bits": 128.0, "lifetime": "release"}
    release = build().release.model_copy(update={"secret": DeclaredSecret(**secret)})
    value = estimates.rate(90, 450).model_copy(update={"flags": ("TARGET_UNMATCHED",)})
    run = measured(folder, release=release, metrics={TEN: value})
    entries(measured=run, secret=secret, claim={"dataset": "digits", "gates": [f"{TEN} <= 0.3"]})
    for accepted in ((), ("asymmetric",)):
        (line,) = read_board(folder, accepted)
        assert line.status == "claimed"
        assert "--accept-secret symmetric" in line.why
    (line,) = read_board(folder, ("symmetric",))
    words = "as long as the key (128 bits, per release) stays secret"
    assert (line.status, line.why) == ("reproduced", f"the report confirms every claimed limit, {words}")
    assert words in Page(render_board_html([line])).text
    assert json.loads(board_json([line]))["entries"][0]["claims"][0]["condition"] == words
