"""The batch stream and the base datamodule: alone, on several ranks, and in a Trainer resumed at any step."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from anybodys import Anybodys
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint

from datamodules import InductionDataModule, MNISTDataModule, PalindromeBatch, PalindromeDataModule
from datamodules.resumable import BatchStream, ResumableDataModule, count_batches, in_order, shuffled


@pytest.fixture(autouse=True)
def no_seed_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "restored after the test")
    monkeypatch.delenv("PL_GLOBAL_SEED")


def endless(stream: BatchStream[int]) -> Iterator[int]:
    while True:
        yield from stream


@given(st.integers(1, 5), st.integers(0, 12))
def test_a_loaded_state_continues_with_the_next_batch(batches_per_epoch: int, received: int) -> None:
    stream = BatchStream(lambda k: k, batches_per_epoch)
    batches = endless(stream)
    assert list(islice(batches, received)) == list(range(received))
    resumed = BatchStream(lambda k: k, batches_per_epoch)
    waiting = endless(resumed)
    resumed.load_state_dict(stream.state_dict())
    assert next(waiting) == received == next(batches)


@given(st.integers(1, 40), st.integers(1, 15), st.integers(0, 2**32 - 1), st.integers(0, 3))
def test_every_epoch_takes_every_item_once(size: int, batch_size: int, seed: int, epoch: int) -> None:
    n = count_batches(size, batch_size)
    batches = [shuffled(size, batch_size, seed, k) for k in range(epoch * n, (epoch + 1) * n)]
    assert torch.cat(batches).sort().values.tolist() == list(range(size))
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert torch.cat([in_order(size, batch_size, k) for k in range(n)]).tolist() == list(range(size))


def palindromes() -> PalindromeDataModule:
    return PalindromeDataModule(8, batch_size=6, batches_per_epoch=3)


def images() -> MNISTDataModule:
    return MNISTDataModule(source="packaged", batch_size=1500)  # 3,500 images: the third batch is short


def content(batch: Any) -> list[Any]:
    """The digits of palindromes, the labels of images."""
    return [part.tolist() for part in batch if part.dtype == torch.int64]


def attach(
    datamodule: ResumableDataModule, rank: int, ranks: int, seed_of_rank_0: int = 0, device: str = "cpu"
) -> None:
    """Sets a trainer as one of several ranks has it, without starting the others."""
    datamodule.trainer = SimpleNamespace(  # type: ignore[assignment]
        global_rank=rank,
        world_size=ranks,
        overfit_batches=0.0,
        fit_loop=SimpleNamespace(total_batch_idx=-1),
        strategy=SimpleNamespace(broadcast=lambda seed: seed_of_rank_0, root_device=torch.device(device)),
    )


def test_the_seed_is_that_of_seed_everything() -> None:
    seed_everything(123, verbose=False)
    assert ResumableDataModule().seed == 123


def test_a_loaded_seed_replaces_a_drawn_one_in_existing_loaders() -> None:
    saved, resumed = palindromes(), palindromes()
    loader = resumed.train_dataloader()
    next(iter(loader))
    assert saved.seed != resumed.seed
    resumed.load_state_dict(saved.state_dict())
    loader.load_state_dict({"next_batch": 0})
    assert [content(batch) for batch in loader] == [content(batch) for batch in saved.train_dataloader()]


def test_ranks_share_a_drawn_seed_and_each_batch() -> None:
    def batches(rank: int, ranks: int) -> list[PalindromeBatch]:
        datamodule = palindromes()
        attach(datamodule, rank, ranks, seed_of_rank_0=5)
        assert datamodule.seed == 5
        return list(datamodule.train_dataloader())

    for whole, even, odd in zip(batches(0, 1), batches(0, 2), batches(1, 2), strict=True):
        assert torch.equal(whole.digits[0::2], even.digits)
        assert torch.equal(whole.target[1::2], odd.target)


def test_a_rank_without_rows_and_a_state_without_seed_are_refused() -> None:
    datamodule = palindromes()
    with pytest.raises(ValueError, match="has no seed for PalindromeDataModule"):
        datamodule.load_state_dict({})  # type: ignore[typeddict-item]
    attach(datamodule, rank=0, ranks=3)
    with pytest.raises(ValueError, match="a batch of 2 can't be split over 3 processes; choose a batch_size"):
        datamodule.shard(torch.arange(2))


class Recorder(Callback):
    """Keeps the batches that a run trains on."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.seen.append(content(batch))


STEPS = 8  # beyond two epochs of 3 batches


@pytest.mark.parametrize("data", [palindromes, images])
class TestTrainer:
    @pytest.fixture(autouse=True)
    def seed_trainer_and_module(self, plain_trainer: Any) -> None:
        seed_everything(3, verbose=False)
        self.make_trainer, self.make_module = plain_trainer, Anybodys

    def fit(self, datamodule: ResumableDataModule, ckpt_path: Path | None = None, **switches: Any) -> list[Any]:
        """The batches that a run trains on."""
        trainer: Trainer = self.make_trainer(**{"max_steps": STEPS, "limit_val_batches": 0, **switches})
        recorder = Recorder()
        trainer.callbacks.append(recorder)  # type: ignore[attr-defined]
        trainer.fit(self.make_module(), datamodule=datamodule, ckpt_path=ckpt_path)
        return recorder.seen

    @pytest.mark.parametrize("switches", [{}, {"limit_train_batches": 2}, {"overfit_batches": 2}])
    def test_a_run_resumes_from_any_step(
        self, data: Any, switches: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if not switches:
            monkeypatch.delenv("PL_GLOBAL_SEED")  # the seed is then in the checkpoint only
        every_step = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=1, save_top_k=-1)
        whole = self.fit(data(), callbacks=[every_step], enable_checkpointing=True, **switches)
        assert len(whole) == STEPS
        for k in (1, 2, 3, 7):
            assert self.fit(data(), tmp_path / f"step={k}.ckpt", **switches) == whole[k:], k

    @pytest.mark.parametrize(
        ("switches", "expected"),
        [
            ({"overfit_batches": 2}, [0, 1, 0, 1, 0, 1, 0, 1]),
            ({"overfit_batches": 0.67}, [0, 1, 0, 1, 0, 1, 0, 1]),
            ({"max_steps": -1, "max_epochs": 3, "limit_train_batches": 2}, [0, 1, 2, 3, 4, 5]),
            ({"max_steps": -1, "max_epochs": 2}, [0, 1, 2, 3, 4, 5]),
            ({"reload_dataloaders_every_n_epochs": 1}, [0, 1, 2, 3, 4, 5, 6, 7]),
            ({"fast_dev_run": 2}, [0, 1]),
        ],
    )
    def test_trainer_switches_select_batches(self, data: Any, switches: Any, expected: list[int]) -> None:
        whole = self.fit(data())
        assert self.fit(data(), **switches) == [whole[k] for k in expected]


@pytest.mark.parametrize("data", [palindromes(), InductionDataModule(8, batch_size=6)])
def test_rows_for_a_gpu_are_page_locked(monkeypatch: pytest.MonkeyPatch, data: Any) -> None:
    locked: list[torch.Tensor] = []

    def pin_memory(rows: torch.Tensor) -> torch.Tensor:
        locked.append(rows)
        return rows

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin_memory)
    attach(data, rank=1, ranks=2)
    expected = data.train_batch(0)
    assert not locked
    attach(data, rank=1, ranks=2, device="cuda:0")
    torch.testing.assert_close(data.train_batch(0)[:2], expected[:2])
    assert [rows.is_contiguous() for rows in locked] == [True, True]
