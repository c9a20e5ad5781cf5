"""The runs behind docs/prediction.md cover everything registered, with options that exist."""

from benchmarks.prediction import SETTINGS, runs
from vfc.config import checked_options
from vfc.defense import DEFENSES


def test_every_registered_defense_is_measured():
    assert set(SETTINGS) == set(DEFENSES.cards)


def test_options_exist_and_folders_differ():
    for defense, variants in SETTINGS.items():
        for options in variants:
            assert checked_options(DEFENSES.get(defense), options, defense) == options
    names = [name for name, _ in runs()]
    assert len(set(names)) == len(names)
