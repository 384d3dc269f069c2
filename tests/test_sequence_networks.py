"""What all sequence networks share: shapes, states, causality, precision, specs, refusals; then each one's formula."""

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from networks import registry, s6, transformer
from networks.blocks import CausalConvolution
from networks.gru import GRU
from networks.lru import LRU, LRUBlock
from networks.lstm import LSTM
from networks.min_gru import MinGRU
from networks.rnn import RNN
from networks.s6 import S6, S6Block
from networks.transformer import POSITIONS, Transformer, alibi_attention, alibi_slopes, rotate

INPUT, HIDDEN, BATCH, STEPS = 5, 8, 3, 7
Make = Callable[[], nn.Module]
STATEFUL: dict[str, Make] = {
    "LSTM": lambda: LSTM(INPUT, HIDDEN),
    "RNN": lambda: RNN(INPUT, HIDDEN),
    "GRU": lambda: GRU(INPUT, HIDDEN, init="update_log", horizon=9),
    "MinGRU": lambda: MinGRU(INPUT, HIDDEN),
    "LRU": lambda: LRU(INPUT, HIDDEN),
    "LRU ring": lambda: LRU(INPUT, HIDDEN, r_min=0.9, r_max=0.999, state_size=6),
    "S6": lambda: S6(INPUT, HIDDEN),
    "S6 one layer": lambda: S6(INPUT, HIDDEN, layers=1, state_size=3, expand=1),
}
ALL = STATEFUL | {p: lambda p=p: Transformer(INPUT, HIDDEN, heads=2, positions=p) for p in POSITIONS}
every = pytest.mark.parametrize("make", ALL.values(), ids=ALL)
stateful = pytest.mark.parametrize("make", STATEFUL.values(), ids=STATEFUL)


def double(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def close(found: Any, expected: Any) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


@every
def test_output_depends_on_no_later_step_and_no_other_row(make: Make) -> None:
    network, x = make().double(), double(STEPS, BATCH, INPUT).requires_grad_()
    output, _ = network(x)
    assert output.shape == (STEPS, BATCH, network.hidden_size)
    for t in range(STEPS):
        (gradient,) = torch.autograd.grad(output[t, 1].sin().sum(), x, retain_graph=True)
        expected = torch.zeros(STEPS, BATCH, dtype=torch.bool)
        expected[: t + 1, 1] = True
        assert torch.equal(gradient.any(dim=2), expected)


@stateful
@pytest.mark.parametrize("cuts", [[0, 3, 7], [0, 1, 7], [0, 6, 7], range(8)], ids=str)
def test_calls_with_carried_state_equal_one_call(make: Make, cuts: list[int]) -> None:
    network, x = make().double(), double(STEPS, BATCH, INPUT).requires_grad_()
    state: Any = None
    outputs = []
    for start, stop in pairwise(cuts):
        output, state = network(x[start:stop], state)
        outputs.append(output)
    whole, last = network(x)
    close((torch.cat(outputs), state), (whole, last))
    gradients = (torch.autograd.grad(y.sin().sum(), [x, *network.parameters()]) for y in (torch.cat(outputs), whole))
    close(*gradients)


@every
def test_half_precision_and_autocast_give_finite_gradients(make: Make) -> None:
    network, x = make(), torch.randn(STEPS, BATCH, INPUT)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, state = network(x)
        network(x, state)
        output.float().sin().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in network.parameters())
    assert network.bfloat16()(x.bfloat16())[0].dtype == torch.bfloat16


@every
def test_specs_rebuild_the_network(make: Make) -> None:
    network, x = make(), torch.randn(STEPS, BATCH, INPUT)
    spec = json.loads(json.dumps(registry.to_spec(network)))
    rebuilt = registry.from_spec(spec, nn.Module)
    assert spec["name"] == type(network).__name__
    assert registry.to_spec(rebuilt) == spec
    rebuilt.load_state_dict(network.state_dict())
    assert torch.equal(rebuilt(x)[0], network(x)[0])


@pytest.mark.usefixtures("unchecked")
@every
def test_inputs_of_another_shape_are_refused(make: Make) -> None:
    for shape in ((0, 2, INPUT), (5, INPUT), (5, 2, INPUT + 1)):
        with pytest.raises(ValueError, match=r"x has shape .*; write \(steps of 1 or more, batch, 5\)"):
            make()(torch.zeros(shape))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("cls", [MinGRU, LRU, S6])
def test_states_that_do_not_fit_are_refused(cls: Callable[..., nn.Module]) -> None:
    network, x = cls(INPUT, HIDDEN), torch.randn(STEPS, BATCH, INPUT)
    states: list[Any] = [network(x[:, :1])[1], cls(INPUT, HIDDEN, layers=1)(x)[1], [], torch.zeros(1, BATCH, HIDDEN)]
    for state in states:
        with pytest.raises(ValueError, match=r"^the state has tensors of \[.*\]; write \[.*\]$"):
            network(x, state)


def test_a_transformer_refuses_a_state() -> None:
    x = torch.randn(STEPS, BATCH, INPUT)
    with pytest.raises(ValueError, match="a transformer has no state; read the whole sequence in one call"):
        Transformer(INPUT, HIDDEN)(x, [(x,)])


@pytest.mark.parametrize(
    ("cls", "arguments", "words"),
    [
        *((cls, {"layers": 0}, "layers is 0; write 1 or more") for cls in (MinGRU, S6, Transformer)),
        (LRU, {"hidden_size": 0}, "hidden_size is 0; write 1 or more"),
        (GRU, {"kernel": "manual"}, "kernel is 'manual'; write one of auto, equations, native"),
        (GRU, {"init": "forget_log"}, "init is 'forget_log'; write one of torch, update_log"),
        (GRU, {"init": "update_log"}, "init 'update_log' can't use horizon None; write .* 2 or more"),
        (LRU, {"r_min": 0.9, "r_max": 0.9}, "r_min is 0.9, r_max 0.9 .*; write 0 ≤ r_min < r_max ≤ 1"),
        (S6, {"state_size": 0}, "state_size is 0"),
        (Transformer, {"heads": 3, "positions": "none"}, "hidden_size is 8; write a multiple of 3 for 3 heads"),
        (Transformer, {"heads": 8, "positions": "rope"}, "hidden_size is 8; write a multiple of 16 for 8 heads"),
        (Transformer, {"positions": "sinusoidal"}, "positions is 'sinusoidal'; write one of none, rope, alibi"),
    ],
)
def test_wrong_arguments_are_refused(cls: Callable[..., nn.Module], arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        cls(**{"input_size": INPUT, "hidden_size": HIDDEN, **arguments})


def test_causal_convolution_equals_torchs() -> None:
    convolution, x = CausalConvolution(HIDDEN).double(), double(STEPS, BATCH, HIDDEN)
    weight = convolution.weight.flip(0).T[:, None]
    expected = F.conv1d(F.pad(x.permute(1, 2, 0), (3, 0)), weight, convolution.bias, groups=HIDDEN)
    close(convolution(x, convolution.start(x))[0], expected.permute(2, 0, 1))


def test_lru_starts_in_its_ring() -> None:
    block = LRUBlock(64, 1000, r_min=0.8, r_max=0.95, max_phase=0.5)
    size, angle = torch.exp(-block.nu_log.exp()), block.theta_log.exp()
    assert 0.8 - 1e-6 <= size.min() < size.max() <= 0.95 + 1e-6
    assert angle.max() <= 0.5
    assert abs((size**2).mean() - (0.8**2 + 0.95**2) / 2) < 0.02  # uniform in the area of the ring
    torch.testing.assert_close(block.gamma_log.exp(), (1 - size**2).sqrt(), rtol=1e-4, atol=0)


def test_s6_starts_with_the_steps_and_decays_of_the_paper() -> None:
    block = S6Block(64, state_size=16, expand=2)
    step = F.softplus(block.delta.bias)
    assert 1e-3 - 1e-6 <= step.min() < 2e-3 < 0.05 < step.max() <= 0.1 + 1e-6
    torch.testing.assert_close(block.A_log.exp()[:, 5], torch.arange(1.0, 17))


def test_s6_scan_equals_the_step_of_the_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s6, "SEGMENT", 3)
    x, Δ, A = double(STEPS, BATCH, 4), double(STEPS, BATCH, 4).exp(), -double(2, 4).exp()
    B, C, h = double(STEPS, BATCH, 2), double(STEPS, BATCH, 2), double(1, BATCH, 2, 4)
    y, last = s6.selective_scan(x, Δ, A, B, C, h)
    for t in range(STEPS):
        h = torch.einsum("bd,nd->bnd", Δ[t], A).exp() * h + torch.einsum("bd,bn,bd->bnd", Δ[t], B[t], x[t])
        close(y[t], torch.einsum("bnd,bn->bd", h[0], C[t]))
    close(last, h)


def test_rope_depends_on_distances_only() -> None:
    q, k = double(2, 1, 1, 1, 8).expand(2, 1, 1, STEPS, 8)
    scores = (rotate(q) @ rotate(k).mT)[0, 0]
    torch.testing.assert_close(scores[1:, 1:], scores[:-1, :-1], rtol=0, atol=1e-5)
    assert scores[0].std() > 0.1
    close(scores[0, 0], (q * k)[0, 0, 0].sum())


@pytest.mark.parametrize("queries", [2, 512])
def test_alibi_adds_slopes_times_distances(queries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformer, "QUERIES", queries)
    torch.testing.assert_close(alibi_slopes(8), 0.5 ** torch.arange(1.0, 9))
    q, k, v = double(3, 2, 8, STEPS, 5)
    t = torch.arange(STEPS)
    bias = -(0.5 ** torch.arange(1.0, 9))[:, None, None] * (t[:, None] - t)
    scores = (q @ k.mT / 5**0.5 + bias).masked_fill(t[:, None] < t, -torch.inf)
    close(alibi_attention(q, k, v, alibi_slopes(8)), scores.softmax(-1) @ v)
