"""`scripts.plot_gates`: what is plotted, and mistakes in the arguments."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule
from PIL import Image

from datamodules import FlipFlopDataModule, PalindromeDataModule, RecallDataModule
from lightning_modules import PalindromeLSTM, PalindromeRNN, SequenceModel
from networks.lstm import LSTM
from networks.rnn import RNN
from networks.transformer import Transformer
from scripts.plot_gates import main, plot, trace
from scripts.tasks import Question, Task, ask, draw, parse

Save = Callable[[LightningModule, Path], None]


def test_two_networks_stand_side_by_side(
    save_checkpoint: Save, script: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    save_checkpoint(PalindromeLSTM(6, init="forget_log", horizon=7), tmp_path / "lstm.ckpt")
    save_checkpoint(PalindromeRNN(5, init="orthogonal"), tmp_path / "rnn.ckpt")
    assert script(main, "lstm.ckpt", "rnn.ckpt", "--digits", "4079704") == (0, "gates.png\n", "")
    assert script(main, "lstm.ckpt", "--out", "new/one.png") == (0, "new/one.png\n", "")
    with Image.open(tmp_path / "gates.png") as both, Image.open(tmp_path / "new/one.png") as one:
        assert both.format == one.format == "PNG"
        assert both.width == 2 * one.width
        assert both.height == one.height > 1000
    assert {path.name for path in tmp_path.iterdir()} == {"lstm.ckpt", "rnn.ckpt", "gates.png", "new"}


def palindrome(text: str, target: str = "last") -> Question:
    data = PalindromeDataModule(len(text), target=target)  # type: ignore[arg-type]
    return ask(data, parse(data, text))


def test_trace_is_what_the_network_computes() -> None:
    model, digits = PalindromeLSTM(8), torch.tensor([4, 0, 7, 9, 7, 0, 4])
    traced = trace(model, palindrome("4079704"))
    with torch.no_grad():
        for step in range(1, 7):
            answers = model(digits[None, :step]).softmax(dim=1)[0]
            torch.testing.assert_close(traced.answers[step - 1], answers)
        _, (_, c) = model.network(model.one_hot(digits[None, :-1]))
    torch.testing.assert_close(traced.memory[-1].sort().values, c.flatten().sort().values)
    f, i, g, c = (traced.gates["f"], traced.gates["i"], traced.gates["g"], traced.memory)
    torch.testing.assert_close(c[1:], f[1:] * c[:-1] + i[1:] * g[1:])
    assert (traced.deviation[-1].diff() <= 0).all(), "units are sorted by it"


@pytest.mark.parametrize("model", [PalindromeLSTM(8), PalindromeRNN(8)])
def test_deviation_is_due_to_the_first_digit(model: PalindromeLSTM | PalindromeRNN) -> None:
    """Deviations of the ten first digits sum to 0; a network without input weights has none."""
    palindromes = [palindrome(f"{first}535{first}") for first in range(10)]
    traces = [trace(model, each) for each in palindromes]
    sums = sum(traced.deviation.sum(dim=1) for traced in traces)
    torch.testing.assert_close(sums, torch.zeros(4), atol=1e-5, rtol=0)
    with torch.no_grad():
        model.network.weight_ih_l0.fill_(0)
    without_input = trace(model, palindromes[0])
    assert without_input.deviation.abs().max() < 1e-6
    plot(palindromes[0], [without_input]).draw_without_rendering()


@pytest.mark.parametrize(("text", "symbols"), [("4004", "40__"), ("40704", "407__"), ("44", "4_")])
def test_second_half_ends_with_the_first_digit(text: str, symbols: str) -> None:
    model, question = PalindromeLSTM(3, target="second_half"), palindrome(text, "second_half")
    assert "".join(map(question.name, question.symbols.tolist())) == symbols
    traced, blanks = trace(model, question), symbols.count("_")
    expected = model(torch.tensor([[int(digit) for digit in symbols.strip("_")]]), blanks)[0, -1]
    torch.testing.assert_close(traced.answers[-1], expected.softmax(dim=0))
    assert traced.result.endswith(f"of {blanks} answers right")
    plot(question, [traced]).draw_without_rendering()


@pytest.mark.parametrize("network", [LSTM(5, 4), RNN(6, 4), Transformer(5, 8)], ids=lambda each: type(each).__name__)
def test_any_network_on_any_task_has_a_picture(network: torch.nn.Module) -> None:
    """Also on a sequence without an answer, and of a network with more symbols than the task."""
    model, task = SequenceModel(network).eval(), FlipFlopDataModule(8)
    questions = [ask(task, parse(task, text)) for text in ("w1i0r1w0r0", "r 0 1 1")]
    traces = [trace(model, question) for question in questions]
    logits, _ = model(questions[0].symbols[:, None])
    torch.testing.assert_close(traces[0].answers, logits[:, 0].softmax(dim=1))
    assert traces[0].result.endswith("of 2 answers right")
    assert traces[1].result == "no answer is right"
    assert bool(traces[0].gates) == isinstance(network, LSTM)
    for question, traced in zip(questions, traces, strict=True):
        plot(question, [traced]).draw_without_rendering()


@pytest.mark.parametrize(
    ("task", "length"), [*((PalindromeDataModule(2), T) for T in (2, 26, 1000)), (RecallDataModule(16), 24)]
)
def test_step_labels_do_not_overlap(task: Task, length: int) -> None:
    question = ask(task, draw(task, length, "", seed=3))
    model = SequenceModel(RNN(len(task.symbol_names), 3))
    figure = plot(question, [trace(model, question)])
    figure.draw_without_rendering()
    (axis,) = (axis for axis in figure.axes if axis.get_xlabel())
    labels = axis.get_xticklabels()
    assert labels[0].get_text() == f"{question.name(int(question.symbols[0]))}\n1"
    boxes = [label.get_window_extent() for label in labels]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


MISTAKES = [
    ("", "the following arguments are required: checkpoints"),
    ("rnn.ckpt --digits 40x04", "symbol 'x' isn't one of 0 1 2 3 4 5 6 7 8 9"),
    ("rnn.ckpt half.ckpt", "half.ckpt is of the task second half, not last digit; choose one task"),
    ("flip_flop.ckpt --length 3", "3 steps are too few for flip-flop, p_ignore 0.8; write 4 or more"),
    ("untold.ckpt", "untold.ckpt is of a task that isn't known here; name the module of its class, as --import mine"),
    ("rnn.ckpt --import nowhere", "--import: can't import nowhere: No module named 'nowhere'"),
    ("rnn.ckpt --length 1", "--length: can't be 1; write a whole number, 2 or more"),
    ("rnn.ckpt --out gates.pdf", "--out: can't be gates.pdf; write a name that ends in .png"),
    ("truncated.ckpt", "truncated.ckpt is damaged"),
    ("other.ckpt", "other.ckpt is not a checkpoint of one of PalindromeLSTM, PalindromeRNN, SequenceModel; write"),
    ("overflowing.ckpt --length 1000", "the RNN's memory overflows within 999 steps; write fewer"),
]


def test_mistakes_get_one_line(
    save_checkpoint: Save, save_trained: Callable[..., None], refuses: Callable[..., None], tmp_path: Path
) -> None:
    save_checkpoint(PalindromeRNN(5, target="second_half"), tmp_path / "half.ckpt")
    save_checkpoint(SequenceModel(RNN(5, 3)), tmp_path / "untold.ckpt")
    save_trained(SequenceModel(RNN(5, 3)), FlipFlopDataModule(8), tmp_path / "flip_flop.ckpt")
    overflowing = PalindromeRNN(5, nonlinearity="relu", init="identity")
    with torch.no_grad():
        overflowing.network.weight_hh_l0.mul_(3)
    save_checkpoint(overflowing, tmp_path / "overflowing.ckpt")
    save_checkpoint(PalindromeRNN(5), tmp_path / "rnn.ckpt")
    (tmp_path / "truncated.ckpt").write_bytes((tmp_path / "rnn.ckpt").read_bytes()[:1000])
    torch.save({"module": "DigitClassifier"}, tmp_path / "other.ckpt")
    refuses(main, MISTAKES)
