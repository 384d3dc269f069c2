"""Mode coverage on Stacked MNIST: python -m benchmarks.gan_stacked [--root DATA]

**Question.** How many of the 1,000 modes does configs/gan_stacked.yaml cover, and how evenly?

**Protocol** of Lin et al. 2018 (PacGAN, arXiv 1712.04086), with stacks of training images only: 26,000 images of the
averaged generator, a classifier reads the digit of each channel, a mode is covered if one image shows it, KL of the
histogram to the uniform distribution in nats. The recipe was chosen with digit_cnn, beside stacks of held-out images;
here both classifiers count, beside as many stacks of test images. Three seeds.

Trainings run two at a time with one thread each. Writes gan_stacked.csv and a picture of 64 images. Finished runs are
not repeated, interrupted runs resume.
"""

import sys
from argparse import ArgumentParser, Namespace
from functools import cache, partial

from benchmarks.command import add_mnist, run
from benchmarks.gan import draw_samples, jobs_of, train_each
from benchmarks.results import Results
from datamodules import MNISTDataModule
from metrics.features import CLASSIFIERS, load_classifier
from metrics.stacked_modes import SAMPLES, evaluate_modes, real_modes
from networks.generator_files import load_generator
from scripts.digits import open_digits

CONFIG = "gan_stacked"


def add_options(parser: ArgumentParser) -> None:
    add_mnist(parser)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--batches", type=int, help="of a run, by default as many as the config says")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="images of an evaluation; KL depends on it")


def modes(options: Namespace) -> None:
    """Modes covered and KL, by both classifiers."""
    data = open_digits(options.root, options.source)
    results = Results(options.out / "gan_stacked.csv", "batches", "seed", "classifier")
    results.refuse_other(data_source=data.data_source, samples=options.samples)
    jobs = jobs_of(CONFIG, options)
    for job, weights in train_each([job for job, columns in jobs.items() if not results.has(**columns)]):
        generator = load_generator(weights)
        rows = []
        for name in CLASSIFIERS:
            columns = {"classifier": name, "data_source": data.data_source, "samples": options.samples}
            numbers = evaluate_modes(generator, load_classifier(name), options.samples, seed=0)
            rows.append({**jobs[job], **columns, **numbers, **of_real_stacks(data, name, options.samples)})
        results.add(*rows)  # all or none, because a job with one row isn't repeated
        draw_samples(weights, options.out / "gan_stacked.png")


@cache
def of_real_stacks(data: MNISTDataModule, classifier: str, samples: int) -> dict[str, float]:
    """The same numbers of stacks of test images."""
    numbers = real_modes(load_classifier(classifier), data.splits, "test", samples)
    return {f"{name}_real": value for name, value in numbers.items()}


main = partial(run, "gan_stacked", __doc__, {"modes": modes}, add_options=add_options)

if __name__ == "__main__":
    sys.exit(main())
