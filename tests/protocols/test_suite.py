"""Freezing a suite: what attackers get is what ours got, answers stay apart, and every byte is checked."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from adversaries.evaluation_data import reordered
from adversaries.knowledge import first_per_class
from protocols.suite.freezing import Freezer
from protocols.suite.making import check_out
from reports.studies.suite.manifest import MANIFEST, digest_of, open_suite
from tests.suites import suite, world
from vfc.errors import UserError
from vfc.seeding import derive_seed


def frozen(name="tiny-1", defense="identity", data=None):
    freezer = Freezer(suite=name, seed=3, labels=(1, 10, 50), attributes=("half",))
    return freezer.arrays(data or world(), "side", defense)


@pytest.mark.parametrize("label", ["side", "half"])
def test_the_labelled_releases_are_those_of_our_own_attacks(label):
    data, found = world(), frozen()
    ours = reordered(data, 3).train
    for count in (1, 10):
        rows = found["pool"][f"train.{label}.rows@{count}"]
        granted = first_per_class(ours.labels[label], count, 2)
        assert torch.equal(found["attack"]["train.release"][rows], ours.release[granted])
        assert found["pool"][f"train.{label}"][rows].bincount().tolist() == [count, count]
    assert f"train.{label}.rows@50" not in found["pool"]


def test_the_permuted_labels_are_those_of_our_own_control():
    data, found = world(), frozen()
    ordered = reordered(data, 3)
    ours = ordered.shuffled("side", torch.Generator().manual_seed(derive_seed("shuffled", "side", 3)))
    permuted = found["pool"]["train.side.shuffled"]
    rows = {image.numpy().tobytes(): int(label) for image, label in zip(data.train.images, permuted, strict=True)}
    assert [rows[image.numpy().tobytes()] for image in ours.train.images] == ours.train.labels["side"].tolist()
    assert torch.equal(found["truth"]["side.shuffled"], ours.targets.labels["side"])
    assert not torch.equal(found["truth"]["side.shuffled"], data.targets.labels["side"])


def test_no_answer_is_in_a_file_for_attackers():
    data, found = world(), frozen()
    assert sorted(found["attack"]) == ["targets.index", "targets.release", "train.release", "validation.release"]
    assert not [key for key in found["pool"] if key.startswith("targets")]
    assert (
        found["answers"]["side.floor"].bool().tolist()
        == (data.targets.labels["side"] == data.train.labels["side"].bincount().argmax()).tolist()
    )


def test_every_target_has_a_number_that_tells_suites_versions_and_releases_apart():
    numbers = [
        set(frozen(*names, data=world(seed))["attack"]["targets.index"].tolist())
        for names, seed in [(("a-1", "x"), 0), (("a-2", "x"), 0), (("a-1", "y"), 0), (("a-1", "x"), 1)]
    ]
    assert all(len(each) == 200 for each in numbers)
    assert len(set().union(*numbers)) == 800


def test_a_suite_is_whole_and_says_so_until_a_byte_changes(tmp_path):
    made = suite(tmp_path)
    made.verify()
    assert made.manifest.version == 1
    assert made.manifest.dataset.classes == {"side": 2, "half": 2}
    assert made.manifest.defenses["nte"].reason == "no null space"
    assert sorted(path.name for path in made.folder.iterdir()) == ["defenses", "grader", "pool.safetensors", MANIFEST]
    attack = load_file(made.folder / "defenses" / "identity" / "attack.safetensors")
    assert np.array_equal(attack["targets.release"], world().targets.release.numpy())
    (made.folder / "note.txt").write_text("x")
    with pytest.raises(UserError, match=r"note\.txt"):
        made.verify()
    (made.folder / "note.txt").unlink()
    pool = made.folder / "pool.safetensors"
    data = bytearray(pool.read_bytes())
    data[-1] ^= 1
    pool.write_bytes(data)
    with pytest.raises(UserError, match=r"pool\.safetensors is damaged"):
        made.verify()
    pool.unlink()
    with pytest.raises(UserError, match="cannot read"):
        made.verify()


def test_equal_suites_have_equal_digests_and_other_ones_have_not(tmp_path):
    first, again = suite(tmp_path / "a").manifest, suite(tmp_path / "b").manifest
    assert first.digest == again.digest == digest_of(first.model_copy(update={"made_with": "0"}))
    assert suite(tmp_path / "c", name="tiny-2").manifest.digest != first.digest
    assert suite(tmp_path / "d", data=world(1)).manifest.digest != first.digest


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: content | {"seed": 9}, "changed by hand"),
        (lambda content: content | {"schema": 2}, "newer vfc"),
        (lambda content: content | {"name": "tiny"}, "version behind it"),
        (lambda _: {"schema": 1}, "manifest"),
        (lambda _: [], "manifest"),
    ],
)
def test_a_manifest_that_is_not_as_it_was_written_is_refused(tmp_path, change, words):
    file = suite(tmp_path).folder / MANIFEST
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    with pytest.raises(UserError, match=words):
        open_suite(str(file.parent))


def test_a_suite_is_never_overwritten_unless_it_is_asked_for(tmp_path):
    made = suite(tmp_path)
    check_out(tmp_path / "new", fresh=False)
    check_out(made.folder, fresh=True)
    with pytest.raises(UserError, match="next version number"):
        check_out(made.folder, fresh=False)
    with pytest.raises(UserError, match="other files"):
        check_out(tmp_path, fresh=True)


def test_the_verbs_make_list_verify_and_grade(vfc, tmp_path, monkeypatch):
    monkeypatch.setattr("protocols.commands.suite.suite.PROTOCOLS", ("transfer",))
    code, out, err = vfc("suite", "make", "small-1", "--defenses", "identity,nte", "--budget", "smoke")
    assert code == 0, err
    assert "1 of 2" in out
    code, out, _ = vfc("suite", "list", quick=False)
    assert code == 0
    assert "small-1" in out
    code, out, _ = vfc("suite", "verify", "small-1", quick=False)
    assert code == 0
    assert "is whole" in out
    folder = open_suite("small-1").folder
    attack = load_file(folder / "defenses" / "identity" / "attack.safetensors")
    np.savez(tmp_path / "g.npz", guesses=attack["targets.index"] * 0, index=attack["targets.index"])
    # The grader needs no torch.
    command = ["grade", "g.npz", "--suite", "small-1", "--defense", "identity", "--level", "L0"]
    script = (
        "import sys\nfrom protocols.cli import run\n"
        f"code = run({command!r})\nassert 'torch' not in sys.modules\nsys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert "nobody vouches for this attack" in done.stdout
    graded = json.loads((tmp_path / "g.grade.json").read_text())
    assert graded["ours"]["accuracy"]["value"] > 0.9
    code, _, err = vfc("suite", "make", "small-1", "--defenses", "identity", "--budget", "smoke")
    assert code == 2
    assert "frozen in" in err
    code, _, err = vfc("suite", "make", "small", quick=False)
    assert code == 2
    assert "version behind it" in err
    code, _, err = vfc("suite", "verify", "smal-1", quick=False)
    assert code == 2
    assert "did you mean 'small-1'" in err
