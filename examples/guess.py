"""Somebody else's attack on a suite, in ten lines: `python examples/guess.py SUITE DEFENSE` writes guesses.npz.

Logistic regression on 10 labelled releases per class, and its two controls: the same method on the images, and on
labels that were permuted. `vfc grade guesses.npz` grades it.
"""

import sys

import numpy as np
from safetensors.numpy import load_file
from sklearn.linear_model import LogisticRegression

SUITE, DEFENSE = sys.argv[1:3]
pool = load_file(f"{SUITE}/pool.safetensors")
attack = load_file(f"{SUITE}/defenses/{DEFENSE}/attack.safetensors")
images = load_file(f"{SUITE}/grader/images.safetensors")["images"]


def guess(train: np.ndarray, targets: np.ndarray, label: str) -> np.ndarray:
    """Classes of the targets, read by logistic regression."""
    rows = pool[f"train.{label}.rows@10"]
    reader = LogisticRegression(max_iter=1000).fit(train[rows].reshape(len(rows), -1), pool[f"train.{label}"][rows])
    return reader.predict(targets.reshape(len(targets), -1))


np.savez(
    "guesses.npz",
    by="logistic regression",
    index=attack["targets.index"],
    guesses=guess(attack["train.release"], attack["targets.release"], "digit"),
    shuffled=guess(attack["train.release"], attack["targets.release"], "digit.shuffled"),
    ceiling=guess(pool["train.images"], images, "digit"),
)
