"""The module of the sequence tasks: any network on any task, what it computes, logs, predicts and refuses."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Trainer
from torch import Tensor, nn

from benchmarks.bitwise_diff import differences
from callbacks import LengthCurriculum, StopWhenSolved
from common.palindrome import ADVERSARY
from datamodules import (
    FlipFlopDataModule,
    InductionDataModule,
    PalindromeDataModule,
    ParityDataModule,
    RecallDataModule,
    SequenceBatch,
)
from datamodules.resumable import EvaluationBatches
from lightning_modules import PalindromeLSTM, SequenceModel
from networks.gru import GRU
from networks.lru import LRU
from networks.lstm import LSTM
from networks.min_gru import MinGRU
from networks.rnn import RNN
from networks.s6 import S6
from networks.transformer import Transformer

MakeTrainer = Callable[..., Trainer]
Twofold = Callable[..., tuple[int, str, str]]
SMALL: dict[str, Any] = {"batch_size": 6, "batches_per_epoch": 3, "validation_batches": 2, "test_size": 10}
TASKS: list[Any] = [
    InductionDataModule(8, **SMALL),
    FlipFlopDataModule(8, **SMALL),
    RecallDataModule(10, pairs=2, keys=3, values=3, **SMALL),
    ParityDataModule(8, shortest=1, **SMALL),
    PalindromeDataModule(8, **SMALL),
    PalindromeDataModule(7, target="second_half", **SMALL),
]
STILL = partial(torch.optim.SGD, lr=0.0)


def asked(module: SequenceModel, *batches: Any) -> tuple[Tensor, Tensor]:
    """The logits and targets of what the batches ask."""
    with torch.no_grad():
        logits = torch.cat([module(batch.symbols)[0].flatten(0, 1) for batch in batches])
    targets = torch.cat([batch.targets.flatten() for batch in batches])
    return logits[targets != -100], targets[targets != -100]


@pytest.mark.parametrize(
    "network", [LSTM, RNN, GRU, MinGRU, LRU, S6, Transformer, nn.LSTM, partial(nn.GRU, num_layers=2)]
)
def test_each_network_trains_tests_and_predicts_on_each_task(
    plain_trainer: MakeTrainer, network: Any, tmp_path: Path
) -> None:
    for data in TASKS:
        symbols = len(data.symbol_names)
        module = SequenceModel(network(symbols + 1, 8))
        before = [weight.clone() for weight in module.parameters()]
        trainer = plain_trainer(2)
        trainer.fit(module, datamodule=data)
        assert any(not torch.equal(*pair) for pair in zip(before, module.parameters(), strict=True))
        accuracies: dict[str, float] = {}
        for logged in trainer.test(module, data, verbose=False):
            accuracies |= logged
        adversary = [ADVERSARY] if isinstance(data, PalindromeDataModule) and data.cases and module.has_state else []
        names = [f"T={data.length}{case}" for case in ["", *map("/".__add__, [*data.cases, *adversary])]]
        assert [*accuracies] == [f"test/accuracy/{name}" for name in names]
        assert all(0 <= accuracy <= 1 for accuracy in accuracies.values())
        predictions: Any = trainer.predict(module, data)
        assert {len(column) for column in predictions[0].values()} == {6}
    if network in (LSTM, Transformer):  # which checkpoints know by name
        trainer.save_checkpoint(path := tmp_path / "model.ckpt")
        loaded = SequenceModel.load_from_checkpoint(path).eval()
        x = torch.randint(symbols, (9, 2))
        torch.testing.assert_close(loaded(x)[0], module.eval()(x)[0], rtol=0, atol=0)


@pytest.mark.parametrize("target", ["last", "second_half"])
def test_palindromes_have_the_loss_and_the_tests_of_palindrome_lstm(plain_trainer: MakeTrainer, target: Any) -> None:
    theirs = PalindromeLSTM(6, target=target, optimizer=STILL)
    ours = SequenceModel(LSTM(theirs.network.input_size, 6), STILL)
    ours.network.load_state_dict(theirs.network.state_dict())
    with torch.no_grad():
        ours.readout.bias.fill_(-1e9)  # of the blank
        for mine, other in zip(ours.readout.parameters(), theirs.readout.parameters(), strict=True):
            mine[:10] = other
    logged = []
    for module in (theirs, ours):
        data = PalindromeDataModule(7, target=target, **SMALL)
        data.load_state_dict({"seed": 5})
        trainer = plain_trainer(3)  # an epoch
        trainer.fit(module, datamodule=data)
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        for of_length in trainer.test(module, data, verbose=False):
            metrics |= of_length
        logged.append({name: value for name, value in metrics.items() if "position" not in name})
    assert logged[0] == pytest.approx(logged[1], rel=1e-5)
    assert len(logged[0]) > 4


def test_loss_and_accuracy_are_of_what_is_asked(plain_trainer: MakeTrainer) -> None:
    module, data = SequenceModel(GRU(5, 6), STILL), TASKS[1]
    trainer = plain_trainer(3)
    trainer.fit(module, datamodule=data)
    data.trainer = None
    *_, last = data.train_dataloader()
    expected: dict[str, float] = {}
    for split, loader in (("train", [last]), ("val", data.val_dataloader())):
        logits, targets = asked(module, *loader)
        loss, accuracy = F.cross_entropy(logits, targets), (logits.argmax(1) == targets).float().mean()
        expected |= {f"{split}/loss": float(loss), f"{split}/accuracy": float(accuracy)}
    assert {name: float(value) for name, value in trainer.callback_metrics.items()} == pytest.approx(expected)


def test_each_case_has_its_own_accuracy(plain_trainer: MakeTrainer) -> None:
    module = SequenceModel(GRU(5, 6))
    data = FlipFlopDataModule(9, test_lengths=[6, 9], **SMALL)
    logged = {name: value for each in plain_trainer().test(module, data, verbose=False) for name, value in each.items()}
    for loader in data.test_dataloader():
        logits, targets = asked(module, *loader)
        accuracy = float((logits.argmax(1) == targets).double().mean())
        assert logged.pop(f"test/accuracy/{next(iter(loader)).name}") == pytest.approx(accuracy)
    assert logged == {}


def test_a_batch_that_asks_nothing_counts_nothing(plain_trainer: MakeTrainer) -> None:
    silent = SequenceBatch(torch.zeros(3, 2, dtype=torch.int64), torch.full((3, 2), -100))
    answered = silent._replace(targets=torch.zeros(3, 2, dtype=torch.int64))
    trainer, module = plain_trainer(2), SequenceModel(RNN(2, 4))
    loader = EvaluationBatches([silent, answered].__getitem__, 2)
    trainer.fit(module, loader, loader)
    assert 0 < float(trainer.callback_metrics["val/loss"]) < 2
    (metrics,) = trainer.test(module, loader, verbose=False)
    assert metrics["test/accuracy/T=3"] in (0, 0.5, 1)


def test_a_curriculum_and_the_stop_work(plain_trainer: MakeTrainer) -> None:
    class Perfect(SequenceModel):
        def training_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
            seen.append(len(batch.symbols))
            return super().training_step(batch, batch_idx) | {"accuracy": torch.ones(())}

    seen: list[int] = []
    callbacks = [LengthCurriculum(start=4, factor=2.0, perfect_batches=2), StopWhenSolved(3)]
    plain_trainer(50, callbacks=callbacks).fit(Perfect(GRU(5, 4)), datamodule=FlipFlopDataModule(12, **SMALL))
    assert seen == [4, 4, 8, 8, 12, 12, 12]


class FirstSymbol(nn.Module):
    """Keeps the first symbol that it reads, and returns it."""

    input_size = hidden_size = 10

    def forward(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        first = x[:1] if state is None else state
        return first.expand_as(x), first


def test_a_state_lasts_from_part_to_part_and_from_chunk_to_chunk(plain_trainer: MakeTrainer) -> None:
    module = SequenceModel(FirstSymbol())
    module.readout.weight.data = torch.eye(10)
    data = PalindromeDataModule(5, test_lengths=[2, 9000], **SMALL)
    (accuracies,) = plain_trainer().test(module, data, verbose=False)
    assert {*accuracies.values()} == {1.0}
    symbols = torch.randint(10, (9000, 5))
    assert torch.equal(module.predictions(symbols), symbols[:1].expand(9000, 5))


def test_a_network_without_a_state_reads_a_long_sequence_at_once() -> None:
    module = SequenceModel(Transformer(10, 4, heads=1, layers=1)).eval()
    symbols = torch.randint(10, (4100, 1))
    with torch.no_grad():
        torch.testing.assert_close(torch.cat([*module.read(symbols)]), module(symbols)[0])


def test_predictions_are_symbols_by_their_names() -> None:
    module, batch = SequenceModel(LSTM(9, 4)), next(iter(TASKS[1].predict_dataloader()))
    assert module.predict_step(batch, 0)["sequence"][0].split() == [str(int(each)) for each in batch.symbols[:, 0]]
    module._symbol_names[:5] = TASKS[1].symbol_names  # what a trainer does; the network may answer 8
    columns = {name: [row.split() for row in rows] for name, rows in module.predict_step(batch, 0).items()}
    logits, _ = module(batch.symbols)
    for names, answers, predictions, best in zip(*columns.values(), logits.argmax(2).T, strict=True):
        assert [name == "r" for name in names[::2]] == [answer != "-" for answer in answers[::2]]
        assert predictions == [
            "-" if answer == "-" else [*"01wir", "5", "6", "7", "8"][k] for answer, k in zip(answers, best, strict=True)
        ]


class Sized(nn.Module):
    """A network whose output is given."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.output = 3, 4, output

    def forward(self, x: Tensor, state: Any) -> Any:
        return self.output


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Linear(3, 4), "Linear has no input_size and hidden_size; give it both"),
        (nn.LSTM(3, 4, bidirectional=True), r"for x of \(3, 2, 3\) LSTM returns \(3, 2, 8\); return \(3, 2, 4\)"),
        (
            nn.GRU(3, 4, batch_first=True),
            r"GRU has batch_first; leave it out, because sequences are \(steps, batch, 3\)",
        ),
        (
            nn.GRUCell(3, 4),
            "GRUCell doesn't map x and a state to an output and the next state: GRUCell: Expected input",
        ),
        (
            Sized(torch.zeros(3, 2, 4)),
            "Sized doesn't map x and a state to an output and the next state: too many values",
        ),
        (Sized((torch.zeros(2, 4), None)), r"Sized returns \(2, 4\); return \(3, 2, 4\)"),
        (Sized((None, None)), "Sized doesn't map x and a state"),
    ],
)
def test_other_networks_are_refused(unchecked: None, network: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SequenceModel(network)


def fitted(twofold: Twofold, options: str) -> Path:
    """The folder of a run."""
    code, said, complained = twofold(f"fit {options}")
    assert (code, complained) == (0, "")
    return Path(said.splitlines()[-1].removeprefix("results in ")).absolute()


def test_the_command_prints_and_writes_each_case_and_readable_symbols(twofold: Twofold) -> None:
    folder = fitted(twofold, "-c flip_flop --trainer.max_steps 1")
    evaluate = f"-c {folder}/config.yaml --ckpt_path last"
    code, said, complained = twofold(f"test {evaluate} --data.test_lengths [8,20] --data.test_size 20")
    assert (code, complained) == (0, "")
    cases = ["", *map("/".__add__, FlipFlopDataModule.cases)]
    names = [f"test/accuracy/T={T}{case}" for T in (8, 20) for case in cases]
    *lines, last = said.splitlines()
    assert [name for name, accuracy in map(str.split, lines) if 0 <= float(accuracy) <= 1] == names
    assert last == f"metrics in {folder}/test.csv"
    columns = (folder / "test.csv").read_text().splitlines()[0].split(",")
    assert columns == ["checkpoint", "step", "length", *sorted(names)]
    assert twofold(f"predict {evaluate}")[0] == 0
    first = (folder / "predictions.csv").read_text().splitlines()[1].split(",")
    assert {*" ".join(first).split()} <= {*"wir01-"}


def test_the_command_refuses_parts_for_a_network_without_a_state(twofold: Twofold) -> None:
    long = "--data.length 5 --data.test_lengths [10000] --data.batch_size 2 --data.test_size 2"
    folder = fitted(twofold, f"-c recall --data PalindromeDataModule {long} --trainer.max_steps 1")
    code, said, complained = twofold(f"test -c {folder}/config.yaml --ckpt_path last")
    assert (code, said) == (2, "")
    assert complained == (
        "twofold: Transformer has no state, so it can't read a palindrome of 10,000 digits in parts of 4,096; "
        "test it at 4,096 digits or fewer\n"
    )


def test_a_resumed_run_has_the_bits_of_one_that_was_not_interrupted(twofold: Twofold) -> None:
    often = "--data.batches_per_epoch 4 --trainer.log_every_n_steps 1 --checkpoint.every_n_train_steps 2"
    options = f"-c flip_flop --data.shortest 10 {often} --trainer.max_steps"
    whole, folder = fitted(twofold, f"{options} 7"), fitted(twofold, f"{options} 3")
    assert fitted(twofold, f"-c {folder}/config.yaml --ckpt_path last --trainer.max_steps 7") == folder
    assert differences(whole, folder) == []
