"""All kernels of the LSTM against each other and `torch.nn.LSTM`: results, all gradients, states, gates."""

from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from networks import lstm as module
from networks.lstm import LSTM, fastest_kernel

KERNELS = ["equations", "manual", "native"]
Problem = tuple[nn.LSTM, Tensor, tuple[Tensor, Tensor] | None]


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """A reference network in float64, an input, and for half of them an initial state."""
    steps, batch, input_size, hidden = (draw(st.integers(1, high)) for high in (9, 5, 6, 8))
    torch.manual_seed(draw(st.integers(0, 2**32 - 1)))
    x = torch.randn(steps, batch, input_size, dtype=torch.float64, requires_grad=True)
    h, c = (torch.randn(1, batch, hidden, dtype=torch.float64, requires_grad=True) for _ in "hc")
    return nn.LSTM(input_size, hidden).double(), x, (h, c) if draw(st.booleans()) else None


def ours(reference: nn.LSTM, kernel: str) -> LSTM:
    """Our LSTM with the weights, dtype and device of `reference`."""
    lstm = LSTM(reference.input_size, reference.hidden_size, kernel=kernel).to(next(reference.parameters()))
    lstm.load_state_dict(reference.state_dict(), strict=True)
    return lstm


def results_and_gradients(network: nn.Module, x: Tensor, state: tuple[Tensor, Tensor] | None) -> list[Tensor]:
    """Output, h and c, and the gradients of a function of the three by parameters, input and state."""
    output, (h, c) = network(x, state)
    loss = output.sin().sum() + (h**2).sum() + (3 * c).cos().sum()
    return [output, h, c, *torch.autograd.grad(loss, [*network.parameters(), x, *(state or ())])]


@given(problem=problems())
@settings(max_examples=30, deadline=None)
def test_kernels_equal_nn_lstm_in_results_and_all_gradients(problem: Problem) -> None:
    reference, x, state = problem
    expected = results_and_gradients(reference, x, state)
    for kernel in KERNELS:
        found = results_and_gradients(ours(reference, kernel), x, state)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


@given(problem=problems(), data=st.data())
@settings(max_examples=10, deadline=None)
def test_chunks_with_carried_state_equal_the_whole(problem: Problem, data: st.DataObject) -> None:
    reference, x, first = problem
    cuts = sorted(data.draw(st.sets(st.integers(1, len(x)), max_size=3)) | {0, len(x)})
    for kernel in KERNELS:
        lstm, state, chunks = ours(reference, kernel), first, []
        for start, stop in pairwise(cuts):
            output, state = lstm(x[start:stop], state)
            chunks.append(output)
        torch.testing.assert_close((torch.cat(chunks), state), lstm(x, first), rtol=0, atol=1e-10)


@given(problem=problems())
@settings(max_examples=10, deadline=None)
def test_gates_satisfy_the_equations(problem: Problem) -> None:
    reference, x, state = problem
    output, (_, last_c) = reference(x, state)
    c_0 = state[1] if state else torch.zeros_like(last_c)
    close = partial(torch.testing.assert_close, rtol=0, atol=1e-10)
    for kernel in KERNELS:
        gates = ours(reference, kernel).gates(x, state)
        close(gates.h, output)
        close(gates.o * gates.c.tanh(), output)
        close(gates.f * torch.cat([c_0, gates.c[:-1]]) + gates.i * gates.g, gates.c)
        close(gates.c[-1:], last_c)
        assert all(((gate >= 0) & (gate <= 1)).all() for gate in (gates.i, gates.f, gates.o))
        assert (gates.g.abs() <= 1).all()


def test_auto_is_manual_only_for_long_float32_training_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    for kernel in ("manual", "native"):
        run = module.KERNELS[kernel]
        record = lambda *args, kernel=kernel, run=run: used.append(kernel) or run(*args)  # type: ignore[func-returns-value] # noqa: E731
        monkeypatch.setitem(module.KERNELS, kernel, record)
    lstm, x = LSTM(3, 4, kernel="auto"), torch.randn(100, 2, 3)
    lstm(x)
    lstm(x[:99])
    with torch.no_grad():
        lstm(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        lstm(x)
    lstm.requires_grad_(False)(x)
    lstm.requires_grad_(True).double()(x.double())
    assert used == ["manual", *["native"] * 5]
    for device in ("cuda", "mps"):
        assert fastest_kernel(device, steps=1000, trains_in_float32=True) == "native"


def test_equations_have_second_derivatives() -> None:
    lstm, x = LSTM(3, 4, kernel="equations"), torch.randn(3, 2, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(lstm(x)[0].sum(), x, create_graph=True)
    gradient.square().sum().backward()
    assert lstm.weight_hh_l0.grad is not None


@pytest.mark.parametrize("kernel", KERNELS)
def test_eval_mode_has_gradients_and_tensors_of_their_own(kernel: str) -> None:
    lstm, x = LSTM(3, 4, kernel=kernel).eval(), torch.randn(5, 2, 3)
    output, _ = lstm(x)
    output.sum().backward()
    assert lstm.bias_ih_l0.grad is not None
    assert lstm.bias_hh_l0.grad is not None
    lstm.bias_ih_l0.grad.zero_()  # as gradient clipping changes them in place
    assert lstm.bias_hh_l0.grad.abs().sum() > 0
    with torch.no_grad():
        again, (h, c) = lstm(x)
        h.zero_(), c.zero_()
    torch.testing.assert_close(again, output)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_kernels_agree_on_a_gpu() -> None:
    reference, x = nn.LSTM(10, 16).double().cuda(), torch.randn(7, 3, 10).double().cuda().requires_grad_()
    expected = results_and_gradients(reference, x, None)
    for kernel in (*KERNELS, "auto"):
        torch.testing.assert_close(results_and_gradients(ours(reference, kernel).eval(), x, None), expected)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"hidden_size": 0}, "hidden_size is 0; write 1 or more"),
        ({"input_size": -1}, "input_size is -1; write 1 or more"),
        ({"kernel": "cudnn"}, "kernel is 'cudnn'; write one of auto, equations, manual, native"),
        ({"init": "orthogonal"}, "init is 'orthogonal'; write one of torch, forget_one, forget_log, chrono"),
        ({"init": "forget_log"}, "init 'forget_log' can't use horizon None; write .* 2 or more"),
        ({"init": "chrono", "horizon": 1}, "init 'chrono' can't use horizon 1"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        LSTM(**{"input_size": 3, "hidden_size": 4, **arguments})


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("shape", [(0, 2, 3), (5, 3), (5, 2, 4), (1, 5, 2, 3)])
def test_inputs_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    lstm = LSTM(3, 4)
    for method in (lstm, lstm.gates):
        with pytest.raises(ValueError, match=r"x has shape .*; write \(steps of 1 or more, batch, 3\)"):
            method(torch.zeros(shape))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("shapes", [((1, 1, 4), (1, 2, 4)), ((1, 2, 4), (1, 2, 5)), ((2, 4), (2, 4))])
def test_states_of_another_shape_are_refused(shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ValueError, match=r"h is .*, c is .*; write \(1, 2, 4\) for both"):
        LSTM(3, 4)(torch.zeros(5, 2, 3), tuple(map(torch.zeros, shapes)))
