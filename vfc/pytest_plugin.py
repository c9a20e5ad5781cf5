"""pytest plugin: privacy gates as tests. Nothing heavy is imported before a test asks for an attack.

from vfc.pytest_plugin import assert_suppressed

def test_my_defense():
    assert_suppressed("mypkg.defense:build", gates=["transfer.suppression_ratio >= 2"])

def test_by_hand(vfc_report):
    report = vfc_report("mypkg.defense:build", protocols=("transfer",))
    assert report.metrics["transfer.accuracy"].high < 0.3
"""

from __future__ import annotations

import inspect
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from reports.model.report import Report

DEFAULT_GATES = ("transfer.suppression_ratio >= 2",)


def assert_suppressed(
    defense: str | Path | Callable[..., Any],
    *,
    gates: str | Sequence[str] = DEFAULT_GATES,
    out: str | Path | None = None,
    **options: Any,
) -> Report:
    """Attack a defense and fail unless every gate holds; what cannot be decided fails too.

    Example:
        ```python
        from vfc.pytest_plugin import assert_suppressed


        def test_other_models_cannot_read_it():
            assert_suppressed("pixel-permutation", gates="transfer.accuracy <= 0.5", unintended="mlp", width=0.25)
        ```

    Args:
        defense: what `--release` takes, or a function at the top of a module that returns a defense.
        gates: `METRIC OP NUMBER`, at least one, or the name of ready-made ones: paper, standard or strict.
        out: folder for the report; a temporary one by default.
        options: fields of `protocols.engine.settings.Settings`, such as `protocols="transfer"`, `dataset`, `seed`. The
            budget is `smoke` unless said otherwise.

    Returns:
        The report.

    Raises:
        AssertionError: a gate is broken or inconclusive.
        UserError: an option, a gate or the defense cannot be used.
    """
    __tracebackhide__ = True
    from vfc.errors import UserError

    if not gates:
        raise UserError("expected a gate, got none", "for instance gates=['transfer.suppression_ratio >= 2']")
    report = attacked(defense, gates=gates, out=out, **options)
    failed = [f"{gate.outcome}: {gate.expr}: {gate.reason}" for gate in report.gates if gate.outcome != "held"]
    if failed:
        raise AssertionError("not suppressed\n" + "\n".join(failed))
    return report


def attacked(defense: str | Path | Callable[..., Any], *, out: str | Path | None = None, **options: Any) -> Report:
    """Attack a defense in this process and return the report; arguments as for `assert_suppressed`.

    Raises:
        UserError: an option or the defense cannot be used, or another package has the name of one of ours.
    """
    from vfc.__main__ import require_own_packages

    require_own_packages()
    from protocols.commands.attack import run_attack
    from protocols.commands.options.gates import split_gates
    from protocols.engine.settings import Settings
    from protocols.keywords import checked
    from reports.model.storage import load

    options = checked(options, "vfc.pytest_plugin.assert_suppressed", attacked, ("release",))
    # A policy of the working folder is for `vfc attack`; a test says itself what it asks for.
    given: dict[str, Any] = {
        "budget": "smoke",
        "executor": "local",
        "config": os.devnull,
        "protocols": _protocols(options),
    }
    given |= {"verbosity": -1, **options}
    given["gates"], given["preset"] = split_gates(given.get("gates", ()), given.get("preset"))
    with tempfile.TemporaryDirectory() as folder:
        place = str(out) if out is not None else folder
        settings = Settings(release=_release(defense), out=place, **given)
        run_attack(settings, {}, ["pytest"])
        return load(place)


@pytest.fixture
def vfc_report(request: pytest.FixtureRequest) -> Callable[..., Report]:
    """A function that attacks a defense and returns its report; `assert_suppressed` without the assertion.

    Equal calls of one session share one run. Verdict, digest and gates become properties of the test, which
    `--junitxml` writes.

    Example:
        ```python
        def test_other_models_read_plain_images(vfc_report):
            report = vfc_report("identity", protocols="transfer", unintended="mlp", width=0.25)
            assert report.metrics["transfer.accuracy"].low > 0.3
        ```
    """
    cache: dict[str, Report] = request.config.stash.setdefault(_CACHE, {})

    def call(defense: str | Path | Callable[..., Any], **options: Any) -> Report:
        key = json.dumps([_release(defense), options], sort_keys=True, default=str)
        if key not in cache:
            cache[key] = attacked(defense, **options)
        report = cache[key]
        # What `record_property` does, which warns about every schema of JUnit but the oldest.
        record = request.node.user_properties.append
        record(("vfc.release", report.release.name))
        record(("vfc.verdict", report.verdict))
        record(("vfc.digest", report.digest))
        for gate in report.gates:
            record(("vfc.gate", f"{gate.outcome}: {gate.expr}: {gate.reason}"))
        return report

    return call


_CACHE: pytest.StashKey[dict[str, Any]] = pytest.StashKey()


def _protocols(options: dict[str, Any]) -> tuple[str, ...]:
    """The protocols that the gates need: transfer alone where it serves them all, else the default."""
    metrics = [str(gate).split(".")[0].strip() for gate in options.get("gates", ())]
    return ("transfer",) if all(name in ("transfer", "target", "release") for name in metrics) else ()


def _release(defense: str | Path | Callable[..., Any]) -> str:
    """What `--release` takes for a defense; a function is named by its file."""
    from vfc.errors import UserError

    if isinstance(defense, str | Path):
        return str(defense)
    name = getattr(defense, "__qualname__", "")
    file = inspect.getsourcefile(defense) if inspect.isfunction(defense) else None
    if file is None or "<" in name:
        raise UserError(
            f"expected a name, a path or a function at the top of a module, got {type(defense).__name__} {name}",
            "define a function that returns the defense",
        )
    return f"{file}:{name}"
