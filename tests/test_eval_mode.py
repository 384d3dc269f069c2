"""Looking at a network without changing it."""

import pytest
import torch
from torch import nn

from common.eval_mode import evaluating


def test_every_part_is_in_the_mode_again_that_it_was_in() -> None:
    one, other = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2)), nn.Dropout()
    one[1].eval()

    def look() -> None:
        with evaluating(one, other):
            assert not any(part.training for network in (one, other) for part in network.modules())
            raise RuntimeError("in between")

    with pytest.raises(RuntimeError, match="in between"):
        look()
    assert [part.training for part in one.modules()] == [True, True, False]
    assert other.training


def test_nothing_leads_back_to_the_weights_and_no_statistics_are_taken() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with evaluating(network):
        assert not network(torch.randn(4, 2)).requires_grad
    assert network(torch.randn(4, 2)).requires_grad
    network.load_state_dict(before)
    with evaluating(network):
        network(torch.randn(4, 2))
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
