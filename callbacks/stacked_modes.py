"""How many modes of Stacked MNIST a generator covers, during and after training."""

import json
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from callbacks.batches import batches_trained
from callbacks.generators import (
    data_source,
    fixed_noise,
    generators,
    inference_state,
    may_write,
    sample_images,
    sampling_generator,
    seed_of,
    training_progress,
)
from callbacks.logging import log_numbers, warn_if_not_written
from common.arguments import check_positive
from common.files import replacing
from metrics.features import Splits, load_classifier
from metrics.stacked_modes import SAMPLES, evaluate_modes, real_modes

REPORT_FILE = "quality.json"
IMAGE_SHAPE = (3, 28, 28)
"""Three channels, each of which the classifier can read."""


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

    Raises:
        ValueError: if a number is below 1; when training starts, if the datamodule has no digits, or the generator's
            images aren't three digits of the classifier's size.
    """

    def __init__(self, every_n_batches: int = 20_000, samples: int = SAMPLES) -> None:
        check_positive(every_n_batches=every_n_batches, samples=samples)
        self.every_n_batches = every_n_batches
        self.samples = samples
        self._real: dict[str, dict[str, float]] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._real.clear()
        _splits(trainer)
        (image,) = sample_images(pl_module, fixed_noise(pl_module, 1, "stacked modes"))
        if image.shape != IMAGE_SHAPE:
            raise ValueError(
                f"StackedModes reads images of the shape {IMAGE_SHAPE}, not {tuple(image.shape)}; write "
                "--data.image_shape [3,28,28], or leave StackedModes out"
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
        content: dict[str, Any] = {"classifier": "digit_cnn", "data_source": data_source(trainer), "step": batches}
        final: dict[str, float] = {}
        for weights, generator in generators(pl_module).items():
            content[weights] = numbers = self._evaluate(trainer, pl_module, generator, "validation")
            final |= {f"final/{weights}/{name}": value for name, value in numbers.items()}
            modes, real = numbers["modes_covered"], numbers["modes_covered_real"]
            pl_module.print(
                f"{weights} generator, {training_progress(trainer)}: {modes:,.0f} modes covered ({real:,.0f} by real "
                f"stacks), KL {numbers['kl']:.3f} ({numbers['kl_real']:.3f}), with {self.samples:,} images."
            )
        log_numbers(trainer, final, batches)  # a step after the last batch's: dropped if the run is extended
        with warn_if_not_written(REPORT_FILE), replacing(Path(trainer.default_root_dir) / REPORT_FILE) as draft:
            draft.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            for weights, generator in generators(pl_module).items():
                numbers = self._evaluate(trainer, pl_module, generator, "test")
                logged = {f"test/{weights}/{name}": float(value) for name, value in numbers.items()}
                pl_module.log_dict(logged, rank_zero_only=True)

    def _evaluate(self, trainer: Trainer, pl_module: LightningModule, generator: Any, split: str) -> dict[str, float]:
        classifier = load_classifier().to(pl_module.device)
        if split not in self._real:
            real = real_modes(classifier, _splits(trainer), split, self.samples)
            self._real[split] = {f"{name}_real": value for name, value in real.items()}
        with inference_state(generator):
            return {**evaluate_modes(generator, classifier, self.samples, seed_of(pl_module)), **self._real[split]}


def _splits(trainer: Trainer) -> Splits:
    splits = getattr(getattr(trainer, "datamodule", None), "splits", None)
    if not isinstance(splits, Splits):
        raise ValueError(
            "StackedModes compares with stacks of real digits, and this run's data has no `splits`; train with "
            "datamodule=StackedMNISTDataModule(), or leave StackedModes out"
        )
    return splits
