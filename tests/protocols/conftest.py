"""Small runs: little data, short training, one process."""

import numpy as np
import pytest

from protocols.cli import run

QUICK = (
    "--unintended", "mlp", "--width", "0.25", "--executor", "local",
    "--set", "train.steps=60", "--set", "vfc.epochs=6", "--set", "vfc.latent=8", "--set", "cnn.steps=30",
    "--set", "mlp.steps=30", "--set", "fine-tune.steps=20", "--set", "adapter.steps=20",
    "--set", "linear.iterations=20", "--set", "shadow-reader.rows=256",
)  # fmt: skip


@pytest.fixture(scope="session")
def small_npz(tmp_path_factory):
    """400 8x8 images of two classes (bright left or right half) with an attribute (bright top or bottom half)."""
    rng = np.random.default_rng(5)
    y, a = rng.integers(0, 2, 600), rng.integers(0, 2, 600)
    images = rng.integers(0, 120, (600, 8, 8, 1))
    for i in range(600):
        images[i, :, 4 * y[i] : 4 * y[i] + 4] += 60
        images[i, 4 * a[i] : 4 * a[i] + 4] += 60
    path = tmp_path_factory.mktemp("data") / "small.npz"
    np.savez(path, images=images.astype(np.uint8), side=y, half=a)
    return path


@pytest.fixture
def vfc(capsys, monkeypatch, tmp_path, small_npz):
    """Run a command line in a folder and with a cache of its own: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VFC_CACHE_DIR", str(small_npz.parent / "cache"))

    def call(*arguments, quick=True):
        smoke = ("--budget", "smoke") if arguments[0] == "attack" else ()
        extra = (*QUICK, *smoke, "--dataset", f"npz:{small_npz}", "--task", "side") if quick else ()
        code = run([*map(str, arguments), *extra])
        out = capsys.readouterr()
        return code, out.out, out.err

    return call
