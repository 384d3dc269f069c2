"""What both classifiers say of trained generators, for benchmarks that compare games."""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import nn

from callbacks.interpolation_strip import GENERATOR_FILE
from datamodules import MNISTDataModule
from datamodules.mnist import Source
from metrics.evaluate import RealImages
from metrics.features import CLASSIFIERS, load_classifier
from networks.generator_files import load_generator
from scripts.bar import shown
from scripts.jobs import Job
from scripts.trained_jobs import AT_ONCE, train
from twofold.tables import read_rows, rounded, write_rows


def verdicts(generator: nn.Module, data: MNISTDataModule) -> list[dict[str, Any]]:
    """For each classifier its name and the numbers of its report on a generator in eval mode."""
    return [
        {"classifier": name, **real.report(generator).numbers()}
        for name, real in classifiers(data.root, data.source).items()
    ]


@lru_cache(maxsize=1)
def classifiers(root: Path, source: Source) -> dict[str, RealImages]:
    """Each classifier by its name, with its features of the test images."""
    data = MNISTDataModule(root, source)
    data.setup()
    return {name: RealImages(load_classifier(name), data.digits) for name in CLASSIFIERS}


def train_and_classifier(
    todo: Mapping[Job, Mapping[str, Any]],
    data: MNISTDataModule,
    runs: Path,
    table: Path,
    evaluated: Callable[[nn.Module, MNISTDataModule], list[dict[str, Any]]] = verdicts,
) -> Iterator[tuple[Job, Path]]:
    """Trains games side by side, a thread each; adds a row for each classifier to the table as soon as some have ended.

    What is finished in `runs` isn't repeated, and what was broken off goes on.

    Args:
        todo: each game with the facts that its rows begin with.
        evaluated: looks at a generator in eval mode, and says what its rows go on with, one for each classifier.

    Yields:
        A game that is in the table now, and its generator file.
    """
    rows: list[dict[str, Any]] = list(read_rows(table))
    for first in range(0, len(todo), AT_ONCE):
        jobs = list(todo)[first : first + AT_ONCE]
        with shown(sum(job.batches for job in jobs)) as bar:
            trained = train(jobs, runs, str(data.root), bar)
        games = {job: trained[job.name].run.path / GENERATOR_FILE for job in jobs}
        for job, weights in games.items():
            for verdict in evaluated(load_generator(weights), data):
                rows.append({**todo[job], **rounded(verdict)})
                print(", ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
        write_rows(table, list(rows[-1]), rows)
        yield from games.items()
