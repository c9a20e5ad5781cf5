"""Gates and ready-made gates go under one word wherever they are asked for; who misspells them is told where."""

import re
from pathlib import Path

import pytest

import vfc
from protocols import cli
from protocols.commands.options.gates import split_gates
from protocols.commands.options.policy import policy_of
from vfc.errors import UserError
from vfc.pytest_plugin import assert_suppressed

LIMIT = "transfer.accuracy <= 0.5"


@pytest.fixture
def seen(tmp_path, monkeypatch):
    """Settings of runs, none of which starts."""
    monkeypatch.chdir(tmp_path)
    found = []

    def keep(settings, *_, **__):
        found.append((settings.gates, settings.preset))
        raise UserError("seen", "enough")

    monkeypatch.setattr("protocols.commands.attack.measure", keep)
    monkeypatch.setattr("protocols.api.measure", keep)
    return found


def complaint(capsys, *arguments):
    assert cli.run(list(arguments)) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "gates", "preset"),
    [
        ('gates = "standard"', (), "standard"),
        (f'gates = ["{LIMIT}"]', (LIMIT,), None),
        (f'gates = ["{LIMIT}", "paper"]', (LIMIT,), "paper"),
        (f'gate = ["{LIMIT}"]\npreset = "paper"', (LIMIT,), "paper"),
        (f'gates = "{LIMIT}"\npreset = "paper"', (LIMIT,), "paper"),
    ],
)
def test_a_config_file_says_gates(text, gates, preset, seen, capsys):
    for name, head in (("vfc.toml", ""), ("pyproject.toml", "[tool.vfc]\n")):
        Path(name).write_text(head + text)
        assert "seen" in complaint(capsys, "attack")
        assert seen[-1] == (gates, preset)
        assert "seen" in complaint(capsys, "attack", "--gate", "target.accuracy >= 0.9", "--gates", "strict")
        assert seen[-1] == (("target.accuracy >= 0.9",), "strict")  # the command line comes first
        Path(name).unlink()


def test_programs_and_the_command_line_say_gates(seen, capsys):
    for given in (
        {"gates": "paper"},
        {"gates": ["paper"]},
        {"preset": "paper"},
        {"gates": ["paper"], "preset": "paper"},
    ):
        with pytest.raises(UserError, match="seen"):
            vfc.attack("identity", **given)
        with pytest.raises(UserError, match="seen"):
            assert_suppressed("identity", **{"gates": LIMIT, **given})
        assert seen[-2] == ((), "paper")
        assert seen[-1][1] == "paper"
    assert "seen" in complaint(capsys, "attack", "--gate", "paper", "--gate", LIMIT)
    assert seen[-1] == ((LIMIT,), "paper")


def test_mistakes_in_gates_say_what_there_is(seen, capsys):
    for given, says in (
        ({"gates": "papr"}, "unknown preset of gates 'papr'; did you mean 'paper'? known: paper, standard, strict"),
        ({"preset": "papr"}, "unknown preset of gates 'papr'; did you mean 'paper'?"),
        ({"gates": ["paper", "strict"]}, "expected one preset of gates, got 'paper' and 'strict'"),
    ):
        with pytest.raises(UserError, match=re.escape(says)):
            vfc.attack("identity", **given)
    assert split_gates((LIMIT, " strict ")) == ((LIMIT,), "strict")
    for text, says in (
        ('gates = "papr"', "unknown preset of gates 'papr' (in vfc.toml)"),
        (f'gates = ["{LIMIT}"]\ngate = ["{LIMIT}"]', "expected gates in vfc.toml, got gate and gates"),
        (
            'gates = ["paper"]\npreset = "strict"',
            "expected one preset of gates, got 'strict' and 'paper' (in vfc.toml)",
        ),
        ("gates = [[]]", "as gates in vfc.toml"),
    ):
        Path("vfc.toml").write_text(text)
        assert says in complaint(capsys, "attack")
    assert not seen


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('preset = "papr"', "unknown preset of gates 'papr' (in vfc.toml)"),
        ('gates = ["transfer.accuracy <= x"]', "got 'x' (in vfc.toml)"),
        ('gates = ["transfer.acuracy <= 0.5"]', "unknown metric 'transfer.acuracy' (in vfc.toml)"),
        ('required = ["linea"]', "unknown required adversary 'linea' (in vfc.toml)"),
        ('gates = "standard"', "in vfc.toml, got 'standard'; write preset = \"standard\" under [policy]"),
        ('gates = ["standard"]', '(in vfc.toml); write preset = "standard" under [policy]'),
    ],
)
def test_a_mistake_in_the_policy_names_the_file(text, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("vfc.toml").write_text(f"[policy]\n{text}\n")
    assert says in complaint(capsys, "attack", "--release", "identity", "--protocol", "transfer")


def test_gates_at_the_top_of_the_file_know_their_lines(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("vfc.toml").write_text(f'budget = "smoke"\ngates = [\n  "{LIMIT}",\n]\n')
    (rule,) = policy_of(None).adding([LIMIT]).rules
    assert (rule.source.file, rule.source.line) == ("vfc.toml", 3)
    Path("pyproject.toml").write_text(f'[tool.vfc]\ngates = ["{LIMIT}"]\n')
    (rule,) = policy_of("pyproject.toml").adding([LIMIT]).rules
    assert (rule.source.file, rule.source.line) == ("pyproject.toml", 2)
