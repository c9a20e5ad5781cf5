"""The attribute protocol on small data: known leaks, known nulls, what has no meaning, and what depends on what."""

import json

import numpy as np
import pytest

from adversaries.statistics import levels
from reports.model.storage import load, load_rows
from tests.protocols.conftest import QUICK

FAST = (
    "--protocol", "attribute", "--set", "entropy.steps=5", "--set", "with-prediction.steps=40",
    "--set", "with-prediction.iterations=20",
)  # fmt: skip


@pytest.fixture(scope="module")
def attributes(tmp_path_factory):
    """600 images of 8 x 8: task side; attribute half (two classes), corner (three), rare (a tenth), same (the task)."""
    rng = np.random.default_rng(6)
    y, half, corner = rng.integers(0, 2, 600), rng.integers(0, 2, 600), rng.integers(0, 3, 600)
    rare = (rng.random(600) < 0.1).astype(int)
    images = rng.integers(0, 120, (600, 8, 8, 1))
    for i in range(600):
        images[i, :, 4 * y[i] : 4 * y[i] + 4] += 60
        images[i, 4 * half[i] : 4 * half[i] + 4] += 50
        images[i, 2 * corner[i] : 2 * corner[i] + 2, :2] += 80
        images[i, 6:, 6:] = 20 + 200 * rare[i]
    path = tmp_path_factory.mktemp("data") / "attributes.npz"
    np.savez(path, images=images.clip(0, 255).astype(np.uint8), side=y, half=half, corner=corner, rare=rare, same=y)
    return path


@pytest.fixture
def on(vfc, tmp_path, attributes):
    """Attack a release of the data with all attributes, or with some."""

    def call(release, *names, out="out", extra=()):
        chosen = [word for name in names for word in ("--attribute", name)]
        options = ("--dataset", f"npz:{attributes}", "--task", "side", "--budget", "smoke")
        code, _, err = vfc(
            "attack", *QUICK, *FAST, "--release", release, "--out", out, *chosen, *options, *extra, quick=False
        )
        assert code == 0, err
        report = load(tmp_path / out)
        return report, load_rows(tmp_path / out, report)

    return call


def within(value, truth):
    return value.low <= truth <= value.high


def test_on_the_identity_everything_leaks_that_the_task_does_not_decide(on):
    report, rows = on("identity", "corner", "rare", "same")
    metrics = report.metrics
    for name in ("corner", "rare"):
        assert within(metrics[f"attribute.{name}.leakage"], 1.0)
        assert metrics[f"attribute.{name}.leakage"].low > 0 or name == "rare"  # too few targets for a bound
        assert within(metrics[f"attribute.{name}.worst_class_leakage"], 1.0)
        assert not set(metrics[f"attribute.{name}.worst_class_leakage"].flags) & {"CRASHED", "SHUFFLED_ABOVE_CHANCE"}
        assert metrics[f"mdl.{name}.bits"].high < metrics[f"mdl.{name}.control_bits"].low
    for kind in ("leakage", "worst_class_leakage"):
        same = metrics[f"attribute.same.{kind}"]
        assert (same.value, same.reason) == (None, "decided by the task label")
    assert metrics["attribute.corner.transfer_accuracy"].low > 1 / 3
    # Balanced where skewed: as many targets of the rare class as of the other, and the evidence says so.
    targets = report.dataset.parts["targets"].size
    assert metrics["attribute.corner.accuracy"].n == targets
    assert metrics["attribute.rare.accuracy"].n < targets / 2
    assert "TOO_FEW_TARGETS" in metrics["attribute.rare.accuracy"].flags
    said = {row.goal: row.settings.get("graded", "") for row in report.evidence}
    assert said["attribute:rare"].startswith("balanced accuracy: the first")
    assert said["attribute:corner"] == ""
    # Every number can be computed again at another level from the sidecar.
    worst = metrics["attribute.corner.worst_class_leakage"]
    assert levels.recompute(worst, 0.01, rows).low < worst.low
    assert rows[worst.rows].shape[:2] == (3, 3)
    for row in report.evidence:
        if row.status == "measured":
            assert row.arms.attack.value == row.arms.ceiling.value, row.adversary
    json.dumps(report.model_dump(mode="json"), allow_nan=False)


@pytest.mark.parametrize(
    ("release", "name"), [("label-release", "half"), ("constant", "corner"), ("pure-noise", "corner")]
)
def test_what_tells_at_most_the_task_leaks_no_attribute(on, release, name):
    report, _ = on(release, name, extra=("--threat", "L3"))
    leakage = report.metrics[f"attribute.{name}.leakage"]
    assert within(leakage, 0.0), leakage
    assert report.metrics[f"attribute.{name}.worst_class_leakage"].low <= 0
    assert {row.status for row in report.evidence} <= {"measured", "not_applicable"}
    assert "decensor" in {row.adversary for row in report.evidence if row.status == "measured"}


def test_each_attribute_has_models_of_its_own_and_no_near_twin(on, tmp_path):
    report, _ = on("identity", "half")
    models = {row.settings["model"] for row in report.evidence if "model" in row.settings}
    assert models == {"mlp"}
    assert "decensor" not in {row.adversary for row in report.evidence}
    frozen = next(row for row in report.evidence if row.adversary == "frozen")
    assert frozen.arms.attack.value == report.metrics["attribute.half.transfer_accuracy"].value
    assert {row.goal for row in report.evidence} == {"attribute:half"}


def test_the_threat_level_is_respected(on):
    report, _ = on("identity", "half", extra=("--threat", "L0"))
    assert {row.threat.level for row in report.evidence} == {"L0"}
    assert "mdl.half.bits" not in report.metrics
    assert report.metrics["attribute.half.accuracy"].value is not None


def test_without_attributes_there_is_nothing_to_attack(vfc, tmp_path, attributes):
    with np.load(attributes) as data:
        np.savez(tmp_path / "one.npz", images=data["images"], side=data["side"])
    code, _, _ = vfc(
        "attack", *QUICK, *FAST, "--release", "identity", "--budget", "smoke", "--dataset", "npz:one.npz",
        "--task", "side", "--out", "out", quick=False,
    )  # fmt: skip
    assert code == 3
    (row,) = load(tmp_path / "out").evidence
    assert row.status == "not_applicable"
    assert "--label" in row.reason


def test_saved_arrays_without_images_are_attacked_without_a_ceiling_on_images(vfc, tmp_path):
    rng = np.random.default_rng(7)
    y, a = rng.integers(0, 2, 500), rng.integers(0, 2, 500)
    release = rng.normal(size=(500, 6)).astype(np.float32)
    release[:, 0] += 2 * a
    np.savez(tmp_path / "saved.npz", release=release, label=y, prediction=y, attr_a=a)
    code, _, err = vfc(
        "attack", *FAST, "--release", "saved.npz", "--budget", "smoke", "--executor", "local", "--out", "out",
        quick=False,
    )  # fmt: skip
    assert code == 0, err
    metrics = load(tmp_path / "out").metrics
    assert metrics["attribute.a.accuracy"].low > 0.6
    for kind in ("leakage", "worst_class_leakage"):
        assert "originals are unknown" in metrics[f"attribute.a.{kind}"].reason
    assert metrics["attribute.a.transfer_accuracy"].value is None
    assert metrics["mdl.a.bits"].high < metrics["mdl.a.control_bits"].low
