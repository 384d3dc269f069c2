"""The sequence tasks: answers recomputed from the symbols, the worst cases, and that batches follow from (seed, k)."""

import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import permutations, product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules import (
    FlipFlopDataModule,
    InductionDataModule,
    PalindromeDataModule,
    ParityDataModule,
    RecallDataModule,
    SequenceBatch,
    SequenceDataModule,
)

Names = list[str]
Answers = dict[int, str]
seeds = st.integers(0, 2**32 - 1)


def induction(names: Names) -> Answers:
    if names[-1] != "*" or names.count("*") != 2 or names[-2] == "*":
        return {}
    return {len(names) - 1: names[names.index("*") + 1]}


def flip_flop(names: Names) -> Answers:
    answers, written = {}, ""
    for step in range(0, len(names), 2):
        written = "".join(names[step + 1 : step + 2]) if names[step] == "w" else written
        if names[step] == "r" and written in ("0", "1"):
            answers[step] = written
    return answers


def recall(names: Names) -> Answers:
    keys, values = names[:6:2], names[1:6:2]
    asked = {key: value for key, value in zip(keys, values, strict=False) if keys.count(key) == 1 and value[0] == "v"}
    return {step: asked[name] for step, name in enumerate(names) if step >= 6 and name in asked and name[0] == "k"}


def parity(names: Names) -> Answers:
    return {step: str(names[: step + 1].count("1") % 2) for step in range(len(names))}


TASKS: dict[type[SequenceDataModule], Callable[[Names], Answers]] = {
    InductionDataModule: induction,
    FlipFlopDataModule: flip_flop,
    RecallDataModule: recall,
    ParityDataModule: parity,
}
every_task = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.__name__)


def rest(names: Names) -> set[str]:
    """What stands around the special symbol and its follower."""
    place = names.index("*")
    return {*names[:place], *names[place + 2 : -1]}


def bits(names: Names, instruction: str) -> set[str]:
    return {bit for before, bit in zip(names[::2], names[1::2], strict=True) if before == instruction}


CASES: dict[str, Callable[[Names, Answers], bool]] = {
    "first_place": lambda names, _: names[0] == "*",
    "last_place": lambda names, _: names[-3] == "*",
    "constant_rest": lambda names, _: len(rest(names)) < 2,
    "answer_rest": lambda names, answers: rest(names) <= {*answers.values()},
    "p_ignore=0.98": lambda names, answers: all(names[step + 1] == bit for step, bit in answers.items()),
    "p_ignore=0.1": lambda names, _: names[0] == "w" and names[-2] == "r",
    "one_write": lambda names, _: names[::2] == ["w", *"i" * (len(names) // 2 - 2), "r"],
    "only_writes": lambda names, _: names[::2] == [*"w" * (len(names) // 2 - 1), "r"],
    "same_value": lambda names, _: len(bits(names, "w")) == 1 and not bits(names, "i") & bits(names, "w"),
    "nearest": lambda names, answers: [*answers] == [6] and names[6] == names[4],
    "farthest": lambda names, answers: [*answers] == [len(names) - 2] and names[-2] == names[0],
    "repeated_values": lambda names, answers: len(answers) == 3 and len({*answers.values()}) == 2,
    "all_ones": lambda names, _: {*names} == {"1"},
    "one_one": lambda names, _: names[0] == "1" and "1" not in names[1:],
}


def seeded(task: Any, seed: int, length: int, **arguments: Any) -> Any:
    smaller = {"pairs": 3, "keys": 5, "values": 4} if task is RecallDataModule else {}
    data = task(length, **{"batch_size": 6, "test_size": 15, "batches_per_epoch": 3, **smaller, **arguments})
    data.load_state_dict({"seed": seed})
    return data


def sequences(data: SequenceDataModule, batch: SequenceBatch) -> Iterator[tuple[Names, Answers]]:
    """Symbols and targets of each sequence, by their names."""
    assert batch.symbols.dtype == batch.targets.dtype == torch.int64
    for symbols, targets in zip(batch.symbols.T.tolist(), batch.targets.T.tolist(), strict=True):
        asked = {step: data.symbol_names[target] for step, target in enumerate(targets) if target != -100}
        yield [data.symbol_names[symbol] for symbol in symbols], asked


@every_task
@settings(max_examples=20)
@given(seed=seeds, length=st.integers(12, 41), shortest=st.none() | st.integers(12, 41))
def test_targets_are_the_answers_in_training_and_in_each_case(task: Any, seed: int, length: int, shortest: Any) -> None:
    data = seeded(task, seed, length, shortest=shortest and min(shortest, length), test_lengths=[12, length + 1])
    training = [*data.train_dataloader(), *data.val_dataloader(), *data.predict_dataloader()]
    tests = [batch for loader in data.test_dataloader() for batch in loader]
    assert {(batch.name, len(batch.symbols.T)) for batch in tests} == {
        (f"T={T}{case}", rows)
        for T in (12, length + 1)
        for case in ["", *map("/".__add__, task.cases)]
        for rows in (6, 3)
    }
    for batch in [*training, *tests]:
        _, _, case = batch.name.partition("/")
        for names, answers in sequences(data, batch):
            assert answers == TASKS[task](names)
            assert not case or CASES[case](names, answers)


@every_task
@settings(max_examples=60)
@given(seed=seeds, length=st.integers(1, 20), first=st.integers(0, 16), symbols=st.integers(1, 5))
def test_targets_are_the_answers_of_any_symbols(task: Any, seed: int, length: int, first: int, symbols: int) -> None:
    """Also of sequences that the task never draws; with few symbols they repeat."""
    data = seeded(task, seed, 20)
    few = np.arange(first, first + symbols) % len(data.symbol_names)
    drawn = np.random.default_rng(seed).choice(few, (9, length))
    for row, targets in zip(drawn.tolist(), data.targets(drawn).tolist(), strict=True):
        answers = {step: data.symbol_names[target] for step, target in enumerate(targets) if target != -100}
        assert answers == TASKS[task]([data.symbol_names[symbol] for symbol in row])


@every_task
def test_the_example_in_the_docstring_is_of_the_task(task: Any) -> None:
    def row(name: str) -> dict[int, str]:
        (line,) = re.findall(rf"^    {name}(.+)$", sys.modules[task.__module__].__doc__ or "", re.MULTILINE)
        cells = re.finditer(r"\S+", re.sub(" +T = .*", "", line))
        return {len(name) + cell.end(): cell[0] for cell in cells}

    steps = row("step")
    names = [row("symbols")[column] for column in steps]
    assert {int(steps[column]) - 1: name for column, name in row("targets").items()} == TASKS[task](names)


@pytest.mark.parametrize(
    ("task", "shortest"), [*((task, {"shortest": 20}) for task in TASKS), (PalindromeDataModule, {})]
)
@settings(max_examples=20)
@given(seed=seeds, k=st.integers(0, 10**6))
def test_batch_k_depends_on_seed_and_k_only(task: Any, shortest: dict[str, int], seed: int, k: int) -> None:
    def batch(seed: int, k: int, passes: int = 0) -> list[Any]:
        loader = seeded(task, seed, 64, **shortest).train_dataloader()
        for _ in range(passes):
            list(loader)
        loader.load_state_dict({"next_batch": k})
        return [part.tolist() for part in next(iter(loader))[:2]]

    assert batch(seed, k) == batch(seed, k, passes=1)
    assert batch(seed, k) not in (batch(seed + 1, k), batch(seed + 2**32, k), batch(seed, k + 1))


@every_task
def test_two_ranks_share_the_rows_of_the_global_batch(task: Any) -> None:
    data = seeded(task, 3, 20)
    (whole,) = data.predict_dataloader()
    for rank in range(2):
        strategy = SimpleNamespace(root_device=torch.device("cpu"))
        data.trainer = SimpleNamespace(global_rank=rank, world_size=2, strategy=strategy)
        (rows,) = data.predict_dataloader()
        assert torch.equal(rows.symbols, whole.symbols[:, rank::2])
        assert torch.equal(rows.targets, whole.targets[:, rank::2])


def test_training_lengths_are_drawn_from_the_range() -> None:
    data = seeded(ParityDataModule, 0, 9, shortest=4, batches_per_epoch=400)
    drawn = [len(batch.symbols) for batch in data.train_dataloader()]
    assert {length: drawn.count(length) for length in range(4, 10)} == pytest.approx(
        dict.fromkeys(range(4, 10), 67), abs=25
    )
    data.train_length = 5  # as a curriculum sets it
    assert {len(batch.symbols) for batch in data.train_dataloader()} == {4, 5}
    with pytest.raises(ValueError, match="train_length is 0, too short for this task; write 1 or more"):
        data.train_length = 0


Probabilities = Iterable[tuple[str, float]]  # those of the same sequence add up


def inductions() -> Probabilities:
    for place, tokens in product(range(3), product("012", repeat=3)):
        yield " ".join([*tokens[:place], "*", *tokens[place:], "*"]), 1 / 81


def flip_flops(p_ignore: float) -> Probabilities:
    p = {"w": (1 - p_ignore) / 2, "i": p_ignore, "r": (1 - p_ignore) / 2}
    for instruction, first, second in product("wir", "01", "01"):
        bit = first if instruction == "r" else second
        yield f"w {first} {instruction} {bit} r {bit if instruction == 'w' else first}", p[instruction] / 4


def recalls() -> Probabilities:
    gap = [n ** (0.01 - 1) for n in (1, 2, 3)]  # the first key is placed first
    pairs = product(permutations(["k0", "k1", "k2"], 2), permutations(["v0", "v1"]))
    for (keys, values), (i, j), fill in product(pairs, permutations(range(3), 2), product(["v0", "v1"], repeat=4)):
        queries, rest = {2 * i: keys[0], 2 * j: keys[1]}, iter(fill)
        after = [queries.get(step) or next(rest) for step in range(6)]
        p = gap[i] / sum(gap) * gap[j] / (sum(gap) - gap[i])
        yield " ".join([keys[0], values[0], keys[1], values[1], *after]), p / (6 * 2 * 16)


@pytest.mark.parametrize(
    ("data", "case", "probabilities"),
    [
        *((InductionDataModule(5, 3), case, inductions()) for case in ("", *InductionDataModule.cases)),
        *((FlipFlopDataModule(6, 0.6), case, flip_flops(0.6)) for case in ("", "one_write", "only_writes")),
        *((FlipFlopDataModule(6, 0.6), f"p_ignore={p}", flip_flops(p)) for p in (0.98, 0.1)),
        (RecallDataModule(10, pairs=2, keys=3, values=2), "", recalls()),
        (ParityDataModule(4), "", ((" ".join(bits), 1 / 16) for bits in product("01", repeat=4))),
    ],
)
def test_each_sequence_has_its_probability(data: SequenceDataModule, case: str, probabilities: Probabilities) -> None:
    rows, expected = 50_000, defaultdict[str, float](float)
    for text, p in probabilities:
        names = text.split()
        if not case or case.startswith("p_ignore") or CASES[case](names, TASKS[type(data)](names)):
            expected[text] += p
    data.load_state_dict({"seed": 0})
    drawn = data.make_batch("train", 0, rows=rows, length=data.length, case=case).symbols
    symbols, counts = drawn.unique(dim=1, return_counts=True)
    found = [" ".join(data.symbol_names[symbol] for symbol in row) for row in symbols.T.tolist()]
    assert {*found} == {*expected}
    of_each = torch.tensor([expected[text] for text in found]) * rows / sum(expected.values())
    assert ((counts - of_each) ** 2 / of_each).sum() < len(found) + 5 * (2 * len(found)) ** 0.5  # χ²


def test_cases_of_recall_vary_in_values_and_what_repeats() -> None:
    data = seeded(RecallDataModule, 1, 14, batch_size=300, test_size=300)
    for case in data.cases:
        drawn = [*sequences(data, data.test_batch(0, 14, case))]
        assert {answer for _, answers in drawn for answer in answers.values()} == {"v0", "v1", "v2", "v3"}
        same = {(names[1] == names[3], names[1] == names[5], names[3] == names[5]) for names, _ in drawn}
        assert len(same) == (3 if case == "repeated_values" else 1)


def test_tasks_splits_cases_batches_and_lengths_have_their_own_random_numbers() -> None:
    batches = [
        seeded(ParityDataModule, 3, 64).make_batch(split, k, rows=1, length=length, case=case)
        for split, k, length, case in product(("train", "validation", "test"), (0, 1), (64, 65), ("", "other"))
    ]
    batches.append(seeded(type("Other", (ParityDataModule,), {}), 3, 64).make_batch("train", 0, rows=1, length=64))
    assert len({tuple(batch.symbols[:64, 0].tolist()) for batch in batches}) == 25


@pytest.mark.parametrize(
    ("task", "arguments", "message"),
    [
        (InductionDataModule, {"length": 2}, "length is 2, too short for this task; write 3 or more"),
        (InductionDataModule, {"tokens": 1}, "tokens is 1; write 2 or more"),
        (FlipFlopDataModule, {"p_ignore": 1.1}, "p_ignore is 1.1; write a probability"),
        (FlipFlopDataModule, {"shortest": 3}, "shortest is 3, too short for this task; write 4 or more"),
        (RecallDataModule, {"keys": 3}, "keys is 3 and values 16; write 4 or more, one for each of the pairs"),
        (ParityDataModule, {"shortest": 21}, "shortest is 21, above the length 20; write at most 20"),
    ],
)
def test_bad_arguments_are_refused(unchecked: None, task: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        task(**{"length": 20, **arguments})
