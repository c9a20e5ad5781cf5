"""Is anything lost when a run is killed? A bench of small defenses, killed at random moments and begun again.

    python -m benchmarks.kills --out DIR [--kills 20] [--seed 0]

Every kill is SIGKILL to the program and all that it started, at a moment drawn from the seed: a share of what the run
takes when nobody kills it. After each the finished tasks are counted, and whether every one of them is still whole. At
the end the run goes on to its end, and the digests of its reports must be those of the run that nobody killed. Moments
and counts are written to `DIR/kills.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from protocols.engine.task import load_outcome

BENCH = (
    "bench", "--dataset", "digits", "--defenses", "identity,gaussian-noise,pure-noise", "--budget", "smoke",
    "--unintended", "mlp", "--width", "0.25", "--set", "train.steps=60", "--set", "cnn.steps=30",
    "--set", "mlp.steps=30", "--set", "fine-tune.steps=20", "--set", "adapter.steps=20", "--set", "deep-set.steps=20",
    "--set", "linear.iterations=20", "--set", "trees.rounds=10", "--executor", "processes", "--quiet",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Kill:
    """One kill, and what it left.

    Args:
        after: seconds after the start at which it was sent.
        ended: whether the run had ended before.
        finished: tasks that are finished and whole.
        lost: names of tasks that had been finished before and no longer are.
        left: processes of the run that were still there a moment later.
    """

    after: float
    ended: bool
    finished: int
    lost: tuple[str, ...]
    left: int


@dataclass(frozen=True, kw_only=True)
class Survival:
    """What became of a run that was killed again and again.

    Args:
        seed: from which the moments were drawn.
        whole: seconds of the run that nobody killed.
        kills: each of them.
        digests: of the reports, by name: of the run that nobody killed, and of the other.
        verified: what `vfc cache verify` says in the end.
    """

    seed: int
    whole: float
    kills: tuple[Kill, ...]
    digests: dict[str, tuple[str, str]]
    verified: str

    @property
    def lossless(self) -> bool:
        """Whether nothing was lost, nothing is left over, and every digest is the same."""
        same = bool(self.digests) and all(one == other for one, other in self.digests.values())
        return same and not any(kill.lost or kill.left for kill in self.kills)


def survive(command: Sequence[str], folder: Path, kills: int, seed: int) -> Survival:
    """Run a command once without kills, and once with them.

    Args:
        command: arguments of `vfc`; `--out` is added.
        folder: where both runs write, each with a cache of its own.
        kills: how many.
        seed: from which their moments are drawn.
    """
    reference, other = folder / "whole", folder / "killed"
    begun = time.monotonic()
    _start(command, reference).wait()
    whole, moments = time.monotonic() - begun, random.Random(seed)
    found: list[Kill] = []
    before: set[str] = set()
    for _ in range(kills):
        after = moments.uniform(0.02, 0.6) * whole
        process = _start(command, other)
        try:
            process.wait(timeout=after)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        ended = process.wait() != -signal.SIGKILL
        now = _finished(other)
        found.append(
            Kill(after=after, ended=ended, finished=len(now), lost=tuple(sorted(before - now)), left=_left(process.pid))
        )
        before = now
    last = _start(command, other)
    last.wait()
    reports = {path.relative_to(reference).as_posix() for path in (reference / "out").rglob("report.json")}
    verify = [sys.executable, "-m", "vfc", "cache", "verify"]
    said = subprocess.run(verify, env=_environment(other), capture_output=True, text=True, check=False)
    return Survival(
        seed=seed,
        whole=whole,
        kills=tuple(found),
        digests={name: (_digest(reference / name), _digest(other / name)) for name in sorted(reports)},
        verified=said.stdout.strip(),
    )


def _start(command: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    """The command in a session of its own, so that one signal reaches all that it started."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "vfc", *command, "--out", str(folder / "out")],
            env=_environment(folder), stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip


def _environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "VFC_CACHE_DIR": str(folder / "cache"), "OMP_NUM_THREADS": "1"}


def _finished(folder: Path) -> set[str]:
    """Names of all finished tasks whose files are whole."""
    return {path.name for path in folder.rglob("cells/**/*.safetensors") if load_outcome(path) is not None}


def _left(session: int) -> int:
    """How many processes of a session are still there, half a minute later at the latest."""
    until = time.monotonic() + 30
    while (count := _living(session)) and time.monotonic() < until:
        time.sleep(0.2)
    return count


def _living(session: int) -> int:
    count = 0
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        count += int(fields[3]) == session and fields[0] != "Z"
    return count


def _digest(path: Path) -> str:
    return str(json.loads(path.read_text())["digest"]) if path.is_file() else "no report"


def main() -> int:
    """Run, write the record, and return 0 if nothing was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    found = survive(BENCH, chosen.out, chosen.kills, chosen.seed)
    record = json.dumps({**asdict(found), "lossless": found.lossless}, indent=1)
    (chosen.out / "kills.json").write_text(record + "\n")
    sys.stdout.write(record + "\n")
    return 0 if found.lossless else 1


if __name__ == "__main__":
    sys.exit(main())
