"""The defender: data, models, the VFC core, every other defense; and the front door of the whole toolkit.

```python
import vfc

report = vfc.attack(defense, images=images, labels=labels, target=model, budget="smoke")
```

Importing this imports nothing else but the version: each function fetches what it needs when it is called.
"""

# Structure: calibration does not count it.

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vfc.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from protocols.tensors import FittedAdversary
    from reports.opened import OpenedBench, OpenedReport

__all__ = ["attack", "bench", "fit_adversary", "load_report"]
__version__ = VERSION


def attack(
    defense: object = None,
    *,
    images: object = None,
    labels: object = None,
    attributes: Mapping[str, object] | Sequence[str] | None = None,
    test: object = None,
    release: object = None,
    target: object = None,
    dataset: str | None = None,
    protocols: str | Sequence[str] = ("adaptive-probe",),
    gates: str | Sequence[str] = (),
    threat: str | None = None,
    budget: str = "standard",
    seed: int = 0,
    out: str | Path | None = None,
    **options: Any,
) -> OpenedReport:
    """Attack a defense with everybody who might repurpose its releases, and say what they reach.

    The same run as `vfc attack`. An object runs in this process, so `isolated` is false in the report's provenance;
    attackers work in processes of their own, unless `executor="local"`.

    Example:
        ```python
        report = vfc.attack(
            lambda images: images.roll(1, dims=3), protocols="transfer", budget="smoke", unintended=["mlp"],
            gates="transfer.accuracy <= 0.5", out="runs/attacked",
        )
        print(report.verdict, report.metrics["transfer.accuracy"].value)
        ```

    Args:
        defense: a torch module or a function from images (n, c, side, side) in [0, 1] to one release row per image,
            an object that can be called like that, or whatever `--release` takes as text.
        images: numpy array or tensor, shape (n, 1 or 3, side, side), floats in [0, 1] or uint8.
        labels: the task, classes from 0, shape (n,); or a mapping of names to such, the task first. Without images,
            labels to derive from those of `dataset`, such as "living=label:2,3,4,5,6,7", which `task` may name.
        attributes: what else attackers may want to know, by name, each (n,); or names of labels of `dataset`.
        test: (images, labels) on which everybody is graded; without it, a quarter of the images.
        release: published values (n, ...) instead of a defense, with their `labels`, and `images` if they are known.
        target: the intended use, a torch module or a function from releases to logits (n, classes). Without it, the
            defense's own `predict` or `target`; without any, ratios are not applicable.
        dataset: what `--dataset` takes, instead of images.
        protocols: names as in `vfc list protocols`.
        gates: `METRIC OP NUMBER`, such as "adaptive.accuracy@1 <= 0.5", or the name of ready-made ones: paper,
            standard or strict.
        threat: highest level of knowledge, L0 to L5; None for each protocol's default.
        budget: smoke (minutes), standard or full.
        seed: of everything.
        out: folder for the report and for what a killed run resumes from; None keeps nothing but the cache.
        options: further fields of `protocols.engine.settings.Settings`. The models: `unintended=["mlp"]`, `width`; the
            data: `task`, `split`, `split_seed`, `data_root`, `download`; the attacks: `seeds`,
            `overrides={"fine-tune.steps": 400, "train.steps": 200}`; the gates: `preset`, `accept`; the machine:
            `device`, `threads`, `executor`, `workers`, `ray_address`, `job_limit`, `fit_limit`, `call_limit`,
            `no_isolation`, `no_cache`, `fresh`.

    Returns:
        The report, which shows itself in a notebook.

    Raises:
        vfc.errors.UserError: something must be changed, and it says what.
    """
    _require_own_packages()
    from protocols import api

    return api.attack(
        defense, images=images, labels=labels, attributes=attributes, test=test, release=release, target=target,
        dataset=dataset, protocols=protocols, gates=gates, threat=threat, budget=budget, seed=seed, out=out, **options,
    )  # fmt: skip


def bench(
    defenses: object = "all",
    *,
    images: object = None,
    labels: object = None,
    attributes: Mapping[str, object] | Sequence[str] | None = None,
    test: object = None,
    target: object = None,
    dataset: str | None = None,
    threat: str | None = None,
    budget: str = "standard",
    seed: int = 0,
    out: str | Path | None = None,
    **options: Any,
) -> OpenedBench:
    """Put defenses under the same adversaries and into one table, as `vfc bench` does.

    Example:
        ```python
        table = vfc.bench(
            {"labels": "label-release", "plain": lambda images: images}, attributes=["ink"], threat="L0",
            budget="smoke", unintended=["mlp"],
        )
        print([row.name for row in table.rows])
        ```

    Args:
        defenses: a defense, a list of them, or a mapping of names for their rows to them: objects as for `attack`, or
            names; "all" is every registered one. Rows without a name that would be called the same get -1, -2.
        images: as for `attack`, and so are all that follow.
        labels: the task, or several labels by name.
        attributes: what else attackers may want to know.
        test: on what everybody is graded.
        target: the intended use of every release, or the name of an architecture. Where each defense has its own head,
            leave it out and set the attribute `target` of each module: without either, a row has no utility.
        dataset: what `--dataset` takes, instead of images.
        threat: highest level of knowledge.
        budget: smoke, standard or full.
        seed: of everything.
        out: folder for the table, the reports of all rows, and what a killed run resumes from.
        options: as for `attack`: `unintended`, `width`, `task`, `split`, `split_seed`, `data_root`, `download`,
            `seeds`, `overrides`, `device`, `threads`, `executor`, `workers`, `ray_address`, `job_limit`, `fit_limit`,
            `call_limit`, `no_isolation`, `no_cache`, `fresh`.

    Returns:
        The table, which shows itself in a notebook.

    Raises:
        vfc.errors.UserError: something must be changed, and it says what.
    """
    _require_own_packages()
    from protocols import api

    return api.bench(
        defenses, images=images, labels=labels, attributes=attributes, test=test, target=target, dataset=dataset,
        threat=threat, budget=budget, seed=seed, out=out, **options,
    )  # fmt: skip


def fit_adversary(
    name: str, release: object, labels: object, *, images: object = None, seed: int = 0, **settings: Any
) -> FittedAdversary:
    """Fit one adversary on labelled releases, without any protocol and without controls.

    Example:
        ```python
        guesses = vfc.fit_adversary("linear", release[:600], labels[:600]).guess(release[600:])
        ```

    Args:
        name: of an adversary that guesses labels, as in `vfc list adversaries`, such as "linear".
        release: numpy array or tensor, shape (n, ...).
        labels: classes from 0, shape (n,).
        images: the originals, shape (n, c, side, side) in [0, 1], for adversaries that read them.
        seed: of everything that it draws.
        settings: options of the adversary, as `vfc list adversaries NAME` shows them.

    Returns:
        What has learned: `guess(release)` gives classes (n,), `scores(release)` a score per class (n, k).

    Raises:
        vfc.errors.UserError: there is no such adversary, it does not apply, or the arrays have another form.
    """
    _require_own_packages()
    from protocols import tensors

    return tensors.fit_adversary(name, release, labels, images=images, seed=seed, **settings)


def load_report(path: str | Path) -> OpenedReport:
    """Read a report that `vfc attack` wrote, or that of a row of `vfc bench`; imports no torch.

    Example:
        ```python
        print(vfc.load_report("runs/attacked").summary)
        ```

    Args:
        path: `report.json`, or the folder that holds it.

    Raises:
        vfc.errors.UserError: it is missing, damaged or changed by hand, or a whole bench.
    """
    _require_own_packages()
    from protocols.bench.rows import refuse_bench
    from reports.opened import open_report

    refuse_bench(path)

    return open_report(path)


def _require_own_packages() -> None:
    from vfc.__main__ import require_own_packages

    require_own_packages()
