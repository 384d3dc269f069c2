"""Evaluation of a generator by a classifier, which doesn't change the training."""

import copy
import csv
import json
import math
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import wandb
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers.logger import Logger

import callbacks.generative_metrics
import callbacks.logging
from callbacks import GenerativeMetrics
from callbacks.gan_monitor import GANMonitor
from callbacks.generative_metrics import CLASSIFIER_TRAINED_ON_THEM, TABLE_SAMPLES
from datamodules import MNISTDataModule
from lightning_modules import GAN, DigitClassifier
from metrics.features import load_classifier
from metrics.fid import FrechetDistance
from networks.classifiers import DigitCNN, DigitReader
from networks.generator_files import load_generator, read_metadata
from networks.mlp_gan import MLPDiscriminator, MLPGenerator
from twofold.loggers import CSVLogger

# A generator that was trained for a few batches lacks most digits; test_gan_monitor.py tests this warning.
pytestmark = pytest.mark.filterwarnings("ignore:digits lost")

MakeTrainer = Callable[..., Trainer]

IN_TRAINING = [
    *(f"quality/{name}" for name in ("fid", "fid_real", "fid_over_real", "fid_samples")),
    *(f"quality/class_{digit}" for digit in range(10)),
    "quality/modes_covered",
]


class Rows(Logger):
    name = version = "rows"

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int | None, dict[str, float]]] = []

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self.rows.append((step, metrics))

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None: ...

    def of(self, prefix: str) -> dict[int | None, dict[str, float]]:
        """The rows that hold such a key, by their step."""
        return {step: row for step, row in self.rows if any(key.startswith(prefix) for key in row)}


@pytest.fixture(autouse=True)
def _seed_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")


@pytest.fixture(autouse=True)
def classifier(monkeypatch: pytest.MonkeyPatch) -> DigitReader:
    """A tiny untrained classifier."""
    tiny = DigitReader(hidden_size=4).eval()
    monkeypatch.setattr(callbacks.generative_metrics, "load_classifier", lambda name: tiny)
    return tiny


@pytest.fixture
def few(digits: MNISTDataModule) -> MNISTDataModule:
    """A tenth of the packaged digits."""
    digits.setup()
    everything = digits.digits
    digits._digits = everything._replace(
        train=everything.train[:350], validation=everything.validation[:50], test=everything.test[:100]
    )
    return digits


def make_gan(**arguments: Any) -> GAN:
    torch.manual_seed(1)
    return GAN(MLPGenerator(latent_dim=5, widths=[8]), MLPDiscriminator(widths=[8]), **arguments)


def metrics(every_n_batches: int = 2, **arguments: Any) -> GenerativeMetrics:
    return GenerativeMetrics(every_n_batches, **{"samples": 40, "final_samples": 0, **arguments})


def test_every_logger_gets_the_numbers_at_the_batch_of_the_losses(
    plain_trainer: MakeTrainer, few: MNISTDataModule
) -> None:
    loggers = [Rows(), Rows()]
    trainer = plain_trainer(max_steps=6, callbacks=[metrics(3)], logger=loggers, log_every_n_steps=1)
    trainer.fit(make_gan(), datamodule=few)
    for logged in loggers:
        rows = logged.of("quality/")
        assert list(rows) == [2, 5]  # of batches 3 and 6, where Lightning puts their losses
        assert set(rows) < set(logged.of("train/"))
        assert all(list(row) == IN_TRAINING for row in rows.values())
        assert rows[2]["quality/fid_samples"] == 40
        assert rows[2]["quality/fid_real"] == rows[5]["quality/fid_real"] > 0
        assert rows[2]["quality/fid"] != rows[5]["quality/fid"]
    assert float(trainer.callback_metrics["quality/fid"]) == pytest.approx(rows[5]["quality/fid"])


def test_numbers_are_of_the_averaged_generator(
    plain_trainer: MakeTrainer, few: MNISTDataModule, classifier: DigitReader
) -> None:
    logged, gan = Rows(), make_gan(ema_decay=0.5)
    assert gan.ema is not None
    with torch.no_grad():
        classifier.head.get_parameter("1.bias")[7] += 100
    sampled = []
    gan.ema.module.register_forward_hook(lambda network, noise, images: sampled.append((network.training, noise[0])))
    plain_trainer(max_steps=4, callbacks=[metrics()], logger=logged).fit(gan, datamodule=few)
    (first_mode, first), (second_mode, second) = sampled
    assert not first_mode
    assert not second_mode
    assert first.shape == second.shape == (40, 5)
    assert not torch.equal(first, second)
    for row in logged.of("quality/").values():
        assert row["quality/class_7"] == row["quality/modes_covered"] == 1


@pytest.mark.usefixtures("unchecked")  # beartype draws by `random` which item of a list it checks
@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_evaluation_does_not_change_training(
    plain_trainer: MakeTrainer, few: MNISTDataModule, ema_decay: float | None
) -> None:
    results = []
    for watching in ([], [metrics(1, final_samples=40)]):
        gan = make_gan(ema_decay=ema_decay)
        random.seed(1), np.random.seed(1)  # noqa: NPY002
        plain_trainer(max_steps=3, callbacks=watching).fit(gan, datamodule=few)
        streams = torch.rand(1).item(), np.random.rand(), random.random()  # noqa: NPY002
        results.append((gan.state_dict(), [part.training for part in gan.modules()], streams))
    (weights, *without), (same_weights, *with_metrics) = results
    assert all(torch.equal(value, same_weights[name]) for name, value in weights.items())
    assert without == with_metrics


def test_resumed_run_writes_the_same_bytes(
    plain_trainer: MakeTrainer, few: MNISTDataModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PL_GLOBAL_SEED")
    whole, part = tmp_path / "whole", tmp_path / "part"

    def trainer(folder: Path, max_steps: int, callback: GenerativeMetrics) -> Trainer:
        logger = CSVLogger(str(folder))
        return plain_trainer(
            max_steps=max_steps, callbacks=[callback], logger=logger, default_root_dir=folder, log_every_n_steps=1
        )

    first = metrics(final_samples=40)
    until_four = trainer(part, 4, first)
    until_four.fit(make_gan(), datamodule=few)
    until_four.save_checkpoint(tmp_path / "four.ckpt")
    assert math.isfinite(first.best_fid)
    for folder in (whole, part):
        (folder / "metrics.csv").unlink(missing_ok=True)
        again = metrics(final_samples=40)
        other_weights = GAN(MLPGenerator(latent_dim=5, widths=[8]), MLPDiscriminator(widths=[8]))
        trainer(folder, 8, again).fit(
            other_weights, datamodule=few, ckpt_path=tmp_path / "four.ckpt", weights_only=True
        )
        assert again.monitor.evaluated == 4
    for name in ("metrics.csv", "quality.json"):
        assert (whole / name).read_bytes() == (part / name).read_bytes()
    assert (part / "metrics.csv").read_text().count("\n") > 5


def test_extended_run_drops_only_the_final_row(
    plain_trainer: MakeTrainer, few: MNISTDataModule, tmp_path: Path
) -> None:
    def columns_at(folder: Path) -> dict[int, set[str]]:
        found: dict[int, set[str]] = {}
        with (folder / "metrics.csv").open() as file:
            for row in csv.DictReader(file):
                found.setdefault(int(row["step"]), set()).update(key.split("/")[0] for key in row if row[key])
        return found

    logger = CSVLogger(str(tmp_path))
    callback = metrics(final_samples=40)
    plain_trainer(max_steps=4, callbacks=[callback], logger=logger, log_every_n_steps=2).fit(make_gan(), datamodule=few)
    before = columns_at(tmp_path)
    assert {step: kinds & {"quality", "final"} for step, kinds in before.items()} == {
        1: {"quality"},
        3: {"quality"},
        4: {"final"},
    }
    logger.drop_from(4)  # as a run does that is resumed after batch 4
    assert columns_at(tmp_path) == {step: kinds for step, kinds in before.items() if step < 4}


def test_best_generator_is_kept(
    plain_trainer: MakeTrainer, few: MNISTDataModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fids = iter([30.0, 10.0, 20.0, math.nan, 9.0])
    monkeypatch.setattr(FrechetDistance, "__call__", lambda self, features: {"fid": next(fids)})
    kept = []

    class Watching(GenerativeMetrics):
        def _evaluate(self, trainer: Trainer, pl_module: LightningModule) -> float:
            fid = super()._evaluate(trainer, pl_module)
            kept.append(read_metadata(tmp_path / "best_generator.pth")["step"])
            return fid

    gan = make_gan(ema_decay=0.9)
    watching = Watching(1, samples=40, final_samples=0)
    plain_trainer(max_steps=5, callbacks=[watching]).fit(gan, datamodule=few)
    assert kept == [1, 2, 2, 2, 5]
    assert watching.best_fid == 9.0
    metadata = read_metadata(tmp_path / "best_generator.pth")
    assert (metadata["weights"], metadata["data_source"]) == ("ema", "packaged")
    saved = load_generator(tmp_path / "best_generator.pth").state_dict()
    assert all(torch.equal(value, saved[name]) for name, value in gan.sampling_generator.state_dict().items())


def test_checkpoint_can_be_chosen_by_fid(plain_trainer: MakeTrainer, few: MNISTDataModule, tmp_path: Path) -> None:
    chosen = ModelCheckpoint(tmp_path / "best", monitor="quality/fid", every_n_train_steps=2)
    watching = metrics()
    trainer = plain_trainer(max_steps=4, callbacks=[chosen, watching], enable_checkpointing=True)
    trainer.fit(make_gan(), datamodule=few)
    assert float(chosen.best_model_score or math.nan) == pytest.approx(watching.best_fid)


@pytest.mark.parametrize(("ema_decay", "kinds"), [(None, ["raw"]), (0.9, ["raw", "ema"])])
def test_final_report_has_every_generator(
    plain_trainer: MakeTrainer,
    few: MNISTDataModule,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    ema_decay: float | None,
    kinds: list[str],
) -> None:
    logged = Rows()
    plain_trainer(max_steps=3, callbacks=[metrics(final_samples=60)], logger=logged).fit(
        make_gan(ema_decay=ema_decay), datamodule=few
    )
    written = json.loads((tmp_path / "quality.json").read_text())
    assert list(written) == ["classifier", "data_source", "step", "remark", *kinds]
    assert (written["classifier"], written["data_source"], written["step"]) == ("digit_cnn", "packaged", 3)
    assert "The classifier was trained on nearly all of these digits" in written["remark"]
    (step, row), *none = logged.of("final/").items()
    assert not none
    assert step == 3
    assert row == {f"final/{kind}/{name}": value for kind in kinds for name, value in written[kind].items()}
    assert row["final/raw/fid_samples"] == 60
    assert row["final/raw/real_nearest_neighbour_distance"] > 1
    lines = [line for line in capsys.readouterr().out.splitlines() if " generator, " in line]
    assert [line.partition(" ")[0] for line in lines] == kinds
    assert f"after 3 batches of the packaged digits: FID {written['raw']['fid']:.1f} with 60 samples" in lines[0]
    assert lines[0].endswith(written["remark"])


def test_samples_are_limited_by_validation_images(plain_trainer: MakeTrainer, few: MNISTDataModule) -> None:
    logged = Rows()
    plain_trainer(callbacks=[metrics(samples=2000)], logger=logged).fit(make_gan(), datamodule=few)
    assert logged.of("quality/")[1]["quality/fid_samples"] == 50


def test_statistics_are_cached_beside_the_data(
    plain_trainer: MakeTrainer, few: MNISTDataModule, tmp_path: Path
) -> None:
    few.root = tmp_path / "data"
    plain_trainer(callbacks=[metrics()]).fit(make_gan(), datamodule=few)
    assert not few.root.exists()
    few.root.mkdir()
    plain_trainer(callbacks=[metrics()]).fit(make_gan(), datamodule=few)
    assert len(list((few.root / "classifiers").iterdir())) == 1


def test_half_precision_is_evaluated(plain_trainer: MakeTrainer, few: MNISTDataModule, tmp_path: Path) -> None:
    callback = metrics(final_samples=40)
    plain_trainer(max_steps=2, precision="bf16-true", callbacks=[callback]).fit(make_gan(), datamodule=few)
    assert math.isfinite(json.loads((tmp_path / "quality.json").read_text())["raw"]["fid"])
    assert math.isfinite(callback.best_fid)


def test_fast_dev_run_evaluates_nothing(plain_trainer: MakeTrainer, few: MNISTDataModule, tmp_path: Path) -> None:
    plain_trainer(callbacks=[metrics(1, final_samples=40)], fast_dev_run=2).fit(make_gan(), datamodule=few)
    assert list(tmp_path.iterdir()) == []


def test_shipped_classifier_on_the_packaged_digits(
    plain_trainer: MakeTrainer, digits: MNISTDataModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callbacks.generative_metrics, "load_classifier", load_classifier)
    logged = Rows()
    callback = GenerativeMetrics(every_n_batches=2, classifier="digit_reader", final_samples=0)
    plain_trainer(max_steps=2, callbacks=[callback], logger=logged).fit(make_gan(), datamodule=digits)
    row = logged.of("quality/")[1]
    assert row["quality/fid_samples"] == 500
    assert row["quality/fid_over_real"] > 20  # it has hardly learned anything
    assert row["quality/modes_covered"] < 5


def test_data_without_digits_is_refused(plain_trainer: MakeTrainer, anybodys: type[LightningModule]) -> None:
    with pytest.raises(ValueError, match=r"this run's data has no `digits`; train with datamodule=MNISTDataModule"):
        plain_trainer(callbacks=[metrics()]).fit(anybodys(), [torch.zeros(1)] * 4)


def test_module_without_generator_is_refused(plain_trainer: MakeTrainer, few: MNISTDataModule) -> None:
    with pytest.raises(ValueError, match="a DigitClassifier has no `generator`"):
        plain_trainer(callbacks=[metrics()]).fit(DigitClassifier(DigitCNN()), datamodule=few)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"every_n_batches": 0}, "every_n_batches is 0; write 1 or more"),
        ({"classifier": "inception"}, "classifier is 'inception'; write one of digit_cnn, digit_reader"),
        ({"samples": 1}, "samples is 1; write 2 or more"),
        ({"final_samples": 3}, "final_samples is 3; write 4 or more, or 0 for none"),
        ({"final_samples": -1}, "final_samples is -1; write 4 or more"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        GenerativeMetrics(**arguments)


@pytest.mark.parametrize(("loss", "warned"), [("nonsaturating", True), ("relativistic", True), ("wasserstein", False)])
def test_wasserstein_discriminator_may_be_perfect(
    plain_trainer: MakeTrainer, few: MNISTDataModule, loss: str, warned: bool, recwarn: pytest.WarningsRecorder
) -> None:
    class Perfect(GAN):
        def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
            self.log_dict({"train/d_accuracy_real": 1.0, "train/d_accuracy_fake": 1.0})

    callback = metrics(1000)
    callback.monitor = GANMonitor(perfect_for=2)
    gan = Perfect(MLPGenerator(latent_dim=5, widths=[8]), MLPDiscriminator(widths=[8]), loss=loss, gradient_penalty=1.0)
    plain_trainer(max_steps=4, callbacks=[callback], log_every_n_steps=1).fit(gan, datamodule=few)
    assert any("discriminator perfect" in str(warning.message) for warning in recwarn) == warned


def test_testing_gives_the_final_numbers(
    plain_trainer: MakeTrainer, few: MNISTDataModule, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gan = GAN(MLPGenerator(latent_dim=5, widths=[8]), MLPDiscriminator(widths=[8]), ema_decay=0.9)
    callback = metrics(1000, final_samples=40)
    plain_trainer(max_steps=2, callbacks=[callback]).fit(gan, datamodule=few)
    at_the_end = json.loads((tmp_path / "quality.json").read_text())
    capsys.readouterr()
    (tested,) = plain_trainer(callbacks=[callback]).test(gan, datamodule=few, verbose=False)
    assert capsys.readouterr().out.splitlines()[-1] == CLASSIFIER_TRAINED_ON_THEM
    for weights in ("raw", "ema"):
        for name, value in at_the_end[weights].items():
            assert tested[f"test/{weights}/{name}"] == pytest.approx(value, rel=1e-4, abs=1e-6), name


class Tables(Rows):
    def __init__(self) -> None:
        super().__init__()
        self.tables: list[tuple[str, list[str], list[list[Any]], int]] = []

    def log_table(self, key: str, columns: list[str], data: list[list[Any]], step: int) -> None:
        self.tables.append((key, columns, data, step))


def test_loggers_with_tables_get_samples(
    plain_trainer: MakeTrainer, few: MNISTDataModule, digit_painter: MLPGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callbacks.generative_metrics, "load_classifier", load_classifier)
    tables = Tables()
    gan = GAN(
        copy.deepcopy(digit_painter).train(), MLPDiscriminator(), generator_optimizer=partial(torch.optim.SGD, lr=0.0)
    )
    plain_trainer(max_steps=1, callbacks=[metrics(final_samples=40)], logger=tables).fit(gan, datamodule=few)
    [(key, columns, rows, step)] = tables.tables
    assert (key, columns, len(rows), step) == ("samples", ["image", "digit", "confidence"], TABLE_SAMPLES, 1)
    assert all(isinstance(image, wandb.Image) and 0.1 <= confidence <= 1 for image, _, confidence in rows)
    assert len({digit for _, digit, _ in rows}) > 7


def test_unwritable_files_are_warnings(plain_trainer: MakeTrainer, few: MNISTDataModule, tmp_path: Path) -> None:
    callbacks.logging._warnings.clear()
    for name in ("best_generator.pth", "quality.json"):
        (tmp_path / name).mkdir()
    trainer = plain_trainer(max_steps=2, callbacks=[metrics(1, final_samples=40)])
    with pytest.warns(UserWarning, match="can't be written") as caught:
        trainer.fit(make_gan(), datamodule=few)
    assert sum("can't be written" in str(one.message) for one in caught) == 2
    assert trainer.global_step == 2
