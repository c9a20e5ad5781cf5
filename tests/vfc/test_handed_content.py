"""Digests of the caller's objects: two that compute something else never share one, two that are equal do."""

import functools
import importlib
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from vfc.handed.content import digest_of_object

ROOT = Path(__file__).resolve().parents[2]


def noise(x, sigma=0.1):
    return x + sigma


class Slotted:
    __slots__ = ("__hidden", "scale")

    def __init__(self, scale, hidden=0):
        self.scale, self.__hidden = scale, hidden

    def __call__(self, x):
        return self.scale * x + self.__hidden


class Times(float):
    """A number that can be called."""

    def __call__(self, x):
        return self * x


class Chain(tuple):
    """Functions in a row."""

    __slots__ = ()

    def __call__(self, x):
        for each in self:
            x = each(x)
        return x


class Named(dict):
    """A mapping with a number of its own."""

    def __init__(self, scale):
        super().__init__()
        self.scale = scale


def marked(mark):
    def publish(x):
        return x + publish.mark

    publish.mark = mark
    return publish


class Scaled(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def forward(self, x):
        return self.scale * x


@pytest.mark.parametrize(
    "make",
    [
        lambda k: functools.partial(noise, sigma=k),
        lambda k: functools.partial(np.add, k),
        lambda k: functools.partial(functools.partial(noise, 1), sigma=k),
        lambda k: Slotted(k),
        lambda k: Slotted(1, k),
        lambda k: Times(k),
        lambda k: Chain([functools.partial(noise, sigma=k)]),
        lambda k: Named(k),
        lambda k: marked(k),
        lambda k: np.full(3, k).__add__,
        lambda k: np.random.default_rng(k),
        lambda k: random.Random(k),
        lambda k: torch.Generator().manual_seed(k),
        lambda k: np.array(["a"] * 2000 + [str(k)] + ["b"] * 2000),
        lambda k: torch.no_grad()(functools.partial(noise, sigma=k)),
        lambda k: np.vectorize(lambda x: x + k),
        lambda k: torch.fx.symbolic_trace(Scaled(k)),
    ],
)
def test_what_differs_in_a_number_alone_has_another_digest(make):
    assert digest_of_object(make(1)) == digest_of_object(make(1))
    assert digest_of_object(make(1)) != digest_of_object(make(9))


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_scripted_modules_differ_by_what_they_compute():
    first, same, other = (torch.jit.script(Scaled(k)) for k in (1.0, 1.0, 9.0))
    assert digest_of_object(first) == digest_of_object(same)
    assert digest_of_object(first) != digest_of_object(other)


def test_builtins_differ_by_name():
    assert len({digest_of_object(each) for each in (torch.relu, torch.tanh, np.sin, np.cos, abs, (2).__add__)}) == 6


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    """Writes a module of the user's own and imports it anew."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    names = []

    def write(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        names.append(name)
        sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return importlib.import_module(name)

    yield write
    for name in names:
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    "code",
    [
        "import vfc_helpers\ndef outer(x):\n    return vfc_helpers.inner(x)\n",
        "import vfc_helpers as h\ndef outer(x):\n    return (lambda y: h.inner(y))(x)\n",
        "from vfc_helpers import inner\ndef outer(x):\n    return inner(x)\n",
        "def outer(x):\n    import vfc_helpers\n    return vfc_helpers.inner(x)\n",
        "import vfc_helpers\ndef outer(x):\n    return getattr(vfc_helpers, 'in' + 'ner')(x)\n",
        "import vfc_helpers\nclass Outer:\n    def run(self, x):\n        vfc_helpers.inner(x)\nouter = Outer().run",
    ],
)
def test_the_digest_follows_other_modules_of_the_user(theirs, code):
    def digest(factor):
        theirs("vfc_helpers", f"def inner(x):\n    return x * {factor}\n")
        return digest_of_object(theirs("vfc_outer", code).outer)

    assert digest(2) == digest(2)
    assert digest(2) != digest(3)


def test_the_digest_follows_what_was_set_on_another_module_and_what_that_imports(theirs):
    deep = theirs("vfc_deep", "SIGMA = 1\ndef add(x):\n    return x + SIGMA\n")
    theirs("vfc_helpers", "import vfc_deep\ndef inner(x):\n    return vfc_deep.add(x)\n")
    outer = theirs("vfc_outer", "import vfc_helpers\ndef outer(x):\n    return vfc_helpers.inner(x)\n").outer
    before = digest_of_object(outer)
    assert digest_of_object(outer) == before
    deep.SIGMA = 2
    assert digest_of_object(outer) != before


def test_modules_that_import_each_other_have_an_end(theirs):
    theirs("vfc_helpers", "X = 1\n")
    theirs("vfc_deep", "import vfc_helpers\ndef f(x):\n    return vfc_helpers.f(x)\n")
    helpers = theirs("vfc_helpers", "import vfc_deep\ndef f(x):\n    return vfc_deep.vfc_helpers.f(x)\n")
    assert digest_of_object(helpers.f) == digest_of_object(helpers.f)


def test_the_digest_is_the_same_in_every_process(tmp_path):
    (tmp_path / "vfc_helpers.py").write_text("NAMES = {'a', 'b', 'c'}\ndef inner(x):\n    return x\n")
    (tmp_path / "mine.py").write_text(
        "import functools, torch, vfc_helpers\nfrom vfc.handed.content import digest_of_object\n"
        "def publish(x, k):\n    import json, vfc_helpers as h\n    return vfc_helpers.inner(x), h.NAMES, torch.relu\n"
        "class Held:\n    __slots__ = ('b', 'a')\n    def __init__(self):\n        self.a, self.b = object(), publish\n"
        "held = [functools.partial(publish, k=1), Held(), torch.Generator(), torch.no_grad()(publish)]\n"
        "print(digest_of_object(held))"
    )
    found = {
        subprocess.run(
            [sys.executable, "mine.py"], cwd=tmp_path, capture_output=True, text=True, check=True,
            env={"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"},
        ).stdout
        for seed in "12"
    }  # fmt: skip
    assert len(found) == 1
