"""Shapes in signatures are checked while tests run; torch is single-threaded so that runs agree bit for bit."""

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

import tests.shapes

os.environ.setdefault("OMP_NUM_THREADS", "1")
install_import_hook(["vfc", "adversaries"], f"{tests.shapes.__name__}.checked")


@pytest.fixture(scope="session", autouse=True)
def _single_thread():
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data():
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the shared data folder is absent")
    return folder


@pytest.fixture
def leaky_views(monkeypatch):
    """A bug in the view: it keeps the whole world."""
    from adversaries.knowledge import Knowledge

    keep = Knowledge.__init__

    def leak(self, world, *rest, **more):
        keep(self, world, *rest, **more)
        self.leaked = world

    monkeypatch.setattr(Knowledge, "__init__", leak)
