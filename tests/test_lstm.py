"""The LSTM alone: its gates, the choice of a kernel, second derivatives. Its results: tests/test_recurrent.py."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from networks import lstm as module
from networks.lstm import LSTM, fastest_kernel

KERNELS = ["equations", "manual", "native"]


@pytest.mark.parametrize("given_state", [False, True])
@pytest.mark.parametrize("kernel", KERNELS)
def test_gates_satisfy_the_equations(kernel: str, given_state: bool) -> None:
    lstm, x = LSTM(6, 8, kernel=kernel).double(), torch.randn(9, 5, 6, dtype=torch.float64)
    h, c = torch.randn(2, 1, 5, 8, dtype=torch.float64)
    state = (h, c) if given_state else None
    output, (_, last_c) = lstm(x, state)
    c_0 = state[1] if state else torch.zeros_like(last_c)
    close = partial(torch.testing.assert_close, rtol=0, atol=1e-10)
    gates = lstm.gates(x, state)
    close(gates.h, output)
    close(gates.o * gates.c.tanh(), output)
    close(gates.f * torch.cat([c_0, gates.c[:-1]]) + gates.i * gates.g, gates.c)
    close(gates.c[-1:], last_c)
    assert all(((gate >= 0) & (gate <= 1)).all() for gate in (gates.i, gates.f, gates.o))
    assert (gates.g.abs() <= 1).all()


def test_auto_is_manual_only_for_large_float32_training_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    for kernel in ("manual", "native"):
        run = module.KERNELS[kernel]
        record = lambda *args, kernel=kernel, run=run: used.append(kernel) or run(*args)  # type: ignore[func-returns-value] # noqa: E731
        monkeypatch.setitem(module.KERNELS, kernel, record)
    monkeypatch.setattr(module, "MANUAL_FROM", 10 * 64 * 32)
    lstm, x = LSTM(3, 32, kernel="auto"), torch.randn(10, 64, 3)
    lstm(x)
    lstm(x[:9])
    with torch.no_grad():
        lstm(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        lstm(x)
    lstm.requires_grad_(False)(x)
    assert used == ["manual", *["native"] * 4]
    state = torch.zeros(1, 64, 32), torch.zeros(1, 64, 32)
    for tensor in (x, *state):  # alone
        lstm(x, state)
        tensor.requires_grad_()
        lstm(x, state)
        tensor.requires_grad_(False)
    assert used[5:] == ["native", "manual"] * 3
    lstm.requires_grad_(True).double()(x.double())
    assert used[-1] == "native"


@pytest.mark.parametrize("large", [True, False])
@pytest.mark.parametrize("other", ["x", "h", "c"])
def test_auto_refuses_mixed_precisions_at_all_sizes(monkeypatch: pytest.MonkeyPatch, other: str, large: bool) -> None:
    monkeypatch.setattr(module, "MANUAL_FROM", 1 if large else 10**9)
    tensors = {"x": torch.randn(2, 64, 3), "h": torch.zeros(1, 64, 32), "c": torch.zeros(1, 64, 32)}
    tensors[other] = tensors[other].double()
    x, h, c = tensors.values()
    with pytest.raises(RuntimeError):
        LSTM(3, 32)(x, (h, c))


@pytest.mark.parametrize(
    ("device", "steps", "batch", "hidden", "kernel"),
    [
        ("cpu", 99, 128, 128, "manual"),
        ("cpu", 19, 128, 128, "native"),
        ("cpu", 1000, 64, 32, "manual"),
        ("cpu", 99, 64, 32, "native"),
        ("cpu", 100_000, 1, 128, "native"),
        ("cpu", 1000, 16, 256, "native"),
        ("cpu", 1000, 128, 512, "native"),
        ("cpu", 10_000, 128, 8, "native"),
        *(("cpu", 98, 64, 128, "manual"), ("cpu", 97, 64, 128, "native")),  # on both sides of each bound
        *(("cpu", 1000, 64, 64, "manual"), ("cpu", 1000, 63, 64, "native")),
        *(("cpu", 1000, 64, 128, "manual"), ("cpu", 1000, 64, 129, "native")),
        *(("cpu", 1000, 128, 32, "manual"), ("cpu", 1000, 128, 31, "native")),
        ("cuda", 1000, 128, 128, "native"),
        ("mps", 1000, 128, 128, "native"),
    ],
)
def test_the_fastest_kernel_depends_on_sizes(device: str, steps: int, batch: int, hidden: int, kernel: str) -> None:
    assert fastest_kernel(device, steps, batch, hidden, trains_in_float32=True) == kernel
    assert fastest_kernel(device, steps, batch, hidden, trains_in_float32=False) == "native"


@pytest.mark.parametrize(("steps", "batch", "hidden"), [(1, 1, 1), (50, 128, 128), (100, 128, 64)])
def test_auto_equals_each_kernel_in_float32(steps: int, batch: int, hidden: int) -> None:
    lstm, x = LSTM(10, hidden, init="forget_log", horizon=steps + 1), torch.randn(steps, batch, 10)
    found = {}
    for kernel in module.KERNELS:
        lstm.kernel = kernel
        output, _ = lstm(x)
        found[kernel] = output, *torch.autograd.grad(output.square().mean(), list(lstm.parameters()))
    for kernel in KERNELS:
        torch.testing.assert_close(found["auto"], found[kernel], rtol=1e-3, atol=1e-5)
    assert any(all(map(torch.equal, found["auto"], found[kernel])) for kernel in ("manual", "native"))


def test_manual_gradients_agree_with_finite_differences() -> None:
    sizes = [(4, 3, 2), (1, 3, 5), (1, 3, 5), (20, 2), (20, 5), (20,), (20,)]
    x, h, c, *weights = (torch.randn(size, dtype=torch.float64, requires_grad=True) for size in sizes)

    def run(x: Tensor, h: Tensor, c: Tensor, *weights: Any) -> tuple[Tensor, ...]:
        output, last = module.manual_kernel(x, (h, c), weights)
        return output, *last

    gradcheck: Any = torch.autograd.gradcheck
    assert gradcheck(run, (x, h, c, *weights))


def test_manual_repeats_and_leaves_its_arguments_alone() -> None:
    lstm, x = LSTM(3, 4, kernel="manual"), torch.randn(5, 2, 3, requires_grad=True)
    state = torch.randn(1, 2, 4, requires_grad=True), torch.randn(1, 2, 4, requires_grad=True)
    arguments = [x, *state, *lstm.parameters()]
    before = [argument.detach().clone() for argument in arguments]
    output, (h, c) = lstm(x, state)
    loss = output.sin().sum() + (h * c).sum()
    first, second = (torch.autograd.grad(loss, arguments, retain_graph=True) for _ in range(2))
    assert all(map(torch.equal, first, second))
    assert all(map(torch.equal, arguments, before))
    outputs, given = (output, h, c), [torch.randn_like(each) for each in (output, h, c)]
    before = [gradient.clone() for gradient in given]
    torch.autograd.grad(outputs, arguments, given)
    assert all(map(torch.equal, given, before))


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


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("shape", [(0, 2, 3), (5, 3), (5, 2, 4), (1, 5, 2, 3)])
def test_gates_refuse_inputs_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"x has shape .*; write \(steps of 1 or more, batch, 3\)"):
        LSTM(3, 4).gates(torch.zeros(shape))


@pytest.mark.parametrize(("kernel", "batch", "steps"), [("manual", 2, 3), ("auto", 64, 400)])
def test_second_derivatives_that_a_kernel_lacks_are_refused(kernel: str, batch: int, steps: int) -> None:
    x = torch.randn(steps, batch, 3, requires_grad=True)
    output, _ = LSTM(3, 32, kernel=kernel)(x)
    with pytest.raises(RuntimeError, match="no second derivatives"):
        torch.autograd.grad(output.sum(), x, create_graph=True)
