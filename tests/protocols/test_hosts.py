"""The defender's code has processes of its own: what it remembers or does there stays there."""

import contextlib
import json
import os
import time
from pathlib import Path

import pytest
import torch

from protocols.engine.publishing.hosts import can_host, in_host, in_hosts
from protocols.engine.publishing.observation import Observation
from protocols.engine.publishing.publisher import Publisher
from vfc.errors import NotApplicableError, UserError
from vfc.wrapper import ModuleDefense

pytestmark = pytest.mark.skipif(not can_host("cpu"), reason="no processes of its own here")

REMEMBERS = """
import torch
from torch import nn

class Own(nn.Module):
    stochastic = True
    means, seen = None, {}

    def fit(self, images, labels):
        flat = images.flatten(1)
        self.means = torch.stack([flat[labels == value].mean(0) for value in range(int(labels.max()) + 1)])

    def forward(self, x):
        noise = torch.randn(len(x), 40)
        for row, value in zip(noise, torch.cdist(x.flatten(1), self.means).argmin(1).tolist()):
            self.seen[row.numpy().tobytes()] = value
        return noise

    def predict(self, r):
        known = torch.tensor([self.seen.get(row.numpy().tobytes(), 0) for row in r])
        return nn.functional.one_hot(known, len(self.means)).float()

def build():
    return Own()
"""


def hosted(work, limit=60.0):
    return list(in_host(work, origin="mine", doing="publish", limit=limit))


def test_tensors_come_back_piece_by_piece_and_nothing_else_changes():
    kept = []

    def work():
        for number in range(3):
            kept.append(number)
            yield {"a": torch.full((2, 3), number), "process": torch.tensor(os.getpid()), "b": torch.rand(300, 1000)}

    found = hosted(work)
    assert [int(piece["a"][0, 0]) for piece in found] == [0, 1, 2]
    assert kept == []
    processes = {int(piece["process"]) for piece in found}
    assert len(processes) == 1
    assert os.getpid() not in processes
    with pytest.raises(ProcessLookupError):
        os.kill(processes.pop(), 0)


def test_a_host_that_is_no_longer_listened_to_ends():
    def work():
        while True:
            yield {"process": torch.tensor(os.getpid())}

    pieces = in_host(work, origin="mine", doing="publish", limit=60)
    process = int(next(pieces)["process"])
    os.kill(process, 0)
    pieces.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def several(works, at_once, limit=60.0):
    return in_hosts(works, origin="mine", doing="publish", limit=limit, at_once=at_once)


@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_several_hosts_answer_in_order_and_end(at_once):
    def work(number):
        def pieces():
            for part in range(2):
                yield {"number": torch.full((2, 100_000), 10 * number + part), "process": torch.tensor(os.getpid())}

        return pieces

    found = several([work(number) for number in range(3)], at_once)
    assert [[int(piece["number"][0, 0]) for piece in each] for each in found] == [[0, 1], [10, 11], [20, 21]]
    processes = {int(piece["process"]) for each in found for piece in each}
    assert len(processes) == 3
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


def pipes():
    """The pipes that this process holds."""
    links = []
    for handle in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the one that lists them is closed again
            links.append(os.readlink(f"/proc/self/fd/{handle}"))
    return {int(link[6:-1]) for link in links if link.startswith("pipe:")}


def test_hosts_work_side_by_side_and_hear_nothing_of_each_other(tmp_path):
    def work(own, other):
        def pieces():
            (tmp_path / own).touch()
            until = time.monotonic() + 30
            while not (tmp_path / other).exists():
                assert time.monotonic() < until, "nobody works beside it"
                time.sleep(0.01)
            yield {"pipes": torch.tensor(sorted(pipes()))}

        return pieces

    known = pipes()
    (first,), (second,) = several([work("a", "b"), work("b", "a")], at_once=2)
    one, two = (set(each["pipes"].tolist()) - known for each in (first, second))
    assert len(one) == len(two) == 1
    assert one != two


def test_what_one_of_several_hosts_raises_ends_the_others(tmp_path):
    def raises():
        yield {}
        raise UserError("expected rain, got sun", "wait")

    def sleeps():
        (tmp_path / "process").write_text(str(os.getpid()))
        yield {}
        time.sleep(600)

    started = time.monotonic()
    with pytest.raises(UserError, match="expected rain"):
        several([raises, sleeps], at_once=2)
    assert time.monotonic() - started < 60
    if (tmp_path / "process").exists():
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / "process").read_text()), 0)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("os._exit(0)", "ended that process (exit code 0)"),
        ("os._exit(3)", "ended that process (exit code 3)"),
        ("os.kill(os.getpid(), 9)", "killed by signal 9 (out of memory?)"),
        ("os.kill(os.getpid(), 15)", "killed by signal 15"),
        ("os.closerange(0, 256)", "ended that process"),
        ("os.closerange(0, 256) or time.sleep(60)", "closed what it answers through"),
        ("time.sleep(60)", "took longer than 0.5 seconds (--call-limit); make it faster, or raise the limit"),
        ("exit(0)", "asked for the end of the program (0)"),
        ("exec('raise MemoryError')", "ran out of memory"),
    ],
)
def test_whatever_it_does_to_its_process_is_a_sentence(code, words):
    def work():
        yield {}
        eval(code)
        yield {}

    started = time.monotonic()
    with pytest.raises(UserError) as error:
        hosted(work, limit=0.5)
    assert words in str(error.value)
    assert time.monotonic() - started < 10


def test_a_child_of_its_own_that_goes_on_answers_nothing_and_ends_with_it():
    def work():
        child = os.fork()
        if child == 0:
            time.sleep(0.05)
        yield {"child": torch.tensor(child)}
        if child == 0:
            time.sleep(60)

    (found,) = hosted(work)
    child = int(found["child"])
    assert child > 0
    for _ in range(100):
        if not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text().split()[2]:
            return
        time.sleep(0.02)
    pytest.fail("it is still there")


def test_what_it_raises_is_raised_here():
    def raising(error):
        def work():
            raise error
            yield {}

        return work

    with pytest.raises(UserError, match="expected this; do that"):
        hosted(raising(UserError("expected this", "do that")))
    with pytest.raises(NotApplicableError, match="no mask"):
        hosted(raising(NotApplicableError("no mask")))
    with pytest.raises(RuntimeError, match="ZeroDivisionError: odd"):
        hosted(raising(ZeroDivisionError("odd")))


def test_a_publisher_gives_the_same_with_and_without_processes_of_its_own():
    class Noise(torch.nn.Module):
        stochastic = True
        target = torch.nn.Flatten()

        def forward(self, x):
            return x + torch.randn_like(x)

    parts = {name: torch.rand(rows, 1, 4, 4) for name, rows in (("train", 120), ("targets", 540))}
    one, other, beside = (
        Publisher(defense=ModuleDefense(module=Noise()), classes=16, seed=0, device="cpu", isolated=own, at_once=n)
        for own, n in ((False, 1), (True, 1), (True, 2))
    )
    first, second = one.together(parts, "parts"), other.together(parts, "parts")
    for name in parts:
        assert torch.equal(first.values[name], second.values[name])
        assert torch.equal(one.predicted(first.values[name]), other.predicted(first.values[name]))
    assert torch.equal(one.publish(parts["train"], "a"), other.publish(parts["train"], "a"))
    labels = torch.arange(120) % 3
    seen, *again = (
        Observation(publisher=each, images_of=parts, published=first.values, labels=labels).observed()
        for each in (one, other, beside)
    )
    assert again == [seen, seen]


def accuracy(vfc, *more):
    arguments = ("--release", "own.py:build", "--protocol", "transfer", "--out", "o", "--fresh")
    code, _, errors = vfc("attack", *arguments, *more)
    assert code in (0, 3), errors
    report = json.loads(Path("o/report.json").read_text())
    return report["metrics"]["target.accuracy"], report["provenance"]["isolated"]


def test_a_target_that_remembers_what_was_published_is_at_chance(vfc, tmp_path):
    (tmp_path / "own.py").write_text(REMEMBERS)
    found, isolated = accuracy(vfc)
    assert isolated
    assert found["low"] < 0.5 < found["high"]
    remembered, isolated = accuracy(vfc, "--no-isolation")
    assert not isolated
    assert remembered["low"] > 0.8


@pytest.mark.parametrize("line", ["import ctypes; ctypes.CDLL(None)._exit(0)", "import time; time.sleep(60)"])
@pytest.mark.parametrize("where", ["forward", "predict"])
def test_a_defense_that_dies_or_hangs_is_exit_2(vfc, tmp_path, line, where):
    lines = {"forward": "pass", "predict": "pass", where: line}
    (tmp_path / "own.py").write_text(
        "from torch import nn\nclass Own(nn.Module):\n"
        + "".join(
            f"    def {name}(self, x):\n        {lines[name]}\n        return x.flatten(1)[:, :2]\n"
            for name in ("forward", "predict")
        )
        + "def build():\n    return Own()\n"
    )
    arguments = ("--release", "own.py:build", "--protocol", "adaptive-probe", "--out", "o", "--call-limit", "1")
    code, _, errors = vfc("attack", *arguments)
    assert code == 2, errors
    (told,) = [text for text in errors.splitlines() if "error:" in text]
    assert "own.py:build" in told
    assert "Traceback" not in errors
    assert not Path("o/report.json").exists()
