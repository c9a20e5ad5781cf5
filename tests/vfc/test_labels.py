import subprocess
import sys

import numpy as np
import pytest

from vfc.datasets.labels import parse_label
from vfc.errors import UserError

LABELS = {"label": np.arange(10), "age": np.array([0, 17, 18, 39, 40, 59, 60, 99, 5, 41])}


def test_members_become_class_one():
    values = parse_label("living=label:2,3,4,5,6,7").apply(LABELS)
    assert values.tolist() == [0, 0, 1, 1, 1, 1, 1, 1, 0, 0]


def test_bins_take_the_first_that_holds():
    derivation = parse_label("age_group=age:<18,<40,<60,>=60")
    assert derivation.apply(LABELS).tolist() == np.digitize(LABELS["age"], [18, 40, 60]).tolist()
    assert derivation.class_names == ("<18", "<40", "<60", ">=60")


def test_bin_operators_at_their_bounds():
    assert parse_label("x=age:<=17,>17").apply(LABELS).tolist() == (LABELS["age"] > 17).astype(int).tolist()
    assert parse_label(" x = age : < 18 , >= 18 ").apply(LABELS).tolist() == (LABELS["age"] >= 18).astype(int).tolist()


@pytest.mark.parametrize(
    "text",
    ["", "x", "x=", "x=age", "x=age:", "=age:1", "x=age:1,<3", "x=age:<18", "x=age:a,b", "x=age:1,,2", "x=age:1.5"],
)
def test_other_forms_are_refused(text):
    with pytest.raises(UserError, match="expected NAME=LABEL"):
        parse_label(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x=lable:1", "did you mean 'label'"),
        ("x=label:3,12", "has no class 12; its classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
        ("age=label:3", "exists already"),
        ("x=age:<18,<60", "no bin of 'x' holds age 60"),
    ],
)
def test_errors_say_what_exists(text, words):
    with pytest.raises(UserError, match=words):
        parse_label(text).apply(LABELS)


def test_labels_import_no_torch():
    code = "import sys, vfc.datasets.labels; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
