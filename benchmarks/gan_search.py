"""The search for the recipe of configs/gan.yaml: python -m benchmarks.gan_search [--seconds 150] [--trials 72]

Each trial trains one game on MNIST for the same time of one thread, with both rates falling linearly to 0. On the way a
trial whose FID is worse than that of half the trials before ends (pruned). Optuna's TPE proposes recipes, after a start
at random; the seed of all trainings is 1. Two workers search side by side. What wins in a short time need not win in a
longer one, so each time has a search of its own.

FID is that of the averaged generator on features of the first classifier, against the 55,000 training images: of 2,000
samples on the way, of 5,000 at the end. The test images take no part, so that they can tell what was found.

In the committed trials `PixelUnshuffleDiscriminator` had 5×5 convolutions with stride two.

Writes into benchmarks/results: gan_search.journal, Optuna's storage, from which a search that was killed goes on, and
gan_search_150s.csv, every trial in words.
"""

import math
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import optuna
import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import BaseTrial, FrozenTrial, Trial, TrialState

from benchmarks.command import RESULTS
from benchmarks.digits import add_digits, real_digits, refuse_another
from callbacks.generators import unnoticed
from common.seeding import latent_noise, rng
from datamodules import MNISTDataModule
from datamodules.mnist import Source
from lightning_modules import GAN
from metrics.features import features_and_logits, load_classifier
from metrics.reference_statistics import distance_to_training
from networks.dcgan import DCGANDiscriminator, DCGANGenerator
from networks.mlp_conv_gan import MLPConvGenerator, PixelUnshuffleDiscriminator
from networks.mlp_gan import MLPDiscriminator, MLPGenerator
from networks.sampling import draw
from scripts.plain_loop import bare_trainer, settle
from twofold.errors import OneLineParser, exit_code
from twofold.tables import rounded, write_rows

JOURNAL = RESULTS / "gan_search.journal"
SECONDS = 150
"""Of one thread's time, for the training of one trial."""
TRIED_OUT = 60
"""Batches by which a recipe's speed is measured; the first third doesn't count."""
PRUNED_AT = (0.125, 0.25, 0.5)
ON_THE_WAY, AT_THE_END = 2000, 5000
"""Images of one measurement."""
WORKERS = 2
SEED = 1

Recipe = Mapping[str, Any]

TEXTBOOK = {
    "generator": "mlp",
    "discriminator": "mlp",
    "latent_dim": 64,
    "loss": "relativistic",
    "r1": 1.0,
    "r2": "as r1",
    "d_reg_interval": 4,
    "n_critic": 1,
    "diffaugment_translation": 0,
    "ema_decay": 0.999,
    "generator_lr": 5e-4,
    "discriminator_lr": 5e-4,
    "beta1": 0.0,
    "beta2": 0.99,
    "batch_size": 64,
    "mlp_width": 512,
    "mlp_norm": "batch",
    "discriminator_width": 512,
    "mlp_discriminator_norm": "none",
}
BRUSHES = {
    **{
        name: value for name, value in TEXTBOOK.items() if name not in ("discriminator_width", "mlp_discriminator_norm")
    },
    "generator": "brush",
    "discriminator": "stroke",
    "latent_dim": 16,
    "generator_lr": 2e-3,
    "discriminator_lr": 2e-3,
    "brushes": 4,
    "strokes": 8,
    "stroke_width": 128,
}
STARTS = (
    TEXTBOOK,
    BRUSHES,
    {**BRUSHES, "r1": 0.3},
    {**BRUSHES, "latent_dim": 32, "strokes": 16},
    {**BRUSHES, "loss": "nonsaturating"},
)
"""Tried first: textbook networks by the best recipe that was known before, and the brush pair as found by hand."""


def suggest(trial: BaseTrial) -> dict[str, Any]:
    """One recipe of the search space."""
    recipe = {
        "generator": trial.suggest_categorical("generator", ["mlp", "brush", "dcgan"]),
        "discriminator": trial.suggest_categorical("discriminator", ["mlp", "stroke", "dcgan"]),
        "latent_dim": trial.suggest_categorical("latent_dim", [16, 32, 64, 128]),
        "loss": trial.suggest_categorical("loss", ["nonsaturating", "hinge", "relativistic"]),
        "r1": trial.suggest_float("r1", 0.01, 10, log=True),
        "r2": trial.suggest_categorical("r2", ["none", "as r1"]),
        "d_reg_interval": trial.suggest_categorical("d_reg_interval", [1, 4, 16]),
        "n_critic": trial.suggest_categorical("n_critic", [1, 2]),
        "diffaugment_translation": trial.suggest_categorical("diffaugment_translation", [0, 1]),
        "ema_decay": trial.suggest_categorical("ema_decay", [0.99, 0.999]),
        "generator_lr": trial.suggest_float("generator_lr", 3e-4, 8e-3, log=True),
        "discriminator_lr": trial.suggest_float("discriminator_lr", 3e-4, 8e-3, log=True),
        "beta1": trial.suggest_categorical("beta1", [0.0, 0.5]),
        "beta2": trial.suggest_categorical("beta2", [0.9, 0.99, 0.999]),
        "batch_size": trial.suggest_categorical("batch_size", [32, 64, 128]),
    }
    if recipe["generator"] == "dcgan":
        recipe["generator_channels"] = trial.suggest_categorical("generator_channels", [8, 16, 32])
        recipe["generator_norm"] = trial.suggest_categorical("dcgan_norm", ["batch", "none"])
    else:
        recipe["generator_width"] = trial.suggest_categorical("mlp_width", [256, 512, 768])
        recipe["generator_norm"] = trial.suggest_categorical("mlp_norm", ["batch", "layer"])
    if recipe["generator"] == "brush":
        recipe["brushes"] = trial.suggest_categorical("brushes", [2, 4, 8])
    match recipe["discriminator"]:
        case "mlp":
            recipe["discriminator_width"] = trial.suggest_categorical("discriminator_width", [256, 512, 768])
            recipe["discriminator_norm"] = trial.suggest_categorical("mlp_discriminator_norm", ["none", "spectral"])
        case "dcgan":
            recipe["discriminator_channels"] = trial.suggest_categorical("discriminator_channels", [8, 16, 32])
            recipe["discriminator_norm"] = trial.suggest_categorical("dcgan_discriminator_norm", ["none", "spectral"])
        case "stroke":
            recipe["discriminator_channels"] = trial.suggest_categorical("strokes", [4, 8, 16])
            recipe["discriminator_width"] = trial.suggest_categorical("stroke_width", [64, 128, 256])
    return recipe


def networks(recipe: Recipe) -> tuple[torch.nn.Module, torch.nn.Module]:
    """The generator and the discriminator."""
    latent_dim, norm = recipe["latent_dim"], recipe["generator_norm"]
    width = recipe.get("generator_width", 0)
    widths = (width // 2, width, width)
    generator: dict[str, Callable[[], torch.nn.Module]] = {
        "mlp": lambda: MLPGenerator(latent_dim, widths, norm),
        "brush": lambda: MLPConvGenerator(latent_dim, widths, recipe["brushes"], norm),
        "dcgan": lambda: DCGANGenerator(latent_dim, recipe["generator_channels"], norm),
    }
    width, channels = recipe.get("discriminator_width", 0), recipe.get("discriminator_channels", 0)
    discriminator: dict[str, Callable[[], torch.nn.Module]] = {
        "mlp": lambda: MLPDiscriminator((width, width // 2), recipe["discriminator_norm"]),
        "stroke": lambda: PixelUnshuffleDiscriminator(channels, width),
        "dcgan": lambda: DCGANDiscriminator(channels, recipe["discriminator_norm"]),
    }
    return generator[recipe["generator"]](), discriminator[recipe["discriminator"]]()


def game(recipe: Recipe, steps: int) -> GAN:
    """The module that a recipe describes, for a training of `steps` batches."""
    adam = partial(torch.optim.Adam, betas=(recipe["beta1"], recipe["beta2"]), fused=True)
    to_zero = partial(torch.optim.lr_scheduler.LinearLR, start_factor=1.0, end_factor=0.0, total_iters=steps)
    return GAN(
        *networks(recipe),
        partial(adam, lr=recipe["generator_lr"]),
        partial(adam, lr=recipe["discriminator_lr"]),
        to_zero,
        to_zero,
        loss=recipe["loss"],
        r1=recipe["r1"],
        r2=recipe["r1"] if recipe["r2"] == "as r1" else 0.0,
        d_reg_interval=recipe["d_reg_interval"],
        n_critic=recipe["n_critic"],
        diffaugment_translation=recipe["diffaugment_translation"],
        ema_decay=recipe["ema_decay"],
    )


class Quality:
    """Measures the averaged generators of games by one classifier, always from the same noise."""

    def __init__(self, data: MNISTDataModule) -> None:
        self.classifier = load_classifier()
        folder = data.root / "classifiers"
        self.distances = {
            n: distance_to_training(self.classifier, data.digits, n, folder) for n in (ON_THE_WAY, AT_THE_END)
        }

    def __call__(self, gan: GAN, samples: int) -> float:
        """FID of so many images; not a number if they aren't."""
        maker = gan.sampling_generator
        with unnoticed(maker):
            images = draw(maker, latent_noise(maker, samples, rng(SEED, "search")))
        return self.distances[samples](features_and_logits(self.classifier, images).features).value


class Prune(Callback):
    """Tells Optuna how good the generator is on the way, and ends training when that isn't good enough."""

    def __init__(self, trial: Trial, quality: Quality, steps: int) -> None:
        self.trial, self.quality = trial, quality
        self.at = {round(share * steps): share for share in PRUNED_AT}

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        share = self.at.get(trainer.global_step)
        if share is None:
            return
        assert isinstance(pl_module, GAN)
        value = self.quality(pl_module, ON_THE_WAY)
        self.trial.report(value, round(100 * share))
        self.trial.set_user_attr(f"fid_at_{share:g}", value)
        if self.trial.should_prune():
            raise optuna.TrialPruned


def train(
    recipe: Recipe, steps: int, data: MNISTDataModule, *callbacks: Callback, seed: int = SEED
) -> tuple[GAN, float]:
    """The trained game, and the seconds of this process's time that it took."""
    seed_everything(seed, verbose=False)
    gan = game(recipe, steps)
    start = time.process_time()
    bare_trainer(callbacks, max_steps=steps, gradient_clip_val=None).fit(gan, datamodule=data)
    return gan, time.process_time() - start


class Clock(Callback):
    """Notes when each batch was over."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.at: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self.at.append(self.clock())


def seconds_per_batch(recipe: Recipe, batches: int, data: MNISTDataModule, clock: Callable[[], float]) -> float:
    """By a short training of which the first third doesn't count."""
    times = Clock(clock)
    train(recipe, batches, data, times)
    first = batches // 3
    return (times.at[-1] - times.at[first]) / (batches - 1 - first)


def in_batches(data: MNISTDataModule, recipe: Recipe) -> MNISTDataModule:
    """The same digits in the recipe's batches, those to validate included."""
    return MNISTDataModule(data.root, data.source, recipe["batch_size"], train_on_validation=True)


def run_trial(trial: Trial, seconds: float, data: MNISTDataModule, quality: Quality) -> float:
    recipe = suggest(trial)
    data = in_batches(data, recipe)
    steps = max(8, round(seconds / seconds_per_batch(recipe, TRIED_OUT, data, time.process_time)))
    trial.set_user_attr("batches", steps)
    trial.set_user_attr("data_source", data.data_source)
    gan, taken = train(recipe, steps, data, Prune(trial, quality, steps))
    trial.set_user_attr("seconds", taken)
    return quality(gan, AT_THE_END)


def work(seconds: int, trials: int, root: str, source: Source) -> None:
    """What one worker does: trials until there are enough."""
    settle()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    data = real_digits(root, source)
    quality = Quality(data)
    sampler = optuna.samplers.TPESampler(n_startup_trials=20, multivariate=True, group=True, constant_liar=True)
    open_study(seconds, sampler).optimize(
        lambda trial: run_trial(trial, seconds, data, quality),
        callbacks=[optuna.study.MaxTrialsCallback(trials, states=(TrialState.COMPLETE, TrialState.PRUNED)), write],
        catch=(ValueError, RuntimeError, torch.linalg.LinAlgError),
    )


def open_study(seconds: int, sampler: optuna.samplers.BaseSampler | None = None) -> optuna.Study:
    pruner = optuna.pruners.MedianPruner(n_startup_trials=8)
    return optuna.create_study(
        storage=storage(), sampler=sampler, pruner=pruner, study_name=name(seconds), load_if_exists=True
    )


def evaluated(study: optuna.Study) -> list[FrozenTrial]:
    """Its trials whose games were looked at, to the end or not."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


def digits_of(trial: FrozenTrial) -> dict[str, str]:
    return {"data_source": trial.user_attrs.get("data_source", "torchvision")}  # the oldest don't say


def storage() -> JournalStorage:
    return JournalStorage(JournalFileBackend(str(JOURNAL)))


def name(seconds: int) -> str:
    return f"{seconds} seconds"


def write(study: optuna.Study, _: FrozenTrial | None = None) -> None:
    """Every trial that has ended as a row, the best first."""
    ended = [trial for trial in study.trials if trial.state.is_finished()]
    ended.sort(key=lambda trial: (trial.state != TrialState.COMPLETE, trial.value or math.inf, trial.number))
    rows = [
        {
            "trial": trial.number,
            "state": trial.state.name.lower(),
            "fid": f"{trial.value:.2f}" if trial.state == TrialState.COMPLETE else "",
            **rounded(trial.user_attrs),
            **rounded(trial.params),
        }
        for trial in ended
    ]
    columns = dict.fromkeys(name for row in rows for name in row)
    write_rows(table_of(study.study_name), list(columns), rows)


def table_of(study: str) -> Path:
    return JOURNAL.with_name(f"gan_search_{study.removesuffix(' seconds')}s.csv")


def main(arguments: list[str]) -> int:
    parser = OneLineParser(prog="python -m benchmarks.gan_search", description="searches the best recipe for the game")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="of one thread for each trial")
    parser.add_argument("--trials", type=int, default=72, help="trials that end well or are pruned, in all")
    add_digits(parser)
    options = parser.parse_args(arguments)
    data = real_digits(options.root, options.source)
    study = open_study(options.seconds)
    refuse_another(map(digits_of, evaluated(study)), JOURNAL, data_source=data.data_source)
    for start in STARTS:
        study.enqueue_trial(start, skip_if_exists=True)
    for trial in study.trials:  # a search that was killed left these; they are tried again
        if trial.state == TrialState.RUNNING:
            study.tell(trial.number, state=TrialState.FAIL)
            study.enqueue_trial(trial.params)
    context = get_context("spawn")
    task = (options.seconds, options.trials, options.root, options.source)
    workers = [context.Process(target=work, args=task) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    write(study)
    return max(worker.exitcode or 0 for worker in workers)


if __name__ == "__main__":
    sys.exit(exit_code("gan_search", main, None))
