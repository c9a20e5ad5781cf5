"""What is said of a course over training: order of layers, and rank correlations."""

import pytest

from adversaries.evidence import Value
from adversaries.statistics import estimates
from adversaries.statistics.training_course import QUANTITIES
from reports.studies.over_training.findings import correlations, layers_differ, left_out


def test_correlations_are_those_of_the_layers():
    def number(value):
        return Value(value=value, low=value, high=value, unit="dimensions").model_dump(mode="json")

    ranks = {"mcr": (1, 2, 3, 4, 5), "cv": (5, 4, 3, 2, 1), "reduction": (1, 1, 1, 1, 1)}
    layers = [
        {
            "courses": {"leakage.dof.ridge": {name: number(row[i]) for name, row in ranks.items()}},
            "membership": [{"advantage": number(0.0)}, {"advantage": number(0.1 * i)}],
        }
        for i in range(5)
    ]
    found = {row["heuristic"]: row for row in correlations(layers)}
    assert (found["mcr"]["value"], found["mcr"]["n"]) == (1.0, 5)
    assert found["cv"]["value"] == -1.0
    assert found["mcr"]["low"] < 1.0
    assert found["reduction"]["value"] is None
    layers[0]["membership"] = [{"reason": "no tensor"}]
    assert {row["n"] for row in correlations(layers)} == {4}


@pytest.mark.parametrize("flag", ["SHUFFLED_ABOVE_CHANCE", "NONFINITE_GUESS", "SELECTION_MISSED"])
def test_a_layer_with_an_honesty_flag_is_compared_with_none(flag):
    def number(value):
        return Value(value=value, low=value, high=value, unit="dimensions").model_dump(mode="json")

    layers = [
        {
            "name": f"layer{i}",
            "courses": {"leakage.dof.ridge": {"mcr": number(i)}},
            "membership": [{"advantage": number(0.1 * i), "health": ["AT_FLOOR"]}],
        }
        for i in range(5)
    ]
    # The last one, far above all others, is where order and correlation come from.
    layers[4]["courses"]["leakage.dof.ridge"]["mcr"] = number(-1)
    layers[4]["membership"][0]["health"] = [flag]
    mcr = correlations(layers)[0]
    if flag == "SELECTION_MISSED":
        assert (mcr["n"], left_out(layers)) == (5, "")
        assert mcr["value"] < 1.0
    else:
        assert (mcr["n"], mcr["value"]) == (4, 1.0)
        assert "layer4" in left_out(layers)


def test_an_order_of_layers_needs_two_whose_intervals_are_apart():
    def layer(hits, **more):
        return {
            "membership": [{}, {"advantage": estimates.advantage(hits, 200, 0, 200).model_dump(mode="json"), **more}]
        }

    low, high = estimates.advantage(50, 200, 0, 200), estimates.advantage(74, 200, 0, 200)
    assert low.high < high.low  # apart at .05
    assert layers_differ([layer(50), layer(100)])
    assert not layers_differ([layer(50), layer(74), *[layer(60)] * 12])
    assert not layers_differ([layer(50), layer(55)])
    assert not layers_differ([layer(50), layer(100, health=["SHUFFLED_ABOVE_CHANCE"])])
    assert not layers_differ([{"membership": [{"reason": "no tensor"}]}])


def test_every_quantity_has_its_own_names():
    for names in ("column", "title"):
        assert len({getattr(each, names) for each in QUANTITIES.values()}) == len(QUANTITIES) == 6
