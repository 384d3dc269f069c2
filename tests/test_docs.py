"""What the pages say is so: their numbers, the lines they quote, their links and their commands."""

import csv
import re
import runpy
import shlex
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import mean, median
from typing import Any
from urllib.parse import unquote

import pytest
from documented import ALL_COMMANDS, MENTIONED, PAGES, ROOT

from benchmarks import gan_fixes, help_times
from networks.lstm import LSTM
from scripts.jobs import read_shipped
from twofold.tables import read_rows

RESULTS = ROOT / "benchmarks" / "results"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

Rows = list[dict[str, str]]


def read(name: str) -> Rows:
    with (RESULTS / name).open(newline="") as file:
        return list(csv.DictReader(file))


def only(name: str, **columns: str) -> Rows:
    """The rows of a table in which these columns hold this."""
    return [row for row in read(name) if columns.items() <= row.items()]


def text_of(page: str) -> str:
    return (ROOT / "docs" / page).read_text()


def table(head: str, rows: Iterable[Iterable[object]]) -> str:
    """In Markdown; the head's columns are separated by " | "."""
    columns = head.split(" | ")
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"|{'|'.join(str(cell) if cell == '---' else f' {cell} ' for cell in line)}|" for line in lines)


def percent(share: float, digits: int = 0) -> str:
    return f"{100 * share:.{digits}f} %"


def span(numbers: Iterable[Any]) -> str:
    ordered = sorted(numbers)
    if not ordered:
        return "–"
    lowest, highest = (f"{number:,}" for number in (ordered[0], ordered[-1]))
    return lowest if lowest == highest else f"{lowest} to {highest}"


def three(number: str) -> str:
    """Its first three digits."""
    return f"{float(f'{float(number):.3g}'):,g}"


def by_network(rows: Rows) -> dict[str, Rows]:
    return {name: [row for row in rows if row["network"] == name] for name in dict.fromkeys(r["network"] for r in rows)}


def solved(rows: Rows) -> Rows:
    return [row for row in rows if row["solved"] == "True"]


def fixed_lengths() -> str:
    """How many runs of each network are solved at each fixed length."""
    fixed = [row for row in read("memory_horizon.csv") if row["growing"] == "False"]
    lengths = sorted({int(row["length"]) for row in fixed})

    def cells(runs: Rows) -> Iterator[str]:
        for length in lengths:
            there = [row for row in runs if int(row["length"]) == length]
            yield f"{len(solved(there))} of {len(there)}"

    lines = [[name, *cells(runs)] for name, runs in by_network(fixed).items()]
    return table(" | ".join(["network", *(f"T = {length}" for length in lengths)]), lines)


def beyond() -> str:
    """Of the runs solved at 20 digits, what share of longer palindromes the worst and the best name right."""
    runs = [row for row in solved(read("memory_horizon.csv")) if (row["growing"], row["length"]) == ("False", "20")]

    def cells(ours: Rows) -> Iterator[str]:
        for length in (20, 50, 100, 1000):
            shares = sorted(float(row[f"T={length}"]) for row in ours)
            yield f"{percent(shares[0])} to {percent(shares[-1])}"

    in_order = sorted(
        by_network(runs).items(), key=lambda item: [*by_network(read("memory_horizon.csv"))].index(item[0])
    )
    lines = [[name, len(ours), *cells(ours)] for name, ours in in_order]
    return table("network | runs | T = 20 | T = 50 | T = 100 | T = 1,000", lines)


def grown() -> str:
    """How far each network comes when the length grows."""
    runs = [row for row in read("memory_horizon.csv") if row["growing"] == "True"]

    def cells(ours: Rows) -> Iterator[str]:
        good = solved(ours)
        yield f"{len(good)} of {len(ours)}"
        yield span(int(row["batches"]) for row in good)
        yield span(int(row["reached"]) for row in ours)
        yield percent(min(float(row["T=10000"]) for row in good), 1) if good else "–"

    lines = [[name, *cells(ours)] for name, ours in by_network(runs).items()]
    head = "network | solved at 1,000 | after batches | length reached | of those solved, the worst at 10,000"
    return table(head, lines)


def shipped() -> str:
    rows = read("palindromes_solved.csv")
    cases = sorted({(row["config"], int(row["length"])) for row in rows}, key=lambda case: (case[1], case[0]))

    def cells(runs: Rows) -> Iterator[str]:
        yield f"{len(solved(runs))} of {len(runs)}"
        yield span(int(row["batches"]) for row in runs)
        worst = min(runs, key=lambda row: float(row["accuracy"]))
        yield f"{percent(float(worst['accuracy']), 2)} of {int(worst['tested']):,}"

    lines = [
        [
            f"`{config}`",
            f"{length:,}",
            *cells([row for row in rows if (row["config"], int(row["length"])) == (config, length)]),
        ]
        for config, length in cases
    ]
    return table("config | length | seeds solved | batches | right on fresh palindromes, worst seed", lines)


def untrained() -> str:
    lines = [
        [f"{int(row['length']):,}", percent(float(row["accuracy"])), row["seconds"], f"{int(row['peak_mb']):,}"]
        for row in read("untrained_lengths.csv")
    ]
    return table("length | right, of 100 | seconds | peak memory, MB", lines)


def recall() -> str:
    """What each network of `recall_capacity` writes right at the length it mastered last and beside it."""
    growth, answers = read("recall_growth.csv"), read("recall_accuracy.csv")
    shares: dict[tuple[str, int], list[float]] = {}
    for row in answers:
        shares.setdefault((row["hidden"], int(row["length"])), []).append(float(row["accuracy"]))

    def cells(hidden: str) -> Iterator[str]:
        mastered = max(int(row["length"]) for row in growth if row["hidden"] == hidden)
        asked = sorted(length for size, length in shares if size == hidden)
        below = max(length for length in asked if length < mastered)
        above = min(length for length in asked if length > mastered)
        yield f"{mastered}"
        yield percent(mean(shares[hidden, mastered])) if mastered in asked else "not asked"
        for length in (below, above, 20):
            yield f"{percent(mean(shares[hidden, length]))} at {length}"

    lines = [[hidden, *cells(hidden)] for hidden in dict.fromkeys(row["hidden"] for row in growth)]
    return table("cells | length mastered | right there | a bit shorter | a bit longer | much shorter", lines)


def scaled_memory() -> str:
    """What a step of the LSTM costs as one thing grows."""
    names = {"length": "T", "hidden_size": "H", "batch_size": "B"}
    lines = [
        [f"{names[row['grows']]} = {int(row['value']):,}", three(row["ms"]), f"{int(row['peak_mb']):,}"]
        for row in read("scaling.csv")
        if row["network"] == "LSTM"
    ]
    return table("T = 100, H = 128, B = 128, but | ms | peak memory, MB", lines)


def scaled_game() -> str:
    """What a step of each pair costs as the batch grows."""
    rows = [row for row in read("scaling.csv") if row["network"] != "LSTM"]
    batches = sorted({int(row["value"]) for row in rows})
    lines = [[pair, *(three(row["ms"]) for row in runs)] for pair, runs in by_network(rows).items()]
    return table(" | ".join(["ms at a batch of", *map(str, batches)]), lines)


def shared() -> Iterator[str]:
    """What each experiment's line says of two processes beside one."""
    for row in read("processes.csv"):
        cells = [three(row["ms_by_1"]), three(row["ms_by_2"]), f"{float(row['ratio']):.2f}"]
        yield rf"\| `{row['experiment']}`.*{re.escape(' | '.join(['', *cells, '']).strip())}"


def reached(measured: Rows, column: str) -> list[list[str]]:
    """What games came to, the best first: their name, as this column has it, their batches, what classifiers say."""

    def of(name: str, classifier: str, what: str) -> list[float]:
        ours = [row for row in measured if (row[column], row["classifier"]) == (name, classifier)]
        return sorted(float(row[what]) for row in ours)

    def cells(name: str) -> Iterator[str]:
        (batches,) = {int(row["batches"]) for row in measured if row[column] == name}
        yield f"{batches:,}"
        yield ", ".join(short(fid) for fid in of(name, "digit_cnn", "fid"))
        for classifier in ("digit_cnn", "digit_reader"):
            yield short(median(of(name, classifier, "fid_over_real")))

    def short(number: float) -> str:
        return f"{number:.2f}" if number < 10 else three(str(number))

    names = sorted({row[column] for row in measured}, key=lambda name: median(of(name, "digit_cnn", "fid")))
    return [[name, *cells(name)] for name in names]


REACHED = "batches | FID, by seed | median / floor | second classifier, median / floor"


def finals() -> str:
    """What the search's best recipes reached."""
    return table(f"trial | {REACHED}", reached(read("gan_finals.csv"), "trial"))


def recipes(measured: str = "gan_recipes.csv", column: str = "recipe") -> str:
    """What all recipes that are shipped reached at equal time, and how many digits were alive."""
    rows = []
    for name, *cells in reached(read(measured), column):
        ours = only(measured, **{column: name}, classifier="digit_cnn")
        shares = [float(row[f"class_{digit}"]) for row in ours for digit in range(10)]
        cells += [span(int(row["modes_covered"]) for row in ours), f"{percent(min(shares))} to {percent(max(shares))}"]
        rows.append([f"`{name}`", *cells])
    return table(f"config | {REACHED} | digits alive | shares of digits", rows)


def long_games() -> str:
    """The same of those that had more time."""
    return recipes("gan_long.csv", "config")


def games_of_many_draws() -> str:
    """The same of as many draws as were measured."""
    rows = [[f"`{name}`", *cells] for name, *cells in reached(read("fid_draws.csv"), "config")]
    return table(f"config | {REACHED}", rows)


def recipe_pictures() -> str:
    """64 images of each recipe, in the order of the table."""
    names = [name for name, *_ in reached(read("gan_recipes.csv"), "recipe")]
    images = [f"![64 images by {name}.yaml](benchmarks/results/gan_recipes/{name}.png)" for name in names]
    return table(" | ".join(f"`{name}`" for name in names), [images])


def minutes_of_gan() -> float:
    """How long gan.yaml trained for the table of recipes, had it been alone."""
    (speed,) = only("gan_recipes_speed.csv", recipe="gan")
    (batches,) = {int(row["batches"]) for row in only("gan_recipes.csv", recipe="gan")}
    return batches * float(speed["ms_per_batch"]) / 60_000


def test_how_long_the_recipes_trained_is_what_was_measured() -> None:
    page = " ".join((ROOT / "README.md").read_text().split())
    assert f"On the 2 cores of this table the time is {minutes_of_gan():.0f} minutes (" in page
    assert f"on two of another day {minutes_of('gan'):.0f} ([measured]" in page
    for name in {row["recipe"] for row in read("gan_recipes.csv")}:
        (speed,) = only("gan_recipes_speed.csv", recipe=name)
        share = float(speed["ms_per_batch_of_gan"]) / float(speed["ms_per_batch"])
        for row in only("gan_recipes.csv", recipe=name):
            assert int(row["batches"]) == pytest.approx(int(row["batches_of_gan"]) * share, rel=0.01)


def minutes_of(config: str) -> float:
    """How long a config takes alone, the classifier's looks included."""
    (looks,) = only("evaluation_share.csv", config=config)
    batches = read_shipped(config)["trainer"]["max_steps"]
    minutes: float = batches * float(looks["ms_per_batch"]) / 60_000 / (1 - float(looks["share_of_run"]))
    return minutes


def test_how_long_the_long_game_takes_is_what_was_measured() -> None:
    page = " ".join((ROOT / "README.md").read_text().split())
    assert f"whose 80,000 batches take {minutes_of('gan_long'):.0f} minutes on two cores" in page


def test_how_far_draws_and_floors_lie_apart_is_what_was_measured() -> None:
    page = " ".join((ROOT / "README.md").read_text().split())
    measured = only("fid_draws.csv", classifier="digit_cnn")
    assert {(row["draws"], row["floors"]) for row in measured} == {("10", "5")}
    deviations = sorted(float(row["deviation"]) for row in measured)
    ((lowest, highest),) = {(float(row["lowest_floor"]), float(row["highest_floor"])) for row in measured}
    assert f"a standard deviation of {deviations[0]:.2f} to {deviations[-1]:.2f}" in page
    assert f"the floor is anything from {lowest:.2f} to {highest:.2f}" in page

    of_one_draw = only("gan_long.csv", config="gan_long", classifier="digit_cnn")
    long = only("fid_draws.csv", config="gan_long", classifier="digit_cnn")
    assert [row["fid"] for row in of_one_draw] == [row["highest"] for row in long]
    assert {row["fid_real"] for row in of_one_draw} == {row["lowest_floor"] for row in long}
    one, many = (median(float(row["fid_over_real"]) for row in rows) for rows in (of_one_draw, long))
    assert f"By one draw and its floor we come to {one:.2f} after an hour, by all of them to {many:.2f}" in page
    over_the_lowest = median(float(row["fid"]) for row in long) / lowest
    assert f"all draws over the lowest floor to {over_the_lowest:.2f}" in page


def test_speed_is_what_was_measured() -> None:
    page = " ".join((ROOT / "README.md").read_text().split())
    speed = {row["who"]: row["median"] for row in only("gan_speed.csv", what="images per second")}
    ratios = {row["who"]: row for row in only("gan_speed.csv", what="twofold fit / this")}
    lower, middle, upper = (
        float(ratios["PyTorch-GAN"][name]) for name in ("lower_quartile", "median", "upper_quartile")
    )
    assert f"trains on {three(speed['twofold fit'])} images a second" in page
    assert f"{middle:.2f} times as many as [PyTorch-GAN" in page
    assert f"({three(speed['PyTorch-GAN'])}; median of the ratio, quartiles {lower:.2f} and {upper:.2f})" in page
    times = float(ratios["twofold fit in full precision"]["median"])
    assert f"in full precision, as the peer computes, a batch takes {times:.2f} times as long" in page
    share = float(ratios["bare loop"]["median"])
    assert f"In a bare loop of the same mathematics it takes {share:.2f} of the time" in page


def test_what_the_judge_s_looks_cost_is_what_was_measured() -> None:
    page = " ".join((ROOT / "README.md").read_text().split())
    measured = read("evaluation_share.csv")
    shares = sorted(float(row["share_of_run"]) for row in measured)
    seconds = sorted(float(row["look_seconds"]) for row in measured)
    assert f"take {percent(shares[0], 1)} to {percent(shares[-1], 1)} of a run's time" in page
    assert f"the first included, and {seconds[0]:.1f} to {seconds[-1]:.1f} s each after it" in page


@pytest.mark.parametrize("made", [finals, recipes, recipe_pictures, long_games, games_of_many_draws])
def test_the_tables_of_games_in_the_readme_are_what_was_measured(made: Callable[[], str]) -> None:
    assert made() in (ROOT / "README.md").read_text().replace("**", "")


def front() -> str:
    """What a visitor sees first: what it comes to, beside others."""
    at_20 = only("memory_horizon.csv", growing="False", length="20")
    there = {name: f"{len(solved(rows))} of {len(rows)}" for name, rows in by_network(at_20).items()}
    long = only("palindromes_solved.csv", config="palindrome_long", length="1000")
    seconds = sorted(round(float(row["seconds"])) for row in long)
    (far,) = only("untrained_lengths.csv", length="1000000")
    (gates,) = only("lstm_kernels.csv", threads="2", length="400", contestant="gates")
    (textbook,) = only("gan_recipes.csv", recipe="gan_template", classifier="digit_cnn")
    draws = {config: only("fid_draws.csv", config=config, classifier="digit_cnn") for config in ("gan", "gan_long")}
    fid = {config: median(float(row["fid"]) for row in rows) for config, rows in draws.items()}
    floor = float(draws["gan"][0]["fid_real"])
    speed = {row["who"]: row["median"] for row in only("gan_speed.csv", what="images per second")}
    soak = read("crash_resume.csv")
    assert not any(int(row["differences"]) for row in soak)
    lines = [
        [
            "20 digits, fixed length, three rates and seeds",
            f"LSTM, forget bias log T: solved in {there['LSTM forget bias log T']}",
            f"LSTM as it comes: {there['LSTM as it comes']}; RNN as it comes: {there['RNN as it comes']}",
            "`scripts.memory_horizon`",
        ],
        [
            "1,000 digits",
            f"solved in {seconds[0]} to {seconds[-1]} s, {len(solved(long))} of {len(long)} seeds",
            "no RNN of ours in any of its runs",
            "`benchmarks.palindromes_solved`, `scripts.memory_horizon`",
        ],
        [
            "the last of 1,000,000 digits, never trained on",
            f"{100 * float(far['accuracy']):.0f} of 100, {int(far['peak_mb']) / 1000:.2f} GB",
            "",
            "`benchmarks.untrained_lengths`",
        ],
        [
            "a step of the LSTM at 400 digits",
            f"{float(gates['ratio']):.2f} of the time, {float(gates['peak_ratio']):.2f} of the memory",
            "`torch.nn.LSTM`: 1",
            "`benchmarks.lstm_kernels`",
        ],
        [
            f"FID after {minutes_of_gan():.0f} minutes, beside that of real digits",
            f"{fid['gan']:.2f}, median of {len(draws['gan'])} seeds, mean of ten draws",
            f"real digits: {floor:.2f}; textbook recipe, one seed and draw: {float(textbook['fid']):.0f}",
            "`benchmarks.fid_draws`, `benchmarks.gan_recipes`",
        ],
        [
            f"FID after {minutes_of('gan_long'):.0f} minutes",
            f"{fid['gan_long']:.2f}, likewise",
            f"real digits: {floor:.2f}",
            "`benchmarks.fid_draws`",
        ],
        [
            "images a second, textbook recipe, W&B and bar included",
            three(speed["twofold fit"]),
            f"PyTorch-GAN's `gan.py`: {three(speed['PyTorch-GAN'])}",
            "`benchmarks.gan_speed`",
        ],
        [
            f"{sum(int(row['kills']) for row in soak)} kills at random moments",
            "every run ended with the same bits",
            "",
            "`benchmarks.crash_resume`",
        ],
    ]
    return table(" | Twofold | beside it | measured by `python -m`", lines)


def test_what_a_visitor_sees_first_is_what_was_measured() -> None:
    page = (ROOT / "README.md").read_text()
    assert re.sub(" +", " ", front()) in re.sub(" +", " ", page)
    soak = read("crash_resume.csv")
    total = {name: sum(int(row[name]) for row in soak) for name in ("runs", "while starting", "after the last batch")}
    assert len(soak) == 10
    told = f"Of {total['runs']} runs of ten experiments, killed 200 times in all at random moments, "
    told += f"{total['while starting']} while they started and {total['after the last batch']} after the last batch"
    assert told in " ".join(page.split())


def test_help_of_everything_is_quick_and_the_readme_says_how() -> None:
    rows = read("help_times.csv")
    assert {row["command"] for row in rows} == help_times.commands().keys()
    slowest = max((row for row in rows if row["command"] != help_times.YARDSTICK), key=lambda row: float(row["ratio"]))
    assert float(slowest["ratio"]) <= 1.3
    page = " ".join((ROOT / "README.md").read_text().split())
    assert f"the slowest of them takes {float(slowest['ratio']):.2f} times what `import lightning` takes" in page


def test_the_explorer_answers_soon_enough() -> None:
    rows = read("explorer_latency.csv")
    assert {(row["between"], row["clients"]) for row in rows} == {
        (way, n) for way in ("seeds", "digits") for n in ("1", "20")
    }
    for row in rows:
        assert float(row["median_ms"]) < 100 or row["clients"] != "1"
        assert float(row["p95_ms"]) < 500


def test_how_quick_the_explorer_is_in_the_readme_is_what_was_measured() -> None:
    rows = read("explorer_latency.csv")

    def slowest(column: str, clients: str) -> str:
        """Whatever the slider leads between."""
        return f"{max(float(row[column]) for row in rows if row['clients'] == clients):.0f} ms"

    page = " ".join((ROOT / "README.md").read_text().split())
    assert f"takes {slowest('median_ms', '1')} at the median with one client" in page
    assert f"with 20 at once 95 % of the moves take no more than {slowest('p95_ms', '20')} (" in page
    assert {row["others_pictures"] for row in rows} == {"0"}


def fewer_bits() -> str:
    """What 16 bits and compiling cost beside 32 bits as they are."""
    rows = read("bfloat16.csv")
    lines = [
        [pair, *(row["ratio"] for row in rows if row["pair"] == pair)]
        for pair in dict.fromkeys(r["pair"] for r in rows)
    ]
    bits = "32 bits", "`medium`", "`bf16-mixed`"
    ways = [*bits, *(f"compiled, {name}" for name in bits)]
    return table(" | ".join(("times 32 bits as they are", *ways)), lines)


def test_the_tables_of_the_scaling_page_are_what_was_measured() -> None:
    assert scaled_memory() in text_of("scaling.md")
    assert scaled_game() in text_of("scaling.md")
    for line in shared():
        assert re.search(line, text_of("scaling.md")), line


def test_the_table_of_the_gpu_page_is_what_was_measured() -> None:
    assert fewer_bits() in text_of("gpu.md")


MEMORY = {f.__name__: f for f in (fixed_lengths, beyond, grown, shipped, untrained, recall)}


@pytest.mark.parametrize("name", MEMORY)
def test_the_tables_of_the_memory_page_are_what_was_measured(name: str) -> None:
    assert MEMORY[name]() in text_of("memory.md")


def test_the_table_and_the_pictures_of_the_game_page_are_what_was_measured() -> None:
    page = text_of("game.md")
    rows = read_rows(RESULTS / "gan_fixes.csv")
    assert gan_fixes.table(rows) in page
    (seed,), (samples,), (source,) = ({row[name] for row in rows} for name in ("seed", "samples", "data_source"))
    last = max(int(row["batch"]) for row in rows)
    assert source == "torchvision"
    assert f"{last:,} batches of 64, seed {seed}, MNIST, full precision, {int(samples):,} images" in " ".join(
        page.split()
    )
    assert set(re.findall(r"pictures/gan_(\w+)\.png", page)) == {remedy.name for remedy in gan_fixes.REMEDIES}


def test_how_fid_fell_is_what_was_measured() -> None:
    rows = read_rows(RESULTS / "gan_fixes.csv")
    batches = sorted({int(row["batch"]) for row in rows})
    lines = [[game.words, *(row["fid"] for row in rows if row["remedy"] == game.name)] for game in gan_fixes.REMEDIES]
    assert table(" | ".join(["game", *(f"{batch:,}" for batch in batches)]), lines) in text_of("game.md")


def test_what_the_game_page_concludes_is_what_was_measured() -> None:
    page = " ".join(text_of("game.md").split())
    games = {
        remedy.name: [row for row in read_rows(RESULTS / "gan_fixes.csv") if row["remedy"] == remedy.name]
        for remedy in gan_fixes.REMEDIES
    }
    fid = {name: [float(row["fid"]) for row in rows] for name, rows in games.items()}
    *before, now = (row["alive"].replace(" ", ", ") for row in games["textbook"])
    assert f"the classifier takes for {now[:-3]} and {now[-1]}" in page
    assert "{}, then {} alone, then {} (".format(*before) in page
    for name in gan_fixes.ACCURACIES:
        assert [row[name] for row in games["beta"]] == [row[name] for row in games["ema"]]
    assert all(raw < averaged for raw, averaged in zip(fid["beta"], fid["ema"], strict=True))
    assert f"{games['ema'][-1]['fid']} against {games['beta'][-1]['fid']} at the last" in page
    assert fid["penalties"][-1] < fid["ema"][-1] / 2
    ahead = [new < old for new, old in zip(fid["relativistic"], fid["penalties"], strict=True)]
    assert ahead == [True, True, False, False]  # "ahead after 1,000 and 2,000 batches and behind after 3,000 and 4,000"


def test_what_the_memory_page_concludes_is_what_was_measured() -> None:
    page = " ".join(text_of("memory.md").split())
    growing = by_network([row for row in read("memory_horizon.csv") if row["growing"] == "True"])
    lstm = growing["LSTM as it comes"]
    assert f"as it comes gets there in {len(solved(lstm))} of {len(lstm)} runs" in page
    rnns = [row for name, rows in growing.items() if name.startswith("RNN") for row in rows]
    assert f"The best RNN comes to {max(int(row['reached']) for row in rnns)} digits" in page
    slowest = [row for row in growing["LSTM chrono"] if row["rate"] == "0.001"]
    assert [(row["reached"], row["batches"]) for row in slowest] == [("5", "300")] * 3
    for shrinks, steps, left in ((0.9, 20, "an eighth"), (0.9, 100, "1/38,000"), (0.5, 19, "two millionths")):
        told = {"an eighth": 1 / 8, "1/38,000": 1 / 38_000, "two millionths": 2e-6}[left]
        assert shrinks**steps == pytest.approx(told, rel=0.06)
        assert left in page


def test_pictures_are_small() -> None:
    for picture in (ROOT / "docs" / "pictures").iterdir():
        assert picture.stat().st_size < {".gif": 200_000, ".svg": 130_000}.get(picture.suffix, 100_000), picture


@pytest.mark.parametrize("page", ["memory.md", "game.md"])
def test_each_quoted_line_still_stands_in_its_file(page: str) -> None:
    """A column headed "line of `FILE`" quotes, and so does a block that says quote="FILE"."""
    text = text_of(page)
    quotes: list[tuple[str, str]] = []
    for file, body in re.findall(r"^\|.*\| line of `(\S+)` \|\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE):
        for row in body.splitlines():
            quotes += [(file, quoted) for quoted in re.findall(r"`([^`]+)`", row.rsplit(" | ", 1)[1])]
    for file, body in re.findall(r'^```python quote="(\S+)"\n(.*?)^```', text, re.MULTILINE | re.DOTALL):
        quotes += [(file, line.strip()) for line in body.splitlines() if line.strip()]
    assert len(quotes) >= 6
    for file, line in quotes:
        there = [stands.strip().split("  # ")[0] for stands in (ROOT / file).read_text().splitlines()]
        assert line in there, f"{file} no longer has the line {line}"


def test_the_page_s_equations_are_the_file_s() -> None:
    docstring = sys.modules[LSTM.__module__].__doc__ or ""
    equations = [line.strip() for line in docstring.splitlines() if re.match(r"    [ifgoch]⁽ᵗ⁾ = ", line)]
    assert len(equations) == 6
    for equation in equations:
        assert equation in text_of("memory.md")


LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)|<(?:img|a)[^>]* (?:src|href)=\"([^\"]+)\"")


def links(page: Path) -> Iterator[str]:
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for found in LINK.finditer(prose):
        target = found[1] or found[2]
        if not re.match(r"[a-z]+:", target):
            yield target


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_chapter_stands_twice_in_a_page(page: Path) -> None:
    chapters = re.findall(r"^## .*", page.read_text(), re.MULTILINE)
    assert len(chapters) == len(set(chapters))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere_in_the_house(page: Path) -> None:
    for link in links(page):
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} leads to {link}, which isn't there"
        assert target.is_relative_to(ROOT), f"{page.name} leads out of the house: {link}"
        if anchor:
            assert anchor in anchors(target), f"{page.name} leads to {link}, where no heading is so called"


@pytest.mark.parametrize("command", dict.fromkeys([*(command for _, command in ALL_COMMANDS), *MENTIONED]))
def test_commands_are_ones_that_are_understood(
    command: str,
    twofold: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def understood(arguments: list[str]) -> None:
        with pytest.raises(SystemExit) as ended:
            twofold("", *in_this_checkout(arguments), "--print_config")
        printed, complained = capsys.readouterr()
        assert ended.value.code == 0, complained
        assert "class_path" in printed

    match shlex.split(command):
        case [".", *_] | ["wandb", *_]:
            pass  # of the shell, and W&B's own
        case ["pip", "install", "-e", extra]:
            assert extra.removeprefix(".[").removesuffix("]") in PROJECT["project"]["optional-dependencies"]
        case ["make", target]:
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        case ["twofold", "runs"]:
            assert twofold("runs")[0] == 0
        case ["twofold", command, "--help"]:
            with pytest.raises(SystemExit) as ended:
                twofold(command, "--help")
            assert ended.value.code == 0
        case ["twofold", *arguments]:
            understood(arguments)
        case ["torchrun", *words]:
            understood(words[words.index("twofold)") + 1 :])
        case ["sbatch", script, *arguments]:
            assert (ROOT / script).exists()
            understood(["fit", "-c", *arguments])
        case ["python", "-m", "pytest", *arguments]:
            for file in (argument for argument in arguments if argument.endswith(".py")):
                assert (ROOT / file).exists()
        case ["python", "-m", module, *options]:
            told = help_of(module, monkeypatch, capsys)
            options = options[: options.index("--")] if "--" in options else options
            for option in (word.partition("=")[0] for word in options if word.startswith("--")):
                assert re.search(rf"{option}\b", told), f"{module} has no {option}"
        case _:
            pytest.fail(f"nobody knows how to parse `{command}`")


def in_this_checkout(arguments: list[str]) -> list[str]:
    """With the config that a run was started with in place of the run's own."""
    if "--ckpt_path" in arguments:
        at = arguments.index("--ckpt_path")
        arguments = arguments[:at] + arguments[at + 2 :]
    own = re.compile(r"runs/(\w+)/[^/]+/config\.yaml")
    return [re.sub(r"^configs/", f"{ROOT}/configs/", own.sub(r"configs/\1.yaml", word)) for word in arguments]


def help_of(module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    monkeypatch.delitem(sys.modules, module, raising=False)  # else runpy warns
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(module, run_name="__main__")
    assert ended.value.code in (0, None)
    return capsys.readouterr().out
