"""A classifier looks at a generator while it learns, without a trace in its training."""

import csv
import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers.logger import Logger
from torch import Tensor

import callbacks.generative_metrics
from callbacks import GenerativeMetrics
from callbacks.gan_monitor import GANMonitor
from callbacks.generative_metrics import CLASSIFIER_TRAINED_ON_THEM
from datamodules import MNISTDataModule
from lightning_modules import GAN, DigitClassifier
from metrics.features import load_classifier
from metrics.fid import FrechetDistance
from networks.classifiers import DigitCNN, DigitReader
from networks.generator_files import load_generator, read_metadata
from networks.mlp_gan import MLPDiscriminator, MLPGenerator
from twofold.loggers import CSVLogger

# A generator that learned for a few batches has lost most digits; test_gan_monitor.py tests that this is told.
pytestmark = pytest.mark.filterwarnings("ignore:digits lost")

MakeTrainer = Callable[..., Trainer]

IN_TRAINING = [
    *(f"quality/{name}" for name in ("fid", "fid_real", "fid_over_real", "fid_samples")),
    *(f"quality/class_{digit}" for digit in range(10)),
    "quality/modes_covered",
]


class Notes(Logger):
    name = version = "notes"

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
    """A classifier that costs nothing and has learned nothing."""
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
    return GAN(MLPGenerator(latent_dim=5), MLPDiscriminator(), **arguments)


def metrics(every_n_batches: int = 2, **arguments: Any) -> GenerativeMetrics:
    return GenerativeMetrics(every_n_batches, **{"samples": 40, "final_samples": 0, **arguments})


def test_every_logger_gets_the_numbers_at_the_step_of_the_batchs_losses(
    plain_trainer: MakeTrainer, few: MNISTDataModule
) -> None:
    loggers = [Notes(), Notes()]
    trainer = plain_trainer(max_steps=6, callbacks=[metrics(3)], logger=loggers, log_every_n_steps=1)
    trainer.fit(make_gan(), datamodule=few)
    for notes in loggers:
        rows = notes.of("quality/")
        assert list(rows) == [2, 5]  # of batches 3 and 6, where Lightning puts their losses
        assert set(rows) < set(notes.of("train/"))
        assert all(list(row) == IN_TRAINING for row in rows.values())
        assert rows[2]["quality/fid_samples"] == 40
        assert rows[2]["quality/fid_real"] == rows[5]["quality/fid_real"] > 0
        assert rows[2]["quality/fid"] != rows[5]["quality/fid"]
    assert float(trainer.callback_metrics["quality/fid"]) == pytest.approx(rows[5]["quality/fid"])


def test_numbers_are_logged_between_two_readings_of_the_losses_too(
    plain_trainer: MakeTrainer, few: MNISTDataModule
) -> None:
    notes = Notes()
    plain_trainer(max_steps=4, callbacks=[metrics(3)], logger=notes, log_every_n_steps=4).fit(
        make_gan(), datamodule=few
    )
    assert list(notes.of("quality/")) == [2]


def test_the_numbers_are_those_of_the_generator_that_samples_are_drawn_from(
    plain_trainer: MakeTrainer, few: MNISTDataModule, classifier: DigitReader
) -> None:
    notes, gan = Notes(), make_gan(ema_decay=0.5)
    assert gan.ema is not None
    with torch.no_grad():
        classifier.head.get_parameter("1.bias")[7] += 100
    drawn = []
    gan.ema.module.register_forward_hook(lambda network, noise, images: drawn.append((network.training, noise[0])))
    plain_trainer(max_steps=4, callbacks=[metrics()], logger=notes).fit(gan, datamodule=few)
    (first_mode, first), (second_mode, second) = drawn
    assert not first_mode
    assert not second_mode
    assert first.shape == second.shape == (40, 5)
    assert not torch.equal(first, second)
    for row in notes.of("quality/").values():
        assert row["quality/class_7"] == row["quality/modes_covered"] == 1


@pytest.mark.usefixtures("unchecked")  # beartype draws by `random` which item of a list it checks
@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_training_gives_the_same_bits_with_and_without(
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


def test_a_resumed_run_writes_the_same_bytes(
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
        other_weights = GAN(MLPGenerator(latent_dim=5), MLPDiscriminator())
        trainer(folder, 8, again).fit(
            other_weights, datamodule=few, ckpt_path=tmp_path / "four.ckpt", weights_only=True
        )
        assert again.seed == first.seed
        assert again.alarms.seen == 4
    for name in ("metrics.csv", "quality.json"):
        assert (whole / name).read_bytes() == (part / name).read_bytes()
    assert (part / "metrics.csv").read_text().count("\n") > 5


def test_an_extended_run_takes_the_end_back_and_nothing_else(
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
    logger.forget_from(4)  # as a run does that goes on after batch 4
    assert columns_at(tmp_path) == {step: kinds for step, kinds in before.items() if step < 4}


def test_the_best_generator_is_kept(
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
    facts = read_metadata(tmp_path / "best_generator.pth")
    assert (facts["weights"], facts["data_source"]) == ("ema", "packaged")
    saved = load_generator(tmp_path / "best_generator.pth").state_dict()
    assert all(torch.equal(value, saved[name]) for name, value in gan.sampling_generator.state_dict().items())


def test_a_worse_generator_than_before_a_resume_is_not_kept(
    plain_trainer: MakeTrainer, few: MNISTDataModule, tmp_path: Path
) -> None:
    first = metrics()
    trainer = plain_trainer(max_steps=2, callbacks=[first])
    trainer.fit(make_gan(), datamodule=few)
    first.best_fid = 1e-9
    trainer.save_checkpoint(tmp_path / "two.ckpt")
    trainer = plain_trainer(max_steps=4, callbacks=[metrics()])
    trainer.fit(make_gan(), datamodule=few, ckpt_path=tmp_path / "two.ckpt", weights_only=True)
    assert read_metadata(tmp_path / "best_generator.pth")["step"] == 2


def test_a_checkpoint_can_be_chosen_by_fid(plain_trainer: MakeTrainer, few: MNISTDataModule, tmp_path: Path) -> None:
    chosen = ModelCheckpoint(tmp_path / "best", monitor="quality/fid", every_n_train_steps=2)
    watching = metrics()
    trainer = plain_trainer(max_steps=4, callbacks=[chosen, watching], enable_checkpointing=True)
    trainer.fit(make_gan(), datamodule=few)
    assert float(chosen.best_model_score or math.nan) == pytest.approx(watching.best_fid)


@pytest.mark.parametrize(("ema_decay", "kinds"), [(None, ["raw"]), (0.9, ["raw", "ema"])])
def test_the_end_reports_on_every_generator(
    plain_trainer: MakeTrainer,
    few: MNISTDataModule,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    ema_decay: float | None,
    kinds: list[str],
) -> None:
    notes = Notes()
    plain_trainer(max_steps=3, callbacks=[metrics(final_samples=60)], logger=notes).fit(
        make_gan(ema_decay=ema_decay), datamodule=few
    )
    written = json.loads((tmp_path / "quality.json").read_text())
    assert list(written) == ["classifier", "data_source", "step", "remark", *kinds]
    assert (written["classifier"], written["data_source"], written["step"]) == ("digit_cnn", "packaged", 3)
    assert "The classifier has seen nearly all of these digits" in written["remark"]
    (step, row), *none = notes.of("final/").items()
    assert not none
    assert step == 3
    assert row == {f"final/{kind}/{name}": value for kind in kinds for name, value in written[kind].items()}
    assert row["final/raw/fid_samples"] == 60
    assert row["final/raw/real_nearest_neighbour_distance"] > 1
    lines = [line for line in capsys.readouterr().out.splitlines() if " generator, " in line]
    assert [line.partition(" ")[0] for line in lines] == kinds
    assert f"after 3 batches of the packaged digits: FID {written['raw']['fid']:.1f} with 60 samples" in lines[0]
    assert lines[0].endswith(written["remark"])


def test_digits_that_the_judge_has_not_seen_need_no_remark(
    plain_trainer: MakeTrainer, few: MNISTDataModule, tmp_path: Path
) -> None:
    few.data_source = "torchvision"
    plain_trainer(callbacks=[metrics(final_samples=60)]).fit(make_gan(), datamodule=few)
    assert "remark" not in json.loads((tmp_path / "quality.json").read_text())


def test_the_end_can_be_left_out(plain_trainer: MakeTrainer, few: MNISTDataModule, tmp_path: Path) -> None:
    notes = Notes()
    plain_trainer(callbacks=[metrics(final_samples=0)], logger=notes).fit(make_gan(), datamodule=few)
    assert not notes.of("final/")
    assert not (tmp_path / "quality.json").exists()


def test_fewer_validation_images_than_samples(plain_trainer: MakeTrainer, few: MNISTDataModule) -> None:
    notes = Notes()
    plain_trainer(callbacks=[metrics(samples=2000)], logger=notes).fit(make_gan(), datamodule=few)
    assert notes.of("quality/")[1]["quality/fid_samples"] == 50


def test_statistics_are_kept_beside_the_data(plain_trainer: MakeTrainer, few: MNISTDataModule, tmp_path: Path) -> None:
    few.root = tmp_path / "data"
    plain_trainer(callbacks=[metrics()]).fit(make_gan(), datamodule=few)
    assert not few.root.exists()
    few.root.mkdir()
    plain_trainer(callbacks=[metrics()]).fit(make_gan(), datamodule=few)
    assert len(list((few.root / "classifiers").iterdir())) == 1


class Failing(GAN):
    """Its generator makes nothing from batch 2 on."""

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        outcome = super().training_step(batch, batch_idx)
        if self.trainer.global_step == 2:
            with torch.no_grad():
                for parameter in self.generator.parameters():
                    parameter.fill_(torch.nan)
        return outcome


def test_a_run_that_fails_is_measured_to_its_end_and_warned_of_once(
    plain_trainer: MakeTrainer, few: MNISTDataModule, tmp_path: Path
) -> None:
    notes = Notes()
    gan = Failing(MLPGenerator(latent_dim=5), MLPDiscriminator())
    gan.on_before_backward = gan.on_before_optimizer_step = lambda _: None  # type: ignore[assignment, method-assign]
    trainer = plain_trainer(max_steps=8, callbacks=[metrics(1, final_samples=40)], logger=notes, log_every_n_steps=1)
    with pytest.warns(UserWarning, match=r"not finite: .*train/g_loss is nan.* at batch 3, ") as caught:
        trainer.fit(gan, datamodule=few)
    said = [str(warning.message).partition(":")[0] for warning in caught]
    assert said.count("not finite") == said.count("digits lost") == 1
    rows = notes.of("quality/")
    assert math.isnan(rows[7]["quality/fid"])
    assert rows[7]["quality/modes_covered"] == 0
    assert json.loads((tmp_path / "quality.json").read_text())["raw"]["fid"] is None
    assert read_metadata(tmp_path / "best_generator.pth")["step"] <= 2


def test_what_was_said_before_a_checkpoint_is_not_said_after_it(
    plain_trainer: MakeTrainer, few: MNISTDataModule, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    trainer = plain_trainer(max_steps=4, callbacks=[metrics(1)])
    trainer.fit(make_gan(), datamodule=few)
    trainer.save_checkpoint(tmp_path / "four.ckpt")
    assert sum("digits lost" in str(warning.message) for warning in recwarn) == 1
    recwarn.clear()
    trainer = plain_trainer(max_steps=8, callbacks=[metrics(1)])
    trainer.fit(make_gan(), datamodule=few, ckpt_path=tmp_path / "four.ckpt", weights_only=True)
    assert not any("digits lost" in str(warning.message) for warning in recwarn)


def test_anybodys_module_is_measured_and_its_seed_kept(
    plain_trainer: MakeTrainer,
    anybodys: type[LightningModule],
    few: MNISTDataModule,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PL_GLOBAL_SEED")
    first, again = metrics(final_samples=40), metrics(final_samples=40)
    trainer = plain_trainer(max_steps=2, callbacks=[first])
    trainer.fit(anybodys(), datamodule=few)
    trainer.save_checkpoint(tmp_path / "two.ckpt")
    written = json.loads((tmp_path / "quality.json").read_text())
    assert list(written)[-1] == "raw"
    trainer = plain_trainer(max_steps=3, callbacks=[again])
    trainer.fit(anybodys(), datamodule=few, ckpt_path=tmp_path / "two.ckpt", weights_only=True)
    assert first.seed == again.seed is not None


def test_half_precision_is_measured_too(plain_trainer: MakeTrainer, few: MNISTDataModule, tmp_path: Path) -> None:
    callback = metrics(final_samples=40)
    plain_trainer(max_steps=2, precision="bf16-true", callbacks=[callback]).fit(make_gan(), datamodule=few)
    assert math.isfinite(json.loads((tmp_path / "quality.json").read_text())["raw"]["fid"])
    assert math.isfinite(callback.best_fid)


def test_a_fast_dev_run_measures_nothing(plain_trainer: MakeTrainer, few: MNISTDataModule, tmp_path: Path) -> None:
    plain_trainer(callbacks=[metrics(1, final_samples=40)], fast_dev_run=2).fit(make_gan(), datamodule=few)
    assert list(tmp_path.iterdir()) == []


def test_the_shipped_judge_on_the_packaged_digits(
    plain_trainer: MakeTrainer, digits: MNISTDataModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callbacks.generative_metrics, "load_classifier", load_classifier)
    notes = Notes()
    callback = GenerativeMetrics(every_n_batches=2, classifier="digit_reader", final_samples=0)
    plain_trainer(max_steps=2, callbacks=[callback], logger=notes).fit(make_gan(), datamodule=digits)
    row = notes.of("quality/")[1]
    assert row["quality/fid_samples"] == 500
    assert row["quality/fid_over_real"] > 20  # it has hardly learned anything
    assert row["quality/modes_covered"] < 5


def test_data_without_digits_are_refused(plain_trainer: MakeTrainer, anybodys: type[LightningModule]) -> None:
    with pytest.raises(ValueError, match=r"this run's data has no `digits`; train with datamodule=MNISTDataModule"):
        plain_trainer(callbacks=[metrics()]).fit(anybodys(), [torch.zeros(1)] * 4)


def test_a_module_without_a_generator_is_refused(plain_trainer: MakeTrainer, few: MNISTDataModule) -> None:
    with pytest.raises(ValueError, match="a DigitClassifier has no `generator`"):
        plain_trainer(callbacks=[metrics()]).fit(DigitClassifier(DigitCNN()), datamodule=few)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"every_n_batches": 0}, "every_n_batches is 0; write 1 or more"),
        ({"classifier": "inception"}, "classifier is 'inception'; write one of digit_cnn, digit_reader"),
        ({"samples": 1}, "samples is 1; write 2 or more"),
        ({"final_samples": 3}, "final_samples is 3; write 4 or more, or 0 for no final report"),
        ({"final_samples": -1}, "final_samples is -1; write 4 or more"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        GenerativeMetrics(**arguments)


@pytest.mark.parametrize(("loss", "heard"), [("nonsaturating", True), ("relativistic", True), ("wasserstein", False)])
def test_a_critic_may_tell_all_images_apart(
    plain_trainer: MakeTrainer, few: MNISTDataModule, loss: str, heard: bool, recwarn: pytest.WarningsRecorder
) -> None:
    class Perfect(GAN):
        def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
            self.log_dict({"train/d_accuracy_real": 1.0, "train/d_accuracy_fake": 1.0})

    callback = metrics(1000)
    callback.alarms = GANMonitor(perfect_for=2)
    gan = Perfect(MLPGenerator(latent_dim=5), MLPDiscriminator(), loss=loss, gradient_penalty=1.0)
    plain_trainer(max_steps=4, callbacks=[callback], log_every_n_steps=1).fit(gan, datamodule=few)
    assert any("discriminator perfect" in str(warning.message) for warning in recwarn) == heard


def test_testing_reports_the_same_as_the_end_of_training(
    plain_trainer: MakeTrainer, few: MNISTDataModule, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gan = GAN(MLPGenerator(latent_dim=5), MLPDiscriminator(), ema_decay=0.9)
    callback = metrics(1000, final_samples=40)
    plain_trainer(max_steps=2, callbacks=[callback]).fit(gan, datamodule=few)
    at_the_end = json.loads((tmp_path / "quality.json").read_text())
    capsys.readouterr()
    (tested,) = plain_trainer(callbacks=[callback]).test(gan, datamodule=few, verbose=False)
    assert capsys.readouterr().out.splitlines()[-1] == CLASSIFIER_TRAINED_ON_THEM
    for weights in ("raw", "ema"):
        for name, value in at_the_end[weights].items():
            assert tested[f"test/{weights}/{name}"] == pytest.approx(value, rel=1e-4, abs=1e-6), name
