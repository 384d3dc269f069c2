"""Palindrome batches: their contents, and that they follow from (seed, split, k, length)."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from datamodules import ChunkedPalindromes, PalindromeBatch, PalindromeChunk, PalindromeDataModule

seeds = st.integers(0, 2**32 - 1)


def seeded(seed: int, length: int, **arguments: Any) -> PalindromeDataModule:
    datamodule = PalindromeDataModule(length, **{"worst_cases": [], **arguments})
    datamodule.load_state_dict({"seed": seed})
    return datamodule


def loaders(datamodule: PalindromeDataModule) -> list[Any]:
    """The loaders of all stages."""
    others = [datamodule.train_dataloader(), datamodule.val_dataloader(), datamodule.predict_dataloader()]
    return [*others, datamodule.test_dataloader()]


def rows(loader: Any) -> list[tuple[int, ...]]:
    """Digits and target of each palindrome; a short palindrome is a single chunk."""
    return [tuple(row) for batch in loader for row in torch.cat([batch[0], columns(batch[1])], dim=1).tolist()]


def columns(target: Tensor) -> Tensor:
    return target.view(len(target), -1)


def assert_palindromes(batch: PalindromeBatch | PalindromeChunk, length: int, target: str) -> None:
    assert batch.digits.dtype == batch.target.dtype == torch.int64
    whole = torch.cat([batch.digits, columns(batch.target)], dim=1)
    assert whole.shape[1] == length
    assert torch.equal(whole, whole.flip(1))
    assert set(whole.flatten().tolist()) <= set(range(10))
    assert columns(batch.target).shape[1] == (1 if target == "last" else length // 2)


@pytest.mark.parametrize("target", ["last", "second_half"])
@given(seed=seeds, length=st.integers(2, 60), batch_size=st.integers(1, 9))
def test_batches_of_all_loaders_are_palindromes(target: Any, seed: int, length: int, batch_size: int) -> None:
    sizes = {"batch_size": batch_size, "batches_per_epoch": 2, "validation_batches": 1, "test_size": 2 * batch_size}
    for loader in loaders(seeded(seed, length, target=target, **sizes)):
        for batch in loader:
            assert len(batch.target) == batch_size
            assert_palindromes(batch, length, target)


def test_splits_share_no_palindrome_and_training_never_repeats() -> None:
    train, validation, predict, test = loaders(seeded(4, 40, batches_per_epoch=3))
    palindromes = [*rows(train), *rows(train), *rows(validation), *rows(predict), *rows(test)]
    assert len(set(palindromes)) == len(palindromes) == 2 * 3 * 128 + 4 * 128 + 128 + 1000
    assert all(rows(loader) == rows(loader) for loader in (validation, predict, test))
    frequencies = torch.tensor(palindromes).flatten().bincount() / torch.tensor(palindromes).numel()
    assert (frequencies - 0.1).abs().max() < 0.01


@pytest.mark.parametrize("target", ["last", "second_half"])
def test_train_length_applies_from_the_next_batch(target: Any) -> None:
    datamodule = seeded(4, 20, batch_size=3, target=target)
    train, validation = iter(datamodule.train_dataloader()), rows(datamodule.val_dataloader())
    for length in (5, 7, 7, 20, 5):
        datamodule.train_length = length
        assert_palindromes(next(train), length, target)
    assert rows(datamodule.val_dataloader()) == validation
    with pytest.raises(ValueError, match="train_length is 1, too short for this task; write 2 or more"):
        datamodule.train_length = 1


@pytest.mark.parametrize(("share", "constant"), [(0.25, 2), (1.0, 8), (0.01, 0)])
def test_a_share_of_the_training_rows_has_a_constant_rest(share: float, constant: int) -> None:
    mixed, uniform = (seeded(4, 20, batch_size=8, constant_rest=each) for each in (share, 0.0))
    batch, before = (next(iter(each.train_dataloader())) for each in (mixed, uniform))
    assert_palindromes(batch, 20, "last")
    assert [len(row.unique()) == 1 for row in batch.digits[:, 1:]] == [True] * constant + [False] * (8 - constant)
    assert torch.equal(batch.target, before.target)
    assert torch.equal(batch.digits[constant:], before.digits[constant:])
    assert rows(mixed.val_dataloader()) == rows(uniform.val_dataloader())


def test_each_test_length_is_tested() -> None:
    for lengths, expected in (([5, 5000], [5, 5000]), (None, [20])):
        test: Any = seeded(0, 20, batch_size=8, test_lengths=lengths, test_size=30).test_dataloader()
        assert all(isinstance(loader, ChunkedPalindromes) for loader in test.loaders)
        assert [(each.length, each.size, each.batch_size) for each in test.loaders] == [(T, 30, 8) for T in expected]
        assert len(test) == len(list(test))


def test_second_half_is_tested_in_whole_batches() -> None:
    chunks: Any = list(loaders(seeded(0, 8, target="second_half", batch_size=4, test_size=10))[3])
    assert all(chunk.starts and chunk.ends and chunk.length == 8 for chunk in chunks)
    assert [len(chunk.digits) for chunk in chunks] == [4, 4, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"length": 1}, "length is 1, too short for this task; write 2 or more"),
        ({"batch_size": 0}, "batch_size is 0; write 1 or more"),
        ({"test_size": 0}, "test_size is 0; write 1 or more"),
        ({"target": "all"}, "target is 'all'; write one of last, second_half"),
        ({"test_lengths": [5, 9, 5]}, "write one length or more, each once"),
        ({"test_lengths": []}, r"test_lengths is \[\]; write one length or more, each once"),
        ({"test_lengths": [5, 1]}, "a length in test_lengths is 1, too short for this task; write 2 or more"),
        ({"test_lengths": [9], "target": "second_half"}, "test_lengths are for the last digit"),
        ({"constant_rest": 1.1}, "constant_rest is 1.1; write a share from 0 to 1"),
        ({"constant_rest": math.nan}, "constant_rest is nan; write a share from 0 to 1"),
        ({"constant_rest": 0.5, "target": "second_half"}, "constant_rest is for the last digit"),
        ({"worst_cases": ["constant"]}, "worst_cases is 'constant'; write one of constant_rest, .*, adversary"),
    ],
)
def test_bad_arguments_are_refused(unchecked: None, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PalindromeDataModule(**{"length": 5, **arguments})


def test_chosen_worst_cases_are_tested() -> None:
    loader = seeded(4, 20, worst_cases=["two_digits", "adversary"]).test_dataloader()
    assert {chunk.case for chunk in loader} == {"", "two_digits", "adversary"}
