"""Folders of pictures: what is read, converted and refused."""

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pictures import CLASSES, write_pictures
from PIL import Image

from datamodules import ImageFolderDataModule

Command = Callable[..., tuple[int, str, str]]


def loaded(root: Path, seed: int = 0, **arguments: Any) -> ImageFolderDataModule:
    data = ImageFolderDataModule(root, batch_size=8, **arguments)
    data.load_state_dict({"seed": seed})
    data.setup()
    return data


# Reading.


@pytest.mark.parametrize(("mode", "size", "shape"), [("RGB", (32, 32), (3, 32, 32)), ("L", (28, 20), (1, 28, 20))])
def test_pictures_and_labels_are_those_of_the_folder(
    tmp_path: Path, mode: str, size: tuple[int, int], shape: tuple[int, int, int]
) -> None:
    data = loaded(write_pictures(tmp_path, size=size, mode=mode))
    assert (data.image_shape, data.class_names, data.classes) == (shape, CLASSES, 3)
    rows_of_splits = (data.splits.train, data.splits.validation, data.splits.test)
    assert [len(rows) for rows in rows_of_splits] == [48, 6, 6]
    assert torch.cat(rows_of_splits).sort().values.tolist() == list(range(60))
    assert all(data.splits.labels[rows].bincount().tolist() == 3 * [len(rows) // 3] for rows in rows_of_splits)
    for number, name in enumerate(CLASSES):
        expected = np.atleast_3d(np.asarray(Image.open(tmp_path / name / "07.png"))).transpose(2, 0, 1)
        assert torch.equal(data.splits.images[20 * number + 7], torch.from_numpy(expected.copy()))
    images, labels = next(iter(data.train_dataloader()))
    assert images.dtype == torch.float32
    assert -1 <= images.min() <= images.max() <= 1
    assert torch.equal(((images.mean(dim=(1, 2, 3)) + 1) * 127.5 // 80).long(), labels)
    assert data.mean_and_std is not None
    assert data.mean_and_std == pytest.approx(_statistics(data), abs=1e-4)


def _statistics(data: ImageFolderDataModule) -> tuple[float, float]:
    pixels = data.splits.images[data.splits.train].double() / 127.5 - 1
    return float(pixels.mean()), float(pixels.std())


def test_splits_depend_on_their_seed_alone(tmp_path: Path) -> None:
    write_pictures(tmp_path)
    first, again, other = loaded(tmp_path, seed=1), loaded(tmp_path, seed=2), loaded(tmp_path, split_seed=1)
    assert torch.equal(first.splits.train, again.splits.train)
    assert not torch.equal(first.splits.train, other.splits.train)
    assert first.data_source == again.data_source != other.data_source
    batches = [torch.cat([images for images, _ in data.train_dataloader()]) for data in (first, again)]
    assert not torch.equal(*batches)


def test_changed_files_are_read_again(tmp_path: Path) -> None:
    write_pictures(tmp_path, each=4)
    before, again = loaded(tmp_path), loaded(tmp_path)
    assert before.splits.images is again.splits.images
    Image.new("RGB", (32, 32), "red").save(tmp_path / "cat" / "00.png")
    after = loaded(tmp_path)
    assert after.splits.images[0].flatten(1).float().mean(dim=1).tolist() == [255, 0, 0]
    assert str(before.data_source).startswith("pictures-")
    assert before.data_source == again.data_source != after.data_source


def test_classes_without_training_pictures_are_named(tmp_path: Path) -> None:
    write_pictures(tmp_path, each=1)
    data = ImageFolderDataModule(tmp_path)
    untrained = {CLASSES[number] for number in range(3)} - {CLASSES[k] for k in data.splits.labels[data.splits.train]}
    assert untrained
    with pytest.warns(UserWarning, match="is for training; add some") as caught:
        data.setup()
    assert all(f"no picture of {name} is for training" in str(caught[0].message) for name in untrained)


def test_photographs_of_one_size_may_be_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise
    for number in range(3):
        Image.new("RGB", (8, 4)).save(tmp_path / f"{number}.jpg")
        Image.new("RGB", (4, 8)).save(tmp_path / f"turned{number}.jpg", exif=exif)
    assert loaded(tmp_path).image_shape == (3, 4, 8)


def _rotated(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise
    picture = Image.new("RGB", (4, 8), "red")
    picture.paste("blue", (0, 4, 4, 8))
    picture.save(path.with_suffix(".tiff"), exif=exif)


def _animated(path: Path) -> None:
    frames = [Image.new("RGB", (8, 4), colour) for colour in ("red", "blue")]
    frames[0].save(path.with_suffix(".webp"), save_all=True, append_images=frames[1:], lossless=True)


def _sixteen_bits(ending: str) -> Callable[[Path], None]:
    pixels = np.full((4, 8), 0x8080, dtype=np.uint16)
    return lambda path: Image.fromarray(pixels).save(path.with_suffix(ending))


def _as(mode: str, colour: Any, ending: str = ".png", **arguments: Any) -> Callable[[Path], None]:
    return lambda path: Image.new(mode, (8, 4), colour).save(path.with_suffix(ending), **arguments)


@pytest.mark.parametrize(
    ("save", "pixel", "remark"),
    [
        (_as("RGB", (10, 20, 30), ".bmp"), (10, 20, 30), None),
        (_as("L", 7, ".pgm"), (7,), None),
        (_as("1", 1), (255,), "1 of mode 1 (converted to grey)"),
        (_as("P", 0, ".gif"), (0,), "1 of mode P (converted to grey)"),
        (
            lambda path: Image.new("RGB", (8, 4), "lime").convert("P").save(path),
            (0, 255, 0),
            "1 of mode P (converted to RGB)",
        ),
        (_as("CMYK", (255, 0, 0, 0), ".tiff"), (0, 255, 255), "1 of mode CMYK (converted to RGB)"),
        (_as("RGBA", (255, 0, 0, 0)), (255, 255, 255), "1 transparent (laid over white)"),
        (_as("RGBA", (255, 0, 0, 51)), (255, 204, 204), "1 transparent (laid over white)"),
        (_as("LA", (0, 51)), (204,), "1 transparent (laid over white)"),
        (_as("RGB", (1, 2, 3), transparency=(1, 2, 3)), (255, 255, 255), "1 transparent (laid over white)"),
        (_sixteen_bits(".png"), (0x80,), "1 of 16 bits (scaled to 8)"),
        (_sixteen_bits(".tiff"), (0x80,), "1 of 16 bits (scaled to 8)"),
        (_sixteen_bits(".pgm"), (0x80,), "1 of 16 bits (scaled to 8)"),
        (_animated, (255, 0, 0), "1 animated (first frame taken)"),
        (_rotated, (0, 0, 255), None),
    ],
)
def test_pictures_of_any_kind_become_8_bits(
    tmp_path: Path, save: Callable[[Path], None], pixel: tuple[int, ...], remark: str | None
) -> None:
    for name in "bc":
        Image.new("L", (8, 4)).save(tmp_path / f"{name}.png")
    save(tmp_path / "a.png")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = loaded(tmp_path)
        data.setup()
    assert data.splits.images.shape == (3, len(pixel), 4, 8)
    assert tuple(data.splits.images[0, :, 0, 0].tolist()) == pixel
    assert [str(warning.message) for warning in caught] == ([f"pictures in {tmp_path}: {remark}"] if remark else [])


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    write_pictures(tmp_path, each=4)
    for name in ("cat/x.heic", "notes.txt", ".hidden.png", "cat/._01.png", "models/weights.pt", ".git/1.png"):
        _text(tmp_path / name)
    (tmp_path / "empty").mkdir()
    data = ImageFolderDataModule(tmp_path, batch_size=8)
    words = (
        f"pictures in {tmp_path}: 3 files of other kinds left out, such as notes.txt; "
        "empty is no class, because it holds no pictures; models is no class, because it holds no pictures"
    )
    with pytest.warns(UserWarning, match=f"^{re.escape(words)}$"):
        data.setup()
    assert (data.class_names, len(data.splits.images)) == (CLASSES, 12)


@pytest.mark.parametrize(
    ("image_shape", "pixels"),
    [
        ((3, 16, 16), [[0, 0, 0], [255, 255, 255]]),  # scaled to 16×32, its middle kept
        ((1, 8, 32), [[0], [255]]),  # 8×32 of 16×32
        ((3, 40, 20), [[0, 0, 0], [255, 255, 255]]),
    ],
)
def test_other_sizes_are_scaled_and_cropped(
    tmp_path: Path, image_shape: tuple[int, int, int], pixels: list[list[int]]
) -> None:
    for name in "abc":
        picture = Image.new("RGB", (64, 32), "black")
        picture.paste("white", (32, 0, 64, 32))
        picture.save(tmp_path / f"{name}.png")
    images = loaded(tmp_path, image_shape=image_shape).splits.images
    assert images.shape == (3, *image_shape)
    assert images[0, :, 4, [1, -2]].T.tolist() == pixels


# What is refused.


def _text(path: Path, content: bytes = b"no picture") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _sizes(root: Path, *sizes: tuple[int, int]) -> Path:
    for number, size in enumerate(sizes):
        Image.new("RGB", size).save(root / f"{number}.png")
    return root


def _torn(root: Path) -> None:
    path = write_pictures(root) / "cat" / "07.png"
    path.write_bytes(path.read_bytes()[:400])


def _broken_link(root: Path) -> None:
    (write_pictures(root) / "cat" / "y.png").symlink_to(root / "nowhere")


def _tiff(mode: str) -> Callable[[Path], None]:
    return lambda root: Image.new(mode, (32, 32)).save(write_pictures(root) / "cat" / "z.tiff")


REFUSED: list[tuple[Callable[[Path], object], str]] = [
    (lambda root: root.rmdir(), "pictures is not a folder; write --data.root with the folder that holds your pictures"),
    (lambda root: None, "pictures holds no pictures that Pillow opens; write --data.root with a folder that holds"),
    (lambda root: _text(root / "cat" / "a.heic"), "holds no pictures that Pillow opens, but files such as a.heic; wri"),
    (lambda root: _text(root / ".hidden.png"), "pictures holds no pictures that Pillow opens; write"),
    (
        lambda root: write_pictures(root / "train"),
        "the pictures in pictures/train/cat are too deep; write --data.root p",
    ),
    (
        lambda root: (write_pictures(root), _sizes(root, (32, 32))),
        "holds pictures, such as 0.png, beside folders of pi",
    ),
    (lambda root: _sizes(root, (32, 32), (32, 32)), "pictures holds 2 pictures; add more, because each of the three"),
    (
        lambda root: _sizes(root, (32, 32), (48, 32), (32, 32), (1, 2), (3, 4)),
        "(height×width): 2 of 32×32, 1 of 32×48, 1 of 2×1 and 1 more; write --data.image_shape [3,32,32], say",
    ),
    (
        lambda root: _sizes(root, *[(300, 32)] * 3),
        "(height×width): 3 of 32×300, more than 256 pixels; write --data.image_shape [3",
    ),
    (lambda root: _sizes(root, (32, 32)), "pictures holds 1 picture; add more"),
    (_torn, "pictures/cat/07.png can't be read (image file is truncated"),
    (
        lambda root: (write_pictures(root), *(_text(root / "dog" / f"{name}.png", b"no") for name in "xyz")),
        "dog/x.png can't be read (no picture); remove it, or save it as a PNG; nor can 2 more, such as y.png, z.png",
    ),
    (
        lambda root: (write_pictures(root), _text(root / "dog" / "x.jpg")),
        "pictures/dog/x.jpg can't be read (no picture); remove it, or save it as a PNG",
    ),
    (lambda root: (write_pictures(root), _text(root / "dog" / "x.png", b"")), "dog/x.png can't be read (no picture)"),
    (
        _broken_link,
        "pictures/cat/y.png can't be read (No such file or directory); remove it, or make it readable",
    ),
    (_tiff("F"), "z.tiff can't be read (its pixels aren't whole numbers of 16 bits or less); remove it"),
    (_tiff("I"), "z.tiff can't be read (its pixels aren't whole numbers of 16 bits or less); remove it"),
    (lambda root: _sizes(root, *[(30, 30)] * 30), "image_shape is [3, 30, 30], but PixelUnshuffleDiscriminator needs"),
    (lambda root: write_pictures(root, each=6), "batch_size is 64, but there are 14 training images; write a smaller"),
]


@pytest.mark.parametrize(("make", "words"), REFUSED)
def test_folders_that_can_t_be_trained_on_get_one_line(
    twofold: Command, make: Callable[[Path], object], words: str
) -> None:
    root = Path("pictures")
    root.mkdir()
    make(root)
    code, out, err = twofold("fit -c gan_folder --data.root pictures")
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert words in err
    assert len(err) < 400
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("gan_folder", "ImageFolderDataModule needs root; write --data.root"),
        (
            "gan_folder --data.root pictures --data.image_shape [2,32,32]",
            "image_shape has 2 channels; write 1 for grey",
        ),
        ("gan_folder --data.root pictures --data.image_shape [32,32]", "write channels, height and width, such as"),
        ("gan_folder --data.root pictures --data.batch_size 0", "batch_size is 0; write 1 or more"),
        ("gan_folder --data.root pictures --data.predict_size 0", "predict_size is 0; write 1 or more"),
        (
            "gan_folder --data.root pictures --model.generator.image_shape [3,32,32]",
            "--model.generator.image_shape follows from the data; write --data.image_shape",
        ),
        (
            "digit_classifier --data ImageFolderDataModule --data.root pictures --model.classes 9",
            "--model.classes can't be 9; write 3, because the data have 3 classes",
        ),
        *(
            (
                f"{config} --data ImageFolderDataModule --data.root {root}",
                f"the model needs classes, and {root} has {found}; make a folder for each class",
            )
            for config in ("digit_classifier", "digit_reader")
            for root, found in (("flat", "none"), ("one", "1"))
        ),
        ("palindrome_lstm --data ImageFolderDataModule --data.root pictures", "the model needs sequences, but --data"),
    ],
)
def test_settings_that_do_not_fit_get_one_line(twofold: Command, command: str, words: str) -> None:
    write_pictures(Path("pictures"), each=4)
    write_pictures(Path("flat"), (), each=4)
    write_pictures(Path("one"), ["cat"], each=4)
    code, out, err = twofold(f"fit -c {command}")
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert words in err
    assert not Path("runs").exists()
