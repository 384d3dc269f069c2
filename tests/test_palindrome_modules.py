"""The two that read palindromes: what they compute, log and refuse."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torch.optim.lr_scheduler import ExponentialLR, ReduceLROnPlateau

from datamodules import PalindromeDataModule
from lightning_modules import PalindromeLSTM, PalindromeRNN
from networks.lstm import KERNELS as LSTM_KERNELS
from networks.rnn import KERNELS as RNN_KERNELS

MakeTrainer = Callable[..., Trainer]


def palindromes(**arguments: Any) -> PalindromeDataModule:
    return PalindromeDataModule(**{"length": 5, "batch_size": 4, "batches_per_epoch": 3, **arguments})


class Batches(Callback):
    """Keeps the training batches, and the rate after each."""

    def __init__(self) -> None:
        self.batches: list[Any] = []
        self.rates: list[float] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.batches.append(batch)

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])


@pytest.mark.parametrize(("module", "theirs"), [(PalindromeLSTM(6), nn.LSTM(10, 6)), (PalindromeRNN(6), nn.RNN(10, 6))])
def test_logits_are_read_from_the_last_output(module: Any, theirs: nn.Module) -> None:
    theirs.load_state_dict(module.network.state_dict())
    digits = torch.randint(10, (3, 7))
    one_hot = torch.eye(10)[digits].transpose(0, 1)
    output, _ = theirs(one_hot)
    torch.testing.assert_close(module(digits), output[-1] @ module.readout.weight.T + module.readout.bias)


@pytest.mark.parametrize("make", [PalindromeLSTM, PalindromeRNN])
def test_a_batch_logs_its_loss_and_accuracy_and_moves_every_weight(plain_trainer: MakeTrainer, make: Any) -> None:
    module, batches = make(6, optimizer=partial(torch.optim.SGD, lr=0.1)), Batches()
    before = {name: weight.detach().clone() for name, weight in module.named_parameters()}
    logits: list[Any] = []
    module.register_forward_hook(lambda _, __, output: logits.append(output.detach()))
    trainer = plain_trainer(max_steps=1, callbacks=[batches])
    trainer.fit(module, datamodule=palindromes(batch_size=32))
    target = batches.batches[0].target
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    accuracy = (logits[0].argmax(dim=1) == target).float().mean()
    assert logged["train/loss"] == pytest.approx(float(F.cross_entropy(logits[0], target)))
    assert logged["train/accuracy"] == pytest.approx(float(accuracy))
    assert not any(torch.equal(weight, before[name]) for name, weight in module.named_parameters())


def test_a_batch_is_logged_when_a_logger_takes_it_and_at_the_end_of_an_epoch(plain_trainer: MakeTrainer) -> None:
    read: list[int] = []

    module = PalindromeLSTM(4)
    logged = module.log_dict

    def note(metrics: Any, **more: Any) -> None:
        if "train/loss" in metrics:
            read.append(module.trainer.global_step)
        logged(metrics, **more)

    module.log_dict = note  # type: ignore[method-assign, assignment]
    trainer = plain_trainer(max_steps=13, log_every_n_steps=4, limit_val_batches=0)
    trainer.fit(module, datamodule=palindromes(batches_per_epoch=5))
    assert read == [4, 5, 8, 10, 12, 13]


@pytest.mark.parametrize("split", ["val", "test"])
def test_evaluation_logs_what_is_true_of_the_whole_split(plain_trainer: MakeTrainer, split: str) -> None:
    module = PalindromeLSTM(6)
    data = palindromes(test_size=90, validation_batches=2, batch_size=40)  # the last test batch is short
    trainer = plain_trainer()
    evaluate = trainer.validate if split == "val" else trainer.test
    (logged,) = evaluate(module, datamodule=data, verbose=False)
    (tests,) = cast(Any, data.test_dataloader())
    loader: Any = data.val_dataloader() if split == "val" else tests
    digits, target = (torch.cat(parts) for parts in zip(*(batch[:2] for batch in loader), strict=True))
    with torch.no_grad():
        logits = module(digits)
    accuracy = float((logits.argmax(dim=1) == target).float().mean())
    assert len(target) == (80 if split == "val" else 90)
    assert 0 < accuracy < 1
    if split == "test":
        assert logged == {"test/accuracy/T=5": pytest.approx(accuracy)}
        return
    assert logged == {
        "val/loss": pytest.approx(float(F.cross_entropy(logits, target))),
        "val/accuracy": pytest.approx(accuracy),
    }


def test_the_scheduler_steps_with_every_batch(plain_trainer: MakeTrainer) -> None:
    sgd, halving = partial(torch.optim.SGD, lr=1.0), partial(ExponentialLR, gamma=0.5)
    batches = Batches()
    module = PalindromeLSTM(4, optimizer=sgd, lr_scheduler=halving)
    plain_trainer(max_steps=5, limit_val_batches=1, callbacks=[batches]).fit(module, datamodule=palindromes())
    assert batches.rates == [0.5, 0.25, 0.125, 0.0625, 0.03125]


def test_reduce_on_plateau_steps_with_every_validation(plain_trainer: MakeTrainer) -> None:
    sgd = partial(torch.optim.SGD, lr=1e-9)  # nothing improves, so each validation but the first halves the rate
    plateau = partial(ReduceLROnPlateau, factor=0.5, patience=0, threshold=0.5, eps=0)
    batches = Batches()
    module = PalindromeLSTM(4, optimizer=sgd, lr_scheduler=plateau)
    plain_trainer(max_steps=9, limit_val_batches=1, callbacks=[batches]).fit(module, datamodule=palindromes())
    assert batches.rates == [1e-9] * 6 + [0.5e-9] * 3


def test_gradients_are_clipped_by_the_trainer(plain_trainer: MakeTrainer) -> None:
    module = PalindromeLSTM(4, optimizer=partial(torch.optim.SGD, lr=1.0))
    before = [weight.detach().clone() for weight in module.parameters()]
    plain_trainer(max_steps=1, gradient_clip_val=1e-3).fit(module, datamodule=palindromes())
    moved = torch.cat([(w - b).flatten() for w, b in zip(module.parameters(), before, strict=True)])
    assert moved.norm().item() == pytest.approx(1e-3, rel=1e-3)


def test_initialisation_and_horizon_reach_the_network() -> None:
    torch.testing.assert_close(
        PalindromeLSTM(4, init="forget_log", horizon=20).network.bias_ih_l0[4:8], torch.full((4,), 20.0).log()
    )
    rnn = PalindromeRNN(4, nonlinearity="relu", init="identity").network
    assert torch.equal(rnn.weight_hh_l0, torch.eye(4))
    assert rnn.nonlinearity == "relu"


@pytest.mark.parametrize(
    ("make", "arguments", "words"),
    [
        (PalindromeLSTM, {"hidden_size": 0}, "hidden_size is 0"),
        (PalindromeLSTM, {"init": "chrono"}, "needs the horizon"),
        (PalindromeLSTM, {"init": "orthogonal"}, "is for the RNN"),
        (PalindromeLSTM, {"kernel": "gate"}, "kernel 'gate' isn't known"),
        (PalindromeRNN, {"init": "chrono"}, "is for the LSTM"),
        (PalindromeRNN, {"init": "identity"}, "relu"),
    ],
)
def test_bad_arguments_are_refused(make: Any, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make(**arguments)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_batch_on_a_gpu(plain_trainer: MakeTrainer) -> None:
    module = PalindromeLSTM(6)
    before = module.readout.weight.detach().clone()
    plain_trainer(max_steps=1, accelerator="gpu", devices=1).fit(module, datamodule=palindromes())
    assert not torch.equal(module.readout.weight.cpu(), before)


NETWORKS = [
    partial(make, kernel=kernel)
    for make, kernels in ((PalindromeLSTM, LSTM_KERNELS), (PalindromeRNN, RNN_KERNELS))
    for kernel in kernels
    if kernel != "auto"
]
IDS = [f"{make.func.__name__}-{make.keywords['kernel']}" for make in NETWORKS]


class TestChunks:
    @pytest.mark.parametrize("make", NETWORKS, ids=IDS)
    @pytest.mark.parametrize("cuts", [[1], [5], [3, 4, 11], list(range(1, 19))])
    def test_reading_in_parts_gives_the_logits_of_reading_the_whole(self, make: Any, cuts: list[int]) -> None:
        module = make(6).double()
        digits = torch.randint(10, (3, 19))
        state = None
        for part in digits.tensor_split(cuts, dim=1):
            logits, state = module._forward(part, 0, state)
        torch.testing.assert_close(logits, module(digits), rtol=0, atol=1e-12)

    @pytest.mark.parametrize("make", NETWORKS, ids=IDS)
    def test_accuracy_at_each_length_is_that_of_the_whole_sequences(
        self, plain_trainer: MakeTrainer, make: Any
    ) -> None:
        lengths, module = [2, 5, 4100, 8193], make(5).double()
        data = palindromes(batch_size=8, test_lengths=lengths, test_size=20)  # a short last batch
        (logged, *others) = plain_trainer().test(module, datamodule=data, verbose=False)
        for more in others:
            logged = {**logged, **more}
        loaders: Any = data.test_dataloader()
        expected = {f"test/accuracy/T={loader.length}": accuracy_of_the_whole(module, loader) for loader in loaders}
        assert logged == pytest.approx(expected)
        assert set(expected) == {f"test/accuracy/T={length}" for length in lengths}
        assert any(0 < accuracy < 1 for accuracy in expected.values())

    def test_no_state_is_carried_from_a_batch_to_the_next(self, plain_trainer: MakeTrainer) -> None:
        module = PalindromeLSTM(5)
        one, other = (palindromes(test_lengths=lengths, test_size=6) for lengths in ([5000], [9, 5000]))
        for data in (one, other):
            data.load_state_dict({"seed": 3})
        alone, together = (plain_trainer().test(module, datamodule=data, verbose=False) for data in (one, other))
        assert alone[0]["test/accuracy/T=5000"] == together[-1]["test/accuracy/T=5000"]


def accuracy_of_the_whole(module: Any, loader: Any) -> float:
    right: list[torch.Tensor] = []
    parts: list[torch.Tensor] = []
    for chunk in loader:
        parts = [chunk.digits] if chunk.starts else [*parts, chunk.digits]
        if chunk.ends:
            with torch.no_grad():
                right.append(module(torch.cat(parts, dim=1)).argmax(dim=1) == chunk.target)
    return float(torch.cat(right).double().mean())


class TestSecondHalf:
    @pytest.mark.parametrize("make", NETWORKS, ids=IDS)
    @pytest.mark.parametrize(("length", "read", "answered"), [(2, 1, 1), (3, 2, 1), (9, 5, 4), (20, 10, 10)])
    def test_logits_come_at_each_blank(self, make: Any, length: int, read: int, answered: int) -> None:
        module = make(6, target="second_half").double()
        digits = torch.randint(10, (3, read))
        logits = module(digits, answered)
        assert logits.shape == (3, answered, 10)
        one_hot = torch.eye(11, dtype=torch.double)[torch.cat([digits, torch.full((3, answered), 10)], dim=1)]
        output, _ = module.network(one_hot.transpose(0, 1))
        torch.testing.assert_close(logits, module.readout(output[read:]).transpose(0, 1))

    @pytest.mark.parametrize("make", [PalindromeLSTM, PalindromeRNN])
    @pytest.mark.parametrize("length", [2, 5])
    def test_the_loss_is_the_cross_entropy_of_all_positions(
        self, plain_trainer: MakeTrainer, make: Any, length: int
    ) -> None:
        module, batches = make(6, target="second_half", optimizer=partial(torch.optim.SGD, lr=0.0)), Batches()
        trainer = plain_trainer(max_steps=1, callbacks=[batches], limit_val_batches=0)
        trainer.fit(module, datamodule=palindromes(length=length, target="second_half", batch_size=32))
        digits, target = batches.batches[0]
        with torch.no_grad():
            logits = module(digits, length // 2)
        each = -logits.log_softmax(dim=-1).gather(2, target[:, :, None])
        assert float(trainer.callback_metrics["train/loss"]) == pytest.approx(float(each.mean()))
        accuracy = (logits.argmax(dim=-1) == target).float().mean()
        assert float(trainer.callback_metrics["train/accuracy"]) == pytest.approx(float(accuracy))

    @pytest.mark.parametrize("length", [20, 9])
    def test_accuracy_is_logged_for_each_position(self, plain_trainer: MakeTrainer, length: int) -> None:
        module = PalindromeLSTM(6, target="second_half")
        data = palindromes(length=length, target="second_half", batch_size=40, test_size=90)
        (logged,) = plain_trainer().test(module, datamodule=data, verbose=False)
        loader: Any = data.test_dataloader()
        digits, target = (torch.cat(parts) for parts in zip(*(batch[:2] for batch in loader), strict=True))
        assert len(target) == 90
        with torch.no_grad():
            right = (module(digits, length // 2).argmax(dim=-1) == target).double()
        expected = {f"test/accuracy/T={length}": float(right.mean())}
        positions = range((length + 1) // 2 + 1, length + 1)  # 11 to 20 of 20
        assert len(positions) == target.shape[1]
        for position, accuracy in zip(positions, right.mean(dim=0).tolist(), strict=True):
            expected[f"test/accuracy/position={position}"] = accuracy
        assert logged == pytest.approx(expected)

    def test_validation_counts_every_position(self, plain_trainer: MakeTrainer) -> None:
        module = PalindromeRNN(6, target="second_half")
        data = palindromes(length=8, target="second_half", validation_batches=3)
        (logged,) = plain_trainer().validate(module, datamodule=data, verbose=False)
        digits, target = (torch.cat(parts) for parts in zip(*data.val_dataloader(), strict=True))
        with torch.no_grad():
            logits = module(digits, 4)
        accuracy = float((logits.argmax(dim=-1) == target).float().mean())
        assert logged["val/accuracy"] == pytest.approx(accuracy)
        assert logged["val/loss"] == pytest.approx(float(F.cross_entropy(logits.flatten(0, 1), target.flatten())))

    def test_it_learns(self, plain_trainer: MakeTrainer) -> None:
        module, losses = PalindromeLSTM(16, target="second_half", optimizer=partial(torch.optim.Adam, lr=0.02)), []

        class Losses(Callback):
            def on_train_batch_end(self, trainer: Trainer, module: LightningModule, outputs: Any, *_: Any) -> None:
                losses.append(float(outputs["loss"]))

        data = palindromes(length=4, target="second_half", batch_size=64)
        plain_trainer(max_steps=150, callbacks=[Losses()], limit_val_batches=0).fit(module, datamodule=data)
        assert losses[0] > 2
        assert losses[-1] < 0.5 * losses[0]

    def test_a_checkpoint_can_be_loaded_without_a_word_about_its_target(
        self, plain_trainer: MakeTrainer, tmp_path: Path
    ) -> None:
        module, path = PalindromeLSTM(6, target="second_half"), tmp_path / "recall.ckpt"
        trainer = plain_trainer(max_steps=1, limit_val_batches=0)
        trainer.fit(module, datamodule=palindromes(length=6, target="second_half"))
        trainer.save_checkpoint(path)
        loaded = PalindromeLSTM.load_from_checkpoint(path)
        assert loaded.target == "second_half"
        digits = torch.randint(10, (3, 3))
        assert torch.equal(loaded(digits, 3), module(digits, 3))


@pytest.mark.parametrize(
    ("length", "target", "read", "answered"), [(7, "last", 6, 1), (7, "second_half", 4, 3), (2, "second_half", 1, 1)]
)
def test_predictions_are_columns_of_digits_as_text(target: Any, length: int, read: int, answered: int) -> None:
    module = PalindromeLSTM(6, target=target)
    [batch] = palindromes(length=length, target=target).predict_dataloader()
    columns = module.predict_step(batch, 0)
    assert list(columns) == ["sequence", "answer", "prediction"]
    for name, characters in (("sequence", read), ("answer", answered), ("prediction", answered)):
        assert [len(text) for text in columns[name]] == [characters] * 4
        assert all(isinstance(text, str) and set(text) <= set("0123456789") for text in columns[name])
    for sequence, answer in zip(columns["sequence"], columns["answer"], strict=True):
        assert (sequence + answer) == (sequence + answer)[::-1]
    blanks = answered if target == "second_half" else 0
    predicted = module(batch.digits, blanks).argmax(dim=-1).reshape(4, -1).tolist()
    assert columns["prediction"] == ["".join(map(str, row)) for row in predicted]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("make", [PalindromeLSTM, PalindromeRNN])
def test_an_unknown_target_is_refused(make: Any) -> None:
    with pytest.raises(ValueError, match="target is 'all'; write last or second_half"):
        make(4, target="all")
