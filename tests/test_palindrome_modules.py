"""The two that read palindromes: what they compute, log and refuse."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torch.optim.lr_scheduler import ExponentialLR, ReduceLROnPlateau

from datamodules import PalindromeDataModule
from lightning_modules import PalindromeLSTM, PalindromeRNN

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


@pytest.mark.parametrize("split", ["val", "test"])
def test_evaluation_logs_what_is_true_of_the_whole_split(plain_trainer: MakeTrainer, split: str) -> None:
    module = PalindromeLSTM(6)
    data = palindromes(kind="fixed", size=300, splits=(0.4, 0.3, 0.3), batch_size=40)  # 90 each: a short last batch
    trainer = plain_trainer()
    evaluate = trainer.validate if split == "val" else trainer.test
    (logged,) = evaluate(module, datamodule=data, verbose=False)
    loader: Any = data.val_dataloader() if split == "val" else data.test_dataloader()
    digits, target = (torch.cat(parts) for parts in zip(*(batch[:2] for batch in loader), strict=True))
    with torch.no_grad():
        logits = module(digits)
    accuracy = float((logits.argmax(dim=1) == target).float().mean())
    assert len(target) == 90
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
