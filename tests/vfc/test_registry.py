"""Registries: names, facts and cards are read from source, in subfolders and of installed packages too."""

import itertools
import pickle
import sys

import pytest

from vfc.errors import UserError
from vfc.registry import Registry

ENTRY = '''"""A file."""

raise RuntimeError("nobody may import this to list it")


@THINGS.register({name!r}{facts})
class Thing:
    """A thing called {name}.

    More of it.
    """

    level: ClassVar[str] = "L2"
    share = 0.5
    made = max(1, 2)
'''
NUMBERS = itertools.count()


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Writes files into a package of its own and returns its registry."""
    package = f"things{next(NUMBERS)}"
    monkeypatch.syspath_prepend(tmp_path)

    def make(**files):
        for name, text in {"__init__": "", **files}.items():
            path = tmp_path / package / f"{name.replace('__in__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return Registry("thing", package, "THINGS", package, facts=("goals", "order"))

    make.package = package
    yield make
    for name in [name for name in sys.modules if name.startswith("things")]:
        del sys.modules[name]


def installed(folder, name, group, points, version="1.0"):
    """What an installed distribution leaves on the path."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{points}\n")


def entry(name, facts=""):
    return ENTRY.format(name=name, facts=facts)


def test_entries_in_subfolders_are_read_without_importing_them(made):
    things = made(one=entry("first"), folder__in____init__="", folder__in__deep__in__two=entry("second"))
    assert list(things.cards) == ["first", "second"]
    card = things.cards["second"]
    assert card.module == f"{made.package}.folder.deep.two"
    assert (card.summary, card.text) == ("A thing called second.", "A thing called second.\n\nMore of it.")
    assert dict(card.attributes) == {"level": "L2", "share": 0.5}
    assert dict(card.facts) == {}


def test_facts_are_read_as_they_are_written(made):
    things = made(one=entry("first", ", goals=('a', 'b'), order=-3"))
    assert things.cards["first"].facts == {"goals": ("a", "b"), "order": -3}


@pytest.mark.parametrize("other", ["two", "folder__in__one", "folder__in__deep__in__two"])
def test_a_name_that_two_files_register_is_an_error_that_names_both(made, other):
    things = made(folder__in__two=entry("same"), **{other: entry("same")})
    with pytest.raises(UserError) as caught:
        _ = things.cards
    for module in ("folder.two", other.replace("__in__", ".")):
        assert f"{made.package}.{module}" in str(caught.value)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (", order=FIRST", ["expected literals", "order=FIRST", ".one.Thing"]),
        (", **FACTS", ["expected literals", "**FACTS"]),
        (", 'more'", ["expected literals"]),
        (", ordr=1", ["unknown fact of thing 'first' 'ordr'", "did you mean 'order'"]),
    ],
)
def test_facts_that_cannot_be_read_or_are_unknown_are_refused(made, facts, words):
    things = made(one=entry("first", facts))
    with pytest.raises(UserError) as caught:
        _ = things.cards
    assert all(word in str(caught.value) for word in words)


def test_unknown_facts_are_refused_when_they_register_too():
    with pytest.raises(UserError, match="did you mean 'order'"):
        Registry("thing", "nothing", "THINGS", "nothing", facts=("order",)).register("it", ordr=1)


def test_a_third_party_has_a_card_with_facts_and_is_not_imported_for_it(made, tmp_path):
    things = made()
    (tmp_path / "theirs.py").write_text(entry("it", ", order=4"))
    installed(tmp_path, "their-package", made.package, "it = theirs:Thing")
    card = things.cards["it"]
    assert (card.module, card.summary, card.facts) == ("theirs:Thing", "A thing called it.", {"order": 4})
    assert card.attributes["level"] == "L2"
    assert "theirs" not in sys.modules


def test_an_entry_point_without_an_attribute_names_what_its_file_registers(made, tmp_path):
    things = made()
    (tmp_path / "theirs.py").write_text(entry("it", ", order=4"))
    installed(tmp_path, "their-package", made.package, "it = theirs")
    assert things.cards["it"].facts == {"order": 4}


def test_what_has_no_source_at_its_place_is_imported(made, tmp_path, monkeypatch):
    things = made()
    body = entry("it", ", order=4").replace('raise RuntimeError("nobody may import this to list it")', "")
    body = body.replace(": ClassVar[str]", "")
    (tmp_path / "things_theirs.py").write_text("from things_shared import THINGS\n" + body)
    (tmp_path / "things_again.py").write_text("from things_theirs import Thing\n")
    monkeypatch.setitem(sys.modules, "things_shared", type("Shared", (), {"THINGS": things}))
    installed(tmp_path, "their-package", made.package, "it = things_again:Thing")
    card = things.cards["it"]
    assert (card.module, card.summary, card.facts) == ("things_again:Thing", "A thing called it.", {"order": 4})
    assert things.get("it").__module__ == "things_theirs"


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ("it = nowhere:Thing", ["cannot load thing 'it' from nowhere:Thing", "ModuleNotFoundError", "uninstall"]),
        ("it = theirs:Other", ["cannot load thing 'it'", "nobody may import this"]),
        ("other = theirs:Thing", ["'other' names theirs:Thing", "registers itself as 'it'"]),
    ],
)
def test_a_broken_entry_point_is_an_error_that_says_whose(made, tmp_path, points, words):
    things = made()
    (tmp_path / "theirs.py").write_text(entry("it"))
    installed(tmp_path, "their-package", made.package, points)
    with pytest.raises(UserError) as caught:
        _ = things.cards
    assert all(word in str(caught.value) for word in words)


def test_a_third_party_that_takes_a_name_is_an_error_that_names_both(made, tmp_path):
    (tmp_path / "theirs.py").write_text(entry("it"))
    installed(tmp_path, "their-package", made.package, "it = theirs:Thing")
    with pytest.raises(UserError) as caught:
        _ = made(own=entry("it")).cards
    assert all(each in str(caught.value) for each in (f"{made.package}.own", "theirs:Thing of their-package 1.0"))
    (tmp_path / made.package / "own.py").unlink()
    installed(tmp_path, "another-package", made.package, "it = theirs:Thing", version="2.0")
    with pytest.raises(UserError) as caught:
        _ = made().cards
    assert all(each in str(caught.value) for each in ("of their-package 1.0", "of another-package 2.0"))


def test_a_user_error_passes_between_processes():
    error = pickle.loads(pickle.dumps(UserError("expected  this", "do that")))
    assert (error.what, error.fix, str(error)) == ("expected this", "do that", "expected this; do that")
