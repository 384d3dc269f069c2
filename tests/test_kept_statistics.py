"""Statistics of real images that are taken once and then read."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from networks import kept_statistics as module
from networks.digit_reader import DigitReader
from networks.judge import Judge
from networks.kept_statistics import kept_statistics
from networks.quality import Statistics, statistics
from networks.quality_report import impression, scaled


@pytest.fixture
def judge() -> DigitReader:
    return DigitReader(hidden_size=4).eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randint(0, 256, (30, 28, 28), dtype=torch.uint8)


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images the judge was shown, each time."""
    shown = []

    def counting(judge: Judge, images: Tensor) -> object:
        shown.append(len(images))
        return impression(judge, images)

    monkeypatch.setattr(module, "impression", counting)
    return shown


def same(a: Statistics, b: Statistics) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_they_are_taken_once(judge: DigitReader, images: Tensor, tmp_path: Path, looked: list[int]) -> None:
    first = kept_statistics(judge, images, tmp_path / "judges")
    assert looked == [30]
    assert same(first, statistics(impression(judge, scaled(images)).features))
    assert same(kept_statistics(judge, images, tmp_path / "judges"), first)
    assert looked == [30]
    assert len(list((tmp_path / "judges").iterdir())) == 1


def test_many_images_are_shown_in_parts(
    judge: DigitReader, images: Tensor, looked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IMAGES_AT_ONCE", 20)
    found = kept_statistics(judge, images, None)
    assert looked == [20, 10]
    torch.testing.assert_close(tuple(found), tuple(statistics(impression(judge, scaled(images)).features)))


def test_another_judge_or_other_images_are_another_matter(
    judge: DigitReader, images: Tensor, tmp_path: Path, looked: list[int]
) -> None:
    first = kept_statistics(judge, images, tmp_path)
    other = images.clone()
    other[0, 0, 0] += 1
    kept_statistics(judge, other, tmp_path)
    with torch.no_grad():
        judge.head.get_parameter("1.bias").add_(1)
    kept_statistics(judge, images, tmp_path)
    assert looked == [30, 30, 30]
    assert len(list(tmp_path.iterdir())) == 3
    assert same(first, kept_statistics(judge, images, tmp_path))  # which the head has no part in


def test_another_number_of_threads_takes_them_anew(
    judge: DigitReader, images: Tensor, tmp_path: Path, looked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for threads in (1, 2):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        kept_statistics(judge, images, tmp_path)
    assert looked == [30, 30]


@pytest.mark.parametrize("content", [b"", b"torn", None])
def test_a_damaged_file_is_written_again(
    judge: DigitReader, images: Tensor, tmp_path: Path, looked: list[int], content: bytes | None
) -> None:
    first = kept_statistics(judge, images, tmp_path)
    (path,) = tmp_path.iterdir()
    if content is None:
        torch.save({"something": 1}, path)
    else:
        path.write_bytes(content)
    assert same(kept_statistics(judge, images, tmp_path), first)
    assert same(kept_statistics(judge, images, tmp_path), first)
    assert looked == [30, 30]


def test_a_folder_that_cannot_be_written_is_no_obstacle(
    judge: DigitReader, images: Tensor, tmp_path: Path, looked: list[int]
) -> None:
    (tmp_path / "judges").write_text("a file where a folder should be")
    first = kept_statistics(judge, images, tmp_path / "judges")
    assert same(kept_statistics(judge, images, tmp_path / "judges"), first)
    assert looked == [30, 30]
