"""`scripts.plot_gates`: what is plotted, and mistakes in the arguments."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule
from PIL import Image

from lightning_modules import PalindromeLSTM, PalindromeRNN
from scripts.plot_gates import main, plot, random_palindrome, trace, trained_length

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


def test_length_is_by_default_the_trained_one() -> None:
    assert trained_length([PalindromeRNN(3), PalindromeLSTM(3, horizon=7), PalindromeLSTM(3, horizon=9)]) == 7
    assert trained_length([PalindromeRNN(3), PalindromeLSTM(3)]) == 20


def test_trace_is_what_the_network_computes() -> None:
    model, palindrome = PalindromeLSTM(8), torch.tensor([4, 0, 7, 9, 7, 0, 4])
    traced = trace(model, palindrome)
    with torch.no_grad():
        for step in range(1, 7):
            answers = model(palindrome[None, :step]).softmax(dim=1)[0]
            torch.testing.assert_close(traced.answers[step - 1], answers)
        _, (_, c) = model.network(model.one_hot(palindrome[None, :-1]))
    torch.testing.assert_close(traced.memory[-1].sort().values, c.flatten().sort().values)
    f, i, g, c = (traced.gates["f"], traced.gates["i"], traced.gates["g"], traced.memory)
    torch.testing.assert_close(c[1:], f[1:] * c[:-1] + i[1:] * g[1:])
    assert (traced.deviation[-1].diff() <= 0).all(), "units are sorted by it"


@pytest.mark.parametrize("model", [PalindromeLSTM(8), PalindromeRNN(8)])
def test_deviation_is_due_to_the_first_digit(model: PalindromeLSTM | PalindromeRNN) -> None:
    """Deviations of the ten first digits sum to 0; a network without input weights has none."""
    palindromes = [torch.tensor([first, 5, 3, 5, first]) for first in range(10)]
    traces = [trace(model, palindrome) for palindrome in palindromes]
    sums = sum(traced.deviation.sum(dim=1) for traced in traces)
    torch.testing.assert_close(sums, torch.zeros(4), atol=1e-5, rtol=0)
    with torch.no_grad():
        model.network.weight_ih_l0.fill_(0)
    without_input = trace(model, palindromes[0])
    assert without_input.spread.max() < 1e-6
    plot(palindromes[0], [without_input]).draw_without_rendering()


def test_result_counts_the_recalled_digits() -> None:
    model = PalindromeRNN(3)
    torch.nn.init.zeros_(model.readout.weight)
    model.readout.bias.data = torch.eye(10)[7]  # answers 7
    results = [trace(model, torch.tensor([first, first])).result for first in (7, 1)]
    recalled = "recalls 1 of the ten first digits"
    assert results == [f"answers 7: right; {recalled}", f"answers 7: wrong, it was 1; {recalled}"]


@pytest.mark.parametrize(("text", "symbols"), [("4004", "40··"), ("40704", "407··"), ("44", "4·")])
def test_second_half_ends_with_the_first_digit(text: str, symbols: str) -> None:
    model, palindrome = PalindromeLSTM(3, target="second_half"), torch.tensor([int(digit) for digit in text])
    traced = trace(model, palindrome)
    assert traced.symbols == symbols
    blanks = symbols.count("·")
    expected = model(palindrome[None, : len(text) - blanks], blanks)[0, -1]
    torch.testing.assert_close(traced.answers[-1], expected.softmax(dim=0))
    plot(palindrome, [traced]).draw_without_rendering()


@pytest.mark.parametrize("length", [2, 26, 1000])
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
    ("rnn.ckpt --digits 40x04", "write a palindrome of up to 1,000 digits, or up to 500 digits to be mirrored"),
    ("rnn.ckpt --length 1", "--length: can't be 1; write a whole number, 2 or more"),
    ("rnn.ckpt --out gates.pdf", "--out: can't be gates.pdf; write a name that ends in .png"),
    ("truncated.ckpt", "truncated.ckpt is damaged"),
    ("other.ckpt", "other.ckpt is not a checkpoint of a PalindromeLSTM or a PalindromeRNN"),
    ("overflowing.ckpt --length 1000", "the RNN's memory overflows within 999 digits; write fewer"),
]


def test_mistakes_get_one_line(save_checkpoint: Save, refuses: Callable[..., None], tmp_path: Path) -> None:
    overflowing = PalindromeRNN(5, nonlinearity="relu", init="identity")
    with torch.no_grad():
        overflowing.network.weight_hh_l0.mul_(3)
    save_checkpoint(overflowing, tmp_path / "overflowing.ckpt")
    save_checkpoint(PalindromeRNN(5), tmp_path / "rnn.ckpt")
    (tmp_path / "truncated.ckpt").write_bytes((tmp_path / "rnn.ckpt").read_bytes()[:1000])
    torch.save({"module": "DigitClassifier"}, tmp_path / "other.ckpt")
    refuses(main, MISTAKES)
