"""What Ctrl-C leaves: a report of what is finished that decides nothing, and cells from which the run goes on."""

import json
import os
import signal
from pathlib import Path

import pytest

from protocols.evaluation.label_task import LabelTask
from reports.gate.baseline import accept, against
from reports.model.storage import load, load_rows
from vfc.errors import UserError

RUN = (
    "attack", "--release", "identity", "--gate", "target.accuracy >= 0.01", "--gate", "transfer.accuracy >= 0.01",
    "--protocol", "transfer", "--protocol", "attribute", "--threat", "L0", "--executor", "local",
)  # fmt: skip
TASKS = 3
"""In this one the user interrupts: transfer has begun then, and attribute has not."""


@pytest.fixture
def interrupting(vfc, monkeypatch, tmp_path):
    """Counts tasks, and sends Ctrl-C in the middle of one of them; no other test's cells spare any."""
    monkeypatch.setenv("VFC_CACHE_DIR", str(tmp_path / "cache"))

    class Counter:
        at, done = TASKS, 0

    measure = LabelTask.measure

    def counted(self, handle):
        Counter.done += 1
        if Counter.done == Counter.at:
            os.kill(os.getpid(), signal.SIGINT)
        return measure(self, handle)

    monkeypatch.setattr(LabelTask, "measure", counted)
    # Whoever was started in the background ignores interruptions.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield Counter
    signal.signal(signal.SIGINT, before)


def test_an_interrupted_run_leaves_a_report_that_decides_nothing_and_goes_on(vfc, interrupting, tmp_path):
    code, out, errors = vfc(*RUN, "--out", "o")
    assert code == 130, errors
    assert "Traceback" not in errors
    report = load("o")
    assert report.status == "partial"
    assert report.verdict == "inconclusive"
    assert "interrupted" in out
    assert "exit code 130" in out
    # A gate that everything finished so far would satisfy is not held all the same.
    assert [gate.outcome for gate in report.gates] == ["inconclusive", "inconclusive"]
    assert report.metrics["target.accuracy"].low > 0.01
    states = {(row.protocol, row.status) for row in report.evidence}
    assert {("transfer", "measured"), ("transfer", "not_run"), ("attribute", "not_run")} == states
    assert vfc("gate", "o", "--gate", "target.accuracy >= 0.01", quick=False)[0] == 3
    with pytest.raises(UserError, match="interrupted"):
        accept("o", Path("baseline"), "because", None)
    for asked in (("predict", "o", "o"), ("plan", "--gate", "transfer.accuracy <= 0.5", "--report", "o")):
        code, _, errors = vfc(*asked, quick=False)
        assert code == 2
        assert "interrupted" in errors
    assert "stronger attacks may be missing" in vfc("compare", "o", "o", quick=False)[1]

    interrupting.at, interrupting.done = None, 0
    code, _, errors = vfc(*RUN, "--out", "o")
    assert code in (0, 1, 3), errors
    whole, rest = load("o"), interrupting.done
    assert whole.status == "complete"
    assert {row.protocol for row in whole.evidence if row.status == "measured"} == {"transfer", "attribute"}
    with pytest.raises(UserError, match="interrupted"):
        against(whole, load_rows("o", whole), report, {}, alpha=0.05)
    assert {each.outcome for each in against(report, {}, whole, load_rows("o", whole), alpha=0.05)} == {"inconclusive"}

    interrupting.done = 0
    vfc(*RUN, "--out", "p", "--no-cache")
    assert load("p").digest == whole.digest
    assert rest == interrupting.done - (TASKS - 1)  # of what was finished before nothing was done twice


def test_a_run_that_is_interrupted_twice_writes_nothing(vfc, interrupting, monkeypatch):
    from protocols.engine.executors.base import StoppedExecutor

    monkeypatch.setattr(StoppedExecutor, "run", lambda *_: os.kill(os.getpid(), signal.SIGINT) or iter(()))
    code, _, errors = vfc(*RUN, "--out", "o")
    assert code == 130
    assert "resumes" in errors
    assert not Path("o/report.json").exists()


def test_the_digest_tells_a_partial_report_from_a_whole_one(vfc, interrupting):
    vfc(*RUN, "--out", "o")
    content = json.loads(Path("o/report.json").read_text())
    Path("o/report.json").write_text(json.dumps({**content, "status": "complete"}))
    with pytest.raises(UserError):
        load("o")
