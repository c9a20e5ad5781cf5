"""The target model as positive control, and the releases that would be called safe without it."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from adversaries.evidence import Value
from protocols.engine.prepared import TargetRows
from protocols.engine.task import AGREEMENT, TURNED, Outcome
from protocols.evaluation.checks.target_control import affected, judge_ladder, target_control, with_flags
from protocols.evaluation.flags import health_flags
from protocols.evaluation.leaderboard import Contestant
from protocols.evaluation.results import Attempt
from reports.model.report import LadderControl
from tests.protocols.builders import board, enter, fill, hits, numbers, outcome


def control(b, target, originals=True):
    attempts = b.results.attempts("all")
    return judge_ladder(b, attempts, TargetRows(release=hits(target, 5)), originals=originals)


def test_an_attack_near_the_target_model_matches_it():
    b = board("a", "b")
    fill(b, 0, attack=0.6, shuffled=0.5)
    fill(b, 1, attack=0.9, shuffled=0.5)
    found = control(b, 0.95)
    assert (found.status, found.candidate, found.accuracy.value) == ("matched", "b @all", pytest.approx(0.9))


def test_everybody_clearly_short_of_target_and_ceiling_is_unmatched():
    b = board("a", "b")
    for position in (0, 1):
        fill(b, position, attack=0.55, ceiling=0.9, shuffled=0.5)
    found = control(b, 0.95)
    assert found.status == "unmatched"
    assert "each of 2 adversaries" in found.reason


def run_with(release, images=()):
    train = SimpleNamespace(images=images)
    target = TargetRows(release=release)
    return SimpleNamespace(
        prepared=SimpleNamespace(target=target, targetless="it publishes words", world=SimpleNamespace(train=train))
    )


def test_those_with_all_labels_that_were_measured_are_compared_with_the_target_model():
    b = board("few", "all", "crashed", "frozen", levels=("L2", "L2", "L2", "L0"))
    fill(b, 0, 1, attack=0.95, shuffled=0.5)
    fill(b, 1, attack=0.55, ceiling=0.9, shuffled=0.5)
    enter(b, Attempt(2, "all"), "attack", Outcome.empty("failed", "boom"))
    fill(b, 3, None, attack=0.95, shuffled=0.5)
    found = target_control(run_with(hits(0.95, 5)), b)
    assert (found.status, found.candidate) == ("unmatched", "all @all")
    assert "each of 1 adversaries" in found.reason
    assert target_control(run_with(None), b).reason == "it publishes words"
    # Without originals a ceiling on them is not asked for.
    fill(b, 1, attack=0.55, ceiling=0.56, shuffled=0.5)
    assert target_control(run_with(hits(0.95, 5)), b).status == "matched"
    assert target_control(run_with(hits(0.95, 5), images=None), b).status == "unmatched"


def test_who_does_as_well_on_the_images_is_no_weaker_than_its_own_ceiling():
    b = board("a")
    fill(b, 0, attack=0.55, ceiling=0.56, shuffled=0.5)
    assert control(b, 0.95).status == "matched"
    assert control(b, 0.95, originals=False).status == "unmatched"  # a planted ceiling says nothing of the images


def test_a_dishonest_match_is_none():
    b = board("a", "b", shuffles=True)
    fill(b, 0, attack=0.95, shuffled=0.9)
    fill(b, 1, attack=0.55, shuffled=0.5)
    assert "SHUFFLED_ABOVE_CHANCE" in b.dishonest(Attempt(0, "all"))
    assert control(b, 0.95).status == "unmatched"


def test_one_seed_that_matches_is_enough_not_to_be_clearly_short_in_every_seed():
    b = board("a", seeds=(0, 1))
    for seed, share in enumerate((0.55, 0.9)):
        for arm, found in (("attack", share), ("ceiling", 0.9)):
            enter(b, Attempt(0, "all"), arm, outcome(found), seed=seed)
    assert control(b, 0.95).status == "matched"


def test_nobody_measured_is_unmatched_and_a_target_at_the_floor_unknown():
    assert control(board("a"), 0.95).status == "unmatched"
    b = board("a")
    fill(b, 0, attack=0.5, shuffled=0.5)
    assert control(b, 0.5).status == "unknown"


def test_which_numbers_the_flags_reach():
    names = (
        "adaptive.accuracy",
        "attribute.ink.leakage",
        "linkage.image.top1",
        "transfer.accuracy",
        "leakage.dof.ridge",
    )
    numbers = {name: Value(value=0.5, low=0.4, high=0.6, n=9) for name in names}
    unmatched = with_flags(numbers, LadderControl(status="unmatched"), ())
    assert [name for name in names if "TARGET_UNMATCHED" in unmatched[name].flags] == list(names[:3])
    unknown = with_flags(numbers, LadderControl(status="unknown"), ())
    assert [name for name in names if "TARGET_UNKNOWN" in unknown[name].flags] == ["adaptive.accuracy"]
    everywhere = with_flags(numbers, None, ("MOSTLY_NONFINITE_RELEASE", "RANDOM_RELEASE"))
    assert {value.flags for value in everywhere.values()} == {("MOSTLY_NONFINITE_RELEASE",)}
    assert affected("somebody.elses.number")


@pytest.mark.parametrize(("share", "agreement", "flagged"), [(0.0, 0.1, True), (0.06, 0.1, False), (0.5, 0.5, False)])
def test_guesses_that_are_right_less_often_than_by_chance_know_something(share, agreement, flagged):
    b = board("a")
    found = outcome(share)
    found.arrays[AGREEMENT] = np.array([agreement])
    enter(b, Attempt(0, "all"), "attack", found)
    assert ("BELOW_FLOOR" in health_flags(b, Contestant(Attempt(0, "all")))) == flagged


@pytest.mark.parametrize(("turned", "flagged"), [(0.7, True), (0.2, False), (None, True)])
def test_who_is_below_the_floor_and_not_chosen_is_a_doubt_if_turned_around_it_may_know_more(turned, flagged):
    b = board("chosen", "below")
    attempts = [fill(b, 0, attack=0.35, shuffled=0.1), fill(b, 1, attack=0.02, shuffled=0.1)]
    arrays = b.results.measured(attempts[1], "attack")[0].arrays
    arrays[AGREEMENT] = np.array([0.1])
    if turned is not None:  # None: nobody knows what its guesses stand for
        arrays[TURNED] = hits(turned, 3)
    found = numbers(b)
    for value in (found.accuracy(attempts), found.suppression(attempts), found.leakage("adaptive.leakage", attempts)):
        assert value.candidate == "chosen @all"
        assert ("BELOW_FLOOR" in value.flags) == flagged
    enter(b, attempts[1], "shuffled", outcome(0.9))  # dropped, it says nothing
    assert "BELOW_FLOOR" not in found.accuracy(attempts).flags


# --- defenses that an informed reader reads, and no attack here ---

COMMON = """
import torch
from torch import nn

class Reader(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.classes, self.means = classes, None

    def fit(self, images, labels):
        self.means = torch.stack([images[labels == c].mean(0) for c in range(self.classes)])

    def label(self, x):
        return torch.cdist(x.flatten(1), self.means.flatten(1)).argmin(1)

    def logits(self, found):
        return nn.functional.one_hot(found % self.classes, self.classes).float()
"""

SHARES = (
    COMMON
    + """
class Shares(Reader):
    # Shares that add up to the class: any eleven of the twelve numbers are uniform and independent of it.
    stochastic = True
    {secret}

    def forward(self, x):
        shares = torch.randint(0, 1000 * self.classes, (len(x), 12))
        shares[:, 11] += (self.label(x) - shares.sum(1)) % self.classes
        return shares

    def predict(self, r):
        return self.logits(r.sum(1).long())

def build(num_classes):
    return Shares(num_classes)
"""
)

NEXT = (
    COMMON
    + """
class Next(Reader):
    # A clean picture of the next class.
    def forward(self, x):
        return self.means[(self.label(x) + 1) % self.classes]

    def predict(self, r):
        return self.logits(self.label(r) - 1)

def build(num_classes):
    return Next(num_classes)
"""
)

INFINITE = (
    COMMON
    + """
class Infinite(Reader):
    def forward(self, x):
        r = torch.full((len(x), 11), float("nan"))
        r[:, 0] = self.label(x).float()
        return r

    def predict(self, r):
        return self.logits(r[:, 0].long())

def build(num_classes):
    return Infinite(num_classes)
"""
)

BANDS = (
    COMMON
    + """
class Bands(Reader):
    # Which of eight bands one number lies in tells the class; the others are noise.
    stochastic = True

    def forward(self, x):
        r = torch.rand(len(x), 120)
        r[:, 7] = (2 * torch.randint(0, 4, (len(x),)) + self.label(x) + 0.9 * r[:, 7]) / 8
        return r

    def predict(self, r):
        return self.logits((8 * r[:, 7]).long())

def build(num_classes):
    return Bands(num_classes)
"""
)

SECRET = 'secret = {"kind": "symmetric", "what": "how the shares add up", "bits": 3.3, "lifetime": "dataset"}'


def attack(vfc, text, protocol, gate, *more):
    Path("f.py").write_text(text)
    options = ("--release", "f.py:build", "--protocol", protocol, "--budget", "smoke", "--out", "o", "--fresh")
    code, out, errors = vfc("attack", *options, "--gate", gate, *more)
    report = json.loads(Path("o/report.json").read_text()) if Path("o/report.json").is_file() else None
    return code, report, out + errors


@pytest.mark.parametrize(
    ("text", "protocol", "gate", "flag"),
    [
        (NEXT, "transfer", "transfer.accuracy <= 0.5", "BELOW_FLOOR"),
        (INFINITE, "transfer", "target.accuracy >= 0.1", "MOSTLY_NONFINITE_RELEASE"),
    ],
    ids=["next class", "not finite"],
)
def test_a_release_that_an_informed_reader_reads_is_never_called_safe(vfc, text, protocol, gate, flag):
    code, report, said = attack(vfc, text, protocol, gate)
    assert code == 3, said
    assert flag in report["gates"][0]["reason"]


def test_a_declared_secret_is_told_and_excuses_nobody_by_itself(vfc):
    gate = "attribute.half.accuracy <= 0.99"
    code, report, said = attack(vfc, SHARES.replace("{secret}", SECRET), "attribute", gate, "--attribute", "half")
    assert code == 3, said
    assert "TARGET_UNMATCHED" in report["gates"][0]["reason"]
    assert report["release"]["secret"]["bits"] == 3.3
    assert "--accept-secret symmetric" in report["gates"][0]["reason"]
    code, _, errors = vfc("gate", "o", "--gate", gate, "--accept-secret", "target_weights", quick=False)
    assert code == 2
    assert "excuse nothing" in errors
    _, out, _ = vfc("gate", "o", "--gate", gate, "--accept-secret", "symmetric", quick=False)
    assert "TARGET_UNMATCHED" not in out


def test_trees_vouch_for_releases_that_only_they_read(vfc):
    """Without the ladder four probes are fitted on the task label; only trees find the number that tells it."""
    code, report, said = attack(vfc, BANDS, "membership", "membership.advantage <= 0.9")
    assert code == 3, said  # smoke has no shadow defenses
    assert report["target"]["control"]["candidate"] == "trees @all"
    assert report["target"]["control"]["status"] == "matched"


@pytest.mark.parametrize("secret", ["secret = 3", 'secret = {"kind": "magic"}', 'secret = {"kind": "symmetric"}'])
def test_a_malformed_secret_is_refused_in_a_sentence(vfc, secret):
    code, report, said = attack(vfc, SHARES.replace("{secret}", secret), "transfer", "transfer.accuracy <= 0.5")
    assert (code, report) == (2, None)
    assert "secret" in said
    assert "Traceback" not in said
