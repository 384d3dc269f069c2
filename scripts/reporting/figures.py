"""All figures of a report by name: which runs each needs, and how it is drawn from them."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from scripts.reporting import gan, measured, memory
from scripts.reporting.drawn import Drawn
from scripts.reporting.scale import LENGTHS, REMEDIES, Scale, game_name, memory_name
from scripts.trained_jobs import FinishedRun

GATES_AT = 20
"""Digits of the palindrome that is read."""


class Figure(NamedTuple):
    """A figure: its jobs by name, and what draws their runs, in the same order."""

    jobs: Sequence[str]
    draw: Callable[[Sequence[FinishedRun]], Drawn]


def figures(scale: Scale) -> dict[str, Figure]:
    """By the names that `--only` takes, in the order of the page."""
    lengths = (scale.textbook_batches, scale.gan_batches)
    games = [game_name(recipe, batches) for recipe, batches in zip(("textbook", "gan"), lengths, strict=True)]
    moments = [scale.moments(batches) for batches in lengths]
    return {
        **{
            f"curves_T{length}": Figure(
                [memory_name(network, init, length) for network, init, _ in REMEDIES],
                partial(memory.curves, length=length),
            )
            for length in LENGTHS
        },
        "horizon": Figure([], lambda _: measured.horizon()),
        "gates": Figure(
            [memory_name("lstm", "forget_log", GATES_AT), memory_name("rnn", "orthogonal", GATES_AT)],
            partial(memory.gates, length=GATES_AT),
        ),
        "recall": Figure(["recall"], lambda runs: memory.recall(*runs)),
        "grids": Figure(games, partial(gan.grids, moments=moments)),
        "learning": Figure(games, gan.learning),
        "quality": Figure(games, gan.quality),
        "morphs": Figure(games[1:], lambda runs: gan.morphs(*runs)),
        "recipes": Figure([], lambda _: measured.recipes()),
        "game_speed": Figure([], lambda _: measured.game_speed()),
        "lightning_overhead": Figure([], lambda _: measured.lightning_overhead()),
        "kernels": Figure([], lambda _: measured.kernels()),
    }
