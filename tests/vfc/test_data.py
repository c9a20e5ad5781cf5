import hashlib
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import norm
from sklearn.datasets import load_digits

from vfc.config import user_cache_folder
from vfc.data import DATASETS, DataOptions, load_dataset
from vfc.errors import UserError
from vfc.release import Observed


def images(n=12, side=8, channels=1, dtype=np.uint8, seed=0):
    values = np.random.default_rng(seed).integers(0, 256, (n, side, side, channels))
    return values.astype(dtype) if dtype == np.uint8 else (values / 255).astype(dtype)


def save(folder, **arrays):
    path = folder / "set.npz"
    np.savez(path, **arrays)
    return f"npz:{path}"


def one_line(error):
    text = str(error.value)
    assert "\n" not in text
    return text


def test_digits_are_scikit_learns_pixels_repeated():
    data = load_dataset("digits")
    bunch = load_digits()
    assert data.shape == (1, 16, 16)
    assert len(data.train) == 1797
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        assert np.array_equal(data.train.images[:, 0, row::2, column::2].numpy() * 16, bunch.images)
    assert np.array_equal(data.train.labels["digit"].numpy(), bunch.target)
    assert data.train.images.dtype == torch.float32
    assert float(data.train.images.max()) == 1.0


def test_digit_labels_follow_from_the_digit_and_the_ink():
    data = load_dataset("digits")
    assert data.task == "digit"
    assert data.attributes == ("parity", "large", "ink")
    labels = data.train.labels
    assert torch.equal(labels["parity"], labels["digit"] % 2)
    assert torch.equal(labels["large"], (labels["digit"] >= 5).long())
    ink = data.train.images.double().sum((1, 2, 3))
    assert torch.equal(labels["ink"], (ink > np.median(ink.numpy())).long())
    assert float(labels["ink"].double().mean()) == pytest.approx(0.5, abs=0.02)


def test_gaussian_has_the_bayes_accuracy_of_its_definition():
    data = load_dataset("gaussian")
    assert data.shape == (1, 8, 8)
    assert len(data.train) == 8000
    assert not data.checks_range
    g = (data.train.images.double() - 0.5) / 0.05
    labels = data.train.labels
    means = {
        name: g[labels[name] == 1].mean(0).flatten() - g[labels[name] == 0].mean(0).flatten()
        for name in ("task", "attribute")
    }
    half = torch.tensor([-1.0] * 4 + [1.0] * 4, dtype=torch.float64) / 8
    direction = {"task": half.expand(8, 8).flatten(), "attribute": half.expand(8, 8).T.flatten()}
    assert float(direction["task"] @ direction["attribute"]) == 0.0
    bayes = norm.cdf(1.5)
    for name, unit in direction.items():
        assert float(unit @ unit) == pytest.approx(1.0)
        assert float(means[name] @ unit) == pytest.approx(3.0, abs=0.1)
        guess = (g.flatten(1) @ unit > 0).long()
        assert float((guess == labels[name]).double().mean()) == pytest.approx(
            bayes, abs=4 * (bayes * (1 - bayes) / 8000) ** 0.5
        )
    noise = g.flatten(1) - sum(
        1.5 * (2 * labels[name][:, None] - 1) * direction[name] for name in ("task", "attribute")
    )
    assert float(noise.std()) == pytest.approx(1.0, abs=0.01)
    assert int((labels["task"] * labels["attribute"]).sum()) == 2000


def test_embedded_sets_are_the_same_every_time():
    for name in ("digits", "gaussian"):
        first, second = load_dataset(name), load_dataset(name)
        assert torch.equal(first.train.images, second.train.images)
        assert first.digest == second.digest


def test_task_and_derived_labels_can_be_chosen():
    data = load_dataset("digits", task="round", labels=["round=digit:0,6,8,9", "size=digit:<3,<7,>=7"])
    digit = data.train.labels["digit"].numpy()
    assert data.task == "round"
    assert data.attributes == ("digit", "parity", "large", "ink", "size")
    assert data.classes["size"] == 3
    assert np.array_equal(data.train.labels["round"].numpy(), np.isin(digit, [0, 6, 8, 9]))
    assert np.array_equal(data.train.labels["size"].numpy(), np.digitize(digit, [3, 7]))
    assert data.digest != load_dataset("digits").digest


def test_derived_labels_cover_the_test_part_too(tmp_path):
    y = np.arange(12) % 3
    spec = save(tmp_path, train_images=images(), train_y=y, test_images=images(6, seed=1), test_y=y[:6])
    data = load_dataset(spec, labels=["two=y:2"])
    assert torch.equal(data.test.labels["two"], torch.from_numpy((y[:6] == 2).astype(np.int64)))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"spec": "digit"}, "did you mean 'digits'"),
        ({"spec": "digits:8"}, "write digits"),
        ({"spec": "npz"}, "npz:PATH"),
        ({"spec": "folder"}, "folder:PATH"),
        ({"spec": "digits", "task": "digot"}, "did you mean 'digit'"),
        ({"spec": "digits", "labels": ["x=digot:1"]}, "did you mean 'digit'"),
        ({"spec": "digits", "labels": ["x=digit:0,1,2,3,4,5,6,7,8,9"]}, "single class"),
        ({"spec": "npz:no/such/file.npz"}, "expected a file"),
        ({"spec": "folder:no/such/folder"}, "expected a folder"),
    ],
)
def test_wrong_names_are_refused(arguments, words):
    with pytest.raises(UserError) as error:
        load_dataset(**arguments)
    assert words in one_line(error)


def test_npz_with_two_parts_and_with_one(tmp_path):
    train, test, y = images(12, channels=3), images(6, channels=3, seed=1), np.arange(12) % 2
    data = load_dataset(
        save(tmp_path, train_images=train, train_b=y, train_a=y, test_images=test, test_b=y[:6], test_a=y[:6])
    )
    assert (data.task, data.attributes, data.name) == ("b", ("a",), "npz:set.npz")
    assert np.array_equal(data.train.images.numpy(), train.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    assert np.array_equal(data.test.images.numpy(), test.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    alone = load_dataset(save(tmp_path, images=images(dtype=np.float64), y=y.astype(bool)))
    assert alone.test is None
    assert alone.classes == {"y": 2}
    assert np.array_equal(alone.train.images.numpy(), images(dtype=np.float32).transpose(0, 3, 1, 2))


Y = np.arange(12) % 2


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"images": images()}, "at least one label"),
        ({"y": Y}, "expected images"),
        ({"train_images": images(), "train_y": Y}, "expected images"),
        ({"images": images()[..., 0], "y": Y}, "square images of shape"),
        ({"images": images().transpose(0, 3, 1, 2), "y": Y}, "images.transpose(0, 2, 3, 1)"),
        ({"images": images()[:, :4], "y": Y}, "square images of shape"),
        ({"images": images(0), "y": Y[:0]}, "got none"),
        ({"images": images().astype(np.int64), "y": Y}, "got int64; store images.astype('uint8')"),
        ({"images": images().astype(bool), "y": Y}, "got bool"),
        ({"images": images().astype(np.float32), "y": Y}, "use images / 255"),
        ({"images": images(dtype=np.float32) - 0.5, "y": Y}, "undo the normalization"),
        ({"images": np.where(images() > 250, np.nan, 0.5), "y": Y}, "finite pixels"),
        ({"images": np.full((12, 8, 8, 1), 1e300), "y": Y}, "finite pixels"),
        ({"images": images(), "y": Y[:5]}, "expected 12 values"),
        ({"images": images(), "y": np.stack([Y, Y])}, "expected 12 values"),
        ({"images": images(), "y": np.eye(2)[Y]}, "store y.argmax(1)"),
        ({"images": images(), "y": Y - 1}, "got -1 to 0"),
        ({"images": images(), "y": Y * 5000}, "got 0 to 5000"),
        ({"images": images(), "y": np.full(12, 2**64 - 1, dtype=np.uint64)}, "got -1 to -1"),
        ({"images": images(), "y": Y.astype(np.float64)}, "expected integers"),
        ({"images": images(), "y": np.array(["a", "b"] * 6)}, "expected integers"),
        ({"images": images(), "y": np.zeros(12, dtype=np.int64)}, "single class"),
        ({"images": images(), "y": np.array([{}] * 12, dtype=object)}, "cannot be read"),
        ({"images": np.array([None] * 12, dtype=object), "y": Y}, "cannot be read"),
        ({"train_images": images(), "train_y": Y, "test_images": images(), "test_z": Y}, "the same labels"),
        ({"train_images": images(), "train_y": Y, "test_images": images(side=9), "test_y": Y}, "one shape"),
    ],
)
def test_malformed_npz_is_refused_in_one_line(tmp_path, arrays, words):
    with pytest.raises(UserError) as error:
        load_dataset(save(tmp_path, **arrays))
    assert words in one_line(error)


def test_npz_refuses_classes_that_start_at_one_unless_bins_read_them(tmp_path):
    images = np.random.default_rng(0).random((6, 8, 8, 1)).astype("float32")
    file = tmp_path / "x.npz"
    np.savez(file, images=images, digit=[0, 1, 0, 1, 0, 1], age=[1, 30, 70, 20, 9, 50])
    with pytest.raises(UserError, match=r"from 0 as label 'age' of npz:x\.npz, got 1 to 70; store age - 1"):
        load_dataset(f"npz:{file}")
    found = load_dataset(f"npz:{file}", labels=["group=age:<18,<40,>=40"])
    assert found.train.labels["group"].tolist() == [0, 1, 2, 1, 0, 2]
    np.savez(file, train_images=images, test_images=images, train_label=[1, 2] * 3, test_label=[2, 1] * 3)
    with pytest.raises(UserError, match="got 1 to 2; store label - 1"):
        load_dataset(f"npz:{file}")
    np.savez(file, images=images, label=["cat", "dog"] * 3)
    with pytest.raises(UserError, match=r"store np.unique\(label, return_inverse=True\)\[1\]"):
        load_dataset(f"npz:{file}")


def test_damaged_npz_is_refused(tmp_path):
    whole = tmp_path / "whole.npz"
    np.savez_compressed(whole, images=images(64), y=np.arange(64) % 2)
    content = whole.read_bytes()
    broken = {
        "cut.npz": content[: len(content) // 2],
        "empty.npz": b"",
        "text.npz": b"label,image\n",
        "flipped.npz": content[:300] + bytes(255 - byte for byte in content[300:340]) + content[340:],
    }
    for name, data in broken.items():
        (tmp_path / name).write_bytes(data)
    np.save(tmp_path / "array.npy", images())
    with zipfile.ZipFile(tmp_path / "plain.npz", "w") as file:
        file.writestr("images.txt", "no array")
    for name in (*broken, "array.npy", "plain.npz"):
        with pytest.raises(UserError) as error:
            load_dataset(f"npz:{tmp_path / name}")
        assert name in one_line(error)


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("a file was unpickled",))


def test_npz_never_unpickles(tmp_path):
    with pytest.raises(UserError):
        load_dataset(save(tmp_path, images=images(), y=np.array([Trap()] * 12, dtype=object)))


def write_folder(root, sizes=((8, 8),), mode="L"):
    for label in ("ant", "bee"):
        (root / label).mkdir(parents=True)
        for index in range(4):
            size = sizes[index % len(sizes)]
            pixels = np.random.default_rng(index + len(label) + ord(label[0])).integers(0, 256, (*size, 3))
            Image.fromarray(pixels.astype(np.uint8)).convert(mode).save(root / label / f"{index}.png")


def test_folder_reads_gray_and_color_and_both_parts(tmp_path):
    write_folder(tmp_path / "gray")
    gray = load_dataset(f"folder:{tmp_path / 'gray'}")
    assert gray.shape == (1, 8, 8)
    assert gray.class_names["label"] == ("ant", "bee")
    with Image.open(tmp_path / "gray" / "bee" / "1.png") as image:
        assert np.array_equal(gray.train.images[5, 0].numpy(), np.asarray(image).astype(np.float32) / 255)
    assert gray.train.labels["label"].tolist() == [0] * 4 + [1] * 4
    for part in ("train", "test"):
        write_folder(tmp_path / "both" / part, mode="RGB")
    both = load_dataset(f"folder:{tmp_path / 'both'}")
    assert both.shape == (3, 8, 8)
    assert both.test is not None


def test_unusable_folders_are_refused(tmp_path):
    write_folder(tmp_path / "sizes", sizes=((8, 8), (9, 9)))
    write_folder(tmp_path / "damaged")
    content = (tmp_path / "damaged" / "ant" / "2.png").read_bytes()
    (tmp_path / "damaged" / "ant" / "2.png").write_bytes(content[: len(content) // 2])
    write_folder(tmp_path / "text")
    (tmp_path / "text" / "ant" / "2.png").write_text("no image")
    (tmp_path / "empty").mkdir()
    for name, words in (("sizes", "one size"), ("damaged", "2.png"), ("text", "2.png"), ("empty", "no image folders")):
        with pytest.raises(UserError) as error:
            load_dataset(f"folder:{tmp_path / name}")
        assert words in one_line(error)


def dump(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=2))
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture
def small_cifar100(tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR100

    fine = list(range(100))
    pixels = np.random.default_rng(0).integers(0, 256, (100, 3072)).astype(np.uint8)
    root = tmp_path / "cifar-100-python"
    parts = {name: dump(root / name, {"fine_labels": fine, "data": pixels}) for name in ("train", "test")}
    names = [f"class {i}" for i in fine]
    monkeypatch.setattr(CIFAR100, "train_list", [["train", parts["train"]]])
    monkeypatch.setattr(CIFAR100, "test_list", [["test", parts["test"]]])
    meta = dump(root / "meta", {"fine_label_names": names})
    monkeypatch.setattr(CIFAR100, "meta", {"filename": "meta", "key": "fine_label_names", "md5": meta})
    return tmp_path, pixels


def test_cifar100_through_torchvision(small_cifar100):
    root, pixels = small_cifar100
    data = load_dataset("cifar100", root=root)
    assert np.array_equal(data.train.images.numpy(), pixels.reshape(-1, 3, 32, 32).astype(np.float32) / 255)
    assert data.train.labels["fine"].tolist() == list(range(100))
    assert (data.task, data.attributes, data.classes) == ("fine", ("coarse",), {"fine": 100, "coarse": 20})
    assert data.test.labels["coarse"].bincount().tolist() == [5] * 20


def test_altered_cifar_is_refused_before_it_is_unpickled(small_cifar100):
    root, _ = small_cifar100
    dump(root / "cifar-100-python" / "train", Trap())
    with pytest.raises(UserError) as error:
        load_dataset("cifar100", root=root)
    assert "--download" in one_line(error)


def test_coarse_table_is_the_published_one(shared_data):
    import json

    from vfc.datasets.cifar import COARSE, COARSE_NAMES

    with np.load(shared_data / "cifar100" / "labels.npz") as labels:
        for part in ("train", "test"):
            assert np.array_equal(np.array(COARSE)[labels[f"{part}_fine"]], labels[f"{part}_coarse"])
    assert json.loads((shared_data / "cifar100" / "classes.json").read_text())["coarse"] == list(COARSE_NAMES)


def test_cifar10_animals_are_the_living_ones(shared_data):
    import json

    from vfc.datasets.cifar import LIVING

    names = json.loads((shared_data / "cifar10" / "classes.json").read_text())
    assert [names[i] for i in LIVING] == ["bird", "cat", "deer", "dog", "frog", "horse"]


def test_fashion_mnist_through_torchvision(shared_data, tmp_path):
    import gzip

    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for file in (shared_data / "fashion-mnist").glob("*.gz"):
        (raw / file.stem).write_bytes(gzip.decompress(file.read_bytes()))
    data = load_dataset("fashion-mnist", root=tmp_path)
    assert (len(data.train), len(data.test), data.shape) == (60000, 10000, (1, 28, 28))
    assert data.test.labels["label"].bincount().tolist() == [1000] * 10
    labels = raw / "t10k-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:5000])
    with pytest.raises(UserError, match="--download"):
        load_dataset("fashion-mnist", root=tmp_path)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "fashion-mnist", "tiny-imagenet", "voc2007", "voc2012"])
def test_missing_files_say_what_to_do(tmp_path, name):
    with pytest.raises(UserError) as error:
        load_dataset(name, root=tmp_path)
    assert "--data-root" in one_line(error)


def test_folders_come_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("VFC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("VFC_DATA_ROOT", raising=False)
    assert user_cache_folder() == tmp_path / "cache"
    assert DataOptions().folder == tmp_path / "cache" / "data"
    monkeypatch.setenv("VFC_DATA_ROOT", str(tmp_path / "data"))
    assert DataOptions().folder == tmp_path / "data"
    assert DataOptions(root=tmp_path).folder == tmp_path


def test_every_dataset_has_a_card_and_loads_under_its_name():
    assert list(DATASETS.cards) == [
        "cifar10", "cifar100", "digits", "fashion-mnist", "folder", "gaussian", "npz", "tiny-imagenet", "voc2007",
        "voc2012",
    ]  # fmt: skip
    for name, card in DATASETS.cards.items():
        assert card.summary
        assert callable(DATASETS.get(name))


def test_embedded_data_and_plain_models_need_no_torchvision():
    code = (
        "import sys, torch\n"
        "from vfc.data import load_dataset\n"
        "from vfc.models import build_model\n"
        "load_dataset('digits')\n"
        "for name in ('cnn', 'mlp', 'resnet20', 'vgg11'):\n"
        "    build_model(name, channels=1, side=16, num_classes=10, mean=[0.0], std=[1.0],\n"
        "                width=0.25, generator=torch.Generator())\n"
        "sys.exit(any(name.startswith('torchvision') for name in sys.modules))\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_large_release_is_looked_at_whole():
    values = torch.linspace(-3, 7, 10_000)[:, None].repeat(1, 2)
    values[9_000, 1], values[4_500, 0] = torch.nan, -torch.inf
    seen = Observed.of_values(values)
    assert seen.bounds == (-3, 7)
    assert (seen.first_nonfinite, seen.health) == (4_500, ("NONFINITE_RELEASE",))
    values[:5_001] = torch.nan
    assert "MOSTLY_NONFINITE_RELEASE" in Observed.of_values(values).health
    assert Observed.of_values(torch.full((5_000, 1), torch.inf)).bounds is None
