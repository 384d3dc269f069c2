"""The batch stream and the base datamodule: alone, on several ranks, and in a Trainer resumed at any step."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch import LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from datamodules import MNISTDataModule, PalindromeBatch, PalindromeDataModule
from datamodules.resumable import (
    BatchStream,
    EvaluationBatches,
    ResumableDataModule,
    count_batches,
    in_order,
    shuffled,
)

seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(autouse=True)
def no_seed_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "restored after the test")
    monkeypatch.delenv("PL_GLOBAL_SEED")


class TestBatchStream:
    def test_each_pass_continues_the_last(self) -> None:
        stream = BatchStream(lambda k: k, batches_per_epoch=3)
        assert len(stream) == 3
        assert list(stream) == [0, 1, 2]
        assert list(stream) == [3, 4, 5]

    @given(st.integers(1, 5), st.integers(0, 12))
    def test_a_loaded_state_continues_with_the_next_batch(self, batches_per_epoch: int, received: int) -> None:
        stream = BatchStream(lambda k: k, batches_per_epoch)
        batches = endless(stream)
        assert [next(batches) for _ in range(received)] == list(range(received))
        resumed = BatchStream(lambda k: k, batches_per_epoch)
        resumed.load_state_dict(stream.state_dict())
        assert next(endless(resumed)) == received == next(batches)

    def test_a_state_may_be_loaded_between_iter_and_next(self) -> None:
        stream = BatchStream(lambda k: k, batches_per_epoch=3)
        batches = iter(stream)
        stream.load_state_dict({"next_batch": 4})
        assert next(batches) == 4

    def test_batches_are_made_lazily(self) -> None:
        made: list[int] = []
        next(iter(BatchStream(made.append, batches_per_epoch=3)))
        assert made == [0]


def test_evaluation_batches_repeat() -> None:
    batches = EvaluationBatches(lambda k: k, 3)
    assert len(batches) == 3
    assert list(batches) == list(batches) == [0, 1, 2]


class TestOrder:
    @given(st.integers(1, 40), st.integers(1, 15), seeds, st.integers(0, 3))
    def test_every_epoch_takes_every_item_once(self, size: int, batch_size: int, seed: int, epoch: int) -> None:
        n = count_batches(size, batch_size)
        batches = [shuffled(size, batch_size, seed, k) for k in range(epoch * n, (epoch + 1) * n)]
        assert torch.cat(batches).sort().values.tolist() == list(range(size))
        assert all(len(batch) == batch_size for batch in batches[:-1])
        assert torch.cat([in_order(size, batch_size, k) for k in range(n)]).tolist() == list(range(size))

    def test_the_order_depends_on_seed_and_epoch(self) -> None:
        one, same, next_epoch, other = (
            shuffled(100, 100, seed, k).tolist() for seed, k in ((1, 0), (1, 0), (1, 1), (2, 0))
        )
        assert one == same
        assert one != next_epoch
        assert one != other


class TestSeed:
    def test_it_is_that_of_seed_everything(self) -> None:
        seed_everything(123, verbose=False)
        assert ResumableDataModule().seed == 123

    def test_a_drawn_seed_is_stored(self) -> None:
        first, second, resumed = (ResumableDataModule() for _ in range(3))
        assert first.seed == first.seed
        assert first.seed != second.seed
        resumed.load_state_dict(first.state_dict())
        assert resumed.seed == first.seed

    def test_a_loaded_seed_reaches_existing_loaders(self) -> None:
        saved, resumed = palindromes(), palindromes()
        loader = resumed.train_dataloader()
        next(iter(loader))
        resumed.load_state_dict(saved.state_dict())
        loader.load_state_dict({"next_batch": 0})
        assert [content(batch) for batch in loader] == [content(batch) for batch in saved.train_dataloader()]

    def test_ranks_agree_on_a_drawn_seed(self) -> None:
        datamodule = ResumableDataModule()
        attach(datamodule, rank=1, ranks=2, seed_of_rank_0=77)
        assert datamodule.seed == 77

    def test_a_state_without_a_seed_is_refused(self) -> None:
        with pytest.raises(ValueError, match="has no seed for PalindromeDataModule"):
            palindromes().load_state_dict({})  # type: ignore[typeddict-item]


class TestRanks:
    def test_two_ranks_share_what_one_sees(self) -> None:
        def batches(rank: int, ranks: int) -> list[PalindromeBatch]:
            datamodule = palindromes()
            attach(datamodule, rank, ranks, seed_of_rank_0=5)
            return list(datamodule.train_dataloader())

        for whole, even, odd in zip(batches(0, 1), batches(0, 2), batches(1, 2), strict=True):
            assert torch.equal(whole.digits[0::2], even.digits)
            assert torch.equal(whole.target[1::2], odd.target)

    def test_a_rank_without_rows_is_refused(self) -> None:
        datamodule = ResumableDataModule()
        attach(datamodule, rank=0, ranks=3)
        with pytest.raises(ValueError, match="a batch of 2 can't be shared by 3 ranks; choose a batch_size"):
            datamodule.of_this_rank(torch.arange(2))


class Recorder(LightningModule):
    """Trains one number and records the batches that it trains on."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[Any] = []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.seen.append(content(batch))
        loss: Tensor = self.weight * batch[0].float().mean()
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


EPOCH = 3  # batches
STEPS = 2 * EPOCH + 2  # beyond two epoch borders


def palindromes() -> PalindromeDataModule:
    return PalindromeDataModule(8, batch_size=6, batches_per_epoch=EPOCH)


def images() -> MNISTDataModule:
    return MNISTDataModule(source="packaged", batch_size=1500)  # 3,500 images: the last batch is short


@pytest.mark.parametrize("data", [palindromes, images])
class TestTrainer:
    @pytest.fixture(autouse=True)
    def in_tmp_path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        seed_everything(3, verbose=False)

    @pytest.mark.parametrize("switches", [{}, {"limit_train_batches": 2}, {"overfit_batches": 2}])
    def test_a_run_resumes_from_any_step(self, data: Any, switches: dict[str, Any]) -> None:
        checkpoints = ModelCheckpoint("kept", filename="{step}", every_n_train_steps=1, save_top_k=-1)
        whole = fit(data(), max_steps=STEPS, callbacks=[checkpoints], **switches)
        assert len(whole) == STEPS
        for k in range(1, STEPS):
            assert fit(data(), max_steps=STEPS, ckpt_path=f"kept/step={k}.ckpt", **switches) == whole[k:], k

    def test_a_run_that_ended_by_max_steps_extends(self, data: Any) -> None:
        whole = fit(data(), max_steps=STEPS)
        for k in range(1, STEPS):
            trainer = quiet_trainer(max_steps=k)
            trainer.fit(Recorder(), datamodule=data())
            trainer.save_checkpoint("end.ckpt")
            assert fit(data(), max_steps=STEPS, ckpt_path="end.ckpt") == whole[k:], k

    def test_a_run_by_epochs_resumes(self, data: Any) -> None:
        checkpoints = ModelCheckpoint("kept", filename="{epoch}", every_n_epochs=1, save_top_k=-1)
        whole = fit(data(), max_epochs=3, callbacks=[checkpoints])
        assert len(whole) == 3 * EPOCH
        assert fit(data(), max_epochs=3, ckpt_path="kept/epoch=0.ckpt") == whole[EPOCH:]

    def test_a_drawn_seed_is_resumed(self, data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("PL_GLOBAL_SEED")
        checkpoints = ModelCheckpoint("kept", filename="{step}", every_n_train_steps=4, save_top_k=-1)
        whole = fit(data(), max_steps=STEPS, callbacks=[checkpoints])
        assert fit(data(), max_steps=STEPS, ckpt_path="kept/step=4.ckpt") == whole[4:]

    def test_overfit_batches_repeats_the_first_batches(self, data: Any) -> None:
        assert fit(data(), max_steps=6, overfit_batches=2) == 3 * fit(data(), max_steps=2)

    def test_limited_epochs_continue_with_new_batches(self, data: Any) -> None:
        assert fit(data(), max_epochs=3, limit_train_batches=2) == fit(data(), max_steps=6)

    def test_reloaded_loaders_continue(self, data: Any) -> None:
        assert fit(data(), max_steps=STEPS, reload_dataloaders_every_n_epochs=1) == fit(data(), max_steps=STEPS)

    def test_fast_dev_run(self, data: Any) -> None:
        assert fit(data(), fast_dev_run=2) == fit(data(), max_steps=2)


def test_overfit_batches_may_be_a_fraction() -> None:
    seed_everything(3, verbose=False)
    assert fit(palindromes(), max_steps=6, overfit_batches=0.67) == 3 * fit(palindromes(), max_steps=2)


def fit(datamodule: ResumableDataModule, ckpt_path: str | None = None, **switches: Any) -> list[Any]:
    """The batches that a run trains on."""
    recorder = Recorder()
    quiet_trainer(**switches).fit(recorder, datamodule=datamodule, ckpt_path=ckpt_path)
    return recorder.seen


def quiet_trainer(**switches: Any) -> Trainer:
    if not any(isinstance(callback, ModelCheckpoint) for callback in switches.get("callbacks", [])):
        switches["enable_checkpointing"] = False
    quiet: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0}
    return Trainer(accelerator="cpu", devices=1, logger=False, **quiet, **switches)


def attach(datamodule: ResumableDataModule, rank: int, ranks: int, seed_of_rank_0: int = 0) -> None:
    """Sets a trainer as one of several ranks has it, without starting the others."""
    datamodule.trainer = SimpleNamespace(  # type: ignore[assignment]
        global_rank=rank,
        world_size=ranks,
        overfit_batches=0.0,
        fit_loop=SimpleNamespace(total_batch_idx=-1),
        strategy=SimpleNamespace(broadcast=lambda seed: seed_of_rank_0),
    )


def endless(stream: BatchStream[int]) -> Iterator[int]:
    while True:
        yield from stream


def content(batch: Any) -> list[Any]:
    """Values by which two batches are compared: all digits, or the labels."""
    return [part.tolist() for part in batch if part.dtype == torch.int64]
