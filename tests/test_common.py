"""Seeding, the moving average, eval mode and matmul precision."""

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning import seed_everything
from torch import Tensor, nn

from common.eval_mode import evaluating
from common.matmul_precision import MATMUL_PRECISIONS, matmul_precision
from common.moving_average import MovingAverage
from common.seeding import HIGHEST_SEED, derive, reseed, rng, run_seed

seeds = st.integers(0, HIGHEST_SEED)
keys = st.lists(st.integers(-(10**9), 10**9) | st.text(max_size=5), max_size=4).map(tuple)


@given(seeds, keys)
def test_rng_depends_on_seed_and_key_alone(seed: int, key: tuple[int | str, ...]) -> None:
    before = torch.get_rng_state()
    first = torch.randn(5, generator=rng(seed, *key))
    torch.randn(3, generator=rng(seed, *key, "other"))
    assert torch.equal(torch.get_rng_state(), before)
    torch.randn(3)
    assert torch.equal(torch.randn(5, generator=rng(seed, *key)), first)
    assert 0 <= derive(seed, *key) < 2**63


def test_derive_distinguishes_the_parts_of_a_key() -> None:
    assert len({derive(0, "ab"), derive(0, "a", "b"), derive(0, 1), derive(0, "1"), derive(0, 0, 1), derive(1, 0)}) == 6


def test_streams_of_successive_steps_are_uncorrelated() -> None:
    noise = torch.stack([torch.randn(4000, generator=rng(0, "noise", step)) for step in range(20)])
    assert (torch.corrcoef(noise) - torch.eye(20)).abs().max() < 5 / 4000**0.5


def test_run_seed_is_that_of_seed_everything_or_random(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "restored at the end")
    seed_everything(1234, verbose=False)
    assert run_seed() == 1234
    drawn = set()
    for _ in range(5):
        seed_everything(7, verbose=False)
        monkeypatch.delenv("PL_GLOBAL_SEED")
        drawn.add(run_seed())
    assert len(drawn) > 1  # it doesn't come from the seeded global streams
    assert all(0 <= seed <= HIGHEST_SEED for seed in drawn)


def test_an_accelerator_has_one_generator_for_each_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    new, made = torch.Generator, Counter[str]()

    def make(device: str) -> torch.Generator:
        made[device] += 1
        return new()

    monkeypatch.setattr(torch, "Generator", make)
    for step in range(3):
        kept = [rng(1, name, step, device="cuda:7") for name in ("noise", "between")]  # both alive
        fresh = [rng(1, name, step) for name in ("noise", "between")]
        for one, other in zip(kept, fresh, strict=True):
            assert torch.equal(torch.rand(5, generator=one), torch.rand(5, generator=other))
    assert made["cuda:7"] == 2


@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param("cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="")]),
    ],
)
def test_reseed_equals_manual_seed(device: str) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3), torch.rand(3, device=device)
    reseed(5, torch.device(device))
    assert torch.equal(torch.rand(3), expected[0])
    assert torch.equal(torch.rand(3, device=device), expected[1])


class Averaged(nn.Module):
    """A weight, a floating-point buffer and an integer buffer."""

    statistic: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))
        self.register_buffer("statistic", torch.zeros(2, dtype=torch.float64))
        self.register_buffer("count", torch.tensor(0))


@given(st.floats(0.5, 0.9999), st.lists(st.integers(-9, 9), min_size=1, max_size=30))
def test_moving_average_follows_its_formula(decay: float, values: list[int]) -> None:
    network = Averaged()
    average = MovingAverage(network, decay)
    assert not any(parameter.requires_grad for parameter in average.parameters())
    expected = float(values[0])
    for n, value in enumerate(values):
        for tensor in network.state_dict().values():
            tensor.fill_(value)
        average.update_parameters(network)
        at_this_step = min(decay, (n + 1) / (n + 10))
        expected = value if n == 0 else at_this_step * expected + (1 - at_this_step) * value
    averaged = average.module
    assert isinstance(averaged, Averaged)
    assert averaged.weight.tolist() == pytest.approx([expected] * 2, abs=1e-5)
    assert averaged.statistic.tolist() == pytest.approx([expected] * 2, abs=1e-5)
    assert int(averaged.count) == values[-1]


def test_a_moving_average_reads_no_number_from_the_device() -> None:
    network = Averaged().to("meta")  # without values
    average = MovingAverage(network, 0.9)
    for _ in range(3):
        average.update_parameters(network)


def test_evaluating_restores_every_module_and_changes_nothing() -> None:
    network, other = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout()), nn.Dropout()
    network[2].eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    def interrupted() -> None:
        with evaluating(network, other):
            assert not any(part.training for part in (*network.modules(), other))
            assert not network(torch.randn(4, 2)).requires_grad
            raise RuntimeError("in between")

    with pytest.raises(RuntimeError, match="in between"):
        interrupted()
    assert [part.training for part in network.modules()] == [True, True, True, False]
    assert other.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert network(torch.randn(4, 2)).requires_grad


@pytest.mark.parametrize("name", MATMUL_PRECISIONS)
def test_matmul_precision_is_set_inside_and_restored(name: str) -> None:
    with matmul_precision(name):
        assert torch.get_float32_matmul_precision() == name
    assert torch.get_float32_matmul_precision() == "highest"
