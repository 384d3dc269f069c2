"""What all sequence networks share: shapes, states, causality, precision, specs, refusals; then the equations of each
one's block, and how it starts."""

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
from networks.min_gru import MinGRU, MinGRUBlock
from networks.rnn import RNN
from networks.s6 import S6, S6Block
from networks.transformer import POSITIONS, Transformer, TransformerBlock

INPUT, HIDDEN, BATCH, STEPS = 5, 8, 3, 7
Make = Callable[[], nn.Module]
STATEFUL: dict[str, Make] = {
    "LSTM": lambda: LSTM(INPUT, HIDDEN),
    "RNN": lambda: RNN(INPUT, HIDDEN),
    "GRU": lambda: GRU(INPUT, HIDDEN, init="update_log", horizon=9),
    "MinGRU": lambda: MinGRU(INPUT, HIDDEN),
    "LRU ring": lambda: LRU(INPUT, HIDDEN, r_min=0.9, r_max=0.999, state_size=6),
    "S6": lambda: S6(INPUT, HIDDEN),
    "S6 one layer": lambda: S6(INPUT, HIDDEN, layers=1, state_size=3, expand=1),
}
ALL = STATEFUL | {p: lambda p=p: Transformer(INPUT, HIDDEN, heads=2, positions=p) for p in POSITIONS}
every = pytest.mark.parametrize("make", ALL.values(), ids=ALL)
stateful = pytest.mark.parametrize("make", STATEFUL.values(), ids=STATEFUL)


def double(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def close(found: Any, expected: Any, *, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


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


@pytest.mark.parametrize("cls", [MinGRU, LRU, S6])
def test_a_state_keeps_no_other_step_in_memory(cls: Callable[..., nn.Module]) -> None:
    _, state = cls(INPUT, HIDDEN)(torch.randn(STEPS, BATCH, INPUT))
    assert all(tensor.untyped_storage().nbytes() == tensor.nbytes for block in state for tensor in block)


def test_a_transformer_refuses_a_state() -> None:
    x = torch.randn(STEPS, BATCH, INPUT)
    with pytest.raises(ValueError, match="a transformer has no state; read the whole sequence in one call"):
        Transformer(INPUT, HIDDEN)(x, [(x,)])


@pytest.mark.usefixtures("unchecked")
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


# Each block in float64, a step after the other, as in its paper.


def rms(norm: nn.RMSNorm, x: Tensor) -> Tensor:
    return norm.weight * x / x.square().mean(-1, keepdim=True).sqrt()


def mlp(layers: Any, x: Tensor) -> Tensor:
    first, _, last = layers
    assert first.out_features == 4 * HIDDEN
    y: Tensor = last(F.gelu(first(x)))
    return y


def convolved(convolution: CausalConvolution, x: Tensor) -> Tensor:
    kernel = convolution.weight.flip(0).T[:, None]
    padded = F.pad(x.permute(1, 2, 0), (3, 0))
    return F.conv1d(padded, kernel, convolution.bias, groups=x.shape[2]).permute(2, 0, 1)


def min_gru_block(block: MinGRUBlock, x: Tensor) -> Tensor:
    x = x + convolved(block.convolution, rms(block.norm_1, x))
    h, output = torch.zeros_like(x[0]), []
    for y in rms(block.norm_2, x):
        z, u = torch.sigmoid(block.z(y)), block.h(y)
        h = (1 - z) * h + z * torch.where(u >= 0, u + 0.5, torch.sigmoid(u))
        output.append(h)
    x = x + torch.stack(output)
    return x + mlp(block.mlp, rms(block.norm_3, x))


def lru_block(block: LRUBlock, x: Tensor) -> Tensor:
    λ = torch.exp(torch.complex(-block.nu_log.exp(), block.theta_log.exp()))
    B, C = torch.complex(block.B_re, block.B_im), torch.complex(block.C_re, block.C_im)
    h, output = torch.zeros(BATCH, len(λ), dtype=λ.dtype), []
    for u in F.layer_norm(x, (HIDDEN,), block.norm.weight, block.norm.bias):
        h = λ * h + block.gamma_log.exp() * (u.to(B.dtype) @ B.T)
        y = F.gelu((h @ C.T).real + block.D * u)
        output.append(block.value(y) * torch.sigmoid(block.gate(y)))
    return x + torch.stack(output)


def s6_block(block: S6Block, x: Tensor) -> Tensor:
    u, z = block.in_projection(rms(block.norm, x)).chunk(2, dim=2)
    u = F.silu(convolved(block.convolution, u))
    A = -block.A_log.exp().T  # (channels, state)
    h, output = torch.zeros(BATCH, *A.shape, dtype=A.dtype), []
    for u_t in u:
        Δ, B, C = block.x_projection(u_t).split([block.delta.in_features, A.shape[1], A.shape[1]], dim=1)
        Δ = F.softplus(block.delta(Δ))
        h = torch.exp(Δ[..., None] * A) * h + (Δ * u_t)[..., None] * B[:, None]
        output.append((h @ C[..., None])[..., 0] + block.D * u_t)
    y: Tensor = block.out_projection(torch.stack(output) * F.silu(z))
    return x + y


def transformer_block(block: TransformerBlock, x: Tensor) -> Tensor:
    heads, size = 2, HIDDEN // 2
    y = F.layer_norm(x, (HIDDEN,), block.norm_1.weight, block.norm_1.bias)
    q, k, v = (part.unflatten(2, (heads, size)) for part in block.qkv(y).chunk(3, dim=2))  # (steps, batch, heads, size)
    output = []
    for t in range(STEPS):
        distance = t - torch.arange(t + 1, dtype=x.dtype)[:, None, None]  # to the steps s = 0 … t
        scores = (q[t] * k[: t + 1]).sum(3)
        if block.positions == "rope":  # pairs of numbers are complex ones
            angle = distance[..., None] * 10_000.0 ** (-torch.arange(0, size, 2) / size)
            q_t, k_s = torch.complex(*q[t].chunk(2, dim=2)), torch.complex(*k[: t + 1].chunk(2, dim=3))
            scores = (q_t * k_s.conj() * torch.exp(1j * angle)).real.sum(3)
        scores = scores / size**0.5
        if block.positions == "alibi":
            scores = scores - torch.tensor([2**-4, 2**-8]) * distance
        output.append((scores.softmax(0)[..., None] * v[: t + 1]).sum(0).flatten(1))
    x = x + block.projection(torch.stack(output))
    return x + mlp(block.mlp, F.layer_norm(x, (HIDDEN,), block.norm_2.weight, block.norm_2.bias))


BLOCKS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "MinGRU": min_gru_block,
    "LRU ring": lru_block,
    "S6": s6_block,
    **dict.fromkeys(POSITIONS, transformer_block),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_networks_equal_the_equations_of_their_blocks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s6, "SEGMENT", 3)
    monkeypatch.setattr(transformer, "QUERIES", 3)
    network: Any = ALL[name]().double()
    x = double(STEPS, BATCH, INPUT)
    with torch.no_grad():
        for parameter in network.parameters():  # many start at 0 or 1
            parameter += 0.3 * torch.randn_like(parameter)
        expected = network.embedding(x)
        for block in network.blocks:
            expected = BLOCKS[name](block, expected)
        # RoPE computes its angles in float32.
        close(network(x)[0], network.norm(expected), tolerance=1e-5 if name == "rope" else 1e-10)


def test_lru_starts_in_its_ring() -> None:
    block = LRUBlock(64, 1000, r_min=0.8, r_max=0.95, max_phase=0.5)
    size, angle = torch.exp(-block.nu_log.exp()), block.theta_log.exp()
    assert 0.8 - 1e-6 <= size.min() < size.max() <= 0.95 + 1e-6
    assert angle.max() <= 0.5
    assert abs(torch.stack([size, angle]).corrcoef()[0, 1]) < 0.1
    assert abs((size**2).mean() - (0.8**2 + 0.95**2) / 2) < 0.02  # uniform in the area of the ring
    torch.testing.assert_close(block.gamma_log.exp(), (1 - size**2).sqrt(), rtol=1e-4, atol=0)
    variances = [part.var().item() for part in (block.B_re, block.B_im, block.C_re, block.C_im)]
    assert variances == pytest.approx([1 / 128, 1 / 128, 1 / 1000, 1 / 1000], rel=0.05)


def test_s6_starts_with_the_steps_and_decays_of_the_paper() -> None:
    block = S6Block(64, state_size=16, expand=2)
    step = F.softplus(block.delta.bias)
    assert 1e-3 - 1e-6 <= step.min() < 2e-3 < 0.05 < step.max() <= 0.1 + 1e-6
    assert 0.49 < block.delta.weight.max() <= 0.5  # 1/√rank
    torch.testing.assert_close(block.A_log.exp()[:, 5], torch.arange(1.0, 17))
