"""Random numbers are a function of (seed, key), and the seed is the one of `seed_everything`."""

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from lightning import seed_everything

from common.seeding import HIGHEST_SEED, derive, reseed, rng, run_seed

seeds = st.integers(0, HIGHEST_SEED)
keys = st.lists(st.integers(-(10**9), 10**9) | st.text(max_size=5), max_size=4).map(tuple)


@given(seeds, keys)
def test_the_same_key_gives_the_same_numbers_whatever_else_was_drawn(seed: int, key: tuple[int | str, ...]) -> None:
    first = torch.randn(5, generator=rng(seed, *key))
    torch.randn(3)
    torch.randn(3, generator=rng(seed, *key, "other"))
    assert torch.equal(torch.randn(5, generator=rng(seed, *key)), first)
    assert 0 <= derive(seed, *key) < 2**63


@given(seeds, keys, seeds, keys)
def test_other_seeds_and_keys_give_other_numbers(
    seed: int, key: tuple[int | str, ...], other_seed: int, other_key: tuple[int | str, ...]
) -> None:
    assume((seed, key) != (other_seed, other_key))
    assert derive(seed, *key) != derive(other_seed, *other_key)


def test_keys_are_told_apart_by_their_parts() -> None:
    assert len({derive(0, "ab"), derive(0, "a", "b"), derive(0, 1), derive(0, "1"), derive(0, 0, 1), derive(1, 0)}) == 6


def test_streams_of_neighbouring_steps_are_unrelated() -> None:
    noise = torch.stack([torch.randn(4000, generator=rng(0, "noise", step)) for step in range(20)])
    assert (torch.corrcoef(noise) - torch.eye(20)).abs().max() < 5 / 4000**0.5


def test_global_stream_is_left_alone() -> None:
    before = torch.get_rng_state()
    torch.randn(3, generator=rng(1, "noise"))
    assert torch.equal(torch.get_rng_state(), before)


def test_run_seed_is_that_of_seed_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "to be restored")
    seed_everything(1234, verbose=False)
    assert run_seed() == 1234
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    assert run_seed() == 0


def test_run_seed_is_drawn_when_there_is_none_and_not_from_a_seeded_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "to be restored")
    drawn = set()
    for _ in range(5):
        seed_everything(7, verbose=False)
        monkeypatch.delenv("PL_GLOBAL_SEED")
        drawn.add(run_seed())
    assert len(drawn) > 1
    assert all(0 <= seed <= HIGHEST_SEED for seed in drawn)


def test_reseeding_starts_the_stream_that_manual_seed_starts() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    reseed(5, torch.device("cpu"))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_reseeding_a_gpu_starts_its_stream_and_that_of_the_cpu() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3), torch.rand(3, device="cuda")
    reseed(5, torch.device("cuda", torch.cuda.current_device()))
    assert torch.equal(torch.rand(3), expected[0])
    assert torch.equal(torch.rand(3, device="cuda"), expected[1])
