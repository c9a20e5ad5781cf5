"""What our readers find of leaks that only readers of their family see, beside somebody who knows the family.

    python -m benchmarks.readers [--leak NAME] [--adversary NAME] [--labels K] [--seeds N]

Digits: 747 labelled releases, or K of each class, and 450 targets. Whoever knows the code of a label reads it without
training; where the whole image is carried, the informed reader is the best of ours on the image as it was.
"""

import argparse
import time

import torch

from adversaries.adversary import ADVERSARIES
from adversaries.calibration.families import FAMILIES, planted
from adversaries.evaluation_data import EvaluationData, Part
from adversaries.knowledge import Knowledge
from adversaries.threat import ThreatModel
from vfc.data import DataOptions
from vfc.datasets.digits import digits
from vfc.errors import NotApplicableError

INFORMED = ("linear", "knn", "mlp", "cnn")
SIZES = (747, 450)


def data():
    """Images and digits of the attacker's part and of the targets, drawn once."""
    part = digits("", DataOptions()).train
    x, y = part.images.float(), part.labels["digit"].long()
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))[: sum(SIZES)]
    return x[order], y[order]


def world(release, x, y, classes=10, sizes=SIZES):
    """The attacker's part and the targets; nothing is chosen here, so the validation part is empty."""
    cut = sizes[0]
    parts = [Part(images=x[r], release=release[r], labels={"digit": y[r]}) for r in (slice(cut), slice(cut, None))]
    return EvaluationData(
        train=parts[0], validation=parts[1].nothing(), targets=parts[1], classes={"digit": classes}, models={}
    )


def accuracy(name, one, labels="all", seed=0, **settings):
    """Accuracy on the targets and CPU seconds; None and why where it does not apply."""
    started = time.process_time()
    view = Knowledge(one, ThreatModel(level="L2", labels_per_class=labels), "digit")
    try:
        attack = ADVERSARIES.get(name)(**settings).fit(view, torch.Generator().manual_seed(seed))
    except NotApplicableError as reason:
        return None, str(reason)
    right = attack.guess(one.targets.release).argmax(1) == one.targets.labels["digit"]
    return float(right.double().mean()), time.process_time() - started


def readers():
    """Everybody who reads releases with labels and needs no unintended model."""
    return [
        (name, dict(settings))
        for name, card in ADVERSARIES.cards.items()
        if "task" in card.facts.get("goals", ())
        and (kind := ADVERSARIES.get(name)).level <= "L2"
        and not kind.per_model
        and name not in {"majority", "matched-bits"}
        for settings in card.facts.get("variants", ({},))
    ]


def informed(name, one, x, y):
    """What somebody who knows the family reads."""
    reader = FAMILIES[name].reader
    if reader is not None:
        return float((reader(one.targets.release, 10) == one.targets.labels["digit"]).double().mean())
    small = x[..., ::2, ::2] if name == "index-value" else x
    return max(accuracy(each, world(small, x, y))[0] or 0.0 for each in INFORMED)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--leak", action="append", choices=list(FAMILIES))
    parser.add_argument("--adversary", action="append")
    parser.add_argument("--labels", default="all")
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    labels = "all" if options.labels == "all" else int(options.labels)
    x, y = data()
    chosen = [pair for pair in readers() if not options.adversary or pair[0] in options.adversary]
    for name in options.leak or FAMILIES:
        for seed in range(options.seeds):
            one = world(planted(name, x, y, 10, seed), x, y)
            known, rows = informed(name, one, x, y), []
            for reader, settings in chosen:
                got, cost = accuracy(reader, one, labels, seed, **settings)
                rows.append((got if got is not None else -1.0, reader, cost))
                print(f"    {reader:18} {f'{got:.3f} {cost:6.2f} s' if got is not None else cost}", flush=True)
            best, who, _ = max(rows)
            print(f"{name:18} informed {known:.3f}  best {best:.3f} ({who})  ratio {best / known:.3f}", flush=True)


if __name__ == "__main__":
    main()
