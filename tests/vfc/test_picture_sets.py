"""Tiny ImageNet and Pascal VOC in their real form on disk, made small, whole and damaged."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vfc.data import Dataset, load_dataset
from vfc.datasets import pictures
from vfc.datasets.voc import CLASSES
from vfc.errors import UserError

WNIDS = ("n02124075", "n01443537", "n04067472")
"""Three of the two hundred, as the archive lists them: not in their order."""


def picture(file: Path, shade: int, size: tuple[int, int] = (64, 64), mode: str = "RGB") -> None:
    """A smooth JPEG image, which compression leaves nearly as it is."""
    file.parent.mkdir(parents=True, exist_ok=True)
    ramp = np.linspace(0, 60, size[0])[None, :, None] + np.linspace(0, 60, size[1])[:, None, None]
    pixels = np.clip(ramp + np.array([shade, shade // 2, 100]), 0, 255).astype(np.uint8)
    Image.fromarray(pixels).convert(mode).save(file, "JPEG", quality=95)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Three classes of four images and a validation part of six, one of them gray as some of the real ones are."""
    root = tmp_path / "tiny-imagenet-200"
    for label, wnid in enumerate(WNIDS):
        names = [f"{wnid}_{place}.JPEG" for place in range(4)]
        for place, name in enumerate(names):
            picture(root / "train" / wnid / "images" / name, 50 * label + 5 * place, mode="L" if place == 3 else "RGB")
        boxes = "".join(f"{name}\t0\t10\t63\t58\n" for name in names)
        (root / "train" / wnid / f"{wnid}_boxes.txt").write_text(boxes)
    rows = []
    for place in range(6):
        picture(root / "val" / "images" / f"val_{place}.JPEG", 40 * place)
        rows.append(f"val_{place}.JPEG\t{WNIDS[place % 3]}\t0\t32\t44\t62\n")
    (root / "val" / "val_annotations.txt").write_text("".join(rows))
    (root / "wnids.txt").write_text("".join(f"{wnid}\n" for wnid in WNIDS))
    words = {"n00001740": "entity", "n01443537": "goldfish, Carassius auratus", "n02124075": "Egyptian cat"}
    (root / "words.txt").write_text("".join(f"{wnid}\t{name}\n" for wnid, name in words.items()))
    return tmp_path


def refused(spec: str, root: Path, **arguments: str) -> str:
    """The one line of an error."""
    with pytest.raises(UserError) as error:
        load_dataset(spec, root=root, **arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_tiny_imagenet_is_read_as_its_archive_is_laid_out(tiny: Path) -> None:
    data = load_dataset("tiny-imagenet", root=tiny)
    assert (data.name, data.task, data.attributes, data.shape) == ("tiny-imagenet", "label", (), (3, 64, 64))
    assert data.train.labels["label"].tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert data.class_names["label"] == ("goldfish, Carassius auratus", "Egyptian cat", "n04067472")
    assert data.test is not None
    # the classes of val_annotations.txt, in the order of their ids: n02124075 is 1, n01443537 0, n04067472 2
    assert data.test.labels["label"].tolist() == [1, 0, 2, 1, 0, 2]
    with Image.open(tiny / "tiny-imagenet-200" / "train" / "n01443537" / "images" / "n01443537_2.JPEG") as image:
        expected = np.asarray(image).transpose(2, 0, 1).astype(np.float32) / 255
    assert np.array_equal(data.train.images[2].numpy(), expected)
    gray = data.train.images[3]
    assert torch.equal(gray[0], gray[1])


def test_a_side_scales_every_image(tiny: Path) -> None:
    whole, small = (load_dataset(spec, root=tiny) for spec in ("tiny-imagenet", "tiny-imagenet:16"))
    assert (small.name, small.shape) == ("tiny-imagenet:16", (3, 16, 16))
    means = torch.nn.functional.avg_pool2d(whole.train.images, 4)
    inner = (slice(None), slice(None), slice(1, -1), slice(1, -1))  # at the border the filters differ
    assert torch.allclose(small.train.images[inner], means[inner], atol=0.02)


@pytest.mark.parametrize("side", ["7", "65", "0", "-8", "x", "8.5", "²", "99999999999"])
def test_sides_that_no_model_reads_are_refused(tiny: Path, side: str) -> None:
    assert "8 to 64 pixels" in refused(f"tiny-imagenet:{side}", tiny)


def test_without_lists_of_boxes_the_folders_count(tiny: Path) -> None:
    for file in tiny.rglob("*_boxes.txt"):
        file.unlink()
    assert len(load_dataset("tiny-imagenet", root=tiny).train) == 12


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:400])


TINY_TRAIN = "train/n02124075/images/n02124075_1.JPEG"


def shortened(file: Path) -> None:
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:2]))


TINY_DAMAGES = {
    "no wnids.txt": (lambda root: (root / "wnids.txt").unlink(), "--download"),
    "no words.txt": (lambda root: (root / "words.txt").unlink(), "--download"),
    "no annotations": (lambda root: (root / "val/val_annotations.txt").unlink(), "val_annotations.txt"),
    "binary words": (lambda root: (root / "words.txt").write_bytes(b"\xff\xfe\n"), "--data-root"),
    "a training image lacks": (lambda root: (root / TINY_TRAIN).unlink(), "lacks 1 of 4 images, n02124075_1.JPEG"),
    "a validation image lacks": (lambda root: (root / "val/images/val_4.JPEG").unlink(), "val_4.JPEG"),
    "a class lacks": (lambda root: (root / "wnids.txt").write_text("n09\nn01443537\n"), "n09 of tiny-imagenet lacks"),
    "cut": (lambda root: cut(root / TINY_TRAIN), "n02124075_1.JPEG cannot be read"),
    "no image": (lambda root: (root / TINY_TRAIN).write_text("<html>"), "n02124075_1.JPEG cannot be read"),
    "another size": (lambda root: picture(root / TINY_TRAIN, 1, (64, 48)), "got 64x48"),
    "half a size": (lambda root: picture(root / TINY_TRAIN, 1, (32, 32)), "got 32x32"),
    "an unknown class": (lambda root: (root / "val/val_annotations.txt").write_text("val_0.JPEG\tn1\t0\n"), "got 'val"),
    "cut annotations": (lambda root: shortened(root / "val/val_annotations.txt"), "names no class of 4 images, val_2"),
    "no class": (lambda root: (root / "val/val_annotations.txt").write_text("val_0.JPEG\n"), "WordNet ids"),
}


@pytest.mark.parametrize("damage", TINY_DAMAGES)
def test_a_damaged_tiny_imagenet_is_refused_by_name(tiny: Path, damage: str) -> None:
    change, words = TINY_DAMAGES[damage]
    change(tiny / "tiny-imagenet-200")
    assert words in refused("tiny-imagenet", tiny)


def test_more_pixels_than_memory_are_refused_before_an_image_is_read(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut(tiny / "tiny-imagenet-200" / TINY_TRAIN)
    # 18 images x 3 x 64 x 64 numbers of 4 bytes
    monkeypatch.setattr(os, "sysconf", lambda name: 884_735 if name == "SC_PHYS_PAGES" else 1)
    assert "for 18 images of 64 pixels" in (said := refused("tiny-imagenet", tiny))
    assert "write tiny-imagenet:32" in said
    monkeypatch.setattr(os, "sysconf", lambda name: 884_736 if name == "SC_PHYS_PAGES" else 1)
    assert "cannot be read" in refused("tiny-imagenet", tiny)

    def silent(_name: str) -> int:
        raise ValueError

    monkeypatch.setattr(os, "sysconf", silent)
    pictures.expect_memory("tiny-imagenet", 10**9, 64)  # who cannot tell refuses nothing


def test_only_download_downloads_and_only_what_is_not_there(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import utils

    asked = []
    monkeypatch.setattr(utils, "download_and_extract_archive", lambda url, root, md5: asked.append((url, root, md5)))
    load_dataset("tiny-imagenet", root=tiny, download=True)
    refused("tiny-imagenet", tiny / "elsewhere")
    assert not asked
    with pytest.raises(UserError, match="the download failed"):
        load_dataset("tiny-imagenet", root=tiny / "elsewhere", download=True)
    assert [root for _, root, _ in asked] == [str(tiny / "elsewhere")]


ROWS = (
    *(
        ("000001", (("person", 0), ("dog", 0))),
        ("000002", (("person", 1),)),
        ("000003", (("person", 1), ("person", 0))),
    ),
    *(("000004", (("dog", 1), ("car", 0))), ("000005", (("tvmonitor", 0),)), ("000006", (("dog", 0), ("dog", 0)))),
)
"""Images with their objects, each with whether it is difficult."""


def annotation(name: str, objects: Iterable[tuple[str, int]]) -> str:
    parts = "".join(
        f"<object><name>{kind}</name><difficult>{difficult}</difficult>"
        "<bndbox><xmin>8</xmin><ymin>12</ymin><xmax>40</xmax><ymax>50</ymax></bndbox></object>"
        for kind, difficult in objects
    )
    return f"<annotation><folder>VOC</folder><filename>{name}.jpg</filename>{parts}</annotation>"


def write_voc(root: Path, year: str, parts: dict[str, Iterable[str]]) -> Path:
    """Images of different proportions, as in the archive: ImageSets/Main, JPEGImages and Annotations."""
    base = root / "VOCdevkit" / f"VOC{year}"
    for folder in ("Annotations", "ImageSets/Main"):
        (base / folder).mkdir(parents=True)
    for place, (name, objects) in enumerate(ROWS):
        picture(base / "JPEGImages" / f"{name}.jpg", 30 * place, (50, 37) if place % 2 else (33, 50))
        (base / "Annotations" / f"{name}.xml").write_text(annotation(name, objects))
    for part, names in parts.items():
        (base / "ImageSets" / "Main" / f"{part}.txt").write_text("".join(f"{name}\n" for name in names))
    return base


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    names = [name for name, _ in ROWS]
    write_voc(tmp_path, "2007", {"trainval": names, "test": names[::-1]})
    write_voc(tmp_path, "2012", {"train": names, "val": names[:3]})
    return tmp_path


def rows_of(data: Dataset, label: str) -> list[int]:
    return data.train.labels[label].tolist()


@pytest.mark.parametrize("name", ["voc2007", "voc2012"])
def test_a_voc_without_some_class_is_refused(voc: Path, name: str) -> None:
    assert "has a single class" in refused(name, voc)


@pytest.fixture
def full(voc: Path) -> Path:
    """Two more images of the training part: one with every object, one with none."""
    base = voc / "VOCdevkit" / "VOC2007"
    for name, kinds in (("000007", CLASSES), ("000008", ())):
        picture(base / "JPEGImages" / f"{name}.jpg", 200, (40, 40))
        (base / "Annotations" / f"{name}.xml").write_text(annotation(name, [(kind, 0) for kind in kinds]))
    listed = base / "ImageSets" / "Main" / "trainval.txt"
    listed.write_text(listed.read_text() + "000007\n000008\n")
    return voc


def test_an_image_whose_objects_of_the_tasks_class_are_difficult_is_left_out(full: Path) -> None:
    data = load_dataset("voc2007", root=full)
    assert (data.task, data.shape, data.attributes) == ("person", (3, 64, 64), CLASSES[1:])
    assert rows_of(data, "person") == [1, 1, 0, 0, 0, 1, 0]  # without 000002; 000003 has a person that is not difficult
    assert rows_of(data, "dog") == [1, 0, 0, 0, 1, 1, 0]  # the difficult dog of 000004 does not count
    dogs = load_dataset("voc2007", root=full, task="dog")
    assert rows_of(dogs, "dog") == [1, 0, 0, 0, 1, 1, 0]  # without 000004
    assert rows_of(dogs, "person") == [1, 0, 1, 0, 0, 1, 0]  # the difficult person of 000002 does not count
    assert dogs.test is not None
    assert dogs.test.labels["tvmonitor"].tolist() == [0, 1, 0, 0, 0]


def test_photographs_of_any_proportion_become_squares(full: Path) -> None:
    data = load_dataset("voc2007:32", root=full)
    assert (data.name, data.shape) == ("voc2007:32", (3, 32, 32))
    with Image.open(full / "VOCdevkit/VOC2007/JPEGImages/000001.jpg") as image:
        pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None].float() / 255
    same = torch.nn.functional.interpolate(pixels, (32, 32), mode="bilinear", antialias=True)
    assert torch.allclose(data.train.images[0], same[0], atol=0.01)


def test_objects_of_2012_are_read_alike(voc: Path) -> None:
    base = voc / "VOCdevkit" / "VOC2012"
    text = annotation("000005", [(kind, 0) for kind in CLASSES])
    (base / "Annotations" / "000005.xml").write_text(text.replace("<difficult>0</difficult>", ""))
    data = load_dataset("voc2012", root=voc)
    assert data.test is not None
    assert (len(data.train), len(data.test)) == (5, 2)
    assert rows_of(data, "person") == [1, 1, 0, 1, 0]


VOC_DAMAGES = {
    "no folder": (lambda base: base.rename(base.with_name("VOC2000")), "--download"),
    "no list": (lambda base: (base / "ImageSets/Main/trainval.txt").unlink(), "--data-root"),
    "an empty list": (lambda base: (base / "ImageSets/Main/trainval.txt").write_text(""), "trainval.txt"),
    "no image": (lambda base: (base / "JPEGImages/000003.jpg").unlink(), "000003.jpg"),
    "a cut image": (lambda base: cut(base / "JPEGImages/000003.jpg"), "000003.jpg"),
    "no annotation": (lambda base: (base / "Annotations/000003.xml").unlink(), "the image and its annotation"),
    "a cut annotation": (lambda base: cut_text(base / "Annotations/000003.xml"), "000003.jpg"),
    "another XML": (lambda base: (base / "Annotations/000003.xml").write_text("<svg/>"), "an annotation of VOC"),
    "another class": (lambda base: rename(base / "Annotations/000001.xml", "dog", "cta"), "did you mean 'cat'"),
    "no name": (lambda base: rename(base / "Annotations/000001.xml", "<name>dog</name>", ""), "'None'; nearest"),
    "text as an object": (lambda base: bare(base / "Annotations/000001.xml"), "class of objects in 000001.jpg"),
}


def cut_text(file: Path) -> None:
    file.write_text(file.read_text()[:-30])


def rename(file: Path, old: str, new: str) -> None:
    file.write_text(file.read_text().replace(old, new))


def bare(file: Path) -> None:
    file.write_text("<annotation><object>dog</object></annotation>")


@pytest.mark.parametrize("damage", VOC_DAMAGES)
def test_a_damaged_voc_is_refused_by_name(full: Path, damage: str) -> None:
    change, words = VOC_DAMAGES[damage]
    change(full / "VOCdevkit" / "VOC2007")
    assert words in refused("voc2007", full)


def test_voc_downloads_only_what_is_not_there(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import voc

    asked = []
    monkeypatch.setattr(voc, "download_and_extract_archive", lambda _url, root, **_: asked.append(str(root)))
    load_dataset("voc2007", root=full, download=True)
    assert not asked
    with pytest.raises(UserError, match="the download failed"):
        load_dataset("voc2012", root=full / "elsewhere", download=True)
    assert asked == [str(full / "elsewhere")]
