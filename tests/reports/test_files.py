"""Files are written as a whole or not at all."""

import pytest

from reports.model.files import write_all
from vfc.errors import UserError


def test_all_or_none(tmp_path):
    kept = tmp_path / "kept"
    kept.write_bytes(b"old")
    (tmp_path / "folder").mkdir()
    for wrong in (tmp_path / "folder", kept / "below", tmp_path / ("x" * 300), tmp_path / "nul\0"):
        with pytest.raises(UserError, match=r"cannot write|file name"):
            write_all({kept: b"new", wrong: b"new"})
        assert kept.read_bytes() == b"old"
        assert sorted(file.name for file in tmp_path.iterdir()) == ["folder", "kept"]
    write_all({kept: b"new", tmp_path / "deep" / "er" / "file": b"x"})
    assert kept.read_bytes() == b"new"
    assert (tmp_path / "deep" / "er" / "file").read_bytes() == b"x"
