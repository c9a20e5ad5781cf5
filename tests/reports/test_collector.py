"""The pause of the garbage collector ends, whatever happens in it."""

import gc

import pytest

from reports.model.collector import collector_paused


@pytest.mark.parametrize("before", [True, False])
def test_the_collector_is_as_before(before):
    was_on = gc.isenabled()
    try:
        (gc.enable if before else gc.disable)()
        with collector_paused():
            assert not gc.isenabled()
        assert gc.isenabled() == before
        with pytest.raises(KeyError), collector_paused():
            raise KeyError
        assert gc.isenabled() == before
    finally:
        (gc.enable if was_on else gc.disable)()
