"""The protocol `evasion`: what it reports, when it has no meaning, and what happens without its libraries."""

import json

import numpy as np
import pytest

from adversaries.goals.worst_case import at_floor, clearly_below
from protocols.engine.budget import BALLS, RADII
from protocols.engine.settings import Settings
from protocols.evaluation.protocol import PROTOCOLS
from protocols.evasion.plan import Plan
from vfc.errors import UserError

SHORT = (
    "--set", "square.queries=5", "--set", "boundary.steps=5", "--set", "deepfool.steps=3", "--set", "pgd.steps=4",
    "--set", "carlini-wagner.steps=5", "--set", "apgd.steps=4",
)  # fmt: skip
EPS = RADII


@pytest.fixture
def libraries():
    pytest.importorskip("torchattacks")
    pytest.importorskip("foolbox")


def report_of(folder):
    return json.loads((folder / "report.json").read_text())


def test_a_run_reports_the_worst_case_of_every_ball(vfc, tmp_path, libraries):
    out = tmp_path / "out"
    arguments = ("attack", "--release", "quantization", "--protocol", "evasion", "--quiet", *SHORT)
    code, _, _ = vfc(*arguments, "--gate", "evasion.accuracy@0.25 >= 0", "--out", out)
    assert code in (0, 3)
    report = report_of(out)
    values = {eps: report["metrics"][f"evasion.accuracy@{eps}"] for eps in EPS}
    assert all(value["n"] == 100 for value in values.values())
    for budgets in BALLS.values():
        numbers = [values[budget]["value"] for budget in budgets]
        assert numbers == sorted(numbers, reverse=True)
    # Rounding has no gradient: said of the numbers, and attacked with a stand-in all the same.
    assert all("ZERO_GRADIENT" in value["flags"] for value in values.values())
    rows = [row for row in report["evidence"] if row["status"] == "measured"]
    assert {row["adversary"] for row in rows} == {"pgd", "apgd", "square", "deepfool", "carlini-wagner", "boundary"}
    assert {row["settings"].get("gradient") for row in rows} == {None, "straight-through", "target"}
    by_eps = {eps: [row for row in rows if row["settings"]["eps"] == eps] for eps in EPS}
    for eps, some in by_eps.items():
        assert sum(row["chosen"] for row in some) == 1
        assert min(row["arms"]["attack"]["value"] for row in some) >= values[eps]["value"]
        assert all(row["arms"]["floor"] is not None for row in some)
    for row in by_eps["16/255"] + by_eps["1"]:
        assert (row["arms"]["ceiling"] is None) == (row["settings"].get("gradient", "exact") != "exact")
    assert {row["threat"]["level"] for row in rows if row["adversary"] in ("square", "boundary")} == {"L3"}

    code, _, _ = vfc("gate", out, "--gate", "evasion.accuracy@1 >= 0.99", quick=False)
    assert code in (1, 3)


def test_a_gate_on_a_masked_gradient_does_not_hold(vfc, tmp_path, libraries):
    out = tmp_path / "out"
    arguments = ("attack", "--release", "label-release", "--protocol", "evasion", "--quiet", *SHORT, "--out", out)
    code, _, _ = vfc(*arguments, "--gate", "evasion.accuracy@4/255 >= 0.01")
    assert code == 3
    (gate,) = report_of(out)["gates"]
    assert gate["outcome"] == "inconclusive"
    assert "ZERO_GRADIENT" in gate["reason"] or "ZERO_GRADIENT" in gate["observed"]["flags"]


def test_below_queries_nobody_may_attack_the_input(vfc, tmp_path, libraries):
    out = tmp_path / "out"
    code, _, _ = vfc(
        "attack", "--release", "identity", "--protocol", "evasion", "--threat", "L2", "--quiet", "--out", out
    )
    assert code == 3
    report = report_of(out)
    assert {row["status"] for row in report["evidence"]} == {"not_applicable"}
    assert "L3" in report["metrics"]["evasion.accuracy@8/255"]["reason"]


def test_saved_arrays_have_no_pipeline(vfc, tmp_path, libraries):
    rng = np.random.default_rng(0)
    path = tmp_path / "saved.npz"
    np.savez(path, release=rng.random((200, 4)), label=np.arange(200) % 2)
    out = tmp_path / "out"
    code, _, _ = vfc(
        "attack", "--release", path, "--protocol", "evasion", "--budget", "smoke", "--quiet", "--executor", "local",
        "--out", out, quick=False,
    )  # fmt: skip
    assert code == 3
    report = report_of(out)
    assert {row["status"] for row in report["evidence"]} == {"not_applicable"}
    assert "no defense to ask" in report["metrics"]["evasion.accuracy@8/255"]["reason"]


@pytest.fixture
def without_libraries(monkeypatch):
    import protocols.evaluation.protocol as module

    monkeypatch.setattr(module, "find_spec", lambda _: None)


def test_a_gate_on_a_ball_that_no_run_tries_is_refused(vfc):
    code, _, error = vfc("attack", "--protocol", "evasion", "--gate", "evasion.accuracy@3/255 >= 0.5")
    assert code == 2
    assert "8/255" in error


def test_without_its_extra_it_is_refused_by_name(vfc, without_libraries, tmp_path):
    code, _, error = vfc("attack", "--protocol", "evasion", "--out", tmp_path / "out")
    assert code == 2
    assert "pip install -e '.[evasion]'" in error
    assert not (tmp_path / "out").exists()


def test_without_its_extra_it_is_not_run_among_all(vfc, without_libraries, monkeypatch, tmp_path):
    import protocols.commands.attack as module

    out = tmp_path / "out"
    monkeypatch.setattr(module, "protocol_names", lambda _: ("evasion",))
    arguments = ("attack", "--release", "identity", "--protocol", "all", "--quiet", "--out", out)
    code, _, _ = vfc(*arguments, "--gate", "evasion.accuracy@8/255 >= 0.1")
    assert code == 3
    report = report_of(out)
    assert {row["status"] for row in report["evidence"]} == {"not_run"}
    assert all("pip install" in row["reason"] for row in report["evidence"])
    assert report["gates"][0]["outcome"] == "inconclusive"


def test_every_budget_has_its_attacks_and_options_of_the_user_win():
    for budget in ("smoke", "standard", "full"):
        plan = Plan.of(Settings(budget=budget, overrides=(("pgd.steps", 7),)))
        names = {each.candidate.adversary for each in plan.contenders}
        assert names >= {"pgd", "apgd", "square", "carlini-wagner", "deepfool", "boundary"}
        assert {each.settings["steps"] for each in plan.contenders if each.candidate.adversary == "pgd"} == {7}
    rows = [Plan.of(Settings(budget=budget)).rows for budget in ("smoke", "standard", "full")]
    assert rows == sorted(rows)
    with pytest.raises(UserError, match=r"pgd\.gradient"):
        Plan.of(Settings(overrides=(("pgd.gradient", "target"),)))


def test_the_card_and_the_needs():
    protocol = PROTOCOLS.get("evasion")()
    assert (protocol.threat, protocol.extra) == ("L4", "evasion")
    assert PROTOCOLS.get("transfer")().missing == ""


def test_what_counts_as_stronger_than_a_random_step():
    floor = np.array([1] * 90 + [0] * 10, np.uint8)
    assert clearly_below(np.zeros(100, np.uint8), floor)
    assert not clearly_below(floor, floor)
    assert at_floor(floor, floor)
    assert not at_floor(np.array([1] * 70 + [0] * 30, np.uint8), floor)
