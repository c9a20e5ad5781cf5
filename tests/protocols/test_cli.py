"""What a user types, and what comes back for a mistake."""

import re
import subprocess
import sys

import pytest

from protocols.cli import run
from protocols.commands import attack
from reports.gate.gate import check_gates
from vfc.errors import UserError

# Arguments and options of every verb. They are read by scripts of other people: a change here is theirs as well.
OPTIONS = """
attack:
    --accept-secret --attribute --budget --call-limit --config --data-root --dataset --device --download --executor
    --fit-limit --fresh --gate --gates --job-limit --label --no-cache --no-isolation --out --protocol --quiet
    --ray-address --release --resume --seed --seeds --set --split --split-seed --target --task --threads --threat
    --unintended --verbose --width --workers
train:
    --ablate --attribute --call-limit --checkpoints --config --data-root --dataset --defense --device --download
    --executor --fit-limit --fresh --job-limit --label --no-cache --out --quiet --ray-address --repeat --resume --seed
    --set --split --split-seed --target --task --threads --unintended --verbose --width --workers
gate:
    --accept-secret --baseline --config --gate --gates --tolerance REPORT
report:
    --csv --html --junit --markdown --sarif REPORT
compare:
    --markdown REPORTS
predict:
    --csv --json --markdown REPORTS
plan:
    --assume --attribute --budget --call-limit --confidence --config --data-root --dataset --device --download
    --executor --fit-limit --fresh --gate --job-limit --label --no-cache --out --power --protocol --quiet --ray-address
    --release --report --resume --seed --seeds --set --split --split-seed --target --task --threads --threat
    --unintended --verbose --width --workers
baseline accept:
    --reason --to REPORT
cache list:
cache prune:
    --age --all --dry-run --size
cache verify:
    --remove
reproduce:
    --out --scale --seeds --show --with FURTHER NAME
schema:
calibrate:
    --budget --call-limit --config --dataset --device --executor --fit-limit --fresh --job-limit --no-cache --out
    --quiet --ray-address --resume --runs --seed --set --show --strength --threads --verbose --workers --write
bench:
    --attribute --budget --call-limit --config --csv --data-root --dataset --defenses --device --download --executor
    --fit-limit --fresh --html --job-limit --label --no-cache --out --quiet --ray-address --resume --seed --seeds --set
    --split --split-seed --sweep --target --task --threads --threat --unintended --verbose --width --workers
suite make:
    --attribute --budget --call-limit --config --data-root --dataset --defenses --device --download --executor
    --fit-limit --fresh --job-limit --label --no-cache --out --quiet --ray-address --resume --seed --set --split
    --split-seed --target --task --threads --unintended --verbose --width --workers NAME
suite list:
suite verify:
    SUITE
grade:
    --attribute --defense --goal --labels --level --out --suite GUESSES
leaderboard:
    --accept-secret --html --json ENTRIES
cache list:
cache prune:
    --age --all --dry-run --size
cache verify:
    --remove
leakage:
    --attribute --checkpoints --config --data-root --dataset --device --download --fresh --images --label
    --layers --members --memory --method --model --out --over-training --part --quiet --release --resume
    --samples --seed --set --shadows --split --split-seed --straight-through --target --task --threads --verbose --width
init:
    --ci FOLDER
list:
    KIND NAME
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["attack", "--help"],
        ["train", "--help"],
        ["list"],
        ["list", "adversaries", "linear"],
        ["gate", "--help"],
    ],
)
def test_the_cli_starts_without_torch(arguments):
    code = (
        "import sys\nfrom protocols.cli import run\n"
        f"code = run({arguments!r})\nassert 'torch' not in sys.modules, 'torch was imported'\nsys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["attak"], ["unknown command", "did you mean 'attack'"]),
        (["attack", "--protcol", "x"], ["unknown option", "--protocol"]),
        (["attack", "--protocol", "adaptive-prob"], ["unknown protocol", "did you mean 'adaptive-probe'"]),
        (["attack", "--budget", "huge"], ["--budget", "smoke", "standard"]),
        (["attack", "--gate", "no.such >= 1"], ["unknown metric", "vfc list metrics"]),
        (["attack", "--gate", "adaptive.leakage"], ["METRIC OP NUMBER"]),
        (["attack", "--gate", "adaptive.accuracy <= 3"], ["up to 1"]),
        (["attack", "--gate", "adaptive.suppression_ratio >= 30", "--quiet"], ["labels alone"]),
        (["attack", "--gate", "attribute.ink.leakage <= 0.1"], ["attribute"]),
        (["attack", "--protocol", "transfer", "--gate", "adaptive.accuracy <= 0.5"], ["adaptive-probe"]),
        (["attack", "--gate", "adaptive.accuracy@50 <= 0.5", "--budget", "smoke"], ["1, 10, all"]),
        (["attack", "--set", "lineer.steps=3"], ["did you mean 'linear'"]),
        (["attack", "--set", "steps=3"], ["name.option=value"]),
        (["attack", "--release", "nowhere"], ["nowhere"]),
        (["attack", "--threat", "L9"], ["unknown threat level"]),
        (["attack", "--dataset", "npz:nowhere.npz"], ["nowhere.npz"]),
        (["attack", "--task", "digt"], ["did you mean 'digit'"]),
        (["attack", "--unintended", "cnn"], ["other architectures"]),
        (["attack", "--device", "cuda"], ["cuda"]),
        (["list", "adversary"], ["adversaries"]),
        (["list", "adversaries", "liner"], ["did you mean 'linear'"]),
        (["gate", "nowhere.json", "--gate", "adaptive.leakage <= 1"], ["nowhere.json"]),
        (["train", "--defense", "vcf"], ["did you mean 'vfc'"]),
        (["train", "--set", "vfc.decoder=big"], ["decoder", "transposed"]),
        (["train", "--set", "vfc.nothing=1"], ["nothing"]),
        (["attack", "--set", "linear.iterations=" + "9" * 5000], ["linear.iterations"]),
        (["attack", "--set", "linear.iterations=" + "9" * 30], ["2^63"]),
        (["attack", "--set", "linear.iterations=" + "[" * 100_000], ["linear.iterations"]),
        (["attack", "--set", "linear.iterations=" + "[" * 50 + "]" * 50], ["levels"]),
        (["attack", "--set", "train.lr=NaN"], ["finite"]),
        (["attack", "--threads", "99999999999"], ["--threads"]),
        (["attack", "--workers", "99999999999"], ["--workers"]),
        (["attack", "--seed", "18446744073709551616"], ["--seed"]),
        (["attack", "--width", "nan"], ["--width"]),
        (["attack", "--call-limit", "nan"], ["--call-limit"]),
        (["attack", "--out", ""], ["--out", "empty"]),
        (["attack", "--out", "\udcff"], ["readable"]),
        (["attack", "--dataset", f"npz:{'x' * 256}"], ["name too long"]),
        (["attack", "--release", "x" * 5000], ["name too long"]),
        (["attack", "--label", "a=digit:" + "9" * 5000], ["NAME=LABEL"]),
        (["attack", "--gate", "adaptive.accuracy <= 0.1_0"], ["0.1_0"]),
        (["attack", "--gate", "adaptive.accuracy <= ٠.٥"], ["expected a number"]),
        (["attack", "--config", ""], ["config file"]),
        (["calibrate", "--strength", "nan"], ["--strength"]),
        (["leakage", "--over-training", "--checkpoints", "9" * 5000], ["--checkpoints"]),
        (["leakage", "--over-training", "--checkpoints", ""], ["--checkpoints", "empty"]),
        (["baseline", "accept", "x", "--reason", "y", "--to", ""], ["--to", "empty"]),
        (["baseline", "acept"], ["unknown command"]),
        (["report", "x", "--html", "a\0b"], ["readable"]),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments, words, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    errors = [line for line in lines if "error:" in line]
    assert len(errors) == 1
    assert not any("Traceback" in line for line in lines)
    for word in words:
        assert word in errors[0]


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ([], []),
        (["--protocol", "attribute", "--attribute", "ink"], ["ink"]),
        (["--protocol", "all"], ["parity", "large", "ink"]),
    ],
)
def test_a_preset_asks_about_attributes_where_they_are_attacked(options, asked, capsys, monkeypatch, tmp_path):
    import protocols.engine.workspace

    def stop(settings, out, identity, device):
        raise UserError("everything was checked", "look")

    checked = []
    monkeypatch.setattr(protocols.engine.workspace, "workspace", stop)
    monkeypatch.setattr(attack, "check_gates", lambda gates, *more, **facts: checked.append((gates, more, facts)))
    monkeypatch.chdir(tmp_path)
    assert run(["attack", "--gates", "standard", "--protocol", "adaptive-probe", *options]) == 2
    assert "everything was checked" in capsys.readouterr().err
    gates, more, facts = checked[-1]
    assert [gate.metric.split(".")[1] for gate in gates if gate.metric.startswith("attribute.")] == asked
    check_gates(gates, *more, **facts)


def test_options_come_from_command_line_then_environment_then_config_then_default(tmp_path, monkeypatch):
    import rich_click as click

    from protocols import cli
    from protocols.commands.options.shared import settings_from

    monkeypatch.chdir(tmp_path)
    seen = []
    monkeypatch.setattr("protocols.commands.attack.run_attack", lambda settings, *_: seen.append(settings) or 0)
    (tmp_path / "vfc.toml").write_text('seed = 3\nbudget = "smoke"\ntarget = "mlp"\n[set]\n"linear.iterations" = 7\n')
    monkeypatch.setenv("VFC_BUDGET", "full")
    monkeypatch.setenv("VFC_TARGET", "cnn")
    assert cli.run(["attack", "--target", "vgg11"]) == 0
    (settings,) = seen
    assert (settings.target, settings.budget, settings.seed) == ("vgg11", "full", 3)
    assert settings.options("linear") == {"iterations": 7}
    assert settings.split == "halves"
    assert settings_from({}).seed == 0
    assert isinstance(cli.program, click.Group)


def test_an_unknown_key_in_the_config_is_an_error(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vfc.toml").write_text("sead = 3\n")
    assert run(["attack"]) == 2
    assert "did you mean 'seed'" in capsys.readouterr().err


def test_a_bad_value_names_the_file_or_the_variable_that_it_came_from(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for text, words in (
        ('budget = "huge"', ["huge", "(in vfc.toml)"]),
        ("budget = [1, {}]", ["vfc.toml"]),
        ("release = {}", ["as release in vfc.toml"]),
    ):
        (tmp_path / "vfc.toml").write_text(text)
        assert run(["attack"]) == 2
        error = capsys.readouterr().err
        assert all(word in error for word in words), error
    (tmp_path / "vfc.toml").unlink()
    monkeypatch.setenv("VFC_BUDGET", "huge")
    assert run(["attack"]) == 2
    assert "(from VFC_BUDGET)" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["list"], ["gate", "report.json"], ["compare", "a", "b"], ["attack"]])
def test_every_verb_names_a_variable_that_sets_nothing(arguments, monkeypatch, capsys):
    monkeypatch.setenv("VFC_BUGDET", "smoke")
    assert run(arguments) == 2
    assert "'VFC_BUGDET'; did you mean 'VFC_BUDGET'" in capsys.readouterr().err


def test_an_unknown_name_is_answered_with_the_nearest_five_and_where_the_rest_is(capsys):
    from vfc.registries import DEFENSES

    assert run(["attack", "--release", "gausian-noise"]) == 2
    error = capsys.readouterr().err
    nearest = error.split("nearest: ")[1].split(";")[0].split(", ")
    assert (nearest[0], len(nearest)) == ("gaussian-noise", 5)
    assert f"vfc list defenses has all {len(DEFENSES.cards)}" in error


def test_a_file_without_a_factory_says_what_to_add(tmp_path, capsys):
    file = tmp_path / "split.py"
    file.write_text("")
    assert run(["attack", "--release", str(file)]) == 2
    assert f"{file}:build" in capsys.readouterr().err


def test_help_shows_defaults_in_brackets(capsys):
    assert run(["attack", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "[default: standard]" in shown


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 100_000,
        "seed = " + "9" * 5000,
        "seed = " + "9" * 30,
        "seed = [1, 2]",
        "seed = 2020-01-01",
        "label = [['a']]",
        "set = 3",
        "out = ''",
        "[policy]\ngates = " + "[" * 300 + "]" * 300,
        "\ud800",
    ],
    ids=range(10),
)
@pytest.mark.parametrize("file", ["vfc.toml", "pyproject.toml"])
def test_a_config_that_says_nothing_sensible_is_one_line(tmp_path, monkeypatch, capsys, text, file):
    monkeypatch.chdir(tmp_path)
    if file == "pyproject.toml":
        text = "[tool.vfc]\n" + text.replace("[policy]", "[tool.vfc.policy]")
    (tmp_path / file).write_bytes(text.encode(errors="surrogatepass"))
    assert run(["attack"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "error: " in line


@pytest.mark.parametrize("columns", ["0", "-3", "x", "1", "9" * 30])
@pytest.mark.parametrize("arguments", [["list", "adversaries", "linear"], ["plan", "--help"], ["baseline"]])
def test_no_width_of_the_terminal_is_a_crash(arguments, columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", columns)
    assert run(arguments) == (2 if arguments == ["baseline"] else 0)
    assert capsys.readouterr().out


def verbs(group, name=()):
    """Every verb by its whole name."""
    for word, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from verbs(command, (*name, word))
        else:
            yield " ".join((*name, word)), command


def test_the_options_of_all_verbs_change_only_on_purpose():
    from protocols.verbs.program import program

    golden = {verb: words.split() for verb, words in re.findall(r"^(\S.*):\n((?: .*\n)*)", OPTIONS, re.MULTILINE)}
    found = {}
    for verb, command in verbs(program):
        options = [(*each.opts, *each.secondary_opts) for each in command.params if each.param_type_name == "option"]
        arguments = [each.name.upper() for each in command.params if each.param_type_name == "argument"]
        found[verb] = sorted([*arguments, *(name for names in options for name in names)])
    assert found == golden


def test_cards_read_from_source_are_what_is_registered():
    from adversaries.adversary import ADVERSARIES
    from protocols.evaluation.protocol import PROTOCOLS
    from vfc.data import DATASETS
    from vfc.defense import DEFENSES
    from vfc.models import MODELS

    for registry in (ADVERSARIES, PROTOCOLS, DATASETS, DEFENSES, MODELS):
        assert registry.cards
        for name, card in registry.cards.items():
            entry = registry.get(name)
            assert entry.__module__ == card.module
            assert card.summary
            assert card.summary in (entry.__doc__ or "")


def test_the_list_of_what_is_registered_changes_only_on_purpose():
    from adversaries.registries import ADVERSARIES
    from protocols.evaluation.protocol import PROTOCOLS
    from vfc.registries import DATASETS, DEFENSES, MODELS

    assert list(PROTOCOLS.cards) == [
        "adaptive-probe", "attribute", "evasion", "inversion", "leakage", "linkage", "mask-aware", "membership",
        "transfer",
    ]  # fmt: skip
    assert list(ADVERSARIES.cards) == [
        "adapter", "apgd", "averaging", "bag", "batchnorm", "bavaria", "bit-planes", "boundary", "carlini-wagner",
        "cnn", "decensor", "decoder", "deep-prior", "deep-set", "deepfool", "entropy", "fine-tune", "frozen",
        "frozen-picture", "gradient-inversion", "hop-skip-jump", "input-transform", "integer-codes",
        "inverse-network", "knn", "known-bits", "linear", "lira", "loss-threshold", "majority", "mask-latent",
        "mask-replay", "matched-bits", "matched-features", "matcher", "mean-image", "mlp", "modular", "moments",
        "noise-projection", "norms", "own-inverse", "pgd", "popcounts", "products", "ranks", "replay", "replay-decoder",
        "replay-training", "residues", "ridge-decoder", "rmia", "rmle", "row-views", "scaled-linear", "second-order",
        "shadow-classifier", "shadow-reader", "shot", "signed-planes", "signs", "spreading", "spreading-features",
        "square", "table", "trees", "with-prediction",
    ]  # fmt: skip
    assert list(DEFENSES.cards) == [
        "cem", "cfb", "ci", "constant", "disco", "fmd", "gaussian-noise", "identity", "label-release", "linear-mask",
        "maxent-arl", "negated", "nopeek", "nte", "orthogonal-mixing", "pan", "pca", "pixel-permutation", "prifu",
        "pure-noise", "quantization", "ran", "sealed", "shredder", "shufflebits", "svd", "vfc",
    ]  # fmt: skip
    assert list(DATASETS.cards) == [
        "cifar10", "cifar100", "digits", "fashion-mnist", "folder", "gaussian", "npz", "tiny-imagenet", "voc2007",
        "voc2012",
    ]  # fmt: skip
    assert list(MODELS.cards) == [
        "cnn", "densenet121", "mlp", "mobilenetv2", "resnet18", "resnet20", "resnet56", "shufflenetv2", "vgg11",
        "vgg16", "vit-tiny",
    ]  # fmt: skip


def test_what_does_not_apply_is_a_sentence_and_no_traceback(monkeypatch, capsys):
    from protocols import cli
    from vfc.errors import NotApplicableError

    def parsed(_arguments, _called):
        raise NotApplicableError("the target's first layer has no null space")

    monkeypatch.setattr(cli, "_parsed", parsed)
    assert cli.run(["attack"]) == 2
    told = capsys.readouterr().err
    assert "the target's first layer has no null space" in told
    assert "Traceback" not in told
