"""A package of a third party, really installed: what it brings is listed, competes, is controlled and gated."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "tests" / "scratch_package"
QUICK = (
    "--release", "dimmed", "--dataset", "stripes", "--protocol", "adaptive-probe", "--protocol", "contrast",
    "--budget", "smoke", "--unintended", "mlp", "--width", "0.25", "--executor", "local", "--out", "out",
    "--set", "train.steps=1", "--set", "cnn.steps=1", "--set", "mlp.steps=1", "--set", "fine-tune.steps=1",
    "--set", "adapter.steps=1", "--set", "entropy.steps=1", "--set", "linear.iterations=1",
)  # fmt: skip
DIGESTS = """
import importlib, sys
from protocols.engine.provenance import code_digest
for site in sys.argv[1:]:
    sys.path.insert(0, site)
    importlib.invalidate_caches()
    print(code_digest.__wrapped__("cpu", 1))
    sys.path.remove(site)
"""


def install(source, folder):
    """Install without a network; the folder then holds the package and what says that it is installed."""
    command = (
        "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
        "--disable-pip-version-check", "--target", folder, source,
    )  # fmt: skip
    done = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with `site`, where the package is installed."""
    folder = tmp_path_factory.mktemp("third-party")
    shutil.copytree(PACKAGE, folder / "source", ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    install(folder / "source", folder / "site")
    return folder


def python(place, *arguments, site="site"):
    """Run Python in the folder, with what is installed there."""
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(place / site)]),
        "VFC_CACHE_DIR": str(place / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [sys.executable, *arguments], cwd=place, env=env, capture_output=True, text=True, check=False, timeout=300
    )


@pytest.fixture(scope="module")
def report(place):
    """The report of an attack with everything that the package brings."""
    done = python(place, "-m", "vfc", "attack", *QUICK)
    assert done.returncode == 0, done.stderr
    return json.loads((place / "out" / "report.json").read_text())


def test_the_package_is_short_enough_to_read():
    lines = [line for path in PACKAGE.rglob("*.py") for line in path.read_text().splitlines()]
    assert len(lines) < 120


def test_what_it_brings_is_listed(place):
    out = python(place, "-m", "vfc", "list").stdout
    for words in (
        "dimmed             Publishes a darker image",
        "orientation         Guesses by whether rows or columns",
        "stripes        600 images of 8x8",
        "contrast        How much of an image's contrast",
    ):
        assert words in out
    out = python(place, "-m", "vfc", "list", "adversaries", "orientation").stdout
    for words in (
        "vfc_scratch.adversary:Orientation",
        "goals: task, attribute",
        "level: L2",
        "statistic=std; statistic",
    ):
        assert words in out


def test_its_data_set_and_defense_are_attacked(report):
    assert (report["dataset"]["name"], report["release"]["name"]) == ("stripes", "dimmed")
    assert report["release"]["settings"]["share"] == 0.5


def test_its_adversary_joins_the_ladder_is_chosen_and_controlled(report):
    rows = [row for row in report["evidence"] if row["adversary"] == "orientation"]
    assert {row["protocol"] for row in rows} == {"adaptive-probe"}
    assert {row["status"] for row in rows} == {"measured"}
    labels = [row["threat"]["budget"]["labels_per_class"] for row in rows]
    assert [row["settings"]["statistic"] for row in rows] == ["std"] * 3 + ["var"] * 3
    assert labels == [1, 10, "all"] * 2
    # With one labelled release per class nobody else sees the direction of stripes.
    (chosen,) = (row for row in rows if row["chosen"] and row["threat"]["budget"]["labels_per_class"] == 1)
    assert chosen["arms"]["attack"]["value"] == report["metrics"]["adaptive.accuracy@1"]["value"] > 0.95
    everything = rows[2]["arms"]
    assert everything["ceiling"]["value"] > 0.95
    assert 0.25 < everything["shuffled"]["value"] < 0.75
    assert everything["floor"]["value"] == pytest.approx(0.5, abs=0.05)
    names = list(dict.fromkeys(row["adversary"] for row in report["evidence"] if row["protocol"] == "adaptive-probe"))
    assert names.index("adapter") < names.index("orientation") < names.index("majority")
    assert report["calibration"]["orientation"]["status"] == "uncalibrated"


def test_its_protocol_runs(report):
    assert report["metrics"]["contrast.kept"]["value"] == pytest.approx(0.5)
    assert [row["status"] for row in report["evidence"] if row["protocol"] == "contrast"] == ["measured"]


def test_its_metric_is_listed_and_gated(place, report):
    assert "contrast.kept" in python(place, "-m", "vfc", "list", "metrics").stdout
    for limit, code, word in ((0.6, 0, "held"), (0.4, 1, "broken")):
        expression = f"contrast.kept <= {limit}"
        done = python(place, "-m", "vfc", "attack", *QUICK, "--gate", expression)
        assert done.returncode == code, done.stderr
        judged = json.loads((place / "out" / "report.json").read_text())
        assert [(gate["expr"], gate["outcome"]) for gate in judged["gates"]] == [(expression, word)]
        assert judged["verdict"] == word
        done = python(place, "-m", "vfc", "gate", "out", "--gate", expression)
        assert done.returncode == code, done.stderr


def test_its_section_is_in_the_report(place, report):
    done = python(place, "-m", "vfc", "report", "out")
    assert done.returncode == 0, done.stderr
    written = " ".join(done.stdout.split())
    assert "Contrast" in written
    assert "contrast of the release / contrast of the image" in written or "contrast.kept" in written


def test_its_version_and_every_one_of_its_files_are_in_the_digest(place):
    settings = place / "source" / "pyproject.toml"
    settings.write_text(settings.read_text().replace('version = "1.0"', 'version = "1.1"'))
    install(place / "source", place / "newer")
    for copy in ("again", "changed"):
        shutil.copytree(place / "site", place / copy)
    helper = place / "changed" / "vfc_scratch" / "__init__.py"
    helper.write_text(helper.read_text() + "\nHELPS = 1\n")
    (place / "nothing").mkdir()
    sites = [str(place / name) for name in ("site", "newer", "changed", "nothing", "again")]
    done = python(place, "-c", DIGESTS, *sites, site="nothing")
    assert done.returncode == 0, done.stderr
    *different, again = done.stdout.split()
    assert len(set(different)) == 4
    assert again == different[0]
