import sys
import textwrap

import pytest
import torch

from vfc.defenses.nulls.identity import Identity
from vfc.errors import UserError
from vfc.factory import call_factory, resolve
from vfc.wrapper import ModuleDefense


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


X = torch.rand(6, 1, 4, 4, generator=generator())


# --- resolve -------------------------------------------------------------------------------------------------


def test_the_four_forms(here):
    (here / "run").mkdir()
    (here / "vfc").mkdir()
    (here / "a.npz").touch()
    (here / "d.py").touch()
    assert resolve("vfc").kind == "registered"
    assert resolve("./vfc").kind == "folder"
    assert resolve("run").kind == "folder"
    assert resolve("a.npz").kind == "arrays"
    module = resolve("mypkg.defense:build")
    assert (module.kind, module.source, module.attribute) == ("factory", "mypkg.defense", "build")
    file = resolve(f"{here}/d.py:Maker.make")
    assert (file.kind, file.source, file.attribute) == ("factory", f"{here}/d.py", "Maker.make")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("", "empty"),
        ("vfcc", "did you mean 'vfc'"),
        ("nowhere/run", "no folder, file or factory"),
        ("missing.npz", "nothing there"),
        ("missing.safetensors", "nothing there"),
        ("missing.py:build", "nothing there"),
        ("a b:build", "no folder, file or factory"),
        ("pkg:", "no folder, file or factory"),
        ("pkg:1", "no folder, file or factory"),
    ],
)
def test_anything_else_says_what_is_accepted(here, spec, words):
    with pytest.raises(UserError, match=words) as error:
        resolve(spec)
    assert "\n" not in str(error.value)


# --- factories -----------------------------------------------------------------------------------------------

GOOD = """
    import torch
    from torch import nn
    from vfc.defenses.nulls.identity import Identity

    def defense():
        return Identity()

    def module(num_classes):
        made = nn.Identity()
        made.classes = num_classes
        return made

    def defaulted(width=3):
        return nn.Identity()

    def anything(**options):
        return nn.Identity()

    ready = nn.Identity()
    number = 3

    class Made(nn.Module):
        def forward(self, x):
            return x + 1

    def returns_class():
        return Made

    def returns_none():
        return None

    def needs(width, depth):
        return nn.Identity()

    def fails():
        raise ValueError("the weights are gone")
"""


def test_factories_of_files_and_modules(here):
    write(here / "own" / "defense.py", GOOD)
    write(here / "mypkg_of_test" / "__init__.py", "")
    write(here / "mypkg_of_test" / "defense.py", GOOD)
    for source in ("own/defense.py", "mypkg_of_test.defense"):
        assert isinstance(call_factory(resolve(f"{source}:defense"), 7), Identity)
        assert call_factory(resolve(f"{source}:module"), 7).module.classes == 7
        for name in ("defaulted", "anything", "ready", "Made"):
            assert isinstance(call_factory(resolve(f"{source}:{name}"), 7), ModuleDefense)


def test_a_file_may_import_its_neighbors_and_use_dataclasses(here):
    write(here / "own" / "neighbor_of_test.py", "shift = 2.0\n")
    source = """
        from __future__ import annotations
        from dataclasses import dataclass
        from torch import nn
        from neighbor_of_test import shift

        @dataclass
        class Settings:
            shift: float = shift

        class Shift(nn.Module):
            def forward(self, x):
                return x + Settings().shift
    """
    write(here / "own" / "defense.py", source)
    defense = call_factory(resolve("own/defense.py:Shift"), 3)
    assert torch.equal(defense.publish(X, generator()).values, X + 2)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("buidl", "unknown factory"),
        ("modul", "did you mean 'module'"),
        ("number", "to be a function, got int"),
        ("returns_class", "got the class Made; return an object"),
        ("returns_none", "got NoneType"),
        ("needs", r"take no argument or num_classes, got \(width, depth\)"),
        ("fails", r"raised ValueError: the weights are gone at .*defense\.py:37"),
    ],
)
def test_wrong_factories(here, name, words):
    write(here / "defense.py", GOOD)
    with pytest.raises(UserError, match=words) as error:
        call_factory(resolve(f"defense.py:{name}"), 3)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import torch\n\nraise KeyError('x')\n", r"raised KeyError: 'x' at .*broken\.py:3"),
        ("def build(:\n", r"raised SyntaxError: .* at .*broken\.py:1"),
        ("import no_such_thing_at_all\n", r"ModuleNotFoundError: .*no_such_thing_at_all.* at .*broken\.py:1"),
        ("import sys\nsys.exit(3)\n", r"raised SystemExit: 3 at .*broken\.py:2"),
        ("import json\njson.loads('{')\n", r"raised JSONDecodeError: .* at .*broken\.py:2"),
    ],
)
def test_modules_that_cannot_be_imported(here, text, words):
    write(here / "broken.py", text)
    before = set(sys.modules)
    with pytest.raises(UserError, match=words):
        call_factory(resolve("broken.py:build"), 3)
    assert not [name for name in set(sys.modules) - before if name.startswith("vfc_user")]


def test_a_module_that_is_not_there(here):
    with pytest.raises(UserError, match="raised ModuleNotFoundError: No module named 'no_such_package'"):
        call_factory(resolve("no_such_package.defense:build"), 3)
