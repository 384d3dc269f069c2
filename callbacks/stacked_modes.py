"""How many modes of Stacked MNIST a generator covers, during and after training."""

import string
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from callbacks.batches import batches_trained
from callbacks.generators import (
    data_source,
    fixed_noise,
    generators,
    inference_state,
    log_test,
    may_write,
    sample_images,
    sampling_generator,
    seed_of,
    splits_of,
    training_progress,
    write_report,
)
from callbacks.logging import log_numbers
from common.arguments import check_positive
from metrics.features import DATA_SOURCES, Splits, check_classes, load_classifier
from metrics.stacked_modes import CHANNELS, MODES, SAMPLES, evaluate_modes, real_modes


class StackedModes(Callback):
    """Counts the modes of a generator of stacked digits every `every_n_batches` and at the end, see
    `metrics.stacked_modes`.

    During training it logs `quality/modes_covered` and `quality/kl` of the generator to sample from, with those of real
    stacks, `…_real`. At the end it logs `final/raw/…` and `final/ema/…`, and writes them to `quality.json`. Both use
    validation images. `test` logs `test/raw/…` and `test/ema/…`, with stacks of test images beside them.

    Works with a module that has a `generator` with a `latent_dim`, whose images have three channels, and a datamodule
    that has `splits`, such as `datamodules.StackedMNISTDataModule`. With several processes, rank 0 evaluates.

    Args:
        every_n_batches: number of batches between two evaluations, each of which takes as long as about 1,000 batches.
        samples: images of an evaluation. KL depends on it; published ones use 26,000.
        classifier: what reads the digits, as in `callbacks.GenerativeMetrics`.

    Raises:
        ValueError: if a number is below 1, or there is no such classifier, or it doesn't read digits; when training
            starts, if the datamodule has no stacks of digits, or the generator's images aren't three digits of the
            classifier's size.
    """

    def __init__(self, every_n_batches: int = 20_000, samples: int = SAMPLES, classifier: str = "digit_cnn") -> None:
        check_positive(every_n_batches=every_n_batches, samples=samples)
        self.every_n_batches = every_n_batches
        self.samples = samples
        self.classifier = classifier
        self._classifier = load_classifier(classifier)
        check_classes(self._classifier, string.digits)
        self._real: dict[str, dict[str, float]] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._real.clear()
        self._splits(trainer)
        (image,) = sample_images(pl_module, fixed_noise(pl_module, 1, "stacked modes"))
        channels, *size = self._classifier.image_shape
        if channels != 1 or image.shape != (CHANNELS, *size):
            raise ValueError(
                f"StackedModes reads images of the shape {(CHANNELS, *size)} by {self.classifier}, which takes "
                f"{self._classifier.image_shape}, not {tuple(image.shape)}; write --data.image_shape or another "
                "classifier, or leave StackedModes out"
            )

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        batches = batches_trained(trainer)
        if batches % self.every_n_batches == 0 and may_write(trainer):
            numbers = self._evaluate(trainer, pl_module, sampling_generator(pl_module), "validation")
            log_numbers(trainer, {f"quality/{name}": value for name, value in numbers.items()}, batches - 1)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not may_write(trainer):
            return
        batches = batches_trained(trainer)
        content: dict[str, Any] = {"classifier": self.classifier, "data_source": data_source(trainer), "step": batches}
        content |= {"reference": "validation", "samples": self.samples}
        final: dict[str, float] = {}
        for weights, generator in generators(pl_module).items():
            content[weights] = numbers = self._evaluate(trainer, pl_module, generator, "validation")
            final |= {f"final/{weights}/{name}": value for name, value in numbers.items()}
            modes, real = numbers["modes_covered"], numbers["modes_covered_real"]
            pl_module.print(
                f"{weights} generator, {training_progress(trainer)}: {modes:,.0f} modes covered ({real:,.0f} by real "
                f"stacks), KL {numbers['kl']:.3f} ({numbers['kl_real']:.3f}), with {self.samples:,} images."
            )
        write_report(trainer, content, final)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            for weights, generator in generators(pl_module).items():
                log_test(pl_module, weights, self._evaluate(trainer, pl_module, generator, "test"))

    def _evaluate(self, trainer: Trainer, pl_module: LightningModule, generator: Any, split: str) -> dict[str, float]:
        classifier = self._classifier.to(pl_module.device)
        if split not in self._real:
            self._real[split] = real_modes(classifier, self._splits(trainer), split, self.samples)
        with inference_state(generator):
            return {**evaluate_modes(generator, classifier, self.samples, seed_of(pl_module)), **self._real[split]}

    def _splits(self, trainer: Trainer) -> Splits:
        splits = splits_of(trainer, self, "stacks", "StackedMNISTDataModule")
        classes = len(getattr(trainer.datamodule, "class_names", ()))  # type: ignore[attr-defined]
        if data_source(trainer) not in DATA_SOURCES or classes not in (0, MODES):
            raise ValueError(
                "StackedModes reads a digit of MNIST in each channel, which this run's data don't have; write --data "
                "StackedMNISTDataModule, or leave StackedModes out"
            )
        return splits
