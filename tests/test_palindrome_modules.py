"""The modules of the palindrome tasks: what they compute, log and refuse."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Trainer
from torch import Tensor, nn
from torch.optim.lr_scheduler import ExponentialLR

from datamodules import ChunkedPalindromes, PalindromeDataModule
from datamodules.palindromes.worst_cases import CASES
from lightning_modules import PalindromeLSTM, PalindromeRNN

MakeTrainer = Callable[..., Trainer]
BOTH = [PalindromeLSTM, PalindromeRNN]


def palindromes(**arguments: Any) -> PalindromeDataModule:
    return PalindromeDataModule(**{"length": 5, "batch_size": 4, "batches_per_epoch": 3, **arguments})


@pytest.mark.parametrize(("module", "theirs"), [(PalindromeLSTM(6), nn.LSTM(10, 6)), (PalindromeRNN(6), nn.RNN(10, 6))])
def test_logits_are_those_of_torchs_network(module: Any, theirs: nn.Module) -> None:
    theirs.load_state_dict(module.network.state_dict())
    digits = torch.randint(10, (3, 7))
    output, _ = theirs(torch.eye(10)[digits].transpose(0, 1))
    torch.testing.assert_close(module(digits), module.readout(output[-1]))


@pytest.mark.parametrize("make", BOTH)
@pytest.mark.parametrize(("length", "read", "blanks"), [(2, 1, 1), (9, 5, 4)])
def test_logits_of_the_second_half_come_at_the_blanks(make: Any, length: int, read: int, blanks: int) -> None:
    module = make(6, target="second_half").double()
    digits = torch.randint(10, (3, read))
    logits = module(digits, blanks)
    assert logits.shape == (3, blanks, 10)
    symbols = torch.cat([digits, torch.full((3, blanks), 10)], dim=1)
    output, _ = module.network(torch.eye(11, dtype=torch.double)[symbols].transpose(0, 1))
    torch.testing.assert_close(logits, module.readout(output[read:]).transpose(0, 1))


@pytest.mark.parametrize("make", BOTH)
@pytest.mark.parametrize(("target", "blanks"), [("last", 0), ("second_half", 3)])
def test_a_batch_logs_its_loss_and_accuracy(plain_trainer: MakeTrainer, make: Any, target: str, blanks: int) -> None:
    module = make(6, target=target, optimizer=partial(torch.optim.SGD, lr=0.0))
    data = palindromes(length=6, target=target, batch_size=32)
    digits, answer = next(iter(data.train_dataloader()))
    trainer = plain_trainer(1, limit_val_batches=0)
    trainer.fit(module, datamodule=data)
    with torch.no_grad():
        logits = module(digits, blanks)
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    loss, accuracy = F.cross_entropy(logits.flatten(0, -2), answer.flatten()), logits.argmax(-1) == answer
    assert logged == pytest.approx({"train/loss": float(loss), "train/accuracy": float(accuracy.float().mean())})


def test_batches_are_logged_at_the_interval_and_at_epoch_ends(plain_trainer: MakeTrainer) -> None:
    logged: list[int] = []
    module = PalindromeLSTM(4)
    module.log = lambda name, *_, **__: logged.append(module.trainer.global_step)  # type: ignore[method-assign]
    trainer = plain_trainer(13, log_every_n_steps=4, limit_val_batches=0)
    trainer.fit(module, datamodule=palindromes(batches_per_epoch=5))
    assert logged[::2] == [4, 5, 8, 10, 12, 13]  # loss and accuracy


def test_the_test_logs_accuracy_for_each_position(plain_trainer: MakeTrainer) -> None:
    module = PalindromeLSTM(6, target="second_half")
    data = palindromes(length=9, target="second_half", batch_size=40, test_size=90)  # a short last batch
    (logged,) = plain_trainer().test(module, datamodule=data, verbose=False)
    loader: Any = data.test_dataloader()
    digits, answer = (torch.cat(parts) for parts in zip(*(batch[:2] for batch in loader), strict=True))
    with torch.no_grad():
        correct = (module(digits, 4).argmax(dim=-1) == answer).double()
    positions = {f"test/accuracy/position={6 + n}": float(at) for n, at in enumerate(correct.mean(dim=0))}
    assert logged == pytest.approx({"test/accuracy/T=9": float(correct.mean()), **positions})


@pytest.mark.parametrize("make", BOTH)
def test_chunks_give_the_logits_of_the_whole(plain_trainer: MakeTrainer, make: Any) -> None:
    lengths, module = [2, 4100], make(5).double()
    data = palindromes(batch_size=100, test_lengths=lengths, test_size=130)
    (logged,) = plain_trainer().test(module, datamodule=data, verbose=False)
    loaders: Any = data.test_dataloader()
    chunked = [loader for loader in loaders.loaders if isinstance(loader, ChunkedPalindromes)]
    expected = {
        f"test/accuracy/T={loader.length}/{loader.case}".rstrip("/"): accuracy_of_the_whole(module, loader)
        for loader in chunked
    }
    assert len(expected) == len(lengths) * (1 + len(CASES))
    assert {name: logged[name] for name in expected} == pytest.approx(expected)
    assert logged.keys() - expected.keys() == {"test/accuracy/T=2/adversary"}  # the other lengths are too long


@pytest.mark.parametrize("make", BOTH)
def test_an_adversary_picks_the_worst_digit_each_time(plain_trainer: MakeTrainer, make: Any) -> None:
    module = make(5).double()
    with torch.no_grad():
        module.readout.weight *= 20
        right = [worst(module, [n // 10, n % 10], read=6) for n in range(100)]
    (logged,) = plain_trainer().test(module, datamodule=palindromes(length=7, batch_size=33), verbose=False)
    assert logged["test/accuracy/T=7/adversary"] == pytest.approx(sum(right) / 100)


def worst(module: Any, digits: list[int], read: int) -> bool:
    """Whether the network is right at the end; it reads the whole sequence again for each digit."""
    for _ in range(read - len(digits)):
        logits = module(torch.tensor([[*digits, digit] for digit in range(10)]))
        others = logits.clone()
        others[:, digits[0]] = -torch.inf
        digits = [*digits, int((logits[:, digits[0]] - others.amax(dim=1)).argmin())]
    return int(module(torch.tensor([digits])).argmax()) == digits[0]


def accuracy_of_the_whole(module: Any, loader: Any) -> float:
    correct: list[Tensor] = []
    parts: list[Tensor] = []
    for chunk in loader:
        parts = [chunk.digits] if chunk.starts else [*parts, chunk.digits]
        if chunk.ends:
            with torch.no_grad():
                correct.append(module(torch.cat(parts, dim=1)).argmax(dim=1) == chunk.target)
    return float(torch.cat(correct).double().mean())


def test_schedulers_step_with_every_batch(plain_trainer: MakeTrainer) -> None:
    sgd, halving = partial(torch.optim.SGD, lr=1.0), partial(ExponentialLR, gamma=0.5)
    trainer = plain_trainer(4, limit_val_batches=0)
    trainer.fit(PalindromeLSTM(4, optimizer=sgd, lr_scheduler=halving), datamodule=palindromes())
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0.5**4


def test_initialisation_and_horizon_reach_the_network() -> None:
    forget_bias = PalindromeLSTM(4, init="forget_log", horizon=20).network.bias_ih_l0[4:8]
    torch.testing.assert_close(forget_bias, torch.full((4,), 20.0).log())
    rnn = PalindromeRNN(4, nonlinearity="relu", init="identity").network
    assert rnn.weight_hh_l0.equal(torch.eye(4))
    assert rnn.nonlinearity == "relu"


@pytest.mark.parametrize("make", BOTH)
@pytest.mark.usefixtures("unchecked")
def test_unknown_targets_are_refused(make: Any) -> None:
    with pytest.raises(ValueError, match="target is 'all'; write one of last, second_half"):
        make(target="all")


@pytest.mark.parametrize(("target", "read", "blanks"), [("last", 6, 0), ("second_half", 4, 3)])
def test_predictions_are_columns_of_text(target: Any, read: int, blanks: int) -> None:
    module = PalindromeLSTM(6, target=target)
    [batch] = palindromes(length=7, target=target).predict_dataloader()
    columns = module.predict_step(batch, 0)
    assert {len(sequence) for sequence in columns["sequence"]} == {read}
    for sequence, answer in zip(columns["sequence"], columns["answer"], strict=True):
        assert (sequence + answer) == (sequence + answer)[::-1]
    predicted = module(batch.digits, blanks).argmax(dim=-1).reshape(4, -1)
    assert columns["prediction"] == ["".join(map(str, row)) for row in predicted.tolist()]
