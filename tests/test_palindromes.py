"""Palindromes: that they are some, that splits share none, and that they follow from (seed, k, length)."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jsonargparse import ArgumentParser
from lightning.pytorch import seed_everything

from datamodules import PalindromeBatch, PalindromeDataModule
from datamodules.chunks import ChunkedPalindromes, PalindromeChunk
from datamodules.palindromes import draw_distinct

seeds = st.integers(0, 2**32 - 1)


def seeded(seed: int, length: int, **arguments: Any) -> PalindromeDataModule:
    datamodule = PalindromeDataModule(length, **arguments)
    datamodule.load_state_dict({"seed": seed})
    return datamodule


def fixed(seed: int, length: int, size: int, **arguments: Any) -> PalindromeDataModule:
    return seeded(seed, length, kind="fixed", size=size, **arguments)


def whole(batch: PalindromeBatch | PalindromeChunk) -> list[tuple[int, ...]]:
    """The complete palindromes of a batch."""
    return [tuple(row) for row in torch.cat([batch.digits, batch.target[:, None]], dim=1).tolist()]


def epoch(loader: Any) -> list[tuple[int, ...]]:
    """All palindromes of a loader; of short ones each chunk is a whole batch."""
    return [palindrome for batch in loader for palindrome in whole(batch)]


def only_test_loader(datamodule: PalindromeDataModule) -> ChunkedPalindromes:
    """The only loader of a test at one length."""
    [loader] = datamodule.test_dataloader()
    assert isinstance(loader, ChunkedPalindromes)
    return loader


def assert_palindromes(batch: PalindromeBatch | PalindromeChunk, length: int) -> None:
    assert batch.digits.dtype == batch.target.dtype == torch.int64
    assert batch.digits.shape == (len(batch.target), length - 1)
    for palindrome in whole(batch):
        assert palindrome == palindrome[::-1]
        assert set(palindrome) <= set(range(10))


class TestFresh:
    @given(seeds, st.integers(2, 60), st.integers(1, 9))
    def test_every_sequence_is_a_palindrome(self, seed: int, length: int, batch_size: int) -> None:
        sizes = {"batch_size": batch_size, "batches_per_epoch": 2, "validation_batches": 1, "test_size": 2 * batch_size}
        datamodule = seeded(seed, length, **sizes)
        loaders: list[Any] = [datamodule.train_dataloader(), datamodule.val_dataloader(), only_test_loader(datamodule)]
        for loader in [*loaders, datamodule.predict_dataloader()]:
            for batch in loader:
                assert len(batch.target) == batch_size
                assert_palindromes(batch, length)

    @given(seeds, st.integers(0, 10**6))
    def test_batch_k_needs_no_history(self, seed: int, k: int) -> None:
        loader = seeded(seed, 12, batches_per_epoch=3).train_dataloader()
        list(loader)
        loader.load_state_dict({"next_batch": k})
        fresh = seeded(seed, 12, batches_per_epoch=3).train_dataloader()
        fresh.load_state_dict({"next_batch": k})
        assert torch.equal(next(iter(loader)).digits, next(iter(fresh)).digits)

    @given(seeds, seeds)
    def test_seeds_reproduce_and_differ(self, one: int, other: int) -> None:
        batches = [epoch(seeded(seed, 20, batches_per_epoch=1).train_dataloader()) for seed in (one, one, other)]
        assert batches[0] == batches[1]
        assert (batches[0] == batches[2]) == (one == other)

    def test_seeds_beyond_32_bits_differ(self) -> None:
        one, other = (epoch(seeded(seed, 20, batches_per_epoch=1).train_dataloader()) for seed in (1, 2**32 + 1))
        assert one != other

    def test_no_palindrome_is_seen_twice(self) -> None:
        datamodule = seeded(4, 40, batches_per_epoch=3)
        train = datamodule.train_dataloader()
        palindromes = [*epoch(train), *epoch(train), *epoch(datamodule.val_dataloader())]
        palindromes += [*epoch(only_test_loader(datamodule)), *epoch(datamodule.predict_dataloader())]
        assert len(set(palindromes)) == len(palindromes)

    def test_evaluation_repeats(self) -> None:
        datamodule = seeded(4, 40)
        assert epoch(datamodule.val_dataloader()) == epoch(datamodule.val_dataloader())
        assert epoch(only_test_loader(datamodule)) == epoch(only_test_loader(datamodule))
        assert epoch(datamodule.predict_dataloader()) == epoch(datamodule.predict_dataloader())

    def test_all_digits_are_equally_likely(self) -> None:
        counts = torch.bincount(next(iter(seeded(0, 100, batch_size=2000).train_dataloader())).digits.flatten())
        assert counts.max() / counts.min() < 1.05

    def test_a_new_length_takes_effect_with_the_next_batch(self) -> None:
        datamodule = seeded(4, 20, batch_size=3)
        assert datamodule.train_length == datamodule.length == 20
        train = iter(datamodule.train_dataloader())
        validation = epoch(datamodule.val_dataloader())
        for length in (5, 7, 7, 20):
            datamodule.train_length = length
            assert_palindromes(next(train), length)
        datamodule.train_length = 5
        assert epoch(datamodule.val_dataloader()) == validation


class TestFixed:
    @given(seeds, st.integers(2, 50), st.data())
    def test_splits_are_palindromes_and_share_none(self, seed: int, length: int, draw: st.DataObject) -> None:
        exist = 10 ** ((length + 1) // 2)
        size = draw.draw(st.integers(10, min(exist, 200)))
        datamodule = fixed(seed, length, size, batch_size=7)
        loaders: list[Any] = [datamodule.train_dataloader(), datamodule.val_dataloader(), datamodule.test_dataloader()]
        for loader in loaders:
            for batch in loader:
                assert_palindromes(batch, length)
        assert len({palindrome for loader in loaders for palindrome in epoch(loader)}) == size

    @pytest.mark.parametrize(("length", "size"), [(2, 10), (3, 100), (4, 100), (5, 1000)])
    def test_all_that_exist_can_be_had(self, length: int, size: int) -> None:
        datamodule = fixed(0, length, size)
        palindromes = [*epoch(datamodule.train_dataloader()), *epoch(datamodule.val_dataloader())]
        palindromes += epoch(datamodule.test_dataloader())
        assert len(set(palindromes)) == size == 10 ** ((length + 1) // 2)

    @pytest.mark.parametrize(("splits", "sizes"), [((0.8, 0.1, 0.1), [80, 10, 10]), ((0.5, 0.25, 0.25), [50, 25, 25])])
    def test_sizes_of_the_splits(self, splits: tuple[float, float, float], sizes: list[int]) -> None:
        datamodule = fixed(0, 6, 100, splits=splits)
        loaders: list[Any] = [datamodule.train_dataloader(), datamodule.val_dataloader(), datamodule.test_dataloader()]
        assert [len(epoch(loader)) for loader in loaders] == sizes

    def test_epochs_hold_the_same_palindromes_in_another_order(self) -> None:
        train = fixed(0, 9, 100, batch_size=32).train_dataloader()
        assert len(train) == 3
        first, second = epoch(train), epoch(train)
        assert first != second
        assert sorted(first) == sorted(second)

    @given(seeds, st.integers(0, 50))
    def test_batch_k_needs_no_history(self, seed: int, k: int) -> None:
        loader = fixed(seed, 9, 50, batch_size=6).train_dataloader()
        list(loader)
        loader.load_state_dict({"next_batch": k})
        fresh = fixed(seed, 9, 50, batch_size=6).train_dataloader()
        fresh.load_state_dict({"next_batch": k})
        assert torch.equal(next(iter(loader)).digits, next(iter(fresh)).digits)

    def test_seeds_reproduce_and_differ(self) -> None:
        one, again, other = (epoch(fixed(seed, 12, 50).test_dataloader()) for seed in (1, 1, 2))
        assert one == again
        assert set(one).isdisjoint(other)

    def test_digits_beyond_those_drawn_distinct_are_random_too(self) -> None:
        halves = draw_distinct(2000, 25, seed=0)
        assert np.abs(halves.mean(axis=0) - 4.5).max() < 0.4


def test_fixed_palindromes_predict_the_first_batch_of_the_test() -> None:
    datamodule = fixed(0, 7, 100, batch_size=6)
    assert epoch(datamodule.predict_dataloader()) == epoch(datamodule.test_dataloader())[:6]


def test_fresh_palindromes_predict_a_batch_of_their_own() -> None:
    datamodule = seeded(0, 20, batch_size=6)
    predicted = epoch(datamodule.predict_dataloader())
    assert len(predicted) == 6
    others = [
        *epoch(datamodule.train_dataloader()),
        *epoch(datamodule.val_dataloader()),
        *epoch(only_test_loader(datamodule)),
    ]
    assert set(predicted).isdisjoint(others)


def test_fresh_palindromes_are_tested_at_each_length_by_a_loader_of_its_own() -> None:
    datamodule = seeded(0, 20, batch_size=8, test_lengths=[5, 50, 5000], test_size=20)
    loaders: Any = datamodule.test_dataloader()
    assert [type(loader) for loader in loaders] == [ChunkedPalindromes] * 3
    assert [(loader.length, loader.size, loader.batch_size, loader.seed) for loader in loaders] == [
        (5, 20, 8, 0),
        (50, 20, 8, 0),
        (5000, 20, 8, 0),
    ]
    assert [len(epoch(loader)) for loader in loaders[:2]] == [20, 20]


def test_unless_told_otherwise_a_test_is_at_the_length_of_the_training() -> None:
    datamodule = seeded(0, 9)
    datamodule.train_length = 5
    assert only_test_loader(datamodule).length == 9
    assert len(epoch(only_test_loader(datamodule))) == 1000


class TestSecondHalf:
    @given(seeds, st.integers(2, 41), st.integers(1, 9))
    def test_fresh_targets_are_the_mirror_of_what_is_read(self, seed: int, length: int, batch_size: int) -> None:
        sizes = {"batch_size": batch_size, "batches_per_epoch": 2, "validation_batches": 1, "test_size": 2 * batch_size}
        datamodule = seeded(seed, length, target="second_half", **sizes)
        loaders: list[Any] = [datamodule.train_dataloader(), datamodule.val_dataloader(), datamodule.test_dataloader()]
        for loader in [*loaders, datamodule.predict_dataloader()]:
            for batch in loader:
                assert len(batch.digits) == batch_size
                assert_mirrored(batch, length)

    @given(seeds, st.integers(2, 41))
    def test_fixed_targets_are_the_mirror_and_splits_share_none(self, seed: int, length: int) -> None:
        datamodule = fixed(seed, length, 10, target="second_half", batch_size=3)
        loaders: list[Any] = [datamodule.train_dataloader(), datamodule.val_dataloader(), datamodule.test_dataloader()]
        read = []
        for loader in loaders:
            for batch in loader:
                assert_mirrored(batch, length)
                read += batch.digits.tolist()
        assert len(read) == len({tuple(row) for row in read}) == 10

    @pytest.mark.parametrize(("length", "read", "answered"), [(2, 1, 1), (3, 2, 1), (4, 2, 2), (5, 3, 2), (20, 10, 10)])
    def test_an_odd_length_has_its_middle_among_what_is_read(self, length: int, read: int, answered: int) -> None:
        batch = next(iter(seeded(0, length, target="second_half", batch_size=4).train_dataloader()))
        assert batch.digits.shape == (4, read)
        assert batch.target.shape == (4, answered)

    @pytest.mark.parametrize("kind", [{}, {"kind": "fixed", "size": 100}])
    def test_palindromes_are_the_same_whatever_is_to_be_answered(self, kind: dict[str, Any]) -> None:
        last, half = (seeded(3, 8, target=target, **kind).train_dataloader() for target in ("last", "second_half"))
        assert epoch(last) == [tuple(row) for batch in half for row in torch.cat(list(batch), dim=1).tolist()]

    @pytest.mark.parametrize("kind", [{"test_size": 130}, {"kind": "fixed", "size": 100}])
    def test_tests_come_whole_in_a_single_loader(self, kind: dict[str, Any]) -> None:
        loader: Any = seeded(0, 8, target="second_half", batch_size=65, **kind).test_dataloader()
        chunks = list(loader)
        assert len(chunks) == len(loader) == (2 if "test_size" in kind else 1)
        assert all(chunk.starts and chunk.ends and chunk.length == 8 for chunk in chunks)

    def test_the_last_batch_of_a_test_holds_what_is_left(self) -> None:
        loader: Any = seeded(0, 8, target="second_half", batch_size=4, test_size=10).test_dataloader()
        assert [(len(chunk.digits), len(chunk.target)) for chunk in loader] == [(4, 4), (4, 4), (2, 2)]

    def test_training_length_can_grow(self) -> None:
        datamodule = seeded(0, 20, target="second_half", batch_size=3)
        train = iter(datamodule.train_dataloader())
        for length in (6, 7, 20):
            datamodule.train_length = length
            assert_mirrored(next(train), length)


def assert_mirrored(batch: PalindromeBatch | PalindromeChunk, length: int) -> None:
    assert batch.digits.dtype == batch.target.dtype == torch.int64
    assert batch.digits.shape[1] == (length + 1) // 2
    assert batch.target.shape == (len(batch.digits), length // 2)
    assert torch.equal(batch.target, batch.digits[:, : length // 2].flip(1))
    assert set(batch.digits.flatten().tolist()) <= set(range(10))


def test_without_a_trainer_the_seed_is_that_of_seed_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "what seed_everything leaves here is taken away after the test")
    seed_everything(11, verbose=False)
    assert epoch(PalindromeDataModule(9).val_dataloader()) == epoch(seeded(11, 9).val_dataloader())


def test_the_command_line_can_build_it() -> None:
    parser = ArgumentParser()
    parser.add_class_arguments(PalindromeDataModule, "data")
    config = parser.parse_args(
        ["--data.length=9", "--data.kind=fixed", "--data.size=50", "--data.splits=[0.6,0.2,0.2]"]
    )
    assert len(epoch(parser.instantiate(config).data.test_dataloader())) == 10
    assert "at most the 10^⌈T/2⌉ that exist" in " ".join(parser.format_help().split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"length": 1}, "length is 1; write 2 or more"),
        ({"length": 5, "batch_size": 0}, "batch_size is 0; write a positive number"),
        ({"length": 5, "batches_per_epoch": 0}, "batches_per_epoch is 0; write a positive number"),
        ({"length": 5, "validation_batches": -1}, "validation_batches is -1; write a positive number"),
        ({"length": 5, "kind": "frozen"}, "kind is 'frozen'; write fresh or fixed"),
        ({"length": 5, "size": 100}, "size is 100, but fresh palindromes never run out"),
        ({"length": 5, "kind": "fixed"}, "fixed palindromes need a size; write how many"),
        ({"length": 3, "kind": "fixed", "size": 101}, "size is 101, but only 100 palindromes of length 3 exist"),
        ({"length": 5, "kind": "fixed", "size": 100, "splits": (0.8, 0.1, 0.2)}, "three fractions that sum to 1"),
        ({"length": 5, "kind": "fixed", "size": 100, "splits": (1.2, -0.1, -0.1)}, "three fractions that sum to 1"),
        ({"length": 5, "kind": "fixed", "size": 100, "splits": (0.5, 0.5)}, "three fractions that sum to 1"),
        ({"length": 5, "kind": "fixed", "size": 4}, "leaves none to validation; write a greater size or fraction"),
        ({"length": 5, "test_size": 0}, "test_size is 0; write a positive number"),
        ({"length": 5, "target": "all"}, "target is 'all'; write last or second_half"),
        ({"length": 5, "test_lengths": [5, 9, 5]}, "names a length twice"),
        ({"length": 5, "test_lengths": []}, "test_lengths is empty; write at least one length"),
        ({"length": 5, "test_lengths": [5, 1]}, "a length in test_lengths is 1; write 2 or more"),
        ({"length": 5, "test_lengths": [9], "target": "second_half"}, "test_lengths are for the last digit of fresh"),
        ({"length": 5, "test_lengths": [9], "kind": "fixed", "size": 50}, "test_lengths are for the last digit of fr"),
        ({"length": 5, "kind": "fixed", "size": 0}, "leaves none to train; write a greater size or fraction"),
    ],
)
def test_refusals(unchecked: None, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as refusal:
        PalindromeDataModule(**arguments)
    assert "\n" not in str(refusal.value)


def test_refused_training_lengths() -> None:
    with pytest.raises(ValueError, match="train_length is 1; write 2 or more"):
        seeded(0, 5).train_length = 1
    with pytest.raises(ValueError, match="fixed palindromes have length 5 and can't be had at length 7"):
        fixed(0, 5, 100).train_length = 7
