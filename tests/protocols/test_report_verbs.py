"""report, compare, gate, plan, baseline and schema as a user types them; none of them imports torch."""

import json
import re
import subprocess
import sys
from datetime import date

import pytest

from protocols.cli import run
from protocols.commands.gate import run_gate
from reports.model.report import SCHEMA
from reports.model.storage import load, sealed, write
from tests.reports.builder import row
from tests.reports.test_compare import flipped, hits
from tests.reports.test_compare import run as report_of

FORMATS = ("html", "junit", "sarif", "markdown", "csv")


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """old: an attack that reads half; new: one that reads less; worse: one that reads more."""
    monkeypatch.chdir(tmp_path)
    attack = hits(0, 0.5)
    tables = {"old": attack, "new": flipped(attack, 60), "worse": attack | hits(7, 0.3)}
    for name, table in tables.items():
        write(*report_of(table), tmp_path / name)
    return tmp_path


def test_every_format_at_once_and_the_same_bytes_again(folders, capsys):
    def files(folder):
        return [word for name in FORMATS for word in (f"--{name}", f"{folder}/r.{name}")]

    assert run(["report", "old", *files("first")]) == 0
    assert run(["report", "old/report.json", *files("second")]) == 0
    for name in FORMATS:
        first = (folders / "first" / f"r.{name}").read_bytes()
        assert first
        assert first == (folders / "second" / f"r.{name}").read_bytes()
    assert capsys.readouterr().err.count("wrote ") == 10
    assert run(["report", "old"]) == 0
    assert "MEASURED" in capsys.readouterr().out


@pytest.mark.parametrize("verb", [["report"], ["gate"], ["compare", "old"], ["baseline", "accept", "--reason", "x"]])
def test_bad_reports_are_exit_code_2(folders, capsys, verb):
    text = (folders / "old" / "report.json").read_text()
    newer = json.dumps({**json.loads(text), "schema": SCHEMA + 1})
    huge = text.replace('"schema": ', '"schema": ' + "9" * 40)
    for wrong in ("", text[: len(text) // 2], "{}", "[1]", newer, text.replace('"digits"', '"other"'), huge, "\0"):
        folder = folders / "bad"
        folder.mkdir(exist_ok=True)
        (folder / "report.json").write_text(wrong)
        assert run([*verb, "bad", *(["--csv", "x.csv"] if verb == ["report"] else [])]) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert len([line for line in lines if "error:" in line]) == 1
        assert "Traceback" not in "\n".join(lines)
    assert not (folders / "x.csv").exists()
    assert run([*verb, "nowhere"]) == 2


def test_a_missing_or_foreign_sidecar(folders, capsys):
    sidecar = folders / "old" / "report.safetensors"
    foreign = (folders / "new" / "report.safetensors").read_bytes()
    sidecar.unlink()
    for verb in (["compare", "old", "new"], ["gate", "new", "--baseline", "old"], ["gate", "old", "--baseline", "new"]):
        assert run(verb) == 2
        assert "report.safetensors" in capsys.readouterr().err
    assert run(["report", "old", "--html", "r.html", "--junit", "r.xml"]) == 0
    assert "no pictures" in capsys.readouterr().err
    sidecar.write_bytes(foreign)
    assert run(["report", "old", "--html", "x.html", "--junit", "x.xml"]) == 2
    assert not (folders / "x.xml").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["report", "old", "--junit", "a", "--csv", "a"], "got one twice"),
        (["report", "old", "--csv", "old/report.json"], "got one twice"),
        (["report", "old", "--csv", "new"], "folder"),
        (["report", "old", "--cvs", "a"], "did you mean '--csv'"),
        (["compare", "old"], "at least two"),
        (["gate", "old", "--tolerance", "0.1"], "--baseline"),
        (["gate", "old", "--baseline", "new", "--tolerance", "-1"], "at least 0"),
        (["gate", "old"], "expected a gate"),
        (["gate", "old", "--gates", "papre"], "paper"),
        (["gate", "old", "--config", "nowhere.toml"], "cannot read"),
        (["plan"], "--gate"),
        (["plan", "--gate", "adaptive.accuracy <= 0.3", "--assume", "floor"], "NAME=VALUE"),
        (["plan", "--gate", "adaptive.accuracy <= 0.3", "--confidence", "2"], "confidence"),
        (["plan", "--gate", "adaptive.suppression_ratio >= 30", "--assume", "floor=0.1"], "labels alone"),
        (["baseline", "accept", "old"], "--reason"),
        (["baseline", "accept", "old", "--reason", " "], "reason"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(folders, capsys, arguments, words):
    assert run(arguments) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(errors) == 1
    assert words in errors[0]


def test_compare_says_what_moved(folders, capsys):
    assert run(["compare", "old", "new", "worse"]) == 0
    first, second = capsys.readouterr().out.split("worse beyond noise:")[:2]
    line = next(line for line in first.splitlines() if line.startswith("adaptive.accuracy "))
    assert "no: better" in line
    assert "McNemar" in line
    assert "no: WORSE" in next(line for line in second.splitlines() if line.startswith("adaptive.accuracy "))
    assert "paired image by image" in first


def test_compare_writes_a_comment_with_the_verdict_and_what_moved(folders, capsys):
    assert run(["compare", "old", "new", "--markdown", "comment.md"]) == 0
    assert run(["compare", "old", "old", "--markdown", "same.md"]) == 0
    lines = (folders / "comment.md").read_text().splitlines()
    assert re.match(r"# \S+ [A-Z]+$", lines[0])
    row = next(line for line in lines if "| adaptive.accuracy |" in line)
    assert row.startswith("| no: better | adaptive.accuracy | ")
    assert re.search(r"\| -0\.\d+ \[-0\.\d+, -0\.\d+\] \|$", row)
    assert any("may be noise" in line or "unchanged" in line for line in lines)
    assert "Nothing moved beyond noise." in (folders / "same.md").read_text()
    assert run(["compare", "old", "new", "--markdown", "old/report.json"]) == 2


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["old", "--baseline", "old"], 0),
        (["new", "--baseline", "old"], 0),
        (["worse", "--baseline", "old"], 1),
        (["worse", "--baseline", "old", "--tolerance", "0.9"], 0),
        (["new", "--baseline", "old", "--gate", "adaptive.accuracy <= 0.2"], 1),
        (["worse", "--baseline", "old", "--gate", "adaptive.accuracy <= 0.9"], 1),
    ],
)
def test_the_ratchet(folders, capsys, arguments, code):
    assert run(["gate", *arguments]) == code
    out = capsys.readouterr()
    assert "against the baseline" in out.out
    assert "same target images" in out.err


def test_accept_then_gate(folders, capsys):
    assert run(["baseline", "accept", "old", "--reason", "first", "--to", "kept"]) == 0
    assert run(["baseline", "accept", "new", "--reason", "better decoder", "--to", "kept"]) == 0
    assert "adaptive.accuracy: " in capsys.readouterr().out
    assert run(["gate", "new", "--baseline", "kept"]) == 0
    assert run(["gate", "old", "--baseline", "kept/report.json"]) == 1
    assert [entry["reason"] for entry in json.loads((folders / "kept" / "history.json").read_text())] == [
        "first", "better decoder",
    ]  # fmt: skip


def test_the_policy_of_the_folder_is_judged_with_its_waivers(folders, capsys):
    (folders / "vfc.toml").write_text(
        "[policy]\ngates = ['adaptive.accuracy <= 0.1', { gate = 'adaptive.accuracy <= 0.2', level = 'warn' }]\n"
        "[[policy.waivers]]\ngate = 'adaptive.accuracy <= 0.1'\nuntil = 2026-06-15\nreason = 'soon'\n"
    )
    assert run_gate("old", (), today=date(2026, 6, 15)) == 0
    out = capsys.readouterr().out
    assert "BROKEN, WAIVED until 2026-06-15: soon adaptive.accuracy <= 0.1: even the" in out
    assert "broken, only a warning adaptive.accuracy <= 0.2" in out
    assert run_gate("old", (), today=date(2026, 6, 16)) == 1
    assert "broken, its waiver expired on 2026-06-15: soon adaptive" in capsys.readouterr().out
    (folders / "vfc.toml").write_text("[policy]\nrequired = ['lineer']\n")
    assert run(["gate", "old"]) == 2
    assert "did you mean 'linear'" in capsys.readouterr().err
    (folders / "vfc.toml").write_text("[policy]\nrequired = ['mlp']\n")
    assert run(["gate", "old", "--gate", "adaptive.accuracy <= 0.9"]) == 3
    assert "required adversary mlp was not measured: no row of the report is about it" in capsys.readouterr().out
    (folders / "vfc.toml").write_text("[polcy]\nrequired = ['mlp']\n")
    assert run(["gate", "old", "--gate", "adaptive.accuracy <= 0.9"]) == 2
    assert "did you mean 'policy'" in capsys.readouterr().err
    (folders / "vfc.toml").write_text("[policy]\nrequired = ['linear']\n")
    assert run(["gate", "old", "--gate", "adaptive.accuracy <= 0.9"]) == 0


@pytest.mark.parametrize("attacked", [(), ("ink",), ("ink", "large")])
def test_a_preset_asks_about_the_attributes_that_were_attacked(folders, capsys, attacked):
    report, rows = report_of(hits(0, 0.5))
    facts = report.dataset.model_copy(update={"classes": {"digit": 10, "large": 2, "ink": 2}})
    found = [row().model_copy(update={"protocol": "attribute", "goal": f"attribute:{name}"}) for name in attacked]
    # Reading masks asks about attributes too, and answers with other numbers.
    found.append(row().model_copy(update={"protocol": "mask-aware", "goal": "attribute:large"}))
    evidence = (*report.evidence, *found)
    write(sealed(report.model_copy(update={"dataset": facts, "evidence": evidence})), rows, folders / "some")
    assert run(["gate", "some", "--gates", "standard"]) in (1, 3)
    out = capsys.readouterr().out
    assert sorted(re.findall(r"^\w+ +attribute\.(\w+)\.leakage", out, re.MULTILINE)) == list(attacked)
    assert ("note: no attribute was attacked" in out) is not bool(attacked)


def test_plan_and_schema(folders, capsys):
    assert run(["plan", "--gate", "adaptive.accuracy <= 0.3", "--assume", "adaptive.accuracy=0.2"]) == 0
    assert "target images, then it is held" in capsys.readouterr().out
    assert run(["plan", "--gate", "adaptive.accuracy <= 0.9", "--report", "old"]) == 0
    assert "from the report" in capsys.readouterr().out
    assert run(["plan", "--gate", "adaptive.labels_to_90 >= 10"]) == 3
    capsys.readouterr()
    assert run(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["properties"]["schema"]["const"] == SCHEMA


@pytest.mark.parametrize(
    "arguments",
    [
        ["report", "old", "--html", "a", "--junit", "b", "--sarif", "c", "--markdown", "d", "--csv", "e"],
        ["compare", "old", "new"],
        ["gate", "new", "--baseline", "old", "--gates", "paper", "--gate", "adaptive.accuracy <= 0.9"],
        ["plan", "--gate", "adaptive.accuracy <= 0.3"],
        ["baseline", "accept", "old", "--reason", "x"],
        ["schema"],
    ],
)
def test_none_of_them_imports_torch(folders, arguments):
    code = (
        "import sys\nfrom protocols.cli import run\n"
        f"run({arguments!r})\nassert 'torch' not in sys.modules and 'scipy' not in sys.modules, 'heavy'"
    )
    if arguments[0] == "plan":
        code = code.replace(" and 'scipy' not in sys.modules", "")
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=folders)


def test_judged_reports_keep_waivers_and_lines_in_every_format(folders):
    from protocols.commands.attack import judged
    from reports.gate.policy import parse_policy

    text = (
        "[policy]\ngates = [\n 'adaptive.accuracy <= 0.1',\n]\n[[policy.waivers]]\ngate = 'adaptive.accuracy <= 0.1'\n"
    )
    text += "until = 2026-06-15\nreason = 'new decoder'\n"
    import tomllib

    report = judged(load("old"), parse_policy(tomllib.loads(text)["policy"], text), {}, date(2026, 6, 1))
    assert report.verdict == "measured"
    moved = text.replace("[policy]", "\n\n[policy]")
    again = judged(load("old"), parse_policy(tomllib.loads(moved)["policy"], moved), {}, date(2026, 6, 1))
    assert (report.gates[0].source.line, again.gates[0].source.line) == (3, 5)
    assert report.digest == again.digest
    write(report, {}, folders / "judged")
    assert run(["report", "judged", *[w for n in FORMATS for w in (f"--{n}", f"judged/r.{n}")]]) == 0
    for name in ("junit", "sarif", "markdown", "csv"):
        assert "new decoder" in (folders / "judged" / f"r.{name}").read_text(), name
