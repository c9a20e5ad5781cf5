"""`inversion` and `linkage` on small data: known leaks, known nulls, and what does not apply."""

import numpy as np
import pytest

from adversaries.evidence import Value
from protocols.evaluation.checks.bound_check import below_bound
from protocols.run import against_everybody
from reports.model.storage import load, load_rows

SHORT = (
    "--set", "decoder.steps=15", "--set", "gradient-inversion.steps=6", "--set", "decoder.width=4",
    "--budget", "smoke",
)  # fmt: skip


def attacked(vfc, tmp_path, release, *more, protocol="inversion"):
    arguments = ("attack", "--release", release, "--protocol", protocol, "--out", "a", *SHORT, *more)
    code, _, err = vfc(*arguments)
    assert code == 0, err
    return load(tmp_path / "a")


def test_the_identity_gives_every_image_back(vfc, tmp_path):
    report = attacked(vfc, tmp_path, "identity")
    metrics = report.metrics
    assert metrics["inversion.identification"].value >= 0.99
    assert metrics["inversion.psnr"].value > 60
    assert metrics["inversion.ssim"].value > 0.99
    assert metrics["inversion.reader_accuracy"].value > 0.9
    goals = {row.goal for row in report.evidence if row.chosen}
    assert goals == {"reconstruction:psnr", "reconstruction:ssim", "reconstruction:identification", "task:side"}
    (best,) = [row for row in report.evidence if row.chosen and row.goal == "reconstruction:psnr"]
    assert best.arms.floor.high < best.arms.ceiling.low
    assert best.arms.shuffled.value < best.arms.floor.high
    anchors = {name: value.value for name, value in best.metrics.items() if name.startswith("anchor.")}
    assert anchors["anchor.image"] == pytest.approx(100, abs=1e-3)
    assert anchors["anchor.other_image"] < anchors["anchor.mean_image"] < anchors["anchor.class_mean_image"]
    rows = load_rows(tmp_path / "a", report)
    assert rows["gallery/original"].shape == rows["gallery/reconstruction"].shape == rows["gallery/release"].shape
    # The identity exposes everybody: who is read most surely comes first.
    assert rows["gallery/exposed"].all()
    assert np.all(np.diff(rows["gallery/sure"]) <= 0)
    assert set(rows["gallery/rank"].tolist()) == {1}


@pytest.mark.parametrize("release", ["pure-noise", "constant"])
def test_nothing_comes_back_from_a_null(vfc, tmp_path, release):
    report = attacked(vfc, tmp_path, release)
    for row in report.evidence:
        if row.status != "measured" or not row.chosen:
            continue
        assert row.arms.attack.low <= row.arms.floor.high, row.goal
        assert not set(row.health) & {"SHUFFLED_ABOVE_CHANCE", "NONFINITE_GUESS"}
    repeated = [row for row in report.evidence if row.adversary == "averaging"]
    assert {row.status for row in repeated} == {"measured" if release == "pure-noise" else "not_applicable"}


def test_below_l4_nobody_knows_the_defense(vfc, tmp_path):
    report = attacked(vfc, tmp_path, "pixel-permutation", "--threat", "L3")
    assert {row.threat.level for row in report.evidence} == {"L3"}
    assert report.metrics["inversion.identification"].value >= 0.99


def test_in_one_run_everybody_competes_and_bounds_are_held_against_attacks(vfc, tmp_path, monkeypatch):
    """What `rivals` and `bound_check` compute reaches the report."""
    seen = {}

    def everybody(found, threat):
        seen["rivals"] = {rival.competitor.candidate.adversary for each in found for rival in each.rivals}
        seen["threat"] = threat
        return against_everybody(found, threat) | {"adaptive.leakage": Value.unknown("replaced")}

    def bound(evidence, metrics, rows):
        seen["rows"] = any("reconstruction:psnr" in key for key in rows)
        return below_bound(evidence, {**metrics, "leakage.mse_bound": Value.unknown("void")}, rows)

    monkeypatch.setattr("protocols.run.against_everybody", everybody)
    monkeypatch.setattr("protocols.run.below_bound", bound)
    report = attacked(vfc, tmp_path, "identity", "--protocol", "adaptive-probe", "--threat", "L3")
    assert seen == {
        "rivals": {"ridge-decoder", "decoder", "known-bits", "noise-projection"},
        "threat": "L3",
        "rows": True,
    }
    assert report.metrics["adaptive.leakage"].reason == "replaced"
    assert report.metrics["leakage.mse_bound"].reason == "void"
    assert report.metrics["adaptive.accuracy"].value > 0.9


def test_releases_are_matched_with_images_and_with_each_other(vfc, tmp_path):
    report = attacked(vfc, tmp_path, "pixel-permutation", protocol="linkage")
    for name in ("linkage.image.top1", "linkage.release.top1"):
        assert report.metrics[name].value >= 0.99
    report = attacked(vfc, tmp_path, "identity", "--fresh", protocol="linkage")
    assert report.metrics["linkage.image.top1"].value >= 0.99
    assert "equal" in report.metrics["linkage.release.top1"].reason
    assert {row.status for row in report.evidence if row.goal == "match:release"} == {"not_applicable"}
    report = attacked(vfc, tmp_path, "pure-noise", "--fresh", protocol="linkage")
    for row in report.evidence:
        if row.chosen:
            assert row.arms.attack.low <= row.arms.floor.value


def test_saved_arrays_offer_what_they_hold(vfc, tmp_path):
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, 600)
    images = np.repeat(np.repeat(rng.uniform(size=(600, 1, 4, 4)), 2, axis=2), 2, axis=3).astype(np.float32)
    release = (images.reshape(600, -1) @ rng.normal(size=(64, 24))).astype(np.float32)
    np.savez(tmp_path / "r.npz", release=release, label=y)
    common = ("--executor", "local", *SHORT, "--unintended", "mlp", "--width", "0.25", "--set", "train.steps=20")
    for protocol in ("inversion", "linkage"):
        code, _, err = vfc(
            "attack", "--release", "r.npz", "--protocol", protocol, "--out", protocol, *common, quick=False
        )
        assert code == 3, err
        report = load(tmp_path / protocol)
        assert {row.status for row in report.evidence} == {"not_applicable"}
        reasons = {row.reason for row in report.evidence}
        assert all("originals" in reason or "only releases" in reason for reason in reasons), reasons
        numbers = [value for name, value in report.metrics.items() if name.startswith(protocol)]
        assert numbers
        assert all(value.value is None and value.reason for value in numbers)
    np.savez(tmp_path / "more.npz", release=release, label=y, image=images)
    code, _, err = vfc("attack", "--release", "more.npz", "--protocol", "inversion", "--out", "b", *common, quick=False)
    assert code == 0, err
    report = load(tmp_path / "b")
    assert report.metrics["inversion.identification"].value >= 0.99
    white = [row for row in report.evidence if row.threat.level == "L4"]
    assert white
    assert all(row.status == "not_applicable" and "no defense" in row.reason for row in white)


def test_a_crash_is_reported_and_forbids_a_gate_to_hold(vfc, tmp_path, monkeypatch):
    from adversaries.attacks.inversion.ridge_decoder import RidgeDecoder

    def crash(self, view, generator):
        raise RuntimeError("boom")

    monkeypatch.setattr(RidgeDecoder, "fit", crash)
    code, _, err = vfc(
        "attack", "--release", "constant", "--protocol", "inversion", "--out", "a", *SHORT, "--threat", "L3",
        "--gate", "inversion.psnr <= 90",
    )  # fmt: skip
    assert code == 3, err
    assert "CRASHED" in load(tmp_path / "a").metrics["inversion.psnr"].flags
