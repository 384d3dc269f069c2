"""Both kernels of the RNN against `torch.nn.RNN`."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from networks.rnn import RNN

kernels = pytest.mark.parametrize("kernel", ["equations", "native", "auto"])
nonlinearities = pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])


def pair(kernel: str, nonlinearity: str, input_size: int = 10, hidden_size: int = 16) -> tuple[RNN, nn.RNN]:
    """Our RNN and torch's with the same weights."""
    rnn = RNN(input_size, hidden_size, kernel=kernel, nonlinearity=nonlinearity)
    reference = nn.RNN(input_size, hidden_size, nonlinearity=nonlinearity)
    rnn.load_state_dict(reference.state_dict(), strict=True)
    reference.load_state_dict(rnn.state_dict(), strict=True)
    return rnn, reference


def gradients(network: nn.Module, x: Tensor, h: Tensor | None) -> list[Tensor]:
    output, last = network(x, h)
    loss = output.sin().sum() + (3 * last).cos().sum()
    return list(torch.autograd.grad(loss, [*network.parameters(), x, *([] if h is None else [h])]))


@kernels
@nonlinearities
@given(
    sizes=st.tuples(st.integers(1, 9), st.integers(1, 5), st.integers(1, 6), st.integers(1, 8)),
    given_h=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=10, deadline=None)
def test_results_and_all_gradients_equal_nn_rnn(
    kernel: str, nonlinearity: str, sizes: tuple[int, int, int, int], given_h: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    steps, batch, input_size, hidden_size = sizes
    rnn, reference = (network.double() for network in pair(kernel, nonlinearity, input_size, hidden_size))
    x = torch.randn(steps, batch, input_size, dtype=torch.float64, requires_grad=True)
    h = torch.randn(1, batch, hidden_size, dtype=torch.float64, requires_grad=True) if given_h else None
    torch.testing.assert_close(rnn(x, h), reference(x, h), rtol=0, atol=1e-10)
    torch.testing.assert_close(gradients(rnn, x, h), gradients(reference, x, h), rtol=0, atol=1e-10)

    first, between = rnn(x[:1], h)
    if steps > 1:
        rest, _ = rnn(x[1:], between)
        torch.testing.assert_close(torch.cat([first, rest]), rnn(x, h)[0], rtol=0, atol=1e-10)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@nonlinearities
def test_kernels_agree_on_a_gpu(nonlinearity: str) -> None:
    rnn, reference = (network.double().cuda() for network in pair("equations", nonlinearity))
    x = torch.randn(7, 3, 10, dtype=torch.float64, device="cuda", requires_grad=True)
    torch.testing.assert_close(gradients(rnn, x, None), gradients(reference, x, None))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"hidden_size": 0}, "hidden_size is 0; write 1 or more"),
        ({"kernel": "manual"}, "kernel is 'manual'; write one of auto, equations, native"),
        ({"nonlinearity": "gelu"}, "nonlinearity is 'gelu'; write one of tanh, relu"),
        ({"init": "chrono"}, "init is 'chrono'; write one of torch, orthogonal, identity"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        RNN(**{"input_size": 3, "hidden_size": 4, **arguments})


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("x", "h", "words"),
    [
        ((0, 2, 3), (1, 2, 4), r"x has shape \(0, 2, 3\); write \(steps of 1 or more, batch, 3\)"),
        ((5, 3), (1, 2, 4), r"x has shape \(5, 3\)"),
        ((5, 2, 4), (1, 2, 4), r"x has shape \(5, 2, 4\)"),
        ((5, 2, 3), (1, 1, 4), r"h has shape \(1, 1, 4\); write \(1, 2, 4\)"),
        ((5, 2, 3), (2, 4), r"h has shape \(2, 4\); write \(1, 2, 4\)"),
    ],
)
def test_other_shapes_are_refused(x: tuple[int, ...], h: tuple[int, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        RNN(3, 4)(torch.zeros(x), torch.zeros(h))
