"""`vfc list adversaries NAME`: for what an adversary competes."""

import pytest

from protocols.cli import run


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fine-tune", ["goals: task, attribute\n", "level: L2\n", "variants: scope=head; scope=all\n"]),
        ("linear", ["goals: task, attribute\n", "level: L2\n", "variants: as it is\n"]),
        ("pgd", ["goals: evasion\n", "level: L4\n", "variants: as it is; gradient=straight-through; "]),
        ("lira", ["goals: membership\n", "level: L4\n"]),
        ("input-transform", ["goals: none: it takes part where a protocol names it\n"]),
    ],
)
def test_the_card_of_an_adversary_says_for_what_it_competes(capsys, name, words):
    assert run(["list", "adversaries", name]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in words)


def test_declared_secrets_are_shown_beside_defenses_and_on_their_cards(capsys):
    assert run(["list", "defenses", "sealed"]) == 0
    assert "secret: symmetric, the key of the pads, 256 bits, per dataset" in " ".join(capsys.readouterr().out.split())
    assert run(["list", "defenses"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Secret: symmetric, the key of the pads, 256 bits, per dataset." in shown
    assert shown.count("Secret: symmetric") == 5  # the keyed ones, and nobody else
