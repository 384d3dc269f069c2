"""`scripts.plot_gates`: what is plotted, and mistakes in the arguments."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from matplotlib.figure import Figure
from PIL import Image

from datamodules import MNISTDataModule, PalindromeDataModule
from lightning_modules import DigitClassifier, PalindromeLSTM, PalindromeRNN
from networks.classifiers import DigitCNN
from scripts.plot_gates import (
    GATES,
    main,
    plot,
    random_palindrome,
    trace,
)

MakeTrainer = Callable[..., Trainer]
Show = Callable[..., tuple[int, str, str]]


@pytest.fixture
def save(plain_trainer: MakeTrainer, tmp_path: Path) -> Callable[[str, LightningModule], Path]:
    """Trains for one step with a plain Trainer and saves a checkpoint of this name."""

    def save(name: str, module: LightningModule) -> Path:
        trainer = plain_trainer(max_steps=1, limit_val_batches=0)
        is_classifier = isinstance(module, DigitClassifier)
        trainer.fit(module, datamodule=MNISTDataModule(source="packaged") if is_classifier else PalindromeDataModule(5))
        trainer.save_checkpoint(tmp_path / name)
        return tmp_path / name

    return save


@pytest.fixture
def show(script: Callable[..., tuple[int, str, str]]) -> Show:
    """`show(checkpoint, "--digits", …)`: exit code, stdout, stderr."""
    return partial(script, main)


def titles(figure: Figure) -> list[str]:
    return [axis.get_title() for axis in figure.axes if axis.get_title()]


def test_two_networks_stand_side_by_side(save: Callable[..., Path], show: Show, tmp_path: Path) -> None:
    lstm = save("lstm.ckpt", PalindromeLSTM(6, init="forget_log", horizon=7))
    rnn = save("rnn.ckpt", PalindromeRNN(5, init="orthogonal"))
    assert show(lstm, rnn, "--digits", "4079704") == (0, "gates.png\n", "")
    assert show(lstm, "--out", "new/one.png") == (0, "new/one.png\n", "")
    with Image.open(tmp_path / "gates.png") as both, Image.open(tmp_path / "new/one.png") as one:
        assert both.format == one.format == "PNG"
        assert both.width == 2 * one.width
        assert both.height == one.height > 1000
    assert {path.name for path in tmp_path.iterdir()} == {"lstm.ckpt", "rnn.ckpt", "gates.png", "new"}


def test_trace_is_what_the_network_computes() -> None:
    model, palindrome = PalindromeLSTM(8), torch.tensor([4, 0, 7, 9, 7, 0, 4])
    traced = trace(model, palindrome)
    with torch.no_grad():
        for step in range(1, 7):
            answers = model(palindrome[None, :step]).softmax(dim=1)[0]
            torch.testing.assert_close(traced.answers[step - 1], answers)
        _, (_, c) = model.network(model.one_hot(palindrome[None, :-1]))
    torch.testing.assert_close(traced.memory[-1].sort().values, c.flatten().sort().values)
    assert list(traced.gates) == list(GATES)
    f, i, g, c = (traced.gates["f"], traced.gates["i"], traced.gates["g"], traced.memory)
    torch.testing.assert_close(c[1:], f[1:] * c[:-1] + i[1:] * g[1:])
    assert all(gate.shape == traced.memory.shape == traced.deviation.shape == (6, 8) for gate in traced.gates.values())
    assert (traced.deviation[-1].diff() <= 0).all(), "units are sorted by it"


@pytest.mark.parametrize("model", [PalindromeLSTM(8), PalindromeRNN(8)])
def test_deviation_is_due_to_the_first_digit(model: PalindromeLSTM | PalindromeRNN) -> None:
    """Deviations of the ten first digits sum to 0; a network without input weights has none."""
    palindromes = [torch.tensor([first, 5, 3, 5, first]) for first in range(10)]
    traces = [trace(model, palindrome) for palindrome in palindromes]
    sums = sum(traced.deviation.sum(dim=1) for traced in traces)
    torch.testing.assert_close(sums, torch.zeros(4), atol=1e-5, rtol=0)
    square = torch.stack([traced.deviation.square().mean(dim=1) for traced in traces]).mean(dim=0)
    for traced in traces:
        torch.testing.assert_close(traced.spread, square.sqrt())
    with torch.no_grad():
        model.network.weight_ih_l0.fill_(0)
    without_input = trace(model, palindromes[0])
    assert without_input.spread.max() < 1e-6
    plot(palindromes[0], [without_input]).draw_without_rendering()


def test_perfect_memory_recalls_every_first_digit() -> None:
    """An RNN with one unit for each digit, in which older digits weigh more."""
    model = PalindromeRNN(10, nonlinearity="relu", init="identity")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0)
        model.network.weight_ih_l0.copy_(torch.eye(10))
        model.network.weight_hh_l0.copy_(2 * torch.eye(10))
        model.readout.weight.copy_(torch.eye(10))
    traced = trace(model, torch.tensor([7, 1, 2, 1, 7]))
    assert traced.result == "answers 7: right; recalls 10 of the ten first digits"
    assert traced.answers.argmax(dim=1).tolist() == [7] * 4
    assert traced.deviation[-1].argmax() == 0
    assert (traced.spread.diff() > 0).all()
    model.readout.weight.data.neg_()
    assert trace(model, torch.tensor([1, 1])).result == "answers 0: wrong, it was 1; recalls 0 of the ten first digits"


def test_panels_depend_on_the_networks() -> None:
    palindrome = torch.tensor([4, 0, 4])
    both = plot(palindrome, [trace(PalindromeLSTM(3), palindrome), trace(PalindromeRNN(3), palindrome)])
    assert both.get_suptitle() == "palindrome 404, last answer 4"
    assert titles(both).count("probability of each answer, if asked after this step") == 2
    assert [title for title in titles(both) if title in GATES.values()] == list(GATES.values())
    alone = plot(palindrome, [trace(PalindromeRNN(3), palindrome)])
    assert not set(titles(alone)) & set(GATES.values())
    assert "hidden state h: the part due to the first digit, 4 (units sorted by it)" in titles(alone)
    assert alone.get_figheight() < both.get_figheight()


@pytest.mark.parametrize(("text", "symbols"), [("4004", "40··"), ("40704", "407··"), ("44", "4·")])
def test_second_half_ends_with_the_first_digit(text: str, symbols: str) -> None:
    model, palindrome = PalindromeLSTM(3, target="second_half"), torch.tensor([int(digit) for digit in text])
    traced = trace(model, palindrome)
    assert traced.symbols == symbols
    blanks = symbols.count("·")
    expected = model(palindrome[None, : len(text) - blanks], blanks)[0, -1]
    torch.testing.assert_close(traced.answers[-1], expected.softmax(dim=0))
    plot(palindrome, [traced]).draw_without_rendering()


@pytest.mark.parametrize("length", [2, 3, 20, 26, 1000])
def test_step_labels_do_not_overlap(length: int) -> None:
    palindrome = random_palindrome(length, seed=3)
    figure = plot(palindrome, [trace(PalindromeRNN(3), palindrome)])
    figure.draw_without_rendering()
    (axis,) = (axis for axis in figure.axes if axis.get_xlabel())
    labels = axis.get_xticklabels()
    assert labels[0].get_text() == f"{palindrome[0]}\n1"
    boxes = [label.get_window_extent() for label in labels]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


MISTAKES = [
    ("", "the following arguments are required: checkpoints"),
    ("rnn.ckpt --digits", "argument --digits: expected one argument"),
    ("rnn.ckpt --digits 40x04", "--digits: can't be 40x04; write a palindrome of two or more digits"),
    ("rnn.ckpt --digits ٣٣", "--digits: can't be ٣٣; write a palindrome"),
    ("rnn.ckpt --digits 4", "--digits: can't be 4; write a palindrome"),
    ("rnn.ckpt --digits 4079", "--digits: can't be 4079; write a palindrome"),
    ("rnn.ckpt --length 1", "--length: can't be 1; write a whole number, 2 or more"),
    ("rnn.ckpt --out gates.pdf", "--out can't be gates.pdf; write a name that ends in .png"),
    ("rnn.ckpt nowhere.ckpt", "nowhere.ckpt is not a file"),
    ("truncated.ckpt", "truncated.ckpt is damaged"),
    ("code.ckpt", "code.ckpt is damaged or holds more than tensors and plain values, so it isn't loaded"),
    ("classifier.ckpt", "classifier.ckpt is not a checkpoint of a PalindromeLSTM or a PalindromeRNN"),
    ("list.ckpt", "list.ckpt is not a checkpoint of a PalindromeLSTM or a PalindromeRNN"),
    ("half.ckpt", "half.ckpt is not a checkpoint of a PalindromeLSTM"),
    ("overflowing.ckpt --length 1000", "the RNN's memory overflows within 999 digits; write fewer"),
]


@pytest.fixture
def files(save: Callable[..., Path], tmp_path: Path) -> None:
    """One good checkpoint, and others that aren't."""
    overflowing = PalindromeRNN(5, nonlinearity="relu", init="identity")
    with torch.no_grad():
        overflowing.network.weight_hh_l0.mul_(3)
    for name, module in (
        ("rnn", PalindromeRNN(5)),
        ("overflowing", overflowing),
        ("classifier", DigitClassifier(DigitCNN())),
    ):
        save(f"{name}.ckpt", module)
    (tmp_path / "truncated.ckpt").write_bytes((tmp_path / "rnn.ckpt").read_bytes()[:1000])
    torch.save(
        {"hyper_parameters": {"horizon": None}, "module": "PalindromeLSTM", "code": print}, tmp_path / "code.ckpt"
    )
    torch.save({"module": "PalindromeLSTM"}, tmp_path / "half.ckpt")
    torch.save([1], tmp_path / "list.ckpt")


@pytest.mark.usefixtures("files")
def test_mistakes_get_one_line(refuses: Callable[..., None]) -> None:
    refuses(main, MISTAKES)
