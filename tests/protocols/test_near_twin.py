"""The near twin is reported apart: no headline number may come from a model of the target's own architecture."""

import pytest
from protocols.evaluation.board import Attempt
from protocols.evaluation.label_metrics import LabelMetrics, TargetRows

from protocols.evaluation.protocol import PROTOCOLS, Candidate
from protocols.task_label.candidates import ladder
from protocols.task_label.transfer import frozen
from tests.protocols.test_board import board, fill, hits

MODELS, TWIN = ("mlp", "vgg", "the-twin"), "the-twin"


def mentions(settings, name):
    return any(mentions(v, name) if isinstance(v, dict) else v == name for v in settings.values())


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS.cards))
def test_a_candidate_is_in_the_headline_exactly_if_it_does_not_start_from_the_twin(protocol):
    for candidate in PROTOCOLS.get(protocol)().candidates(MODELS, TWIN):
        assert candidate.headline is not mentions(candidate.settings, TWIN), candidate.name


@pytest.mark.parametrize("recipe", [frozen, ladder])
def test_the_twin_does_compete_apart_and_without_one_nobody_does(recipe):
    apart = [candidate for candidate in recipe(MODELS, TWIN) if not candidate.headline]
    assert {"frozen", "frozen-picture"} <= {candidate.adversary for candidate in apart}
    assert all(candidate.headline for candidate in recipe(("mlp", "vgg"), None))


@pytest.mark.parametrize(("other", "twin"), [(0.6, 0.8), (0.8, 0.6)])
def test_numbers_of_the_twin_and_of_the_others_do_not_mix(other, twin):
    b = board("frozen", "frozen")
    b.levels[:] = ["L0", "L0"]
    b.candidates[1] = Candidate(adversary="frozen", settings={"model": TWIN}, headline=False)
    fill(b, 0, None, attack=other)
    fill(b, 1, None, attack=twin)
    found = LabelMetrics(board=b, target=TargetRows(release=hits(0.9, 7)), per_class=9.0, rows={}).transfer()
    assert found["transfer.accuracy"].value == pytest.approx(other)
    assert found["transfer.twin.accuracy"].value == pytest.approx(twin)
    assert found["transfer.suppression_ratio"].value == pytest.approx(0.9 / other)
    assert found["transfer.twin.suppression_ratio"].value == pytest.approx(0.9 / twin)
    assert not found["transfer.accuracy"].also


def test_a_stronger_twin_is_no_rival_that_selection_missed():
    b = board("frozen", "twin")
    b.levels[:] = ["L0", "L2"]
    b.candidates[1] = Candidate(adversary="fine-tune", settings={"model": TWIN}, headline=False)
    fill(b, 0, None, attack=0.6)
    for labels in b.grid:
        fill(b, 1, labels, attack=0.9, shuffled=0.5)
    metrics = LabelMetrics(board=b, target=TargetRows(release=hits(0.9, 7)), per_class=9.0, rows={})
    found = metrics.adaptive(("L0", "L1", "L2"))
    for name in ("adaptive.accuracy", "adaptive.accuracy@1", "adaptive.accuracy@all", "adaptive.accuracy@0"):
        assert found[name].value == pytest.approx(0.6), name
        assert "SELECTION_MISSED" not in found[name].flags
    assert found["adaptive.labels_to_90"].censored
    assert b.choices(("L0", "L1", "L2")) == [Attempt(0, None)]
