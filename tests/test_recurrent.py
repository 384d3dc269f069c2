"""The LSTM, the RNN and the GRU against torch's: every kernel, copies, refusals, and what they do on CUDA."""

import copy
import pickle
import sys
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from networks.gru import GRU
from networks.lstm import LSTM
from networks.recurrent import Recurrent
from networks.rnn import RNN

Make = Callable[..., Recurrent]
REFERENCES: dict[Any, Any] = {LSTM: nn.LSTM, RNN: nn.RNN, GRU: nn.GRU}
relu: Any = partial(RNN, nonlinearity="relu")
CASES: list[tuple[Any, Any, str]] = [
    (LSTM, nn.LSTM, "manual"),
    *((cls, reference, kernel) for cls, reference in REFERENCES.items() for kernel in ("equations", "native", "auto")),
    *((relu, partial(nn.RNN, nonlinearity="relu"), kernel) for kernel in ("equations", "native", "auto")),
]
kernels = pytest.mark.parametrize(("cls", "reference", "kernel"), CASES)
each = pytest.mark.parametrize("cls", REFERENCES)
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def problem(reference: Make, sizes: tuple[int, ...], given_state: bool) -> tuple[Any, Tensor, Any]:
    """torch's network in float64, an input, and a state or None."""
    steps, batch, input_size, hidden_size = sizes
    network = reference(input_size, hidden_size).double()
    x = torch.randn(steps, batch, input_size, dtype=torch.float64, requires_grad=True)
    h, c = (torch.randn(1, batch, hidden_size, dtype=torch.float64, requires_grad=True) for _ in "hc")
    return network, x, ((h, c) if isinstance(network, nn.LSTM) else h) if given_state else None


def with_weights_of(reference: Any, cls: Make, kernel: str) -> Recurrent:
    network = cls(reference.input_size, reference.hidden_size, kernel=kernel).to(next(reference.parameters()))
    network.load_state_dict(reference.state_dict(), strict=True)
    reference.load_state_dict(network.state_dict(), strict=True)
    return network


def results_and_gradients(network: nn.Module, x: Tensor, state: Any) -> list[Tensor]:
    """h of all steps, the last state, and the gradients of a function of both by parameters, input and state."""
    output, last = network(x, state)
    h, *c = last if isinstance(last, tuple) else (last,)
    loss = output.sin().sum() + (h**2).sum() + sum((3 * each).cos().sum() for each in c)
    states = () if state is None else state if isinstance(state, tuple) else (state,)
    return [output, h, *c, *torch.autograd.grad(loss, [*network.parameters(), x, *states])]


@kernels
@given(
    sizes=st.tuples(st.integers(1, 9), st.integers(1, 5), st.integers(1, 6), st.integers(1, 8)),
    given_state=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
    cut=st.integers(1, 8),
)
@settings(max_examples=10, deadline=None)
def test_results_and_all_gradients_equal_torch(
    cls: Make, reference: Make, kernel: str, sizes: tuple[int, ...], given_state: bool, seed: int, cut: int
) -> None:
    torch.manual_seed(seed)
    expected, x, state = problem(reference, sizes, given_state)
    network = with_weights_of(expected, cls, kernel)
    close = partial(torch.testing.assert_close, rtol=0, atol=1e-10)
    close(results_and_gradients(network, x, state), results_and_gradients(expected, x, state))
    if cut < len(x):  # in two chunks with the state between them
        first, between = network(x[:cut], state)
        rest, last = network(x[cut:], between)
        close((torch.cat([first, rest]), last), network(x, state))


@pytest.mark.gpu
@needs_cuda
@kernels
def test_kernels_agree_on_a_gpu(cls: Make, reference: Make, kernel: str) -> None:
    expected, x, _ = problem(reference, (7, 3, 10, 16), False)
    expected, x = expected.cuda(), x.detach().cuda().requires_grad_()
    found = results_and_gradients(with_weights_of(expected, cls, kernel).eval(), x, None)
    torch.testing.assert_close(found, results_and_gradients(expected, x, None))


@each
def test_state_dict_and_initial_weights_are_those_of_torch(cls: Make) -> None:
    torch.manual_seed(1)
    network, drawn = cls(3, 4), torch.rand(1)
    torch.manual_seed(1)
    reference = REFERENCES[cls](3, 4)
    torch.testing.assert_close(network.state_dict(), dict(reference.state_dict()), rtol=0, atol=0)
    assert list(network.state_dict()) == list(reference.state_dict())
    assert torch.equal(drawn, torch.rand(1))
    torch.manual_seed(1)
    network.reset_parameters()
    assert torch.equal(network.weight_hh_l0, reference.weight_hh_l0)


@each
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))])
def test_copies_have_weights_of_their_own(cls: Make, duplicate: Callable[[Recurrent], Recurrent]) -> None:
    network, x = cls(3, 4), torch.randn(5, 2, 3)
    expected, other = network(x)[0], duplicate(network)
    assert torch.equal(other(x)[0], expected)
    other.load_state_dict({name: torch.zeros_like(weight) for name, weight in other.state_dict().items()}, assign=True)
    assert not other(x)[0].any()
    assert torch.equal(network(x)[0], expected)


@each
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("autocast", ["cpu", "cuda"])
def test_kernels_on_cuda_take_32_bits_under_autocast(
    cls: Make, dtype: torch.dtype, autocast: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[tuple[bool, torch.dtype]] = set()

    def kernel(x: Tensor, state: Any, weights: Any, **_: Any) -> Any:
        states = state if isinstance(state, tuple) else (state,)
        seen.update((torch.is_autocast_enabled("cuda"), each.dtype) for each in (x, *states))
        return x, state

    monkeypatch.setitem(sys.modules[cls.__module__].KERNELS, "native", kernel)
    network, mode = cls(4, 4, kernel="native"), FakeTensorMode()

    def on_cuda(tensor: Tensor) -> Tensor:  # without values: needs no GPU
        return FakeTensor(mode, tensor.to("meta"), torch.device("cuda:0"))

    weights = {name: on_cuda(weight.detach()) for name, weight in network.named_parameters()}
    torch.set_autocast_enabled(autocast, True)  # `torch.autocast` refuses CUDA without a GPU
    try:
        torch.func.functional_call(network, weights, (on_cuda(torch.empty(5, 2, 4, dtype=dtype)),))
    finally:
        torch.set_autocast_enabled(autocast, False)
    assert seen == {(False, torch.float32 if autocast == "cuda" else dtype)}


@pytest.mark.gpu
@needs_cuda
@each
def test_cudnn_gets_one_block_of_weights_and_32_bits(cls: Make) -> None:
    network, x = cls(3, 4).cuda(), torch.randn(5, 2, 3, device="cuda")
    assert len({weight.untyped_storage().data_ptr() for weight in network.parameters()}) == 1
    expected = network(x)[0]
    with warnings.catch_warnings(action="error"), torch.autocast("cuda", dtype=torch.bfloat16):
        output, state = network(x)
        again, _ = network(x.bfloat16(), state)
    torch.testing.assert_close(output, expected, rtol=0, atol=0)
    assert again.dtype == torch.float32
    again.sum().backward()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("cls", "arguments", "words"),
    [
        *((cls, {"hidden_size": 0}, "hidden_size is 0; write 1 or more") for cls in REFERENCES),
        *((cls, {"input_size": -1}, "input_size is -1; write 1 or more") for cls in REFERENCES),
        (LSTM, {"kernel": "cudnn"}, "kernel is 'cudnn'; write one of auto, equations, manual, native"),
        (LSTM, {"init": "orthogonal"}, "init is 'orthogonal'; write one of torch, forget_one, forget_log, chrono"),
        (LSTM, {"init": "forget_log"}, "init 'forget_log' can't use horizon None; write .* 2 or more"),
        (LSTM, {"init": "chrono", "horizon": 1}, "init 'chrono' can't use horizon 1"),
        (RNN, {"kernel": "manual"}, "kernel is 'manual'; write one of auto, equations, native"),
        (RNN, {"nonlinearity": "gelu"}, "nonlinearity is 'gelu'; write one of tanh, relu"),
        (RNN, {"init": "latch", "nonlinearity": "relu"}, "init 'latch' is for tanh, not for relu; write identity"),
        (RNN, {"init": "chrono"}, "init is 'chrono'; write one of torch, orthogonal, identity"),
    ],
)
def test_wrong_arguments_are_refused(cls: Make, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        cls(**{"input_size": 3, "hidden_size": 4, **arguments})


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("shapes", [[(1, 1, 4), (1, 2, 4)], [(1, 2, 5), (1, 2, 4)], [(2, 4), (2, 4)]])
@each
def test_states_of_another_shape_are_refused(cls: Make, shapes: list[tuple[int, ...]]) -> None:
    one, other = map(torch.zeros, shapes)
    states: list[Any] = [(one, other), (other, one)] if cls is LSTM else [one]
    for state in states:
        with pytest.raises(ValueError, match=r"h is .*, c is .*; write \(1, 2, 4\)|h has shape .*; write \(1, 2, 4\)$"):
            cls(3, 4)(torch.zeros(5, 2, 3), state)
