"""The order of batches: by itself, shared among ranks, and in a Trainer that is stopped and resumed at every step."""

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

from datamodules import PalindromeBatch, PalindromeDataModule
from datamodules.base import ResumableDataModule
from datamodules.resumable import BatchStream, EvaluationBatches, count_batches, in_order, shuffled

seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(autouse=True)
def no_seed_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "what seed_everything leaves here is taken away after the test")
    monkeypatch.delenv("PL_GLOBAL_SEED")


class TestBatchStream:
    def test_each_pass_goes_on_where_the_last_one_stopped(self) -> None:
        stream = BatchStream(lambda k: k, batches_per_epoch=3)
        assert len(stream) == 3
        assert list(stream) == [0, 1, 2]
        assert list(stream) == [3, 4, 5]

    @given(st.integers(1, 5), st.integers(0, 12))
    def test_a_loaded_state_goes_on_with_the_next_batch(self, batches_per_epoch: int, received: int) -> None:
        stream = BatchStream(lambda k: k, batches_per_epoch)
        batches = endless(stream)
        assert [next(batches) for _ in range(received)] == list(range(received))
        resumed = BatchStream(lambda k: k, batches_per_epoch)
        resumed.load_state_dict(stream.state_dict())
        assert next(endless(resumed)) == received == next(batches)

    def test_the_state_may_be_loaded_between_iter_and_next(self) -> None:
        stream = BatchStream(lambda k: k, batches_per_epoch=3)
        batches = iter(stream)
        stream.load_state_dict({"next_batch": 4})
        assert next(batches) == 4

    def test_a_batch_is_not_made_before_it_is_wanted(self) -> None:
        made: list[int] = []
        batches = iter(BatchStream(made.append, batches_per_epoch=3))
        next(batches)
        assert made == [0]


def test_evaluation_sees_the_same_batches_in_every_pass() -> None:
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

    @given(st.integers(1, 40), st.integers(1, 15))
    def test_in_order(self, size: int, batch_size: int) -> None:
        batches = [in_order(size, batch_size, k) for k in range(count_batches(size, batch_size))]
        assert torch.cat(batches).tolist() == list(range(size))

    def test_the_order_depends_on_seed_and_epoch(self) -> None:
        def epoch(seed: int, number: int) -> list[int]:
            return shuffled(100, 100, seed, number).tolist()

        assert epoch(1, 0) == epoch(1, 0)
        assert epoch(1, 0) != epoch(1, 1)
        assert epoch(1, 0) != epoch(2, 0)


class TestSeed:
    def test_it_is_that_of_seed_everything(self) -> None:
        seed_everything(123, verbose=False)
        assert ResumableDataModule().seed == 123

    def test_without_one_it_is_drawn_once_and_travels_with_the_state(self) -> None:
        first, second, resumed = (ResumableDataModule() for _ in range(3))
        assert first.seed == first.seed
        assert first.seed != second.seed
        resumed.load_state_dict(first.state_dict())
        assert resumed.seed == first.seed

    def test_a_loaded_seed_reaches_loaders_that_exist_already(self) -> None:
        saved, resumed = (PalindromeDataModule(8, batch_size=2, kind="fixed", size=20) for _ in range(2))
        loader = resumed.train_dataloader()
        next(iter(loader))
        resumed.load_state_dict(saved.state_dict())
        loader.load_state_dict({"next_batch": 0})
        assert digits(loader) == digits(saved.train_dataloader())

    def test_ranks_agree_on_a_drawn_seed(self) -> None:
        datamodule = ResumableDataModule()
        attach(datamodule, rank=1, ranks=2, seed_of_rank_0=77)
        assert datamodule.seed == 77


class TestRanks:
    @given(st.integers(1, 20), st.integers(1, 5))
    def test_shares_are_disjoint_and_cover_the_batch(self, size: int, ranks: int) -> None:
        datamodule, batch = ResumableDataModule(), torch.arange(size)
        shares: list[Tensor] = []
        for rank in range(min(ranks, size)):
            attach(datamodule, rank, min(ranks, size))
            shares.append(datamodule.of_this_rank(batch))
        assert torch.cat(shares).sort().values.tolist() == batch.tolist()

    def test_a_rank_without_rows_is_refused(self) -> None:
        datamodule = ResumableDataModule()
        attach(datamodule, rank=0, ranks=3)
        with pytest.raises(ValueError, match="a batch of 2 can't be shared by 3 ranks; choose a batch_size"):
            datamodule.of_this_rank(torch.arange(2))

    @pytest.mark.parametrize("kind", ["fresh", "fixed"])
    def test_two_ranks_see_what_one_sees(self, kind: Any) -> None:
        def batches(rank: int, ranks: int) -> list[PalindromeBatch]:
            datamodule = PalindromeDataModule(
                9, batch_size=6, kind=kind, batches_per_epoch=2, size=None if kind == "fresh" else 20
            )
            attach(datamodule, rank, ranks, seed_of_rank_0=5)
            return list(datamodule.train_dataloader())

        for whole, even, odd in zip(batches(0, 1), batches(0, 2), batches(1, 2), strict=True):
            assert torch.equal(whole.digits[0::2], even.digits)
            assert torch.equal(whole.target[1::2], odd.target)


class Witness(LightningModule):
    """Trains one number and writes down the digits of every batch that it trains on."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[Any] = []

    def training_step(self, batch: PalindromeBatch, batch_idx: int) -> Tensor:
        self.seen.append(batch.digits.tolist())
        return self.weight * batch.target.float().mean()

    def validation_step(self, batch: PalindromeBatch, batch_idx: int) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


EPOCH = 3  # batches, the last one short
STEPS = 2 * EPOCH + 2  # beyond two epoch borders


class TestTrainer:
    @pytest.fixture(autouse=True)
    def in_tmp_path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)

    @pytest.mark.parametrize("kind", ["fresh", "fixed"])
    @pytest.mark.parametrize("switches", [{}, {"limit_train_batches": 2}, {"overfit_batches": 2}])
    def test_resuming_from_a_checkpoint_at_any_step(self, kind: Any, switches: dict[str, Any]) -> None:
        checkpoints = ModelCheckpoint("kept", filename="{step}", every_n_train_steps=1, save_top_k=-1)
        whole = fit(data(kind), max_steps=STEPS, callbacks=[checkpoints], **switches)
        assert len(whole) == STEPS
        for k in range(1, STEPS):
            resumed = fit(data(kind), max_steps=STEPS, ckpt_path=f"kept/step={k}.ckpt", **switches)
            assert resumed == whole[k:], f"after {k} batches"

    @pytest.mark.parametrize("k", range(1, STEPS))
    def test_extending_a_run_that_ended_by_max_steps(self, k: int) -> None:
        whole = fit(data("fixed"), max_steps=STEPS)
        trainer = quiet_trainer(max_steps=k)
        trainer.fit(Witness(), datamodule=data("fixed"))
        trainer.save_checkpoint("end.ckpt")
        assert fit(data("fixed"), max_steps=STEPS, ckpt_path="end.ckpt") == whole[k:]

    def test_resuming_a_run_that_counts_epochs(self) -> None:
        checkpoints = ModelCheckpoint("kept", filename="{epoch}", every_n_epochs=1, save_top_k=-1)
        whole = fit(data("fixed"), max_epochs=3, callbacks=[checkpoints])
        assert len(whole) == 3 * EPOCH
        assert fit(data("fixed"), max_epochs=3, ckpt_path="kept/epoch=0.ckpt") == whole[EPOCH:]

    def test_a_drawn_seed_is_resumed(self) -> None:
        checkpoints = ModelCheckpoint("kept", filename="{step}", every_n_train_steps=1, save_top_k=-1)
        whole = fit(unseeded_data(), max_steps=STEPS, callbacks=[checkpoints])
        assert fit(unseeded_data(), max_steps=STEPS, ckpt_path="kept/step=4.ckpt") == whole[4:]

    def test_overfit_batches_repeats_the_first_batches(self) -> None:
        seen = fit(data("fixed"), max_steps=6, overfit_batches=2)
        assert seen == 3 * fit(data("fixed"), max_steps=2)

    def test_overfit_batches_as_a_fraction(self) -> None:
        seen = fit(data("fresh"), max_steps=6, overfit_batches=0.67)
        assert seen == 3 * fit(data("fresh"), max_steps=2)

    def test_limited_epochs_go_on_to_new_batches_and_validate(self) -> None:
        datamodule, witness = data("fixed"), Witness()
        trainer = quiet_trainer(max_epochs=3, limit_train_batches=2)
        trainer.fit(witness, datamodule=datamodule)
        assert witness.seen == fit(data("fixed"), max_steps=6)
        assert trainer.fit_loop.epoch_loop.val_loop.batch_progress.total.completed > 0

    def test_reloaded_loaders_go_on(self) -> None:
        whole = fit(data("fixed"), max_steps=STEPS)
        assert fit(data("fixed"), max_steps=STEPS, reload_dataloaders_every_n_epochs=1) == whole

    def test_fast_dev_run(self) -> None:
        assert fit(data("fixed"), fast_dev_run=2) == fit(data("fixed"), max_steps=2)


def data(kind: Any) -> PalindromeDataModule:
    seed_everything(3, verbose=False)
    return unseeded_data(kind)


def unseeded_data(kind: Any = "fixed") -> PalindromeDataModule:
    # 20 fixed palindromes: 16 to train in batches of 6, 6 and 4.
    size = None if kind == "fresh" else 20
    return PalindromeDataModule(8, batch_size=6, kind=kind, batches_per_epoch=EPOCH, size=size)


def fit(datamodule: PalindromeDataModule, ckpt_path: str | None = None, **switches: Any) -> list[Any]:
    """The batches that a run trains on."""
    witness = Witness()
    quiet_trainer(**switches).fit(witness, datamodule=datamodule, ckpt_path=ckpt_path)
    return witness.seen


def quiet_trainer(**switches: Any) -> Trainer:
    if not any(isinstance(callback, ModelCheckpoint) for callback in switches.get("callbacks", [])):
        switches["enable_checkpointing"] = False
    return Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **switches,
    )


def attach(datamodule: ResumableDataModule, rank: int, ranks: int, seed_of_rank_0: int = 0) -> None:
    """A trainer as one of several ranks would have it, without starting the others."""
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


def digits(loader: BatchStream[PalindromeBatch]) -> list[Any]:
    return [batch.digits.tolist() for batch in loader]
