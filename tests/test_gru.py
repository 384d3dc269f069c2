"""Both kernels of the GRU against `torch.nn.GRU`, and the bias start of its update gate."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from networks.gru import GRU


def results_and_gradients(network: nn.Module, x: Tensor, h: Tensor | None) -> list[Tensor]:
    output, last = network(x, h)
    loss = output.sin().sum() + (3 * last).cos().sum()
    return [output, last, *torch.autograd.grad(loss, [*network.parameters(), x, *([] if h is None else [h])])]


@pytest.mark.parametrize("kernel", ["equations", "native", "auto"])
@given(
    sizes=st.tuples(st.integers(1, 9), st.integers(1, 5), st.integers(1, 6), st.integers(1, 8)),
    given_h=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=10, deadline=None)
def test_results_and_all_gradients_equal_nn_gru(
    kernel: str, sizes: tuple[int, int, int, int], given_h: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    steps, batch, input_size, hidden_size = sizes
    gru, reference = GRU(input_size, hidden_size, kernel=kernel).double(), nn.GRU(input_size, hidden_size).double()
    gru.load_state_dict(reference.state_dict(), strict=True)
    x = torch.randn(steps, batch, input_size, dtype=torch.float64, requires_grad=True)
    h = torch.randn(1, batch, hidden_size, dtype=torch.float64, requires_grad=True) if given_h else None
    expected = results_and_gradients(reference, x, h)
    torch.testing.assert_close(results_and_gradients(gru, x, h), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("T", [2, 20, 10**6])
def test_update_log_sets_the_update_bias_and_nothing_else(T: int) -> None:
    torch.manual_seed(3)
    plain = GRU(4, 30)
    torch.manual_seed(3)
    gru = GRU(4, 30, init="update_log", horizon=T)
    b_r, b_z, b_n = (gru.bias_ih_l0 + gru.bias_hh_l0).chunk(3)
    plain_b_r, _, plain_b_n = (plain.bias_ih_l0 + plain.bias_hh_l0).chunk(3)
    torch.testing.assert_close(b_z, torch.full((30,), math.log(T)))
    assert torch.equal(b_r, plain_b_r)
    assert torch.equal(b_n, plain_b_n)
    assert torch.equal(gru.weight_hh_l0, plain.weight_hh_l0)
