"""Both kernels of our LSTM against `torch.nn.LSTM`."""

from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from networks.lstm import LSTM

KERNELS = ["gates", "fused"]


@st.composite
def problems(draw: st.DrawFn) -> tuple[nn.LSTM, Tensor, tuple[Tensor, Tensor] | None]:
    """A reference network in float64, an input, and perhaps a state to start from."""
    steps, batch, input_size, hidden = (draw(st.integers(1, high)) for high in (9, 5, 6, 8))
    torch.manual_seed(draw(st.integers(0, 2**32 - 1)))
    x = torch.randn(steps, batch, input_size, dtype=torch.float64, requires_grad=True)
    h, c = (torch.randn(1, batch, hidden, dtype=torch.float64, requires_grad=True) for _ in "hc")
    return nn.LSTM(input_size, hidden).double(), x, (h, c) if draw(st.booleans()) else None


def ours(reference: nn.LSTM, kernel: str) -> LSTM:
    """Our LSTM with the weights, precision and device of `reference`."""
    lstm = LSTM(reference.input_size, reference.hidden_size, kernel=kernel).to(next(reference.parameters()))
    lstm.load_state_dict(reference.state_dict())
    return lstm


def results_and_gradients(
    network: nn.Module, x: Tensor, state: tuple[Tensor, Tensor] | None
) -> tuple[list[Tensor], list[Tensor]]:
    """Output, h and c; and the gradients of a function of all three by the parameters, the input and the state."""
    output, (h, c) = network(x, state)
    loss = output.sin().sum() + (h**2).sum() + (3 * c).cos().sum()
    gradients = torch.autograd.grad(loss, [*network.parameters(), x, *(state or ())])
    return [output, h, c], list(gradients)


@pytest.mark.parametrize("kernel", KERNELS)
@given(problem=problems())
@settings(max_examples=30, deadline=None)
def test_results_and_all_gradients_are_those_of_nn_lstm(
    kernel: str, problem: tuple[nn.LSTM, Tensor, tuple[Tensor, Tensor] | None]
) -> None:
    reference, x, state = problem
    torch.testing.assert_close(
        results_and_gradients(ours(reference, kernel), x, state),
        results_and_gradients(reference, x, state),
        rtol=0,
        atol=1e-10,
    )


@pytest.mark.parametrize("kernel", KERNELS)
@given(problem=problems(), data=st.data())
@settings(max_examples=15, deadline=None)
def test_state_carried_from_chunk_to_chunk_gives_the_whole(
    kernel: str, problem: tuple[nn.LSTM, Tensor, tuple[Tensor, Tensor] | None], data: st.DataObject
) -> None:
    reference, x, state = problem
    lstm = ours(reference, kernel)
    whole, last = lstm(x, state)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(x)), max_size=3)) | {0, len(x)})
    chunks = []
    for start, stop in pairwise(cuts):
        output, state = lstm(x[start:stop], state)
        chunks.append(output)
    torch.testing.assert_close((torch.cat(chunks), state), (whole, last), rtol=0, atol=1e-10)


@pytest.mark.parametrize("kernel", KERNELS)
@given(problem=problems())
@settings(max_examples=15, deadline=None)
def test_gates_of_every_step_explain_what_nn_lstm_returns(
    kernel: str, problem: tuple[nn.LSTM, Tensor, tuple[Tensor, Tensor] | None]
) -> None:
    reference, x, state = problem
    gates = ours(reference, kernel).gates(x, state)
    output, (_, last_c) = reference(x, state)
    c_0 = state[1] if state else torch.zeros_like(last_c)
    c_before = torch.cat([c_0, gates.c[:-1]])
    close = partial(torch.testing.assert_close, rtol=0, atol=1e-10)
    close(gates.h, output)
    close(gates.o * gates.c.tanh(), output)
    close(gates.f * c_before + gates.i * gates.g, gates.c)
    close(gates.c[-1:], last_c)
    for t in range(len(x)):
        _, (_, c) = reference(x[: t + 1], state)
        close(gates.c[t : t + 1], c)
    assert all(((gate >= 0) & (gate <= 1)).all() for gate in (gates.i, gates.f, gates.o))
    assert (gates.g.abs() <= 1).all()


@pytest.mark.parametrize("gate", "ifgo")
def test_each_gate_is_that_of_its_own_rows(gate: str) -> None:
    lstm, x = LSTM(3, 4), torch.randn(5, 2, 3)
    with torch.no_grad():
        for parameter in lstm.parameters():
            parameter.view(4, 4, -1)["ifgo".index(gate)].fill_(0)
    gates = lstm.gates(x)._asdict()
    for name in "ifgo":
        at_zero = 0.0 if name == "g" else 0.5
        assert (gates[name] == at_zero).all().item() is (name == gate)


@pytest.mark.parametrize("kernel", KERNELS)
def test_float32_gradients_of_one_step_agree(kernel: str) -> None:
    reference, x = nn.LSTM(10, 64), torch.randn(19, 32, 10, requires_grad=True)
    _, expected = results_and_gradients(reference, x, None)
    _, gradients = results_and_gradients(ours(reference, kernel), x, None)
    for gradient, true in zip(gradients, expected, strict=True):
        assert (gradient - true).norm() <= 1e-5 * true.norm()


@pytest.mark.parametrize("kernel", KERNELS)
def test_parameters_agree_after_200_steps(kernel: str) -> None:
    reference = nn.LSTM(10, 32)
    lstm, x, target = ours(reference, kernel), torch.randn(200, 10, 16, 10), torch.randn(200, 16, 32).tanh()
    for network in (reference, lstm):
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
        for step in range(200):
            optimizer.zero_grad()
            (network(x[step])[0][-1] - target[step]).square().mean().backward()
            optimizer.step()
    torch.testing.assert_close(lstm.state_dict(), dict(reference.state_dict()), rtol=0, atol=1e-4)


def test_state_dict_goes_both_ways() -> None:
    lstm, reference = LSTM(3, 4), nn.LSTM(3, 4)
    reference.load_state_dict(lstm.state_dict(), strict=True)
    assert torch.equal(reference.state_dict()["weight_hh_l0"], lstm.weight_hh_l0)
    lstm.load_state_dict(nn.LSTM(3, 4).state_dict(), strict=True)
    assert list(lstm.state_dict()) == list(reference.state_dict())


def test_the_seed_gives_the_weights_of_nn_lstm() -> None:
    torch.manual_seed(1)
    lstm = LSTM(3, 4)
    torch.manual_seed(1)
    torch.testing.assert_close(lstm.state_dict(), dict(nn.LSTM(3, 4).state_dict()), rtol=0, atol=0)


@pytest.mark.parametrize("kernel", KERNELS)
def test_gradients_also_in_eval_mode_and_none_without_grad(kernel: str) -> None:
    lstm, x = LSTM(3, 4, kernel=kernel).eval(), torch.randn(2, 5, 3)
    lstm(x)[0].sum().backward()
    assert all(parameter.grad is not None for parameter in lstm.parameters())
    with torch.no_grad():
        torch.testing.assert_close(lstm(x), LSTM.forward(lstm.train(), x))


@pytest.mark.parametrize("kernel", KERNELS)
def test_results_and_gradients_share_no_memory(kernel: str) -> None:
    lstm, x = LSTM(3, 4, kernel=kernel), torch.randn(5, 2, 3)
    with torch.no_grad():
        output, (h, c) = lstm(x)
        before = output.clone()
        h.zero_(), c.zero_()
    assert torch.equal(output, before)
    by_bias = torch.autograd.grad(lstm(x)[0].sum(), [lstm.bias_ih_l0, lstm.bias_hh_l0])
    by_bias[0].zero_()
    assert by_bias[1].abs().sum() > 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kernel", KERNELS)
def test_on_a_gpu_too(kernel: str) -> None:
    reference, x = nn.LSTM(10, 16).double().cuda(), torch.randn(7, 3, 10).double().cuda().requires_grad_()
    torch.testing.assert_close(
        results_and_gradients(ours(reference, kernel).eval(), x, None), results_and_gradients(reference, x, None)
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"hidden_size": 0}, "hidden_size is 0; write 1 or more"),
        ({"input_size": -1}, "input_size is -1"),
        ({"kernel": "cudnn"}, "kernel 'cudnn' isn't known; for the LSTM write one of auto, gates, fused"),
        (
            {"init": "xavier"},
            "init 'xavier' isn't known; for the LSTM write one of torch, forget_one, forget_log, chrono",
        ),
        ({"init": "orthogonal"}, "init 'orthogonal' is for the RNN; for the LSTM write one of torch, forget_one"),
        ({"init": "forget_log"}, "init 'forget_log' needs the horizon; write .* such as horizon=1000"),
        ({"init": "chrono"}, "init 'chrono' needs the horizon"),
        ({"init": "chrono", "horizon": 1}, "horizon is 1; write .* at least 2"),
    ],
)
def test_arguments_are_refused_in_words(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        LSTM(**{"input_size": 3, "hidden_size": 4, **arguments})


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shape", [(0, 2, 3), (5, 3), (5, 2, 4), (1, 5, 2, 3)])
def test_inputs_of_another_shape_are_refused_in_words(kernel: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"x has shape .*; write \(steps of 1 or more, batch, 3\)"):
        LSTM(3, 4, kernel=kernel)(torch.zeros(shape))
    with pytest.raises(ValueError, match=r"x has shape .*; write \(steps of 1 or more, batch, 3\)"):
        LSTM(3, 4, kernel=kernel).gates(torch.zeros(shape))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shapes", [((1, 1, 4), (1, 2, 4)), ((1, 2, 4), (1, 2, 5)), ((2, 4), (2, 4))])
def test_states_of_another_shape_are_refused_in_words(kernel: str, shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ValueError, match=r"h is .*, c is .*; write \(1, 2, 4\) for both"):
        LSTM(3, 4, kernel=kernel)(torch.zeros(5, 2, 3), tuple(map(torch.zeros, shapes)))
