"""The kernels of the linear recurrence against the plain loop: results, all gradients, chunks, extreme factors."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from networks import linear_recurrence as module
from networks.linear_recurrence import linear_recurrence
from networks.min_gru import MinGRUBlock

FAST = ["manual", "chunked"]
kernels = pytest.mark.parametrize("kernel", FAST)
dtypes = pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=["real", "complex"])


def problem(steps: int, dtype: torch.dtype, constant: bool = False) -> list[Tensor]:
    """a with |a| from 0 to 1, b and h⁽⁰⁾."""
    size = torch.rand(steps, 2, 3)
    a = torch.randn(steps, 2, 3, dtype=dtype).sgn() * size.where(size > 0.1, 0)
    b, h = torch.randn(steps, 2, 3, dtype=dtype), torch.randn(1, 2, 3, dtype=dtype)
    return [t.requires_grad_() for t in (a[0, 0].clone() if constant else a, b, h)]


def results_and_gradients(inputs: list[Tensor], kernel: str) -> list[Tensor]:
    output = linear_recurrence(*inputs, kernel=kernel)
    loss = (output * torch.linspace(-1, 2, output.numel()).view(output.shape).to(output.device)).sum().abs()
    return [output, *torch.autograd.grad(loss, inputs)]


def check(inputs: list[Tensor], tolerance: float = 1e-10) -> None:
    expected = results_and_gradients(inputs, "equations")
    for kernel in FAST:
        torch.testing.assert_close(results_and_gradients(inputs, kernel), expected, rtol=tolerance, atol=tolerance)


@dtypes
@given(steps=st.integers(1, 200), constant=st.booleans(), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_kernels_equal_the_loop_in_results_and_all_gradients(
    dtype: torch.dtype, steps: int, constant: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    check(problem(steps, dtype, constant))


@pytest.mark.parametrize("steps", [1, 63, 64, 65, 64 * 64 + 1])
def test_borders_of_chunks_and_chunks_of_chunks(steps: int) -> None:
    check(problem(steps, torch.float64))


@pytest.mark.parametrize("factor", [0.0, 1e-30, -1.0, 1.0])
def test_extreme_factors_do_no_harm(factor: float) -> None:
    check([torch.full((n, 1, 2), value).requires_grad_() for n, value in ((300, factor), (300, 1.0), (1, 1.0))], 1e-4)


@kernels
@dtypes
def test_gradients_equal_finite_differences(kernel: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 2)
    assert torch.autograd.gradcheck(lambda a, b, h: linear_recurrence(a, b, h, kernel=kernel), problem(5, dtype))


@kernels
def test_half_precision_is_computed_in_float32(kernel: str) -> None:
    a, b = torch.full((1000, 1, 1), 0.999).bfloat16(), torch.ones(1000, 1, 1)
    output = linear_recurrence(a, b.bfloat16(), kernel=kernel)
    torch.testing.assert_close(output, linear_recurrence(a.float(), b, kernel="equations"))


@torch.no_grad()
def test_min_gru_forgets_slowly_under_autocast() -> None:
    block = MinGRUBlock(8)
    torch.nn.init.constant_(block.z.bias, -7)  # z is about 0.001, and bfloat16 rounds 1 − z to 1
    x = torch.randn(5000, 1, 8)
    _, (_, h) = block(x, block.start(x))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, (_, h_of_autocast) = block(x, block.start(x))
    torch.testing.assert_close(h_of_autocast, h, rtol=0.05, atol=0.05)


def test_auto_is_manual_on_a_cpu_and_chunked_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    for name in FAST:
        monkeypatch.setattr(module, f"{name}_kernel", lambda a, b, h, name=name: used.append(name) or b)  # type: ignore[func-returns-value]
    for device in ("cpu", "meta"):
        linear_recurrence(torch.ones(3, device=device), torch.ones(2, 1, 3, device=device))
    assert used == FAST


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@dtypes
def test_kernels_agree_on_a_gpu(dtype: torch.dtype) -> None:
    check([t.detach().cuda().requires_grad_() for t in problem(200, dtype)])


@pytest.mark.parametrize("kernel", ["manual", "chunked"])
def test_second_derivatives_that_a_kernel_lacks_are_refused(kernel: str) -> None:
    a, b = torch.rand(2, 5, 2, 3, requires_grad=True)
    with pytest.raises(RuntimeError, match="no second derivatives"):
        torch.autograd.grad(linear_recurrence(a, b, kernel=kernel).sum(), b, create_graph=True)
