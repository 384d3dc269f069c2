"""How good a generator's images are during and after training, and warnings when GAN training goes wrong."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from callbacks.batches import batches_trained
from callbacks.drawing import to_pil
from callbacks.gan_monitor import GANMonitor
from callbacks.generators import (
    data_source,
    fixed_noise,
    generators,
    inference_state,
    log_test,
    may_write,
    sample_images,
    sampling_generator,
    save_sampling_generator,
    seed_of,
    splits_of,
    training_progress,
    write_report,
)
from callbacks.logging import log_numbers, warn_if_not_written
from common.arguments import check_positive
from losses.gan import wasserstein_discriminator_loss
from metrics.evaluate import Evaluation, RealImages, Reference, evaluate, summary, training_labels
from metrics.features import (
    CLASSIFIERS,
    DATA_SOURCES,
    Splits,
    check_classes,
    check_input_shape,
    features_and_logits,
    load_classifier,
)
from metrics.fid import FrechetDistance, distance_to_training
from metrics.mode_coverage import class_histogram, mode_coverage
from metrics.precision_recall import NEIGHBOURS

BEST_GENERATOR_FILE = "best_generator.pth"
TABLE_SAMPLES = 64
CLASSIFIER_TRAINED_ON_THEM = (
    "The classifier was trained on nearly all of these digits; don't compare with numbers on MNIST."
)
LEFT_OUT = "GenerativeMetrics leaves FID and its other numbers out"


class GenerativeMetrics(Callback):
    """Evaluates generated images by a classifier of real ones every `every_n_batches` and at the end.

    During training, for the generator to sample from (the averaged one if there is one), it logs `quality/fid`, the
    distance to the training images; `quality/fid_real`, that of as many validation images, `quality/fid_over_real`,
    their ratio, and `quality/fid_samples`, their number; `quality/class_0` and so on, the shares of images of each
    class, and `quality/modes_covered`. The best generator so far by this FID is kept in `best_generator.pth` with its
    `.json` (see `networks.generator_files`).

    At the end it computes everything of `metrics.evaluate` for the generator and for its average, with the validation
    images as reference. FID depends on the reference and the number of samples, so these numbers have other names,
    `final/raw/…` and `final/ema/…`. They are logged, written to `quality.json` and printed. Fitting never looks at the
    test images. `test` compares with them and logs the same numbers as `test/raw/…` and `test/ema/…`, with FID as the
    mean of `test_draws` draws. Loggers with tables get 64 samples with their labels.

    Warnings come from `callbacks.gan_monitor`.

    Works with any module that has a `generator` with a `latent_dim`, and a datamodule that has `splits`, such as
    `datamodules.MNISTDataModule`. If its splits hold fewer images than `samples` or `final_samples`, as many
    samples are taken as there are images: 5,000 of MNIST's validation images. If a shipped classifier doesn't know
    the data or take the images, or there are too few images, all is left out with a warning that says how to train
    a classifier. Files are written under `trainer.default_root_dir`. Training is not changed by it. The features'
    statistics of the training images, which take some seconds, are cached in the datamodule's folder `cache`, if it
    has one. With several processes, rank 0 evaluates and the others wait.

    Args:
        every_n_batches: number of batches between two evaluations. One takes as long as 10 to 40 batches of 64; every
            2000 that is 0.5 to 2 % of the run.
        samples: images of an evaluation during training.
        final_samples: images of the evaluation at the end, which takes as long as some thousand batches, and of each
            draw in `test`; 0 skips both.
        test_draws: how many times `test` generates so many images.
        classifier: digit_cnn or digit_reader, which know MNIST's digits, or the path of a run of `DigitClassifier` on
            these images, of its checkpoint, or of a file of `metrics.features.save_classifier`.

    Raises:
        ValueError: if a number is too small, or there is no such classifier; when training or testing starts, if the
            datamodule has no splits, the module no generator, or the classifier of the path doesn't fit the images.
    """

    def __init__(
        self,
        every_n_batches: int = 2000,
        samples: int = 2000,
        final_samples: int = 10_000,
        test_draws: int = 10,
        classifier: str = "digit_cnn",
    ) -> None:
        check_positive(every_n_batches=every_n_batches, test_draws=test_draws)
        if samples < 2:
            raise ValueError(f"samples is {samples}; write 2 or more, such as 2000")
        if final_samples and final_samples <= NEIGHBOURS:
            raise ValueError(f"final_samples is {final_samples}; write {NEIGHBOURS + 1} or more, or 0 for none")
        self.every_n_batches = every_n_batches
        self.samples = samples
        self.final_samples = final_samples
        self.test_draws = test_draws
        self.classifier = classifier
        try:
            self._classifier = load_classifier(classifier)
        except ValueError as error:
            # None, because the command would name the line of the cause.
            raise ValueError(f"{error}; the setting is --trainer.callbacks.classifier") from None
        self.monitor = GANMonitor()
        self.best_fid = math.inf
        self._classifies = True
        self._frechet_distance: FrechetDistance | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._classifies = self._fits(trainer, pl_module, "validation")
        self._frechet_distance = None  # the datamodule may be another than the last time

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        batches = batches_trained(trainer)
        interval: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        loss = getattr(getattr(pl_module, "gan_loss", None), "discriminator", None)
        # A Wasserstein discriminator may separate all images: it is no classifier, and G still learns from it.
        if interval and batches % interval == 0 and loss is not wasserstein_discriminator_loss:
            _warn(self.monitor.check_discriminator(batches, trainer.callback_metrics))
        evaluates = self._classifies and batches % self.every_n_batches == 0
        if evaluates and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            fid = self._evaluate(trainer, pl_module) if trainer.is_global_zero else math.nan
            pl_module.log("quality/fid", trainer.strategy.broadcast(fid), logger=False)  # for callbacks that monitor it

    def _evaluate(self, trainer: Trainer, pl_module: LightningModule) -> float:
        """Logs the numbers, saves the generator if it is the best, warns of missing modes; returns the FID."""
        step = batches_trained(trainer)
        classifier = self._classifier.to(pl_module.device)
        if self._frechet_distance is None:
            folder = getattr(trainer.datamodule, "cache", None)  # type: ignore[attr-defined]
            self._frechet_distance = distance_to_training(classifier, self._splits(trainer), self.samples, folder)
        n = self._frechet_distance.samples
        labels = training_labels(sampling_generator(pl_module), self._splits(trainer), n)
        images = sample_images(pl_module, fixed_noise(pl_module, n, "quality", step), *labels)
        features, logits = features_and_logits(classifier, images)
        fid, histogram = self._frechet_distance(features), class_histogram(logits)
        numbers = {f"quality/{name}": value for name, value in {**fid, **mode_coverage(histogram)}.items()}
        log_numbers(trainer, numbers, step - 1)  # with the batch's losses: Lightning counts the batches before it
        if fid["fid"] < self.best_fid:
            self.best_fid = fid["fid"]
            with warn_if_not_written(BEST_GENERATOR_FILE):
                save_sampling_generator(trainer, pl_module, Path(trainer.default_root_dir) / BEST_GENERATOR_FILE)
        _warn(self.monitor.check_modes(step, histogram, self._classifier.class_names))
        return fid["fid"]

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not may_write(trainer) or self.final_samples == 0 or not self._classifies:
            return
        final: dict[str, float] = {}
        content: dict[str, Any] = {"classifier": self.classifier, "data_source": data_source(trainer)}
        content |= {"reference": "validation", "step": batches_trained(trainer)}
        if self._knows_them(trainer):
            content["remark"] = CLASSIFIER_TRAINED_ON_THEM
        for weights, numbers in self._evaluations(trainer, pl_module, "validation").items():
            final |= {f"final/{weights}/{name}": value for name, value in numbers.items()}
            content[weights] = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
            pl_module.print(f"{weights} generator, {training_progress(trainer)}: {summary(numbers)}.")
        write_report(trainer, content, final)
        with warn_if_not_written("the table of samples"):
            self._log_samples(trainer, pl_module)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._classifies = self.final_samples > 0 and self._fits(trainer, pl_module, "test")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._classifies or not trainer.is_global_zero:
            return
        for weights, numbers in self._evaluations(trainer, pl_module, "test", self.test_draws).items():
            log_test(pl_module, weights, numbers)

    def _evaluations(
        self, trainer: Trainer, pl_module: LightningModule, reference: Reference, draws: int = 1
    ) -> dict[str, Evaluation]:
        """The evaluation of the generator, and of its average if there is one."""
        if self._knows_them(trainer):
            pl_module.print(CLASSIFIER_TRAINED_ON_THEM)
        real = RealImages(self._classifier.to(pl_module.device), self._splits(trainer), self.final_samples, reference)
        evaluations = {}
        for weights, generator in generators(pl_module).items():
            with inference_state(generator):
                evaluations[weights] = evaluate(generator, real, seed_of(pl_module), draws)
        return evaluations

    def _log_samples(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for logger in trainer.loggers:
            if hasattr(logger, "log_table"):
                import wandb  # only its logger has tables

                images = sample_images(pl_module, fixed_noise(pl_module, TABLE_SAMPLES, "samples"))
                _, logits = features_and_logits(self._classifier.to(pl_module.device), images)
                confidences, labels = (column.tolist() for column in logits.softmax(dim=1).max(dim=1))
                rows = list(zip(map(wandb.Image, to_pil(images)), labels, confidences, strict=True))
                logger.log_table("samples", ["image", "class", "confidence"], rows, step=batches_trained(trainer))

    def _fits(self, trainer: Trainer, pl_module: LightningModule, reference: Reference) -> bool:
        """Whether the classifier knows the data and takes the generator's images; warns if a shipped one doesn't.

        Raises:
            ValueError: if the classifier of a path doesn't, or the datamodule has no splits.
        """
        splits, data, source = self._splits(trainer), trainer.datamodule, data_source(trainer)  # type: ignore[attr-defined]
        images = sample_images(pl_module, fixed_noise(pl_module, 1, "samples"))
        try:
            check_input_shape(self._classifier, images.shape[1:])
            check_classes(self._classifier, getattr(data, "class_names", ()))
            if self.classifier in CLASSIFIERS and source not in DATA_SOURCES:
                raise ValueError(f"it knows MNIST's digits, not {source}")
        except ValueError as error:
            reason = f"{self.classifier} doesn't fit these images: {error}; {_how_to_train(data)}"
            if self.classifier not in CLASSIFIERS:
                raise ValueError(reason) from error
            rank_zero_warn(f"{LEFT_OUT}: {reason}")
            return False
        if self._classifier.data_source not in ("", source):
            rank_zero_warn(
                f"the classifier was trained on {self._classifier.data_source} data, and these images are {source} "
                "data, so it may have been trained on those that are held out here"
            )
        fewest = min(len(splits.train), len(getattr(splits, reference)))
        if fewest <= NEIGHBOURS:
            rank_zero_warn(f"{LEFT_OUT}: a split has {fewest} images; {NEIGHBOURS + 1} are needed, so add some")
            return False
        return True

    def _knows_them(self, trainer: Trainer) -> bool:
        """Whether the classifier was trained on the images that it evaluates."""
        return self.classifier in CLASSIFIERS and data_source(trainer) == "packaged"

    def _splits(self, trainer: Trainer) -> Splits:
        return splits_of(trainer, self, "generated images with real ones", "MNISTDataModule")

    def state_dict(self) -> dict[str, Any]:
        return {"best_fid": self.best_fid, "monitor": asdict(self.monitor), "classifier": self.classifier}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if state_dict.get("classifier", self.classifier) == self.classifier:  # FIDs of two classifiers don't compare
            self.best_fid = state_dict["best_fid"]
        self.monitor = GANMonitor(**state_dict["monitor"])


def _how_to_train(data: Any) -> str:
    """What to do for a classifier of these images."""
    class_names = getattr(data, "class_names", None)
    if class_names is not None and len(class_names) < 2:
        return "a classifier needs pictures in a folder for each class"
    options = getattr(data, "options", "on the same data")
    return (
        f"train one by twofold fit -c digit_classifier {options}, and write --trainer.callbacks.classifier with its "
        "run's folder"
    )


def _warn(message: str | None) -> None:
    if message is not None:
        rank_zero_warn(message)
