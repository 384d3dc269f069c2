"""Datasets in MNIST's format: read in place, and downloaded from a server on loopback. The files are small and made."""

import gzip
import hashlib
import json
import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from mirror import NOBODY, serving
from torchvision.datasets import EMNIST, MNIST

from datamodules import MNISTDataModule
from datamodules.mnist.files import DATASETS, LETTERS, DatasetName
from networks.generator_files import read_metadata
from scripts.interpolate import main as interpolate

OTHERS: list[DatasetName] = ["fashion_mnist", "kmnist", "emnist_letters"]
TRAIN, TEST = 312, 78
SHORT = (
    "--trainer.max_steps 2 --data.batch_size 8 --data.source auto --trainer.enable_progress_bar false "
    "--model.generator.widths [8] --model.discriminator.width 4"
)


def idx(content: np.ndarray) -> bytes:
    """A .gz file in MNIST's format."""
    header = bytes([0, 0, 8, content.ndim]) + np.array(content.shape, ">u4").tobytes()
    return gzip.compress(header + content.astype(np.uint8).tobytes(), compresslevel=1)


@pytest.fixture(scope="module")
def contents() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images as they should be seen, and labels from 0, of each dataset."""
    random = np.random.default_rng(0)
    number = TRAIN + TEST
    return {
        name: (random.integers(0, 256, (number, 28, 28)), np.arange(number) % len(known.class_names))
        for name, known in DATASETS.items()
    }


@pytest.fixture
def files(contents: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, bytes]]:
    """The made files of each dataset by their names; their checksums replace torchvision's."""
    made: dict[str, dict[str, bytes]] = {}
    for name, (images, labels) in contents.items():
        if name == "emnist_letters":  # transposed images, labels from 1
            images, labels = images.transpose(0, 2, 1), labels + 1
        parts = [idx(part) for part in (images[:TRAIN], labels[:TRAIN], images[TRAIN:], labels[TRAIN:])]
        if name == "emnist_letters":
            archive = BytesIO()
            with ZipFile(archive, "w") as file:
                for member, part in zip(LETTERS, parts, strict=True):
                    file.writestr(member, part)
                file.writestr("gzip/emnist-digits-test-labels-idx1-ubyte.gz", parts[1])
            made[name] = {"gzip.zip": archive.getvalue()}
            monkeypatch.setattr(EMNIST, "md5", hashlib.md5(archive.getvalue()).hexdigest())
            monkeypatch.setattr(EMNIST, "url", f"{NOBODY}gzip.zip")
        else:
            made[name] = dict(zip((file for file, _ in MNIST.resources), parts, strict=True))
            checksums = [(file, hashlib.md5(part).hexdigest()) for file, part in made[name].items()]
            monkeypatch.setattr(DATASETS[name].source, "resources", checksums)
            monkeypatch.setattr(DATASETS[name].source, "mirrors", [NOBODY])
    return made


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


def put(root: Path, dataset: str, made: dict[str, bytes]) -> Path:
    """Writes the files to where torchvision keeps them."""
    folder = DATASETS[dataset].folder(root)
    folder.mkdir(parents=True)
    for name, content in made.items():
        (folder / name).write_bytes(content)
    return folder


def load(root: Path, dataset: DatasetName, source: Any = "auto") -> MNISTDataModule:
    datamodule = MNISTDataModule(root, source, dataset=dataset)
    datamodule.prepare_data()
    datamodule.setup("fit")
    return datamodule


def assert_is(datamodule: MNISTDataModule, content: tuple[np.ndarray, np.ndarray]) -> None:
    digits = datamodule.splits
    assert torch.equal(digits.images[:, 0].long(), torch.from_numpy(content[0]))
    assert digits.labels.tolist() == content[1].tolist()
    assert [len(digits.train), len(digits.validation), len(digits.test)] == [TRAIN * 11 // 12, TRAIN // 12, TEST]
    assert digits.test.tolist() == list(range(TRAIN, TRAIN + TEST))
    assert datamodule.data_source == datamodule.dataset
    assert datamodule.classes == digits.labels.max() + 1 == {"emnist_letters": 26}.get(datamodule.dataset, 10)


@pytest.mark.parametrize("dataset", OTHERS)
def test_files_are_read_in_place(contents: Any, files: Any, root: Path, dataset: DatasetName) -> None:
    folder = put(root, dataset, files[dataset])
    assert_is(load(root, dataset), contents[dataset])
    assert {path.name for path in root.rglob("*") if path.is_file()} == {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("dataset", OTHERS)
def test_missing_files_are_downloaded(
    contents: Any, files: Any, root: Path, dataset: DatasetName, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = dict(list(files[dataset].items())[1:])
    put(root, dataset, kept)
    with serving(files[dataset]) as server:
        monkeypatch.setattr(EMNIST, "url", f"{server.address}gzip.zip")
        if dataset != "emnist_letters":
            monkeypatch.setattr(DATASETS[dataset].source, "mirrors", [NOBODY, server.address])
        assert_is(load(root, dataset, "torchvision"), contents[dataset])
        assert server.requests == [f"/{next(iter(files[dataset]))}"]


@pytest.mark.parametrize("source", ["auto", "torchvision"])
@pytest.mark.parametrize("dataset", OTHERS)
def test_failed_download_is_one_line(files: Any, root: Path, dataset: DatasetName, source: str) -> None:
    words = rf"^{DATASETS[dataset].title} can't be downloaded \({NOBODY}.*\); check the network or put its files into "
    with pytest.raises(ValueError, match=words):
        load(root, dataset, source)
    with pytest.raises(ValueError, match=rf"has no {DATASETS[dataset].title} files; call prepare_data\(\)"):
        MNISTDataModule(root, source, dataset=dataset).setup()  # type: ignore[arg-type]
    assert not list(root.iterdir())


def test_download_of_something_else_is_not_kept(files: Any, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving({"gzip.zip": b"<html>Log in</html>"}) as server:
        monkeypatch.setattr(EMNIST, "url", f"{server.address}gzip.zip")
        with pytest.raises(ValueError, match=r"^EMNIST can't be downloaded .* has another checksum than EMNIST's file"):
            load(root, "emnist_letters")
    assert not list(root.iterdir())


TRAINING_IMAGES = "train-images-idx3-ubyte.gz"


@pytest.mark.parametrize(
    ("dataset", "file", "change", "holds"),
    [
        ("fashion_mnist", TRAINING_IMAGES, "kmnist", f"KMNIST's {TRAINING_IMAGES}"),
        ("fashion_mnist", TRAINING_IMAGES, "mnist", f"MNIST's {TRAINING_IMAGES}"),
        ("kmnist", "t10k-images-idx3-ubyte.gz", "fashion_mnist", "Fashion-MNIST's t10k-images-idx3-ubyte.gz"),
        ("mnist", TRAINING_IMAGES, "kmnist", f"KMNIST's {TRAINING_IMAGES}"),
        ("kmnist", TRAINING_IMAGES, "cut", "damaged data or another dataset's"),
        ("fashion_mnist", TRAINING_IMAGES, "unpacked", "damaged data or another dataset's"),
        ("kmnist", TRAINING_IMAGES, "empty", "damaged data or another dataset's"),
        ("emnist_letters", "gzip.zip", "cut", "damaged data or another dataset's"),
        ("emnist_letters", "gzip.zip", "empty", "damaged data or another dataset's"),
        ("emnist_letters", "gzip.zip", "fashion_mnist", f"Fashion-MNIST's {TRAINING_IMAGES}"),
    ],
)
def test_other_files_are_refused(
    files: Any, root: Path, dataset: DatasetName, file: str, change: str, holds: str
) -> None:
    whole = files[dataset][file]
    other = files.get(change, {}).get(file) or files.get(change, {}).get(TRAINING_IMAGES)
    changes = {"cut": whole[:-9], "empty": b"", "unpacked": change == "unpacked" and gzip.decompress(whole)}
    path = put(root, dataset, {**files[dataset], file: other or changes[change]}) / file
    words = f"{path} holds {holds} instead of {DATASETS[dataset].title}'s {file}; choose another root, or delete the"
    with pytest.raises(ValueError, match=f"^{re.escape(words)}"):
        load(root, dataset)


@pytest.mark.parametrize("dataset", OTHERS)
def test_gan_trains_without_fid_and_says_how_to_make_a_classifier(
    files: Any, root: Path, in_process: Callable[..., tuple[int, str, str]], script: Any, dataset: DatasetName
) -> None:
    put(root, dataset, files[dataset])
    words = (
        rf"leaves FID .* and the data have .*; train one by twofold fit -c digit_classifier --data MNISTDataModule .*"
        rf"--data.dataset {dataset} --data.batch_size \d+, and write --trainer.callbacks.classifier with its run's fol"
    )
    with pytest.warns(UserWarning, match=words):
        code, out, err = in_process(f"fit -c gan --data.dataset {dataset} {SHORT}", "--data.root", root)
    assert (code, err) == (0, "")
    folder = Path(out.splitlines()[-1].removeprefix("results in "))
    assert not (folder / "quality.json").exists()
    assert read_metadata(folder / "mnist_generator.pth")["data_source"] == dataset
    code, _, err = script(interpolate, folder / "mnist_generator.pth", "--digits", 1, 2, "--out", "a.png")
    assert (code, err.count("\n"), "know MNIST's digits, not these images" in err) == (2, 1, True)
    with pytest.warns(UserWarning, match=words):
        assert in_process(f"test -c {folder}/config.yaml --ckpt_path last")[0] == 0


@pytest.mark.parametrize("dataset", OTHERS)
@pytest.mark.parametrize("config", ["digit_classifier", "digit_reader"])
def test_classifier_has_the_classes_of_the_data(
    files: Any, root: Path, in_process: Callable[..., tuple[int, str, str]], dataset: DatasetName, config: str
) -> None:
    put(root, dataset, files[dataset])
    short = "--trainer.max_steps 2 --data.batch_size 8 --trainer.limit_val_batches 1"
    code, out, err = in_process(f"fit -c {config} --data.dataset {dataset} {short}", "--data.root", root)
    assert (code, err) == (0, "")
    folder = Path(out.splitlines()[-1].removeprefix("results in "))
    classes = len(DATASETS[dataset].class_names)
    assert len(re.findall(f"classes: {classes}$", (folder / "config.yaml").read_text(), re.MULTILINE)) == 2
    code, _, err = in_process(f"test -c {folder}/config.yaml --ckpt_path last")
    assert (code, err) == (0, "")


def test_fid_of_letters_by_a_classifier_of_their_own(
    files: Any, root: Path, in_process: Callable[..., tuple[int, str, str]]
) -> None:
    put(root, "emnist_letters", files["emnist_letters"])
    letters = "--data.dataset emnist_letters --data.batch_size 8 --trainer.limit_val_batches 1 --trainer.max_steps 2"
    code, out, err = in_process(f"fit -c digit_reader {letters}", "--data.root", root)
    assert (code, err) == (0, "")
    run = Path(out.splitlines()[-1].removeprefix("results in "))
    last = "--trainer.callbacks.every_n_batches 2 --trainer.callbacks.samples 8 --trainer.callbacks.final_samples 8"
    with pytest.warns(UserWarning, match=r"modes lost: .* \(an even share is 4%\)"):
        code, out, err = in_process(
            f"fit -c gan {letters} {last} --trainer.callbacks.classifier {run}", "--data.root", root
        )
    assert (code, err) == (0, "")
    folder = Path(out.splitlines()[-1].removeprefix("results in "))
    quality = json.loads((folder / "quality.json").read_text())["ema"]
    assert "class_25" in quality
    assert "class_26" not in quality


def test_packaged_digits_are_mnists_only(in_process: Callable[..., tuple[int, str, str]]) -> None:
    for arguments, words in (
        (
            "--data.dataset kmnist --data.source packaged",
            "source is packaged, which has MNIST's digits only; write tor",
        ),
        (
            "--data.dataset cifar10",
            "--data.dataset can't be cifar10; write mnist or fashion_mnist or kmnist or emnist_l",
        ),
    ):
        code, _, err = in_process(f"fit -c gan {arguments}")
        assert (code, err.count("\n"), words in err) == (2, 1, True)
