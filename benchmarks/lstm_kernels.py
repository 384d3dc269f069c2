"""The cost of each kernel, forward and backward: python -m benchmarks.lstm_kernels [kernels] [sizes] [recurrence]

- kernels: the LSTM's next to `torch.nn.LSTM`, with a loss on the last output: T−1 one-hot digits, batch 128, 128 units,
  at several lengths and thread counts. The forget bias starts at log T. With the default initialisation the gradients
  of long sequences underflow to denormal numbers, with which a CPU computes several times slower, whatever the kernel.
  Writes lstm_kernels.csv, with the peak memory of a new process with one thread, and lstm_kernels.svg.
- sizes: manual next to native for other batch sizes and numbers of units, each at two lengths, one thread. Decides
  `networks.lstm.fastest_kernel`. Writes lstm_sizes.csv.
- recurrence: the linear recurrence's next to `equations`, the loop that autograd differentiates: 1,000 steps, 64 real
  units, one thread. Writes linear_recurrence.csv.

By interleaved timing: milliseconds and ratios in the same round, medians and quartiles over rounds.
"""

import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from benchmarks.command import run
from benchmarks.results import Results
from benchmarks.timing import compared, in_new_process, peak_growth, quartiles
from networks.linear_recurrence import linear_recurrence
from networks.lstm import LSTM
from scripts.plotting import panels, svg

REFERENCE = "nn.LSTM"
LSTMS: dict[str, Callable[[int, int], nn.Module]] = {
    REFERENCE: nn.LSTM,
    **{kernel: partial(LSTM, kernel=kernel) for kernel in ("equations", "manual", "native", "auto")},
}
ROUNDS = {5: 400, 20: 100, 100: 30, 400: 15, 1000: 10}
"""Rounds for each length: multiples of the five implementations, so that each is equally often first."""
THREADS = sorted({1, torch.get_num_threads()})
BATCH_SIZE, DIGITS, HIDDEN = 128, 10, 128
BATCH_SIZES, HIDDENS, SIZE_ROUNDS = (16, 64, 128, 256), (16, 32, 64, 128, 256), 6
SIZES = (400_000, 1_600_000)
"""Steps × rows × units; in between lies `networks.lstm.MANUAL_FROM`."""
RECURRENT_STEPS, RECURRENT_ROUNDS = 1000, 30


def kernels(options: Namespace) -> None:
    """The kernels next to nn.LSTM."""
    results = Results(options.out / "lstm_kernels.csv", "threads", "length", "implementation")
    for length, rounds in ROUNDS.items():
        peaks = {name: in_new_process(lstm_memory, name, length) for name in LSTMS}
        for threads in THREADS:
            torch.set_num_threads(threads)
            weights, x = weights_and_digits(length)
            steps = {name: partial(lstm_step, lstm_with(name, weights), x) for name in LSTMS}
            for name, samples in compared(steps, REFERENCE, rounds).items():
                about = {"threads": threads, "length": length, "implementation": name}
                memory = {"peak_mb": peaks[name], "peak_ratio": peaks[name] / peaks[REFERENCE]}
                results.add(about | quartile_columns(samples) | memory)
    (options.out / "lstm_kernels.svg").write_bytes(draw_lstm(results.rows))


def sizes(options: Namespace) -> None:
    """Manual next to native at other sizes."""
    torch.set_num_threads(1)
    results = Results(options.out / "lstm_sizes.csv", "batch_size", "hidden", "length", "kernel")
    for batch_size, hidden, size in product(BATCH_SIZES, HIDDENS, SIZES):
        length = size // (batch_size * hidden) + 1
        weights, x = weights_and_digits(length, batch_size, hidden)
        steps = {kernel: partial(lstm_step, lstm_with(kernel, weights), x) for kernel in ("native", "manual")}
        for kernel, samples in compared(steps, "native", SIZE_ROUNDS).items():
            about = {"batch_size": batch_size, "hidden": hidden, "length": length, "kernel": kernel}
            results.add(about | quartile_columns(samples))


def recurrence(options: Namespace) -> None:
    """The linear recurrence's kernels next to the loop."""
    torch.set_num_threads(1)
    results = Results(options.out / "linear_recurrence.csv", "batch_size", "kernel")
    for batch_size in (1, 8, 64):
        steps = recurrence_steps(RECURRENT_STEPS, batch_size)
        for kernel, samples in compared(steps, "equations", RECURRENT_ROUNDS).items():
            results.add({"batch_size": batch_size, "kernel": kernel} | quartile_columns(samples))


def quartile_columns(samples: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The median and the quartiles of each quantity, as columns: `ms`, `ms_lower`, `ms_upper`."""
    columns: dict[str, float] = {}
    for quantity, values in samples.items():
        lower, middle, upper = quartiles(values)
        columns |= {quantity: middle, f"{quantity}_lower": lower, f"{quantity}_upper": upper}
    return columns


def lstm_with(name: str, weights: Mapping[str, Tensor]) -> nn.Module:
    """One of `LSTMS` with the weights of an `nn.LSTM`."""
    four_hidden, inputs = weights["weight_ih_l0"].shape
    network = LSTMS[name](inputs, four_hidden // 4).to(weights["weight_ih_l0"])
    network.load_state_dict(weights)
    return network


def weights_and_digits(
    length: int, batch_size: int = BATCH_SIZE, hidden: int = HIDDEN
) -> tuple[dict[str, Tensor], Float[Tensor, "steps batch 10"]]:
    """The weights and the input of all implementations at a length."""
    torch.manual_seed(0)
    weights = LSTM(DIGITS, hidden, init="forget_log", horizon=length).state_dict()
    return weights, F.one_hot(torch.randint(DIGITS, (length - 1, batch_size)), DIGITS).float()


def lstm_step(network: nn.Module, x: Float[Tensor, "steps batch input"]) -> Tensor:
    """Forward and backward; returns the loss."""
    network.zero_grad()
    loss: Tensor = network(x)[0][-1].square().mean()
    loss.backward()
    return loss.detach()


def recurrence_steps(steps: int, batch_size: int, device: str = "cpu") -> dict[str, Callable[[], None]]:
    """`recurrence_step` of each kernel, for the same random numbers."""
    a, b, weight = torch.rand(3, steps, batch_size, 64, device=device)
    a.requires_grad_()
    b.requires_grad_()
    return {kernel: partial(recurrence_step, kernel, a, b, weight) for kernel in ("equations", "manual", "chunked")}


def recurrence_step(kernel: str, a: Tensor, b: Tensor, weight: Tensor) -> None:
    """Forward and backward; gradients aren't added to those of the step before, which would take time of its own."""
    torch.autograd.grad((linear_recurrence(a, b, kernel=kernel) * weight).sum(), (a, b))


def lstm_memory(name: str, length: int) -> float:
    """MB by which a new process grows at its peak in two steps."""
    torch.set_num_threads(1)
    weights, x = weights_and_digits(length)
    network = lstm_with(name, weights)
    return peak_growth(lambda: [lstm_step(network, x) for _ in range(2)])


def draw_lstm(rows: Sequence[Mapping[str, str]]) -> bytes:
    """An SVG with a panel of ratios for each thread count, the quartiles shaded, and a panel of memory."""
    thread_counts, names, lengths = (
        list(dict.fromkeys(row[column] for row in rows)) for column in ("threads", "implementation", "length")
    )
    figure, (*ratio_axes, memory_axis) = panels(len(thread_counts) + 1)
    for name, (threads, axis) in product(names, zip(thread_counts, ratio_axes, strict=True)):
        own = [row for row in rows if (row["implementation"], row["threads"]) == (name, threads)]
        at = [int(row["length"]) for row in own]
        ratio, lower, upper = ([float(row[f"ratio{end}"]) for row in own] for end in ("", "_lower", "_upper"))
        axis.plot(at, ratio, marker=".", label=name)
        axis.fill_between(at, lower, upper, alpha=0.2)
        if threads == thread_counts[0]:
            memory_axis.plot(at, [float(row["peak_mb"]) for row in own], marker=".")
    for threads, axis in zip(thread_counts, ratio_axes, strict=True):
        axis.axhline(1, color="grey", linewidth=0.8, linestyle=":")
        axis.set(title=f"threads: {threads}", ylabel="time of a step / that of nn.LSTM")
    memory_axis.set(title="memory", ylabel="peak of a new process, MB", yscale="log")
    for axis in (*ratio_axes, memory_axis):
        axis.set(xlabel="length T", xscale="log")
        axis.set_xticks([int(length) for length in lengths], lengths)
        axis.minorticks_off()
    ratio_axes[0].legend(frameon=False, fontsize=8)
    return svg(figure)


BENCHMARKS = {"kernels": kernels, "sizes": sizes, "recurrence": recurrence}
main = partial(run, "lstm_kernels", __doc__, BENCHMARKS)

if __name__ == "__main__":
    sys.exit(main())
