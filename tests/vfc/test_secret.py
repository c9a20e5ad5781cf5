"""What a defense may declare to be secret."""

import numpy as np
import pytest

from vfc.core.secret import NO_SECRET, Secret, parse_secret
from vfc.errors import UserError

WHOLE = {"kind": "symmetric", "what": "the  key\n", "bits": 128}


def test_what_is_declared_is_read():
    assert parse_secret(None, "d") == NO_SECRET
    assert parse_secret(WHOLE, "d") == Secret(kind="symmetric", what="the key", bits=128.0)
    assert parse_secret(parse_secret(WHOLE, "d"), "d") == parse_secret(WHOLE, "d")


@pytest.mark.parametrize(
    "declared",
    [
        3,
        [],
        {3: 4},
        {"kind": "magic"},
        {"kind": None},
        {"kind": ["symmetric"]},
        {"kind": np.array(["symmetric", "none"])},
        {"kind": "symmetric"},
        {**WHOLE, "keys": 1},
        {**WHOLE, "lifetime": "year"},
        {**WHOLE, "lifetime": np.array(["value", "release"])},
        {**WHOLE, "bits": 0},
        {**WHOLE, "bits": True},
        {**WHOLE, "bits": "128"},
        {**WHOLE, "bits": float("nan")},
        {**WHOLE, "bits": 10**400},
        {**WHOLE, "what": " "},
        {**WHOLE, "what": 5},
        {**WHOLE, "what": "x" * 201},
        {**WHOLE, "what": "\u200b"},
        {**WHOLE, "what": "\u202e"},
        {**WHOLE, "what": "..."},
        {**WHOLE, "what": "the key\x1b[2J"},
        {**WHOLE, "what": "\udcff"},
    ],
    ids=ascii,
)
def test_what_says_nothing_is_refused_in_a_sentence(declared):
    with pytest.raises(UserError, match=r"(of|in) d\b") as error:
        parse_secret(declared, "d")
    assert "\n" not in str(error.value)
