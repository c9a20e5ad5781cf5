"""Shipped calibration results: whose they are, and when they still speak of an adversary."""

import json
import subprocess
import sys

import pytest

from adversaries.calibration import digest, shipped
from adversaries.calibration.digest import digest_of
from adversaries.registries import ADVERSARIES


def test_settings_count_and_the_model_that_one_starts_from_does_not():
    assert digest_of("linear", {"iterations": 60}) != digest_of("linear", {"iterations": 61})
    assert digest_of("linear", {}) != digest_of("knn", {})
    assert digest_of("fine-tune", {"model": "a", "scope": "all"}) == digest_of(
        "fine-tune", {"model": "b", "scope": "all"}
    )
    assert digest_of("fine-tune", {"model": "a", "scope": "all"}) != digest_of(
        "fine-tune", {"model": "a", "scope": "head"}
    )


def test_what_is_shipped_speaks_of_the_present_code():
    for results in shipped.load()["datasets"].values():
        for key, facts in results["adversaries"].items():
            assert digest_of(facts["adversary"], facts["settings"]) == key, facts["adversary"]
    codes = [digest._code(card.module, name) for name, card in ADVERSARIES.cards.items()]
    assert all(codes)
    assert len(set(codes)) == len(codes)


def results(n=450, seeds=30, **facts):
    own = {"adversary": "linear", "settings": {}, "leaks": {"pixel": {"1": [29, 30], "0.5": [9, 10]}}, "nulls": [0, 90]}
    protocols = {"attribute": {"leaks": {"pixel": {"1": [seeds, seeds]}, "norm": {"1": [30, 30]}}}}
    return {"n": n, "adversaries": {digest_of("linear", {}): own | facts}, "protocols": protocols}


SHIPPED = {"schema": 1, "datasets": {"digits": results(450), "gaussian": results(1000, nulls=[2, 60])}}


def test_a_known_adversary_is_quoted_and_an_unknown_one_is_not():
    found = shipped.look_up("linear", {}, n=450, dataset="digits", results=SHIPPED)
    assert found.status == "calibrated"
    assert found.finds == {"dataset": "digits", "n": 450, "leaks": {"pixel": {"1": [29, 30], "0.5": [9, 10]}}}
    assert found.false_alarms == {"alarms": 0, "runs": 90}
    for name, settings in (("linear", {"iterations": 7}), ("knn", {})):
        other = shipped.look_up(name, settings, n=450, dataset="digits", results=SHIPPED)
        assert (other.status, other.finds, other.false_alarms) == ("uncalibrated", None, None)


def test_few_runs_are_quoted_and_no_calibration():
    # Three models make thirty runs of ten seeds.
    few = {"schema": 1, "datasets": {"digits": results(seeds=10, leaks={"pixel": {"1": [30, 30]}})}}
    found = shipped.look_up("linear", {}, n=450, dataset="digits", results=few)
    assert found.status == "uncalibrated"
    assert found.finds["leaks"]["pixel"] == {"1": [30, 30]}
    none = {"schema": 1, "datasets": {"digits": results() | {"protocols": {}}}}
    assert shipped.look_up("linear", {}, n=450, dataset="digits", results=none).status == "uncalibrated"


def test_another_data_set_is_quoted_if_it_has_no_more_than_twice_the_targets():
    def look_up(n, dataset):
        return shipped.look_up("linear", {}, n=n, dataset=dataset, results=SHIPPED)

    assert look_up(5000, "cifar10").finds["dataset"] == "digits"
    assert look_up(600, "gaussian").finds["dataset"] == "gaussian"
    assert look_up(300, "gaussian").finds["dataset"] == "digits"
    assert look_up(225, "digits").status == "calibrated"
    assert look_up(224, "digits").status == "uncalibrated"


def test_new_results_replace_their_data_set_and_no_other(tmp_path):
    path = tmp_path / "results.json"
    shipped.save({"datasets": {"digits": results(450), "gaussian": results(1000)}}, path)
    shipped.save({"datasets": {"digits": results(10)}}, path)
    found = shipped.load.__wrapped__(path)
    assert {name: facts["n"] for name, facts in found["datasets"].items()} == {"digits": 10, "gaussian": 1000}
    assert shipped.load.__wrapped__(tmp_path / "nothing.json")["datasets"] == {}
    path.write_text(json.dumps({"schema": 2, "datasets": {}}))
    with pytest.raises(ValueError, match="schema 1"):
        shipped.load.__wrapped__(path)


def test_the_shipped_file_is_readable_and_looking_up_imports_no_torch():
    code = (
        "import sys\nfrom adversaries.calibration.shipped import load, look_up\nload()\n"
        "look_up('linear', {}, n=450, dataset='digits')\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
