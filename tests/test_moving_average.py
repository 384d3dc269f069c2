"""The moving average of a network."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from common.moving_average import moving_average


class Counted(nn.Module):
    """One weight, one statistic and a whole number."""

    statistic: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))
        self.register_buffer("statistic", torch.zeros(2, dtype=torch.float64))
        self.register_buffer("count", torch.tensor(0))

    def become(self, value: float) -> None:
        for tensor in self.state_dict().values():
            tensor.fill_(value)


@given(st.floats(0.5, 0.9999), st.lists(st.integers(-9, 9), min_size=1, max_size=30))
def test_weights_and_statistics_follow_the_formula_and_whole_numbers_are_copied(
    decay: float, values: list[int]
) -> None:
    network = Counted()
    average = moving_average(network, decay)
    expected = float(values[0])
    for n, value in enumerate(values):
        network.become(value)
        average.update_parameters(network)
        at_this_step = min(decay, (n + 1) / (n + 10))
        expected = value if n == 0 else at_this_step * expected + (1 - at_this_step) * value
    averaged = average.module
    assert isinstance(averaged, Counted)
    assert averaged.weight.tolist() == pytest.approx([expected] * 2, abs=1e-5)
    assert averaged.statistic.tolist() == pytest.approx([expected] * 2, abs=1e-5)
    assert int(averaged.count) == values[-1]


def test_the_start_is_soon_forgotten_and_later_the_decay_rules() -> None:
    network = Counted()
    average = moving_average(network, 0.99)
    network.become(1)
    average.update_parameters(network)
    network.become(0)
    shares = []
    for _ in range(1000):
        before = weight(average)
        average.update_parameters(network)
        shares.append(weight(average) / before)
    assert weight(average) < 1e-8
    assert shares[99] == pytest.approx(101 / 110, rel=1e-3)
    assert shares[-1] == pytest.approx(0.99, rel=1e-3)
    network.become(1)
    for _ in range(100):
        average.update_parameters(network)
    assert weight(average) == pytest.approx(1 - 0.99**100, rel=1e-3)


def weight(average: nn.Module) -> float:
    return average.module.weight[0].item()  # type: ignore[union-attr,index]


def test_nobody_trains_the_average() -> None:
    average = moving_average(Counted(), 0.9)
    assert not any(parameter.requires_grad for parameter in average.parameters())
