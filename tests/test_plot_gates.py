"""The picture of a memory: what it is drawn from, and what is refused in words."""

from collections.abc import Callable, Sequence
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
    default_length,
    draw,
    load,
    main,
    parse_palindrome,
    random_palindrome,
    read,
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
    """`show(checkpoint, "--digits", …)`: exit code, what it printed, what it complained."""
    return partial(script, main)


def titles(figure: Figure) -> list[str]:
    return [axis.get_title() for axis in figure.axes if axis.get_title()]


def test_an_lstm_beside_an_rnn_become_one_png(save: Callable[..., Path], show: Show, tmp_path: Path) -> None:
    lstm = save("lstm.ckpt", PalindromeLSTM(6, init="forget_log", horizon=7))
    rnn = save("rnn.ckpt", PalindromeRNN(5, init="orthogonal"))
    assert show(lstm, rnn, "--digits", "4079704") == (0, "gates.png\n", "")
    assert show(lstm, "--out", "new/one.png") == (0, "new/one.png\n", "")
    with Image.open(tmp_path / "gates.png") as both, Image.open(tmp_path / "new/one.png") as one:
        assert both.format == one.format == "PNG"
        assert both.width == 2 * one.width
        assert both.height == one.height > 1000
    assert {path.name for path in tmp_path.iterdir()} == {"lstm.ckpt", "rnn.ckpt", "gates.png", "new"}


def test_the_same_command_draws_the_same_picture(save: Callable[..., Path], show: Show, tmp_path: Path) -> None:
    rnn = save("rnn.ckpt", PalindromeRNN(5))
    pictures = []
    for seed in (1, 1, 2):
        assert show(rnn, "--length", 6, "--seed", seed)[0] == 0
        pictures.append((tmp_path / "gates.png").read_bytes())
    assert pictures[0] == pictures[1] != pictures[2]


def test_a_reading_is_what_the_network_computes() -> None:
    model, palindrome = PalindromeLSTM(8), torch.tensor([4, 0, 7, 9, 7, 0, 4])
    reading = read(model, palindrome)
    with torch.no_grad():
        for step in range(1, 7):
            answers = model(palindrome[None, :step]).softmax(dim=1)[0]
            torch.testing.assert_close(reading.answers[step - 1], answers)
        _, (_, c) = model.network(model.one_hot(palindrome[None, :-1]))
    torch.testing.assert_close(reading.memory[-1].sort().values, c.flatten().sort().values)
    assert list(reading.gates) == list(GATES)
    f, i, g, c = (reading.gates["f"], reading.gates["i"], reading.gates["g"], reading.memory)
    torch.testing.assert_close(c[1:], f[1:] * c[:-1] + i[1:] * g[1:])
    assert all(gate.shape == reading.memory.shape == reading.kept.shape == (6, 8) for gate in reading.gates.values())
    assert (reading.kept[-1].diff() <= 0).all(), "sorted by what the first digit makes of the units at the end"


@pytest.mark.parametrize("model", [PalindromeLSTM(8), PalindromeRNN(8)])
def test_kept_is_what_changes_with_the_first_digit_alone(model: PalindromeLSTM | PalindromeRNN) -> None:
    """The parts of the ten first digits sum to 0, and a network blind to its input keeps nothing."""
    palindromes = [torch.tensor([first, 5, 3, 5, first]) for first in range(10)]
    readings = [read(model, palindrome) for palindrome in palindromes]
    sums = sum(reading.kept.sum(dim=1) for reading in readings)
    torch.testing.assert_close(sums, torch.zeros(4), atol=1e-5, rtol=0)
    square = torch.stack([reading.kept.square().mean(dim=1) for reading in readings]).mean(dim=0)
    for reading in readings:
        torch.testing.assert_close(reading.spread, square.sqrt())
    with torch.no_grad():
        model.network.weight_ih_l0.fill_(0)
    blind = read(model, palindromes[0])
    assert blind.spread.max() < 1e-6
    draw(palindromes[0], [blind]).draw_without_rendering()


def test_a_perfect_memory_is_seen_as_one() -> None:
    """An RNN whose first ten units take in the digits and whose readout knows which came first."""
    model = PalindromeRNN(10, nonlinearity="relu", init="identity")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0)
        model.network.weight_ih_l0.copy_(torch.eye(10))
        model.network.weight_hh_l0.copy_(2 * torch.eye(10))  # what is older counts more
        model.readout.weight.copy_(torch.eye(10))
    reading = read(model, torch.tensor([7, 1, 2, 1, 7]))
    assert reading.result == "answers 7, right; names 10 of the ten first digits right"
    assert reading.answers.argmax(dim=1).tolist() == [7] * 4
    assert reading.kept[-1].argmax() == 0
    assert (reading.spread.diff() > 0).all()
    model.readout.weight.data.neg_()
    assert read(model, torch.tensor([1, 1])).result == "answers 0, but it was 1; names 0 of the ten first digits right"


def test_titles_say_what_there_is_to_see() -> None:
    palindrome = torch.tensor([4, 0, 4])
    both = draw(palindrome, [read(PalindromeLSTM(3), palindrome), read(PalindromeRNN(3), palindrome)])
    assert both.get_suptitle() == "palindrome 404, last answer 4"
    assert titles(both).count("what it would answer if it were asked now") == 2
    assert [title for title in titles(both) if title in GATES.values()] == list(GATES.values())
    alone = draw(palindrome, [read(PalindromeRNN(3), palindrome)])
    assert not set(titles(alone)) & set(GATES.values())
    assert "hidden state h: the part due to the first digit, 4 (sorts the units)" in titles(alone)
    assert alone.get_figheight() < both.get_figheight()


@pytest.mark.parametrize(("text", "symbols"), [("4004", "40··"), ("40704", "407··"), ("44", "4·")])
def test_of_the_second_half_the_last_answer_is_the_first_digit(text: str, symbols: str) -> None:
    model, palindrome = PalindromeLSTM(3, target="second_half"), parse_palindrome(text)
    reading = read(model, palindrome)
    assert reading.symbols == symbols
    blanks = symbols.count("·")
    expected = model(palindrome[None, : len(text) - blanks], blanks)[0, -1]
    torch.testing.assert_close(reading.answers[-1], expected.softmax(dim=0))
    draw(palindrome, [reading]).draw_without_rendering()


@pytest.mark.parametrize("length", [2, 3, 20, 26, 1000])
def test_labels_of_time_do_not_overlap(length: int) -> None:
    palindrome = random_palindrome(length, seed=3)
    figure = draw(palindrome, [read(PalindromeRNN(3), palindrome)])
    figure.draw_without_rendering()
    (axis,) = (axis for axis in figure.axes if axis.get_xlabel())
    labels = axis.get_xticklabels()
    assert labels[0].get_text() == f"{palindrome[0]}\n1"
    boxes = [label.get_window_extent() for label in labels]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


@pytest.mark.parametrize("length", [2, 3, 8, 51])
def test_a_random_palindrome_is_one(length: int) -> None:
    palindrome = random_palindrome(length, seed=4)
    assert len(palindrome) == length
    assert torch.equal(palindrome, palindrome.flip(0))
    assert torch.equal(palindrome, parse_palindrome("".join(map(str, palindrome.tolist()))))


@pytest.mark.parametrize(
    ("models", "length"),
    [
        ([PalindromeRNN(3)], 20),
        ([PalindromeLSTM(3)], 20),
        ([PalindromeRNN(3), PalindromeLSTM(3), PalindromeLSTM(3, horizon=7)], 7),
    ],
)
def test_the_length_is_the_one_a_network_was_made_for(
    models: Sequence[PalindromeLSTM | PalindromeRNN], length: int
) -> None:
    assert default_length(models) == length


def test_a_checkpoint_says_which_network_it_is(save: Callable[..., Path]) -> None:
    assert isinstance(load(save("lstm.ckpt", PalindromeLSTM(6))), PalindromeLSTM)
    rnn = load(save("rnn.ckpt", PalindromeRNN(5, nonlinearity="relu")))
    assert isinstance(rnn, PalindromeRNN)
    assert rnn.nonlinearity == "relu"


MISTAKES = [
    ("", "the following arguments are required: checkpoints"),
    ("rnn.ckpt --colour red", "there is no option --colour here; did you mean --out?"),
    ("rnn.ckpt --digits", "argument --digits: expected one argument"),
    ("rnn.ckpt --digits 40x04", "--digits holds 'x'; write digits from 0 to 9 and nothing between them"),
    ("rnn.ckpt --digits 4,0,4", "--digits holds ','; write digits from 0 to 9"),
    ("rnn.ckpt --digits -5", "--digits holds '-'; write digits from 0 to 9"),
    ("rnn.ckpt --digits ٣٣", "--digits holds '٣'; write digits from 0 to 9"),
    ("rnn.ckpt --digits=", "the palindrome's length is 0; write 2 to 10,000"),
    ("rnn.ckpt --digits 4", "the palindrome's length is 1; write 2 to 10,000"),
    (f"rnn.ckpt --digits {'1' * 10_001}", "the palindrome's length is 10001; write 2 to 10,000"),
    ("rnn.ckpt --digits 4079", "--digits 4079 is not a palindrome; backwards it reads 9704"),
    ("rnn.ckpt --digits 44 --length 2", "leave out --length and --seed, which are for a random one"),
    ("rnn.ckpt --digits 44 --seed 0", "leave out --length and --seed, which are for a random one"),
    ("rnn.ckpt --length 0", "the palindrome's length is 0; write 2 to 10,000"),
    ("rnn.ckpt --length 10001", "the palindrome's length is 10001; write 2 to 10,000"),
    ("rnn.ckpt --length abc", "--length can't be 'abc'; write a whole number"),
    ("rnn.ckpt --out gates.pdf", "--out gates.pdf names no PNG; write a name that ends in .png"),
    ("rnn.ckpt --out rnn.ckpt/gates.png", "can't write rnn.ckpt/gates.png: "),
    ("rnn.ckpt --out folder.png", "can't write folder.png: Is a directory"),
    ("nowhere.ckpt", "nowhere.ckpt is not a file"),
    ("rnn.ckpt nowhere.ckpt", "nowhere.ckpt is not a file"),
    ("torn.ckpt", "torn.ckpt is damaged"),
    ("code.ckpt", "code.ckpt is damaged or holds more than tensors and plain values, so it isn't loaded"),
    ("classifier.ckpt", "classifier.ckpt is not a checkpoint of a PalindromeLSTM or a PalindromeRNN"),
    ("list.ckpt", "list.ckpt is not a checkpoint of a PalindromeLSTM or a PalindromeRNN"),
    ("half.ckpt", "half.ckpt is not a checkpoint of a PalindromeLSTM"),
    ("bursting.ckpt --length 1000", "the RNN's memory overflows within 999 digits; write fewer"),
]


@pytest.fixture
def files(save: Callable[..., Path], tmp_path: Path) -> None:
    """One good checkpoint, and others that aren't."""
    bursting = PalindromeRNN(5, nonlinearity="relu", init="identity")
    with torch.no_grad():
        bursting.network.weight_hh_l0.mul_(3)
    for name, module in (
        ("rnn", PalindromeRNN(5)),
        ("bursting", bursting),
        ("classifier", DigitClassifier(DigitCNN())),
    ):
        save(f"{name}.ckpt", module)
    (tmp_path / "torn.ckpt").write_bytes((tmp_path / "rnn.ckpt").read_bytes()[:1000])
    torch.save({"hyper_parameters": {"horizon": None}, "code": print}, tmp_path / "code.ckpt")
    torch.save({"hyper_parameters": {"horizon": None}}, tmp_path / "half.ckpt")
    torch.save([1], tmp_path / "list.ckpt")
    (tmp_path / "folder.png").mkdir()


@pytest.mark.usefixtures("files")
def test_a_mistake_gets_one_line_and_leaves_nothing(show: Show, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    for command, told in MISTAKES:
        code, said, complained = show(*command.split())
        assert (code, said) == (2, ""), command
        assert complained.startswith("plot_gates: "), command
        assert told in complained
        assert complained.count("\n") == 1
        assert len(complained) < 250
        assert sorted(tmp_path.rglob("*")) == before, command


def test_debugging_shows_the_traceback(show: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWOFOLD_DEBUG", "1")
    with pytest.raises(Exception, match="is not a file"):
        show("nowhere.ckpt")
