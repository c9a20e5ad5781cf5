"""What changes the digest of an adversary's code, and what does not."""

import shutil
from itertools import count
from pathlib import Path

import pytest

import adversaries
from adversaries.calibration import digest
from adversaries.calibration.content import Content
from adversaries.calibration.definitions import MARK, OURS, Definition, Tree, read

ATTACK = '''"""About."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F

from pkg.base import ADVERSARIES, Base
from pkg.nets import Large as Net
from pkg.nets import Small, scale

LIMIT, REST = 3, 4
"""What it is."""


def even(n):
    return n == 0 or odd(n - 1)


def odd(n):
    return n != 0 and even(n - 1)


@ADVERSARIES.register("it")
@dataclass(frozen=True)
class Attack(Base):
    """Words."""

    level: ClassVar[str] = "L2"
    steps: int = 10

    def fit(self, view: Knowledge, *, rate: float = 0.5) -> Fitted:
        """More words."""
        # because
        total = [F.relu(scale(part, by=rate)) for part in view.parts if part > LIMIT]
        return Net(total, self.steps) if even(REST) else self.fit(view, rate=rate)
'''
NETS = """import torch
from .deep import depth

FACTOR = 2


class Large:
    def __init__(self, x, n):
        self.x = x * depth(n)


class Small:
    def __init__(self, x, n):
        self.x = x


def scale(x, by):
    return FACTOR * x * by
"""
DEEP = "def depth(n):\n    return n + 1\n"
BASE = f"{MARK}\n\nclass Base:\n    pass\n\n\nADVERSARIES = 3\n"
FILES = {"attack": ATTACK, "nets": NETS, "deep": DEEP, "base": BASE}
NUMBERS = count()


@pytest.fixture
def of(tmp_path):
    """Digest of the attack in a package with these files."""

    def compute(place="attack", **files):
        folder = tmp_path / str(next(NUMBERS)) / "pkg"
        for name, text in {**FILES, "__init__": "", **files}.items():
            path = folder / f"{name.replace('.', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            if text is not None:
                path.write_text(text)
        content = Content(Tree(("pkg",), folder.parent))
        root = content.registered(f"pkg.{place}", "it")
        assert root.name
        return content.digest(root)

    return compute


def swapped(text, *pairs):
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


def attack(*pairs):
    return {"attack": swapped(ATTACK, *pairs)}


def nets(*pairs):
    return {"nets": swapped(NETS, *pairs)}


HELPERS = ATTACK[ATTACK.index("def even") : ATTACK.index("@ADV")]
SAME = {
    "move": {"nets": None, "deep": None, "low.er.nets": NETS.replace(".deep", "pkg.far"), "far": DEEP}
    | attack(("pkg.nets", "pkg.low.er.nets")),
    "rename file": {"place": "other", "attack": None, "other": ATTACK},
    "split": attack((HELPERS, ""), ("LIMIT, ", "from pkg.rest import even\n\nLIMIT, ")) | {"rest": HELPERS},
    "join": {"deep": None} | nets(("from .deep import depth\n", ""), ("class Large", DEEP + "\n\nclass Large")),
    "package": {"nets": None, "nets.__init__": "from .inner import Large, Small, scale\n"}
    | {"nets.inner": NETS.replace(".deep", "..deep")},
    "rename definitions": attack(("Attack", "Probe"), ("even", "pair"), ("Large as", "Wide as"), ("scale", "times"))
    | nets(("Large", "Wide"), ("FACTOR", "DOUBLE"), ("scale", "times")),
    "rename structure": attack(("Base", "Foundation")) | {"base": BASE.replace("Base", "Foundation")},
    "change structure": {"base": BASE.replace("pass", "x = 1")},
    "rename import": attack(("Large as Net", "Large as Wide"), ("Net(", "Wide(")),
    "import module": attack(("from pkg.nets import Small, scale", "from pkg import nets"), ("scale(", "nets.scale(")),
    "import local": attack(("from pkg.nets import Small, scale\n", ""), ("# because", "from pkg.nets import scale")),
    "import library otherwise": attack(
        ("import torch.nn.functional as F", "from torch.nn.functional import relu"), ("F.relu", "relu")
    ),
    "reorder": attack((HELPERS, ""), ("LIMIT, ", HELPERS + "LIMIT, ")),
    "words": attack(("About", "Of"), ("Words", "Said"), ("# because", '"""why"""'), ("What it", "As it")),
    "layout": attack(("[F.relu", "[\n            F.relu"), ("even(n - 1)", "even((n - 1))"), ("0.5", ".50")),
    "annotations": attack(("view: Knowledge", "view"), (" -> Fitted", ""), ("def even(n)", "def even(n: int) -> bool")),
    "unreached": attack(("def even", "def unused():\n    return Small\n\n\ndef even")) | nets(("= x\n", "= 0\n")),
    "local names": attack(("view", "knowledge"), ("total", "found"), ("part ", "one "), ("(part,", "(one,")),
    "facts of registering": attack(('register("it")', 'register("it", goals=("task",), variants=({"a": 1},))')),
    "registered name": attack(('register("it")\n', 'register("it")\n@ADVERSARIES.register("us")\n')),
}  # fmt: skip
OTHER = {
    "constant": attack(("LIMIT, REST = 3, 4", "LIMIT, REST = 4, 4")),
    "which constant": attack(("even(REST)", "even(LIMIT)")),
    "far constant": nets(("FACTOR = 2", "FACTOR = 3")),
    "other definition": attack(("Large as Net", "Small as Net")),
    "operator": {"deep": DEEP.replace("+", "-")},
    "default": attack(("steps: int = 10", "steps: int = 11")),
    "default of an argument": attack(("rate: float = 0.5", "rate: float = 0.6")),
    "field": attack(("steps", "rounds")),
    "class variable": attack(("steps: int", "steps: ClassVar[int]")),
    "body": nets(("self.x = x * depth(n)", "self.x = depth(n) * x")),
    "decorator": attack(("frozen=True", "frozen=False")),
    "library": attack(("F.relu", "F.elu")),
    "condition": attack(("part > LIMIT", "part >= LIMIT")),
    "attribute": attack(("view.parts", "view.wholes")),
    "order of arguments": attack(("Net(total, self.steps)", "Net(self.steps, total)")),
    "keyword": attack(("by=rate", "off=rate")) | nets(("by)", "off)"), ("* by", "* off")),
    "parameter passed by keyword": nets(("by)", "off)"), ("* by", "* off")),
    "circle": attack(("n == 0 or odd", "n == 0 or even")),
    "base": attack(("(Base)", "")),
    "added later": nets(("class Large", "FACTOR += 1\n\n\nclass Large")),
    "no structure": {"base": BASE.replace(MARK, "#")},
}


@pytest.mark.parametrize("change", SAME)
def test_where_code_stands_and_what_it_is_called_do_not_count(change, of):
    assert of(**SAME[change]) == of()


@pytest.mark.parametrize("change", OTHER)
def test_what_it_computes_counts(change, of):
    assert of(**OTHER[change]) != of()


def test_scopes_are_those_of_python(of):
    body = """LIMIT = 1


def helper(x):
    return x


@ADVERSARIES.register("it")
class Attack:
    helper = 2

    def fit(self, x):
        y = {}

        def inner():
            nonlocal y
            y = helper(x)

        return [inner() for x in y], LIMIT
"""
    plain = of(attack=body)
    assert of(attack=body.replace("return x\n", "return 2 * x\n")) != plain  # a class is no scope of its methods
    assert of(attack=body.replace("            nonlocal y\n", "")) != plain
    assert of(attack=body.replace("for x in y", "for z in y")) == plain
    assert of(attack=body.replace("for x in y", "for LIMIT in y")) == plain
    assert of(attack=body.replace("        y = {}", "        global LIMIT\n        y = {}")) == plain
    local = body.replace("        y = {}", "        LIMIT = 7\n        y = {}")
    assert of(attack=local) != plain
    assert of(attack=local.replace("LIMIT = 1", "LIMIT = 2")) == of(attack=local)


def test_whole_files_and_imports_of_either_kind_count(of):
    whole = """from pkg import nets


@ADVERSARIES.register("it")
class Attack:
    x = vars(nets)
"""
    assert of(attack=whole, **nets(("FACTOR = 2", "FACTOR = 3"))) != of(attack=whole)
    assert of(attack=whole, **nets(("FACTOR", "DOUBLE"))) != of(attack=whole)  # names can be asked for
    either = """try:
    from pkg.nets import scale
except ImportError:
    from pkg.deep import depth as scale


@ADVERSARIES.register("it")
class Attack:
    x = scale
"""
    assert of(attack=either, **nets(("FACTOR = 2", "FACTOR = 3"))) != of(attack=either)
    assert of(attack=either, deep=DEEP.replace("+", "-")) != of(attack=either)
    assert of(attack=either.replace("except", "except OSError:\n    pass\nexcept")) != of(attack=either)
    assert of(attack=either.replace("scale", "times"), **nets(("scale", "times"))) == of(attack=either)


def test_a_mark_takes_out_the_definition_below_it_or_the_file():
    source = f'"""About."""\n\n{{}}\nimport os\n\n{{}}\n@os.f\nclass A:\n    x = """\n{MARK}\n"""\n\n\nB = 1\n'
    assert read(source.format("", ""), "pkg").structure == frozenset()
    assert read(source.format("", MARK), "pkg").structure == {"A"}
    assert read(source.format(MARK, ""), "pkg").structure == {"", "A", "B"}


@pytest.mark.parametrize(
    ("file", "old", "new", "counts"),
    [
        ("adversaries/attacks/label/probes/linear.py", "_MANY_ROWS = 2000", "_MANY_ROWS = 2001", True),
        ("adversaries/learning/kernels.py", "_FAR = 1e4", "_FAR = 1e5", True),
        ("adversaries/learning/kernels.py", "_FIXED_RIDGE = 0.1", "_FIXED_RIDGE = 0.2", False),
        ("adversaries/evaluation_data.py", "class EvaluationData", "class Everything", False),
        ("adversaries/knowledge.py", 'derive_seed("view", what)', "1", False),
        ("adversaries/attacker.py", "        return None", "        return self", False),
        ("vfc/errors.py", "class NotApplicableError", "X = 1\n\n\nclass NotApplicableError", False),
        ("adversaries/attacks/label/probes/cnn.py", "super().__init__()", "pass", False),
    ],
)
def test_what_an_adversary_computes_with_is_part_of_it(file, old, new, counts, tmp_path):
    for package in ("adversaries", "vfc"):
        origin = Path(adversaries.__file__).parents[1] / package
        shutil.copytree(origin, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    root = Definition("adversaries.attacks.label.probes.linear", "Linear")
    before = Content(Tree(OURS, tmp_path)).digest(root)
    path = tmp_path / file
    text = path.read_text()
    path.write_text(text.replace(old, new))
    assert (Content(Tree(OURS, tmp_path)).digest(root) != before) == counts


def test_an_adversary_of_another_package_has_a_digest_and_is_not_imported(tmp_path, monkeypatch):
    package = tmp_path / "vfc_test_plugin"
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = []
    for number in (1, 2):
        text = f"from adversaries.learning.kernels import flat\nX = {number}\n\n\nclass Attack:\n    x = X, flat\n"
        (package / "mod.py").write_text(text)
        digest._code.cache_clear()
        digest._content.cache_clear()
        found.append(digest._code("vfc_test_plugin.mod:Attack", "plugin"))
    assert found[0] != found[1]
    assert all(found)
    assert digest._code("vfc_test_plugin.missing:Attack", "plugin") == digest._code("nowhere:Attack", "plugin") == ""
