"""Each sequence network solves a standard task of the literature, reduced in size; minutes in all."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.targets import UNASKED
from datamodules import InductionDataModule
from networks.gru import GRU
from networks.lru import LRU
from networks.min_gru import MinGRU
from networks.s6 import S6
from networks.transformer import Transformer

Batches = Callable[[int], tuple[Tensor, Tensor]]
pytestmark = pytest.mark.slow


def rng(k: int) -> np.random.Generator:
    return np.random.default_rng(k)


def induction(k: int) -> tuple[Tensor, Tensor]:
    """Gu & Dao 2023: 16 tokens, 32 steps."""
    data = InductionDataModule(32)
    symbols = data.draw(rng(k), 64, 32)
    return torch.from_numpy(symbols).T, torch.from_numpy(data.targets(symbols)).T


def selective_copying(k: int) -> tuple[Tensor, Tensor]:
    """Gu & Dao 2023, Feng et al. 2024: 4 of 8 tokens among 28 blanks, then 4 steps that ask for them in order."""
    random = rng(k)
    tokens = random.integers(0, 8, (64, 4))
    places = np.sort(random.random((64, 32)).argsort(axis=1)[:, :4], axis=1)
    symbols = np.concatenate([np.full((64, 32), 8), np.full((64, 4), 9)], axis=1)
    np.put_along_axis(symbols, places, tokens, axis=1)
    targets = np.concatenate([np.full((64, 32), UNASKED), tokens], axis=1)
    return torch.from_numpy(symbols).T, torch.from_numpy(targets).T


def copying(k: int) -> tuple[Tensor, Tensor]:
    """Hochreiter & Schmidhuber 1997, Arjovsky et al. 2016: 5 of 8 tokens, 20 blanks, then 5 steps that ask for them."""
    tokens = rng(k).integers(0, 8, (64, 5))
    symbols = np.concatenate([tokens, np.full((64, 20), 8), np.full((64, 5), 9)], axis=1)
    targets = np.concatenate([np.full((64, 25), UNASKED), tokens], axis=1)
    return torch.from_numpy(symbols).T, torch.from_numpy(targets).T


OWN: dict[str, tuple[Callable[[], Any], Batches, int, float, int]] = {
    "GRU copying": (lambda: GRU(10, 64, init="update_log", horizon=25), copying, 8, 1e-2, 2000),
    "minGRU selective copying": (lambda: MinGRU(10, 64), selective_copying, 8, 3e-3, 1000),
    "LRU copying": (lambda: LRU(10, 64), copying, 8, 3e-3, 400),
    "S6 induction": (lambda: S6(17, 64, expand=1), induction, 16, 3e-3, 800),
    "transformer RoPE induction": (lambda: Transformer(17, 64, positions="rope"), induction, 16, 1e-3, 800),
    "transformer ALiBi induction": (lambda: Transformer(17, 64, positions="alibi"), induction, 16, 1e-3, 800),
}


@pytest.mark.parametrize("name", OWN)
def test_networks_solve_a_standard_task(name: str) -> None:
    make, batches, answers, rate, most = OWN[name]
    torch.manual_seed(1)
    network = make()
    symbols_read, hidden = network.input_size, network.hidden_size
    readout = nn.Linear(hidden, answers)
    weights = [*network.parameters(), *readout.parameters()]
    optimizer = torch.optim.Adam(weights, rate)

    def logits_and_targets(k: int) -> tuple[Tensor, Tensor]:
        symbols, targets = batches(k)
        output, _ = network(F.one_hot(symbols, symbols_read).float())
        return readout(output).flatten(0, 1), targets.flatten()

    for k in range(1, most + 1):
        loss = F.cross_entropy(*logits_and_targets(k), ignore_index=UNASKED)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        if k % 50 == 0:
            with torch.no_grad():
                logits, targets = logits_and_targets(most + k)
            asked = targets != UNASKED
            accuracy = float((logits.argmax(dim=1) == targets)[asked].float().mean())
            if accuracy >= 0.99:
                break
    print(f"{name}: accuracy {accuracy:.3f} after {k} batches")
    assert accuracy >= 0.99
