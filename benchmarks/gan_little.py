"""Little data: python -m benchmarks.gan_little [--root DATA]

**Question.** gan.yaml on the 3,500 packaged digits, as `make demo` trains it: what do random shifts of all images that
D sees (DiffAugment, Zhao et al. 2020, arXiv 2006.10738) change?

**Protocol**, written before the runs. Shifts of up to 0, 1, 2 and 4 pixels; 4,000 batches as in the demo, and 12,000;
three seeds. The packaged digits are too few to measure with, so the generators are compared with MNIST: the shift is
chosen by digit_cnn on its 5,000 held-out images, and reported with both classifiers on the 10,000 test images, by the
protocol of docs/results.md. Memorisation is therefore not measured here; `fit` and `test` on packaged digits do.

Trainings run two at a time with one thread each. Writes gan_little.csv. Finished runs are not repeated, interrupted
runs resume.
"""

import sys
from argparse import ArgumentParser, Namespace
from functools import partial
from itertools import product
from typing import Any, get_args

from benchmarks.command import add_mnist, run
from benchmarks.gan import DRAWS, job, train_and_evaluate
from benchmarks.results import Results
from metrics.evaluate import Reference
from scripts.digits import open_digits
from scripts.train_runs import Job

SHIFTS = (0, 1, 2, 4)
BATCHES = (4000, 12_000)


def add_options(parser: ArgumentParser) -> None:
    add_mnist(parser)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)


def shifts(options: Namespace) -> None:
    """FID after training on 3,500 digits, with and without shifts."""
    data = open_digits(options.root, options.source)
    results = Results(options.out / "gan_little.csv", "max_shift", "batches", "seed", "reference", "classifier")
    packaged = Namespace(**{**vars(options), "source": "packaged"})
    jobs: dict[Job, dict[str, Any]] = {}
    for batches, seed, pixels in product(options.batches, options.seeds, SHIFTS):
        same = job("gan", batches, seed, packaged)
        settings = (*same.settings, "--model.diffaugment_translation", str(pixels))
        jobs[Job(f"little_{pixels}_{batches}_{seed}", "gan", settings)] = {
            "max_shift": pixels,
            "batches": batches,
            "seed": seed,
        }
    for reference in get_args(Reference):
        columns = {each: {**own, "reference": reference} for each, own in jobs.items()}
        train_and_evaluate(columns, data, results, reference, DRAWS)


main = partial(run, "gan_little", __doc__, {"shifts": shifts}, add_options=add_options)

if __name__ == "__main__":
    sys.exit(main())
