"""Which network solves which task, and at which lengths: python -m benchmarks.memory tasks lengths far

**Questions**, written before the runs:

1. Which network solves which task, in how many batches?
2. What does an informed start change, for the RNN and for the LSTM, on tasks other than the one it was made for?
3. Which networks that solve a task still answer at 2, 8 and 32 times the length, and at 100,000 steps?
4. Do random or growing training lengths change that?
5. Do the tasks that ask to write selectively (induction, flip-flop) need a network whose memory depends on the input?
6. Who keeps a parity beyond the length it was trained at?

**Protocol.** `scripts.reporting.sequence_tasks` has the ten networks and six tasks. Each network has 64 units and keeps
the settings of its class, but for S6, whose `expand` is 1 to halve its time; their numbers of weights differ and are in
the table. Each trains on each task at a fixed length, with three learning rates and three seeds: Adam, batches of 64
fresh sequences, gradients clipped at norm 1. It gets 5,000 batches, or fewer if they take more than about half a minute
of one idle core: `MAX_BATCHES`. A run is a function of its row's first columns; only the seconds depend on the machine.
Solved means ten batches in a row without an error. A run that isn't solved says nothing about more batches.

- `tasks`: these runs, and their accuracy at other lengths on 128 sequences. Writes memory_tasks.csv and
  memory_tasks.png, who solves what.
- `lengths`: random training lengths (one for each batch, from the shortest that is useful to the full one) and growing
  ones, at the learning rate that was best at the fixed length. The same CSV file.
- `far`: for each pair with a solved run, the run of the median seed at the best rate, trained again and tested at up to
  100,000 steps on 32 sequences; the transformers, whose work grows with the square of the length, at up to 10,000 on 8.
  Writes memory_far.csv and memory_far.png, accuracy against length.

The best rate solves most seeds; at a tie its median run takes the fewest batches. Finished runs are not repeated.
"""

from argparse import Namespace
from collections.abc import Sequence
from itertools import product
from typing import Any

from benchmarks.memory_horizon import train_missing, write_picture
from benchmarks.results import Results
from scripts.reporting.best_runs import Row, at_best_rate, best_rate, by_pair
from scripts.reporting.sequence_tasks import NETWORKS, TASKS, Training, accuracy, draw_lengths, draw_solved, train

LEARNING_RATES = (1e-3, 3e-3, 1e-2)
SEEDS = (1, 2, 3)
MAX_BATCHES = {
    **dict.fromkeys(NETWORKS, 1000),
    "RNN default": 5000,
    "RNN latch": 5000,
    "LSTM default": 5000,
    "LSTM forget bias log T": 5000,
    "GRU update bias log T": 3000,
    "LRU": 1500,
}
"""What about half a minute of one idle core allows at 32 steps. A batch takes an RNN 4 ms, the slowest network 25 ms.

Recall has 16 steps and twice as many batches, but no more than 5,000. With 32 steps and 4 pairs of 16 keys, minGRU and
the transformer with RoPE didn't solve it within 45 seconds at rate 3e-3; other rates weren't tried.
"""
TESTED_LENGTHS = (64, 128, 256, 512)
"""Beside the training length."""
TESTED = 128
FAR_LENGTHS = (1000, 10_000, 100_000)
"""The last one for networks with a state."""
FAR_TESTED = 32


def tasks(options: Namespace) -> None:
    """Every network on every task at a fixed length."""
    runs = [
        Training(task, network, "fixed", rate, seed)
        for seed, task, network, rate in product(SEEDS, TASKS, NETWORKS, LEARNING_RATES)
    ]
    _train(options, runs)


def lengths(options: Namespace) -> None:
    """Random and growing lengths, at the best rate of the fixed length."""
    fixed = _results(options).rows
    _train(
        options,
        [
            Training(task, network, training, best_rate(rows), seed)
            for seed, ((task, network), rows) in product(SEEDS, by_pair(fixed).items())
            for training in ("random", "growing")
        ],
    )


def far(options: Namespace) -> None:
    """The median seed at lengths far beyond the trained one."""
    results = Results(options.out / "memory_far.csv", *Training._fields)
    best = [median_run(rows) for rows in by_pair(_results(options).rows).values()]
    train_missing(results, [run for run in best if run is not None], train_far)
    write_picture(options.out / "memory_far.png", draw_lengths(results.rows))


def _results(options: Namespace) -> Results:
    return Results(options.out / "memory_tasks.csv", *Training._fields)


def _train(options: Namespace, runs: Sequence[Training]) -> None:
    results = _results(options)
    train_missing(results, runs, train_run)
    write_picture(options.out / "memory_tasks.png", draw_solved(results.rows))


def budget(run: Training) -> int:
    """The batches that a run gets."""
    return min(5000, MAX_BATCHES[run.network] * (2 if run.task == "recall" else 1))


def train_run(run: Training) -> dict[str, Any]:
    """The row of a run: what it is, how it went, and its accuracy at each tested length."""
    module, went = train(run, budget(run))
    tested = (TASKS[run.task].length, *TESTED_LENGTHS)
    return run._asdict() | went | {f"T={length}": accuracy(module, run.task, length, TESTED) for length in tested}


def median_run(rows: Sequence[Row]) -> Training | None:
    """The run of the median seed at the best rate; None if that rate solves no seed."""
    same = at_best_rate(rows)
    solved = sorted((row for row in same if row["solved"] == "True"), key=lambda row: int(row["batches"]))
    if not solved:
        return None
    row = solved[min(len(same) // 2, len(solved) - 1)]
    return Training(row["task"], row["network"], "fixed", float(row["learning_rate"]), int(row["seed"]))


def train_far(run: Training) -> dict[str, Any]:
    """The row of a run that is tested far beyond its training length."""
    module, went = train(run, budget(run))
    transformer = run.network.startswith("transformer")
    near = (TASKS[run.task].length, *TESTED_LENGTHS)
    lengths, rows = (FAR_LENGTHS[:-1], FAR_TESTED // 4) if transformer else (FAR_LENGTHS, FAR_TESTED)
    tested = {**dict.fromkeys(near, TESTED), **dict.fromkeys(lengths, rows)}
    return run._asdict() | went | {f"T={T}": accuracy(module, run.task, T, rows) for T, rows in tested.items()}
