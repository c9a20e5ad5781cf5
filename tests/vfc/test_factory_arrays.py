import numpy as np
import pytest
import safetensors.torch
import torch

from vfc.errors import UserError
from vfc.factory import load_arrays_release


def arrays(**changes):
    made = {
        "release": np.random.default_rng(0).normal(size=(4, 7)).astype(np.float32),
        "label": np.arange(4),
        "image": np.full((4, 1, 2, 2), 0.5, dtype=np.float64),
        "prediction": np.array([0, 1, 1, 0], dtype=np.uint8),
        "attr_ink": np.array([True, False, True, False]),
    }
    return {name: value for name, value in {**made, **changes}.items() if value is not None}


def test_good_arrays_are_read_from_both_formats(tmp_path):
    np.savez(tmp_path / "a.npz", **arrays())
    tensors = {name: torch.from_numpy(value) for name, value in arrays().items()}
    safetensors.torch.save_file(tensors, tmp_path / "a.safetensors")
    one, two = (load_arrays_release(tmp_path / name) for name in ("a.npz", "a.safetensors"))
    assert set(one) == set(two) == set(arrays())
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    assert one["attr_ink"].tolist() == [1, 0, 1, 0]
    assert one["label"].dtype == one["prediction"].dtype == torch.int64
    assert one["image"].dtype == torch.float32


def test_other_byte_orders_memory_orders_and_non_finite_releases_are_read(tmp_path):
    values = np.asfortranarray(np.arange(28.0).reshape(4, 7)).astype(">f8")
    values[0, 0] = np.nan
    np.savez(tmp_path / "a.npz", **arrays(release=values))
    read = load_arrays_release(tmp_path / "a.npz")["release"]
    np.testing.assert_array_equal(read.numpy(), values.astype("f8"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"release": None}, "expected an array 'release'"),
        ({"label": None}, "expected an array 'label'"),
        ({"release": np.ones((0, 3))}, "release rows"),
        ({"release": np.ones((4, 0))}, "release rows"),
        ({"release": np.float32(3)}, "release rows"),
        ({"release": np.ones((4, 2), dtype=complex)}, "real numbers"),
        ({"label": np.arange(5)}, "expected 4 rows of 'label'"),
        ({"attr_ink": np.arange(3)}, "expected 4 rows of 'attr_ink'"),
        ({"label": np.arange(4.0)}, "expected integers"),
        ({"label": np.ones((4, 2), dtype=int)}, r"label\.argmax\(1\)"),
        ({"label": np.array([0, 1, -1, 0])}, "from 0"),
        ({"label": np.array(["a", "b", "c", "d"])}, "expected numbers"),
        ({"release": np.array([{}, 1, 2, 3], dtype=object)}, "cannot read arrays|expected numbers"),
        ({"image": np.full((4, 1, 2, 2), np.nan)}, "images in"),
        ({"image": np.full((4, 1, 2, 2), 1.5)}, "images in"),
        ({"image": np.full((4, 1, 2, 2), -0.1)}, "images in"),
        ({"image": np.full((4, 2, 2), 0.5)}, "float images"),
        ({"image": np.full((4, 1, 2, 2), 200, dtype=np.uint8)}, "float images"),
        ({"lable": np.arange(4)}, "did you mean 'label'"),
        ({"attr_": np.arange(4)}, "unknown array"),
    ],
)
def test_bad_arrays_are_named(tmp_path, changes, words):
    np.savez(tmp_path / "a.npz", **arrays(**changes))
    with pytest.raises(UserError, match=words) as error:
        load_arrays_release(tmp_path / "a.npz")
    assert "a.npz" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.95])
def test_truncated_files_are_named(tmp_path, suffix, keep):
    path = tmp_path / f"a.{suffix}"
    if suffix == "npz":
        np.savez(path, **arrays())
    else:
        safetensors.torch.save_file({"release": torch.ones(4, 7), "label": torch.arange(4)}, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if keep < 1 else keep])
    with pytest.raises(UserError, match="cannot read arrays"):
        load_arrays_release(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match="cannot read arrays"):
        load_arrays_release(tmp_path / "a.npz")
