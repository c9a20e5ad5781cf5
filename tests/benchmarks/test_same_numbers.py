"""What counts as the same numbers: values bit by bit under any order, arrays under any key, sentences not at all."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from benchmarks.same_numbers.cases import cases, make_inputs
from benchmarks.same_numbers.compare import compare, read

VALUE = {"value": 0.1, "low": 0.05, "high": 0.2, "n": 20, "counts": {"k": 2}, "rows": "p/first", "reason": None}
ROW = {
    "protocol": "p",
    "adversary": "linear",
    "goal": "task:y",
    "seed": 0,
    "status": "measured",
    "threat": {"level": "L2", "budget": {"labels_per_class": 1, "steps": 30}},
    "settings": {"model": "mlp"},
    "arms": {"attack": VALUE},
    "health": ["AT_FLOOR", "UNCALIBRATED"],
    "chosen": True,
    "cost": {"seconds": 1.0},
}
REPORT = {
    "digest": "0",
    "evidence": [ROW, {**ROW, "settings": {}, "chosen": False}],
    "metrics": {"adaptive.accuracy": VALUE},
    "gates": [{"expr": "adaptive.accuracy <= 0.3", "outcome": "held", "observed": VALUE, "reason": "because"}],
}
ARRAYS = {"p/first": np.arange(20, dtype=np.uint8), "p/second": np.linspace(0, 1, 7)}


@pytest.fixture
def written(tmp_path):
    def write(name, report=REPORT, arrays=ARRAYS):
        folder = tmp_path / name / "a"
        folder.mkdir(parents=True)
        (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
        save_file(arrays, folder / "report.safetensors")
        (folder / "settings.json").write_text(json.dumps({"name": name}), encoding="utf-8")
        return folder.parent

    return write


def changed(**paths):
    """The report with other leaves, by their path with two underscores in between."""
    report = json.loads(json.dumps(REPORT))
    for path, value in paths.items():
        *way, last = [int(step) if step.isdigit() else step for step in path.split("__")]
        place = report
        for step in way:
            place = place[step]
        place[last] = value
    return report


def test_order_sentences_costs_and_digests_do_not_count(written):
    report = changed(digest="1", gates__0__reason="other words", evidence__0__cost={"seconds": 2.0})
    report["evidence"].reverse()
    report["evidence"][0]["health"] = ["UNCALIBRATED", "AT_FLOOR"]
    assert read(written("old"))[0]
    assert compare(read(written("old2")), read(written("new", report))) == []


@pytest.mark.parametrize(
    ("paths", "word"),
    [
        ({"evidence__0__arms__attack__low": np.nextafter(0.05, 1)}, "arms.attack.low: 0.05, now 0.05000000000000001"),
        ({"metrics__adaptive.accuracy__n": 21}, "metrics.adaptive.accuracy.n: 20, now 21"),
        ({"metrics__adaptive.accuracy__high": None}, "high: 0.2, now absent"),
        ({"evidence__1__chosen": True}, "chosen: false, now true"),
        ({"evidence__1__health": ["AT_FLOOR"]}, "health"),
        ({"evidence__1__status": "failed"}, "status"),
        ({"evidence__0__threat__budget__steps": 31}, "steps: 30, now 31"),
        ({"gates__0__outcome": "broken"}, "outcome"),
        ({"metrics__adaptive.accuracy__rows": "p/second"}, "metrics.adaptive.accuracy.rows"),
        ({"metrics__transfer.accuracy": {"value": 0.0}}, "metrics.transfer.accuracy.value: absent, now 0.0"),
    ],
)
def test_every_leaf_counts_bit_by_bit(written, paths, word):
    found = compare(read(written("old")), read(written("new", changed(**paths))))
    assert len(found) == 1
    assert word in found[0]


def test_arrays_may_have_other_keys_and_no_other_content(written):
    old = read(written("old"))
    moved = {"q/first": ARRAYS["p/first"], "p/second": ARRAYS["p/second"]}
    report = json.loads(json.dumps(REPORT).replace("p/first", "q/first"))
    assert compare(old, read(written("moved", report, moved))) == []
    other = {**ARRAYS, "p/second": ARRAYS["p/second"] + np.float64(2**-53)}
    (line,) = compare(old, read(written("other", arrays=other)))
    assert "p/second: 6 of 7 values differ" in line
    (line,) = compare(old, read(written("typed", arrays={**ARRAYS, "p/second": np.zeros(7, np.float32)})))
    assert "float64 (7,), now float32 (7,)" in line
    more = {**ARRAYS, "p/third": ARRAYS["p/second"]}
    assert compare(old, read(written("more", arrays=more))) == [
        "a/report.safetensors:p/third: an array that only the other side has"
    ]


def test_declared_names_are_the_same_names(written):
    report = json.loads(json.dumps(REPORT).replace('"model"', '"reader"').replace('"linear"', '"affine"'))
    new = read(written("new", report))
    assert compare(read(written("old")), new)
    assert compare(read(written("old2"), {"model": "reader"}, {"linear": "affine"}), new) == []
    ignored = {"UNCALIBRATED": None, "steps": None}
    other = changed(evidence__0__health=["AT_FLOOR"], evidence__0__threat__budget__steps=5)
    assert compare(read(written("old3"), ignored, ignored), read(written("new3", other), ignored, ignored)) == []


def test_cases_are_named_once_and_their_inputs_are_always_the_same(tmp_path):
    assert {"digits-transfer", "gaussian-attribute", "arrays-all"} <= set(cases())
    for commands in cases().values():
        outs = [words[words.index("--out") + 1] for words in commands if "--out" in words]
        assert len(set(outs)) == len(outs)
        assert not [word for words in commands for word in words if len(word) > 2 and word.isupper()]
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "blurred.py").touch()
    for name in ("one", "two"):
        make_inputs(tmp_path / name, tmp_path)
    for path in (tmp_path / "one").glob("*.safetensors"):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
    one, two = (np.load(tmp_path / name / "arrays.npz") for name in ("one", "two"))
    assert all(np.array_equal(one[key], two[key]) for key in one.files)
