"""What is said of releases that hold nothing, and of known leaks, seed after seed?

    python -m benchmarks.nulls [--only NAME ...] [--seeds 30] [--minutes 45] [--record FILE] [--table]

Eleven releases of different shapes and distributions that do not depend on the image, and known leaks: six of
`adversaries/calibration/families.py`, an offset of every call, and the image itself. Each is attacked by the whole of
`vfc.attack` (split, controls, choice, gates; calls where a release depends on them) with every seed, which draws split,
models, releases and attacks anew: 400 images (8x8) of the digits 0 to 4, of them 100 targets, budget smoke; 600 where
calls matter, which hold 512. A run asks for what a user would ask for (`GATES`; of what is shaped like an image also
`TRANSFER`). All of these are true of a null, so that none may break there; of a leak at least one must break.
`at_chance` judges one gate more, alone, whose limit is the largest class's share: the truth stands at that limit, so
that it may break, at most one time in twenty.

So that hundreds of runs are an hour, not the whole ladder competes but `READERS`, the strongest that are quick, and one
unintended model, and codelengths, which no gate asks for, are left out. `benchmarks/nulls.tsv` has one line a run; what
is there is not run again.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import vfc
from adversaries.calibration.families import FAMILIES
from protocols.evaluation.candidate import Candidate
from protocols.evaluation.protocol import Findings
from protocols.task_label import adaptive_probe, study
from reports.gate.gate import Gate, judge
from vfc.data import DataOptions
from vfc.datasets.digits import digits

ROWS, ROWS_IN_CALLS, CLASSES, UNINTENDED = 400, 600, 5, ("mlp",)
GATES = ("adaptive.accuracy@10 <= 0.35", "adaptive.accuracy <= 0.35", "adaptive.leakage <= 0.15",
         "adaptive.exposed@10 <= 0.05")  # fmt: skip
TRANSFER = "transfer.accuracy <= 0.35"
READERS = (
    "frozen", "frozen-picture", "batchnorm", "linear", "knn", "row-views", "bag", "bit-planes", "signed-planes",
    "products", "residues", "ranks", "majority",
)  # fmt: skip
RECORD = Path(__file__).with_suffix(".tsv")


def _normal(x: Tensor) -> Tensor:
    return torch.randn(x.shape)


def _constant(x: Tensor) -> Tensor:
    return torch.full_like(x, 0.25)


def _sparse(x: Tensor) -> Tensor:
    """Images in [0, 1] of which nineteen values in twenty are zero."""
    return torch.rand(x.shape) * (torch.rand(x.shape) < 0.05)


def _bytes(x: Tensor) -> Tensor:
    return torch.randint(256, (len(x), 16), dtype=torch.uint8)


def _integers(x: Tensor) -> Tensor:
    """Integers of twelve bits, two columns of them negative."""
    values = torch.randint(4096, (len(x), 17), dtype=torch.int32)
    values[:, :2] = -1 - values[:, :2]
    return values


def _signs(x: Tensor) -> Tensor:
    return torch.randn(len(x), 64).sign()


def _heavy(x: Tensor) -> Tensor:
    """Cauchy's distribution, which has no mean, times a number of its own for every row."""
    return torch.randn(len(x), 32) / torch.randn(len(x), 32) * 10 ** (6 * torch.rand(len(x), 1) - 3)


def _wide(x: Tensor) -> Tensor:
    return torch.randn(len(x), 500)


def _pairs(x: Tensor) -> Tensor:
    """Places and values in an order of its own in every row."""
    return torch.stack([torch.rand(len(x), 64).argsort(1).float(), torch.rand(len(x), 64)], 2)


def _calls(x: Tensor) -> Tensor:
    """Noise around an offset that every call draws."""
    return torch.randn(len(x), 20) + 5 * torch.randn(20)


NULLS: dict[str, Callable[[Tensor], Tensor] | None] = {
    "normal-image": _normal, "other-image": None, "constant-image": _constant, "sparse-image": _sparse,
    "bytes": _bytes, "signed-integers": _integers, "signs": _signs, "heavy-tails": _heavy, "wide": _wide,
    "pairs": _pairs, "call-offset-noise": _calls,
}  # fmt: skip
"""By name; `other-image`, the image of another row, is drawn among all of them."""

LEAKS = ("sign-products", "residue", "row-scale", "argmax", "shuffled-patches", "index-value", "session-offset",
         "identity")  # fmt: skip
IMAGES = ("normal-image", "other-image", "constant-image", "sparse-image", "row-scale", "shuffled-patches",
          "identity")  # fmt: skip
"""Shaped like an image, so that unintended models read them."""


CALLS = ("call-offset-noise", "session-offset")


class Published(nn.Module):
    """A null or a known leak as a defense.

    Args:
        name: of it.
        images: all images, (n, c, side, side); whoever leaks a label finds it by the image.
        labels: of them, (n,).
    """

    stochastic = True

    def __init__(self, name: str, images: Tensor, labels: Tensor) -> None:
        super().__init__()
        self.name, self.images, self.labels = name, images, labels

    def forward(self, x: Tensor) -> Tensor:
        """Releases of some images."""
        if self.name == "other-image":
            return self.images[torch.randint(len(self.images), (len(x),))]
        if (make := NULLS.get(self.name)) is not None:
            return make(x)
        y = self.labels[torch.cdist(x.flatten(1), self.images.flatten(1)).argmin(1)]
        if self.name == "session-offset":
            # No call is known by its mean alone: the offset is forty times what tells the class.
            return nn.functional.one_hot(y, CLASSES) + 0.1 * torch.randn(len(x), CLASSES) + 40 * torch.randn(CLASSES)
        if self.name == "identity":
            return x
        generator = torch.Generator().manual_seed(int(torch.randint(2**31, ())))
        return FAMILIES[self.name].make(x, y, CLASSES, generator)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One run.

    Args:
        name, seed: what was attacked.
        exit: code of the command line.
        broken: gates that are, or `-`.
        accuracy, accuracy_10, leakage, exposed_10, transfer: the metrics' values, three digits; `-` where unknown.
        by: who was chosen with all labels.
        at_chance: outcome of the gate whose limit is the largest class's share.
        flags: of all gated numbers.
        seconds: of processor time.
    """

    name: str
    seed: int
    exit: int
    broken: str
    accuracy: str
    accuracy_10: str
    leakage: str
    exposed_10: str
    transfer: str
    by: str
    at_chance: str
    flags: str
    seconds: float


def data(rows: int) -> tuple[Tensor, Tensor]:
    """So many images and digits, the same in every run."""
    part = digits("", DataOptions()).train
    few = (part.labels["digit"] < CLASSES).nonzero().flatten()
    chosen = few[torch.randperm(len(few), generator=torch.Generator().manual_seed(0))[:rows]]
    return part.images[chosen, :, ::2, ::2].float(), part.labels["digit"].long()[chosen]


def readers(models: Sequence[str], twin: str | None) -> tuple[Candidate, ...]:
    """The ladder without those that are not among `READERS`."""
    return tuple(each for each in _LADDER(models, twin) if each.adversary in READERS)


_LADDER = adaptive_probe.ladder


def published(defense: Published, images: Tensor, labels: Tensor, seed: int) -> dict[str, object]:
    """What is handed over: a defense where calls matter, otherwise what it published, once."""
    if defense.name in CALLS:
        return {"defense": defense, "images": images, "labels": labels}
    torch.manual_seed(seed)
    return {"release": defense(images), "images": images, "labels": labels}


def run(name: str, seed: int) -> Row:
    """Attack one release with one seed and judge its gates."""
    started = time.process_time()
    images, labels = data(ROWS_IN_CALLS if name in CALLS else ROWS)
    gates = [*GATES, TRANSFER] if name in IMAGES else list(GATES)
    with tempfile.TemporaryDirectory() as folder:
        found = vfc.attack(
            **published(Published(name, images, labels), images, labels, seed), protocols="adaptive-probe",
            gates=gates, budget="smoke", seed=seed, out=Path(folder) / "run", unintended=UNINTENDED, verbosity=-1,
        )  # fmt: skip
    share = float(labels.bincount().max() / len(labels))
    at_chance, *_ = judge(found.report, [Gate.parse(f"adaptive.accuracy <= {share:.6f}")], found.rows, 0.05)
    chosen = [row for row in found.evidence if row.chosen]
    # Who needs no label has no number of them.
    chosen = [r for labels in ("all", None) for r in chosen if r.threat.budget.labels_per_class == labels]
    flags = {flag for gate in found.gates if gate.observed is not None for flag in gate.observed.flags}
    value = {key: "-" if each.value is None else f"{each.value:.3f}" for key, each in found.metrics.items()}
    return Row(
        name=name, seed=seed, exit=found.exit_code,
        broken=", ".join(gate.expr for gate in found.gates if gate.outcome == "broken") or "-",
        accuracy=value["adaptive.accuracy"], accuracy_10=value["adaptive.accuracy@10"],
        leakage=value["adaptive.leakage"], exposed_10=value["adaptive.exposed@10"], transfer=value["transfer.accuracy"],
        by=chosen[0].adversary if chosen else "-", at_chance=at_chance.outcome, flags=" ".join(sorted(flags)) or "-",
        seconds=round(time.process_time() - started, 1),
    )  # fmt: skip


def read(record: Path) -> list[Row]:
    """What was run already."""
    if not record.is_file():
        return []
    with record.open(encoding="utf-8", newline="") as file:
        kinds: dict[str, Callable[[str], Any]] = {"seed": int, "exit": int, "seconds": float}
        rows = csv.DictReader(file, delimiter="\t")
        return [Row(**{key: kinds.get(key, str)(text) for key, text in row.items()}) for row in rows]


def write(record: Path, rows: Sequence[Row]) -> None:
    """The record in order, anew."""
    places = {name: place for place, name in enumerate((*NULLS, *LEAKS))}
    with record.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, delimiter="\t", lineterminator="\n")
        table.writerow(field.name for field in fields(Row))
        table.writerows(astuple(row) for row in sorted(rows, key=lambda row: (places[row.name], row.seed)))


def table(rows: Sequence[Row]) -> str:
    """What became of every release, in Markdown."""
    lines = ["| release | runs | exit 1 | accuracy, all labels | leakage | above chance | chosen |", "|---" * 7 + "|"]
    for name in (*NULLS, *LEAKS):
        own = [row for row in rows if row.name == name]
        if not own:
            continue
        spans = []
        for key in ("accuracy", "leakage"):
            known = [float(value) for row in own if (value := getattr(row, key)) != "-"]
            spans.append(f"{min(known):.3f} to {max(known):.3f}" if known else "-")
        broken, above = (sum(each) for each in ([r.exit == 1 for r in own], [r.at_chance == "broken" for r in own]))
        often = ", ".join(f"{who} {count}" for who, count in Counter(row.by for row in own).most_common(2))
        lines.append(f"| {name} | {len(own)} | {broken} | {' | '.join(spans)} | {above} | {often} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[*NULLS, *LEAKS], choices=[*NULLS, *LEAKS], metavar="NAME")
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--minutes", type=float, default=45.0, help="no run is begun after that")
    parser.add_argument("--record", type=Path, default=RECORD)
    parser.add_argument("--table", action="store_true", help="show what is known and run nothing")
    options = parser.parse_args()
    adaptive_probe.ladder, study.codelengths = readers, lambda *_: Findings()
    rows, started = read(options.record), time.monotonic()
    done = {(row.name, row.seed) for row in rows}
    for seed in range(0 if options.table else options.seeds):
        for name in options.only:
            if (name, seed) not in done and time.monotonic() - started < 60 * options.minutes:
                rows.append(run(name, seed))
                write(options.record, rows)
                print(*astuple(rows[-1]), sep="  ", flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
