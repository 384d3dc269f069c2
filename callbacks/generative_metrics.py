"""How good a generator's images are while it learns and when it has learned, and warnings when the game goes wrong."""

import json
import math
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from callbacks.best_effort import BestEffort
from callbacks.gan_monitor import ACCURACIES, GANMonitor
from callbacks.generators import (
    data_source,
    generators,
    keep_generator,
    may_write,
    origin,
    sampling_generator,
    seed_of,
    unnoticed,
)
from callbacks.sample_table import log_samples
from callbacks.to_loggers import log_numbers
from common.files import replacing
from common.seeding import latent_noise
from common.seeding import rng as random_numbers
from losses.gan import wasserstein_discriminator_loss
from metrics.evaluate import Evaluation, RealImages, evaluate, summary
from metrics.features import CLASSIFIERS, SplitDigits, features_and_logits, load_classifier
from metrics.fid import FrechetDistance, distance_to_training
from metrics.mode_coverage import class_histogram, mode_coverage
from metrics.precision_recall import NEIGHBOURS
from networks.sampling import sample

BEST_GENERATOR_FILE = "best_generator.pth"
REPORT_FILE = "quality.json"
CLASSIFIER_TRAINED_ON_THEM = (
    "The classifier has seen nearly all of these digits in its own training; don't compare with numbers on MNIST."
)


class GenerativeMetrics(Callback):
    """Evaluates the generator's images by a classifier of digits every `every_n_batches` and at the end.

    In training, for the generator that samples are drawn from (the averaged one if there is one):
    `quality/fid`, the distance to the training images; `quality/fid_real`, that of as many validation images,
    `quality/fid_over_real`, how many times the floor, and `quality/fid_samples`, how many; `quality/class_0` to `_9`,
    which share of the images shows each digit, and `quality/modes_covered`. The best generator so far by this FID
    stands in `best_generator.pth` with its `.json` (see `networks.generator_files`).

    At the end, for the generator and its average: everything of `metrics.evaluate`, with the test images as
    reference. FID depends on reference and number of samples, so these numbers have names of their own, `final/raw/…`
    and `final/ema/…`. They are logged, written to `quality.json`, and a line for each is printed. `test` measures the
    same, as `test/raw/…` and `test/ema/…`.

    Of what a module logs as `train/…`, and of lost digits, `callbacks.gan_monitor` makes warnings.

    Works with any module that has a `generator` with a `latent_dim`, and a datamodule that has `digits`, such as
    `datamodules.MNISTDataModule`. Where its splits hold fewer images than there should be samples, as many samples are
    taken as there are images. Files are written under `trainer.default_root_dir`. Training goes on as if nothing had
    happened. What the classifier sees in MNIST's training images, which takes some seconds, is kept in the folder
    `classifiers`
    under the datamodule's `root`, if there is such a root. Where many processes train, rank 0 measures and the others
    wait.

    Args:
        every_n_batches: distance between two evaluations, each of which takes as long as 10 to 40 batches of 64; at
            2000 that is 1 to 3 % of the run, the first included (`benchmarks.evaluation_share`).
        classifier: a name of `metrics.features`.
        samples: images of an evaluation in training.
        final_samples: images at the end; 0 leaves out the end, which takes as long as some thousand batches.

    Raises:
        ValueError: when a number is too small or the classifier isn't known; when training starts, if the datamodule
        has no
            digits or the module no generator.
    """

    def __init__(
        self,
        every_n_batches: int = 2000,
        classifier: str = "digit_cnn",
        samples: int = 2000,
        final_samples: int = 10_000,
    ) -> None:
        if every_n_batches < 1:
            raise ValueError(f"every_n_batches is {every_n_batches}; write 1 or more")
        if classifier not in CLASSIFIERS:
            raise ValueError(f"classifier is '{classifier}'; write one of {', '.join(CLASSIFIERS)}")
        if samples < 2:
            raise ValueError(f"samples is {samples}; write 2 or more, such as 2000")
        if final_samples and final_samples <= NEIGHBOURS:
            raise ValueError(
                f"final_samples is {final_samples}; write {NEIGHBOURS + 1} or more, or 0 for no final report"
            )
        self.every_n_batches = every_n_batches
        self.classifier = classifier
        self.samples = samples
        self.final_samples = final_samples
        self.alarms = GANMonitor()
        self._files = BestEffort(f"{BEST_GENERATOR_FILE} or {REPORT_FILE}")
        self.best_fid = math.inf
        self.seed: int | None = None
        self._frechet_distance: FrechetDistance | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        _digits(trainer)
        sampling_generator(pl_module)
        if self.seed is None:
            self.seed = seed_of(pl_module)
        self._frechet_distance = None  # of other digits, perhaps

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        interval: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if interval and trainer.global_step % interval == 0:
            self._hear(trainer, pl_module)
        tried_out: bool = trainer.fast_dev_run  # type: ignore[attr-defined]
        if trainer.global_step % self.every_n_batches == 0 and not tried_out:
            fid = self._evaluate(trainer, pl_module) if trainer.is_global_zero else math.nan
            fid = trainer.strategy.broadcast(fid)
            pl_module.log("quality/fid", fid, logger=False)  # for callbacks that monitor it

    def _hear(self, trainer: Trainer, pl_module: LightningModule) -> None:
        numbers = dict(trainer.callback_metrics)
        if getattr(getattr(pl_module, "gan_loss", None), "discriminator", None) is wasserstein_discriminator_loss:
            for name in ACCURACIES:  # to tell all images apart is a critic's business, and does no harm
                numbers.pop(name, None)
        _warn(self.alarms.hear(trainer.global_step, numbers))

    def _evaluate(self, trainer: Trainer, pl_module: LightningModule) -> float:
        """Logs the numbers, keeps the generator if it is the best, warns of lost digits; returns the FID."""
        step = trainer.global_step
        generator = sampling_generator(pl_module)
        classifier = load_classifier(self.classifier).to(pl_module.device)
        if self._frechet_distance is None:
            folder = _folder_for_statistics(trainer)
            self._frechet_distance = distance_to_training(classifier, _digits(trainer), self.samples, folder)
        assert self.seed is not None, "the seed is known when training starts"
        n = self._frechet_distance.samples
        with unnoticed(generator):
            images = sample(generator, latent_noise(generator, n, random_numbers(self.seed, "quality", step)))
        features, logits = features_and_logits(classifier, images)
        fid, histogram = self._frechet_distance(features), class_histogram(logits)
        numbers = {f"quality/{name}": value for name, value in {**fid, **mode_coverage(histogram)}.items()}
        # Not by `pl_module.log`, which Lightning hands on only every `log_every_n_steps` batches. The step is that of
        # the batch's losses, for Lightning names a batch by how many came before it.
        log_numbers(trainer, numbers, step - 1)
        if fid["fid"] < self.best_fid:
            self.best_fid = fid["fid"]
            with self._files.attempt():
                keep_generator(trainer, pl_module, Path(trainer.default_root_dir) / BEST_GENERATOR_FILE)
        _warn(self.alarms.see(step, histogram))
        return fid["fid"]

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not may_write(trainer) or self.final_samples == 0:
            return
        reports = self._reports(trainer, pl_module)
        # At a step after the last batch's: a run that is extended takes back what stands there.
        flat = {f"final/{weights}/{name}": value for weights in reports for name, value in reports[weights].items()}
        log_numbers(trainer, flat, trainer.global_step)
        self._publish(trainer, reports)
        assert self.seed is not None, "the seed is known when training starts"
        with BestEffort("the table of samples").attempt():
            log_samples(trainer, pl_module, load_classifier(self.classifier).to(pl_module.device), self.seed)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.final_samples == 0 or not trainer.is_global_zero:
            return
        for weights, report in self._reports(trainer, pl_module).items():
            numbers = {f"test/{weights}/{name}": float(value) for name, value in report.items()}
            pl_module.log_dict(numbers, rank_zero_only=True)
        if data_source(trainer) == "packaged":
            print(CLASSIFIER_TRAINED_ON_THEM)

    def _reports(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Evaluation]:
        """Of the generator as it is, and of its average if there is one."""
        seed = seed_of(pl_module) if self.seed is None else self.seed
        real = RealImages(load_classifier(self.classifier).to(pl_module.device), _digits(trainer), self.final_samples)
        reports = {}
        for weights, generator in generators(pl_module).items():
            with unnoticed(generator):
                reports[weights] = evaluate(generator, real, seed)
        return reports

    def _publish(self, trainer: Trainer, reports: dict[str, Evaluation]) -> None:
        source = data_source(trainer)
        remark = CLASSIFIER_TRAINED_ON_THEM if source == "packaged" else ""
        facts: dict[str, Any] = {"classifier": self.classifier, "data_source": source, "step": trainer.global_step}
        if remark:
            facts["remark"] = remark
        for weights, report in reports.items():
            facts[weights] = {name: _for_json(value) for name, value in report.items()}
            print(" ".join(filter(None, [f"{weights} generator, {origin(trainer)}: {summary(report)}.", remark])))
        with self._files.attempt(), replacing(Path(trainer.default_root_dir) / REPORT_FILE) as draft:
            draft.write_text(json.dumps(facts, indent=2) + "\n")

    def state_dict(self) -> dict[str, Any]:
        return {"seed": self.seed, "best_fid": self.best_fid, "alarms": self.alarms.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.seed = state_dict["seed"]
        self.best_fid = state_dict["best_fid"]
        self.alarms.load_state_dict(state_dict["alarms"])


def _digits(trainer: Trainer) -> SplitDigits:
    digits = getattr(getattr(trainer, "datamodule", None), "digits", None)
    if not isinstance(digits, SplitDigits):
        raise ValueError(
            "GenerativeMetrics compares generated digits with real ones, and this run's data has no `digits`; "
            "train with datamodule=MNISTDataModule(), or leave GenerativeMetrics out"
        )
    return digits


def _folder_for_statistics(trainer: Trainer) -> Path | None:
    root = getattr(getattr(trainer, "datamodule", None), "root", None)
    return Path(root) / "classifiers" if root and Path(root).is_dir() else None


def _warn(warnings: list[str]) -> None:
    for words in warnings:
        rank_zero_warn(words)


def _for_json(value: float | int) -> float | int | None:
    """JSON knows no NaN."""
    return value if math.isfinite(value) else None
