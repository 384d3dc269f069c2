"""What a step of our LSTM costs beside `torch.nn.LSTM` and beside eight `nn.Linear`: python -m benchmarks.lstm_kernels

A step reads T−1 one-hot digits in a batch of 128 with 128 hidden units, forward and backward, with a loss on the last
output. All contestants have the same weights, and before any time is taken they must agree on outputs and gradients:
in float64 over the whole length, and in float32, in which they are measured, over the first 20 digits. Over 1000 digits
rounding errors grow so much that float32 gradients are 3 to 15 % off those in float64, depending on the kernel.

The forget bias starts at log T. As the LSTM comes, the gradients of long sequences underflow to denormal numbers, with
which a CPU calculates several times slower: every kernel would be slow, and nothing compared.

Writes into benchmarks/results, a row as soon as it is measured:

- lstm_kernels.csv: milliseconds per step, the ratio to `torch.nn.LSTM` in the same round, each with its median and
  quartiles over rounds; and by how many MB the steps made a new process grow at its peak, at one thread.
- lstm_kernels.svg: the same, drawn, for light and dark pages.
"""

import csv
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from benchmarks.command import RESULTS, start
from benchmarks.memory import peak_growth
from benchmarks.timing import interleaved, quartiles
from networks.lstm import LSTM, State
from scripts.plotting import panels, svg

ROUNDS = {5: 400, 20: 100, 100: 32, 400: 12, 1000: 8}
"""How many rounds for each length T: multiples of the four contestants, so that each is equally often first."""
WARM_UP_ROUNDS = 2
MEMORY_STEPS = 2
THREADS = sorted({1, torch.get_num_threads()})
"""One, and as many as torch takes by itself: all cores, unless OMP_NUM_THREADS says otherwise."""
BATCH_SIZE, DIGITS, HIDDEN = 128, 10, 128


class Row(NamedTuple):
    """A contestant at one length and number of threads; "lower" and "upper" are quartiles over rounds."""

    threads: int
    length: int
    contestant: str
    median_ms: float
    lower_quartile_ms: float
    upper_quartile_ms: float
    ratio: float
    ratio_lower: float
    ratio_upper: float
    peak_mb: float
    peak_ratio: float


class EightLinears(nn.Module):
    """The LSTM as it is written most often: a layer for each of the eight matrices, and autograd does the rest."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.W_ii, self.W_hi = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size)
        self.W_if, self.W_hf = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size)
        self.W_ig, self.W_hg = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size)
        self.W_io, self.W_ho = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size)

    def forward(self, x: Float[Tensor, "steps batch input"]) -> tuple[Float[Tensor, "steps batch hidden"], State]:
        """Returns h of every step, and the last (h, c)."""
        h = c = x.new_zeros(x.shape[1], self.hidden_size)
        output = []
        for x_t in x:
            i = torch.sigmoid(self.W_ii(x_t) + self.W_hi(h))
            f = torch.sigmoid(self.W_if(x_t) + self.W_hf(h))
            g = torch.tanh(self.W_ig(x_t) + self.W_hg(h))
            o = torch.sigmoid(self.W_io(x_t) + self.W_ho(h))
            c = f * c + i * g
            h = o * torch.tanh(c)
            output.append(h)
        return torch.stack(output), (h[None], c[None])


PEER = "nn.LSTM"
CONTESTANTS: dict[str, Callable[[int, int], nn.Module]] = {
    PEER: nn.LSTM,
    "gates": partial(LSTM, kernel="gates"),
    "fused": partial(LSTM, kernel="fused"),
    "eight nn.Linear": EightLinears,
}


def by_gate(stacked: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `nn.LSTM` names "weight_ih_l0" and so on, under the sixteen names of `EightLinears`."""
    return {
        f"W_{source}{gate}.{kind}": part
        for kind in ("weight", "bias")
        for source in "ih"
        for gate, part in zip("ifgo", stacked[f"{kind}_{source}h_l0"].chunk(4), strict=True)
    }


def contestant(name: str, weights: Mapping[str, Tensor]) -> nn.Module:
    """The network called `name` in `CONTESTANTS`, with the weights of an `nn.LSTM`'s state_dict."""
    four_hidden, inputs = weights["weight_ih_l0"].shape
    network = CONTESTANTS[name](inputs, four_hidden // 4).to(weights["weight_ih_l0"])
    network.load_state_dict(by_gate(weights) if isinstance(network, EightLinears) else weights)
    return network


def contestants(weights: Mapping[str, Tensor]) -> dict[str, nn.Module]:
    """All of them, with the same weights."""
    return {name: contestant(name, weights) for name in CONTESTANTS}


def weights_and_digits(length: int) -> tuple[dict[str, Tensor], Float[Tensor, "steps batch 10"]]:
    """What every contestant gets at this length."""
    torch.manual_seed(0)
    weights = LSTM(DIGITS, HIDDEN, init="forget_log", horizon=length).state_dict()
    return weights, F.one_hot(torch.randint(DIGITS, (length - 1, BATCH_SIZE)), DIGITS).float()


def step(network: nn.Module, x: Float[Tensor, "steps batch input"]) -> Float[Tensor, "steps batch hidden"]:
    """Forward and backward; leaves the gradients in the parameters and returns h of every step."""
    network.zero_grad()
    output: Tensor = network(x)[0]
    output[-1].square().mean().backward()
    return output.detach()


def results(network: nn.Module, x: Float[Tensor, "steps batch input"]) -> dict[str, Tensor]:
    """What one step gives: the output, and the gradients under the names of `EightLinears`."""
    output = step(network, x)
    gradients = {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}
    return {"output": output, **(gradients if isinstance(network, EightLinears) else by_gate(gradients))}


def assert_agreement(
    networks: Mapping[str, nn.Module], x: Float[Tensor, "steps batch input"], tolerance: float
) -> None:
    """Raises AssertionError when an output or a gradient is further from that of `nn.LSTM` than `tolerance` of it."""
    expected = results(networks[PEER], x)
    for name, network in networks.items():
        for what, actual in results(network, x).items():
            error = (actual - expected[what]).norm() / expected[what].norm()
            assert error <= tolerance, f"{name} after {len(x)} steps: {what} is off by {error:.1e} of it"


def assert_agreement_at(length: int) -> None:
    """Raises AssertionError when the contestants don't compute the same at this length."""
    weights, x = weights_and_digits(length)
    assert_agreement(contestants(weights), x[:20], tolerance=1e-5)
    in_float64 = {name: weight.double() for name, weight in weights.items()}
    assert_agreement(contestants(in_float64), x.double(), tolerance=1e-6)


def growth(name: str, length: int) -> float:
    """By how many MB a new process grows at its peak, for steps of a contestant and for what torch loads for them."""
    torch.set_num_threads(1)
    weights, x = weights_and_digits(length)
    network = contestant(name, weights)
    return peak_growth(lambda: [step(network, x) for _ in range(MEMORY_STEPS)])


def growth_of_a_new_process(name: str, length: int) -> float:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(growth, name, length).result()


def measure(length: int, rounds: int, threads: int, peaks: Mapping[str, float]) -> list[Row]:
    """A row for each contestant at this length; `peaks` are their MB."""
    torch.set_num_threads(threads)
    weights, x = weights_and_digits(length)
    steps = {name: partial(step, network, x) for name, network in contestants(weights).items()}
    times = interleaved(steps, rounds, WARM_UP_ROUNDS)
    rows = []
    for name, own in times.items():
        ratios = [ours / peers for ours, peers in zip(own, times[PEER], strict=True)]
        (lower, median, upper), (ratio_lower, ratio, ratio_upper) = quartiles(own), quartiles(ratios)
        numbers = median, lower, upper, ratio, ratio_lower, ratio_upper, peaks[name], peaks[name] / peaks[PEER]
        rows.append(Row(threads, length, name, *(round(number, 3) for number in numbers)))
    return rows


def draw(rows: Sequence[Row]) -> bytes:
    """As SVG: a panel of ratios for each number of threads, the quartiles shaded, and one of memory."""
    all_threads = sorted({row.threads for row in rows})
    lengths = sorted({row.length for row in rows})
    figure, (*ratio_axes, memory_axis) = panels(len(all_threads) + 1)
    for name in CONTESTANTS:
        for threads, axis in zip(all_threads, ratio_axes, strict=True):
            own = [row for row in rows if (row.contestant, row.threads) == (name, threads)]
            axis.plot(lengths, [row.ratio for row in own], marker=".", label=name)
            axis.fill_between(lengths, [row.ratio_lower for row in own], [row.ratio_upper for row in own], alpha=0.2)
        memory_axis.plot(lengths, [row.peak_mb for row in own], marker=".")
    for threads, axis in zip(all_threads, ratio_axes, strict=True):
        axis.axhline(1, color="grey", linewidth=0.8, linestyle=":")
        axis.set(title=f"threads: {threads}", ylabel="time of a step / that of nn.LSTM")
    memory_axis.set(title="memory", ylabel="peak of a new process, MB", yscale="log")
    for axis in (*ratio_axes, memory_axis):
        axis.set(xlabel="length T", xscale="log")
        axis.set_xticks(lengths, [str(length) for length in lengths])
        axis.minorticks_off()
    ratio_axes[0].legend(frameon=False, fontsize=8)
    return svg(figure)


def main(folder: Path = RESULTS, rounds: Mapping[int, int] = ROUNDS, threads: Sequence[int] = THREADS) -> None:
    """Measures, prints, writes and draws; `rounds` says how many for each length, which is 3 or more."""
    rows = []
    with (folder / "lstm_kernels.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(Row._fields)
        for length, rounds_of_length in rounds.items():
            print(f"T={length}: agreement, memory, {rounds_of_length} rounds at each number of threads", flush=True)
            assert_agreement_at(length)
            peaks = {name: growth_of_a_new_process(name, length) for name in CONTESTANTS}
            for number in threads:
                for row in measure(length, rounds_of_length, number, peaks):
                    table.writerow(row)
                    file.flush()
                    rows.append(row)
                    print("  ".join(f"{field} {value}" for field, value in row._asdict().items()), flush=True)
    (folder / "lstm_kernels.svg").write_bytes(draw(rows))


if __name__ == "__main__":
    sys.exit(start("lstm_kernels", main, __doc__))
