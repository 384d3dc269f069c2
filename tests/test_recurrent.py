"""What the LSTM, the RNN and the GRU share: copies, and 32 bits and one block of weights on CUDA."""

import copy
import pickle
import sys
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from networks.gru import GRU
from networks.lstm import LSTM
from networks.recurrent import Recurrent
from networks.rnn import RNN

Make = Callable[..., Recurrent]
REFERENCES = {LSTM: nn.LSTM, RNN: nn.RNN, GRU: nn.GRU}
each = pytest.mark.parametrize("cls", REFERENCES)


@each
def test_state_dict_and_initial_weights_are_those_of_torch(cls: Make) -> None:
    torch.manual_seed(1)
    network, drawn = cls(3, 4), torch.rand(1)
    torch.manual_seed(1)
    reference = REFERENCES[cls](3, 4)  # type: ignore[index]
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
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
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
