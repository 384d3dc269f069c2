"""Statistics of real images that are taken once and then read."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from metrics import reference_statistics as module
from metrics.features import Classifier, features_and_logits, scaled
from metrics.fid import Statistics, statistics
from metrics.reference_statistics import cached_reference_statistics
from networks.classifiers import DigitReader


@pytest.fixture
def classifier() -> DigitReader:
    return DigitReader(hidden_size=4).eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randint(0, 256, (30, 28, 28), dtype=torch.uint8)


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images the classifier was shown, each time."""
    shown = []

    def counting(classifier: Classifier, images: Tensor) -> object:
        shown.append(len(images))
        return features_and_logits(classifier, images)

    monkeypatch.setattr(module, "features_and_logits", counting)
    return shown


def same(a: Statistics, b: Statistics) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_they_are_taken_once(classifier: DigitReader, images: Tensor, tmp_path: Path, looked: list[int]) -> None:
    first = cached_reference_statistics(classifier, images, tmp_path / "classifiers")
    assert looked == [30]
    assert same(first, statistics(features_and_logits(classifier, scaled(images)).features))
    assert same(cached_reference_statistics(classifier, images, tmp_path / "classifiers"), first)
    assert looked == [30]
    assert len(list((tmp_path / "classifiers").iterdir())) == 1


def test_many_images_are_shown_in_parts(
    classifier: DigitReader, images: Tensor, looked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IMAGES_AT_ONCE", 20)
    found = cached_reference_statistics(classifier, images, None)
    assert looked == [20, 10]
    torch.testing.assert_close(
        tuple(found), tuple(statistics(features_and_logits(classifier, scaled(images)).features))
    )


def test_another_judge_or_other_images_are_another_matter(
    classifier: DigitReader, images: Tensor, tmp_path: Path, looked: list[int]
) -> None:
    first = cached_reference_statistics(classifier, images, tmp_path)
    other = images.clone()
    other[0, 0, 0] += 1
    cached_reference_statistics(classifier, other, tmp_path)
    with torch.no_grad():
        classifier.head.get_parameter("1.bias").add_(1)
    cached_reference_statistics(classifier, images, tmp_path)
    assert looked == [30, 30, 30]
    assert len(list(tmp_path.iterdir())) == 3
    assert same(first, cached_reference_statistics(classifier, images, tmp_path))  # which the head has no part in


def test_another_number_of_threads_takes_them_anew(
    classifier: DigitReader, images: Tensor, tmp_path: Path, looked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for threads in (1, 2):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        cached_reference_statistics(classifier, images, tmp_path)
    assert looked == [30, 30]


@pytest.mark.parametrize("content", [b"", b"torn", None])
def test_a_damaged_file_is_written_again(
    classifier: DigitReader, images: Tensor, tmp_path: Path, looked: list[int], content: bytes | None
) -> None:
    first = cached_reference_statistics(classifier, images, tmp_path)
    (path,) = tmp_path.iterdir()
    if content is None:
        torch.save({"something": 1}, path)
    else:
        path.write_bytes(content)
    assert same(cached_reference_statistics(classifier, images, tmp_path), first)
    assert same(cached_reference_statistics(classifier, images, tmp_path), first)
    assert looked == [30, 30]


def test_a_folder_that_cannot_be_written_is_no_obstacle(
    classifier: DigitReader, images: Tensor, tmp_path: Path, looked: list[int]
) -> None:
    (tmp_path / "classifiers").write_text("a file where a folder should be")
    first = cached_reference_statistics(classifier, images, tmp_path / "classifiers")
    assert same(cached_reference_statistics(classifier, images, tmp_path / "classifiers"), first)
    assert looked == [30, 30]
