"""DigitCNN and DigitReader: features, logits, what they read, and that they learn."""

from collections.abc import Callable

import pytest
import torch
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
