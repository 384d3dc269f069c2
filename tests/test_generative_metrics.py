"""Evaluation of a generator by a classifier, during training and at its end."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from anybodys import Anybodys
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from row_logger import RowLogger
from small_modules import small_gan

from callbacks import GenerativeMetrics
from callbacks.gan_monitor import GANMonitor
from callbacks.generative_metrics import CLASSIFIER_TRAINED_ON_THEM
from datamodules import MNISTDataModule
from lightning_modules import GAN
from metrics.evaluate import RealImages, evaluate
from metrics.fid import FrechetDistance
from networks.classifiers import DigitReader
from networks.generator_files import load_generator, read_metadata
from twofold.loggers import CSVLogger

# A generator that was trained for a few batches lacks most digits; test_gan_monitor.py tests this warning.
pytestmark = [pytest.mark.filterwarnings("ignore:modes lost"), pytest.mark.usefixtures("tiny_classifier")]

Fit = Callable[..., Trainer]

IN_TRAINING = [
    *(f"quality/{name}" for name in ("fid", "fid_real", "fid_over_real", "fid_samples")),
    *(f"quality/class_{digit}" for digit in range(10)),
    "quality/modes_covered",
]


@pytest.fixture
def digits(digits: MNISTDataModule) -> MNISTDataModule:
    """A tenth of the packaged digits."""
    digits.setup()
    everything = digits.splits
    digits._splits = everything._replace(
        train=everything.train[:350], validation=everything.validation[:50], test=everything.test[:100]
    )
    return digits


def metrics(every_n_batches: int = 2, **arguments: Any) -> GenerativeMetrics:
    return GenerativeMetrics(every_n_batches, **{"samples": 40, "final_samples": 0, **arguments})


def test_every_logger_gets_the_numbers_at_the_batch_of_the_losses(fit: Fit) -> None:
    loggers = [RowLogger(), RowLogger()]
    fit(small_gan(), metrics(3, samples=2000), max_steps=6, logger=loggers, log_every_n_steps=1)
    for logged in loggers:
        rows = logged.of("quality/")
        assert list(rows) == [2, 5]  # of batches 3 and 6, where Lightning puts their losses
        assert set(rows) < set(logged.of("train/"))
        assert all(list(row) == IN_TRAINING for row in rows.values())
        assert rows[2]["quality/fid_samples"] == 50  # as many as validation images
        assert rows[2]["quality/fid_real"] == rows[5]["quality/fid_real"] > 0
        assert rows[2]["quality/fid"] != rows[5]["quality/fid"]


def test_numbers_are_of_the_averaged_generator(fit: Fit, tiny_classifier: DigitReader) -> None:
    logged, gan = RowLogger(), small_gan(ema_decay=0.5)
    assert gan.ema is not None
    with torch.no_grad():
        tiny_classifier.head.get_parameter("1.bias")[7] += 100
    sampled = []
    gan.ema.module.register_forward_hook(lambda network, noise, images: sampled.append((network.training, noise[0])))
    fit(gan, metrics(), max_steps=4, logger=logged)
    _, (first_mode, first), (second_mode, second) = sampled  # the first when training starts
    assert not first_mode
    assert not second_mode
    assert first.shape == second.shape == (40, 5)
    assert not torch.equal(first, second)
    for row in logged.of("quality/").values():
        assert row["quality/class_7"] == row["quality/modes_covered"] == 1


def test_resumed_run_writes_the_same_bytes(fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    fit(small_gan(), metrics(), max_steps=4).save_checkpoint(tmp_path / "four.ckpt")
    written = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        again = metrics(final_samples=40)
        options = {"logger": CSVLogger(str(folder)), "default_root_dir": folder, "log_every_n_steps": 1}
        fit(small_gan(), again, max_steps=8, ckpt_path=tmp_path / "four.ckpt", **options)
        assert again.monitor.evaluated == 4
        written.append([(folder / name).read_bytes() for name in ("metrics.csv", "quality.json")])
    assert written[0] == written[1]
    assert written[0][0].count(b"\n") > 5


def test_best_generator_and_checkpoint_are_chosen_by_fid(
    fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fids = iter([30.0, 10.0, 20.0, math.nan, 9.0])
    monkeypatch.setattr(FrechetDistance, "__call__", lambda self, features: {"fid": next(fids)})
    kept = []

    class Watching(GenerativeMetrics):
        def _evaluate(self, trainer: Trainer, pl_module: LightningModule) -> float:
            fid = super()._evaluate(trainer, pl_module)
            kept.append(read_metadata(tmp_path / "best_generator.pth")["step"])
            return fid

    gan = small_gan(ema_decay=0.9)
    watching = Watching(1, samples=40, final_samples=0)
    chosen = ModelCheckpoint(tmp_path / "best", monitor="quality/fid", every_n_train_steps=1)
    fit(gan, chosen, watching, max_steps=5, enable_checkpointing=True)
    assert kept == [1, 2, 2, 2, 5]
    assert watching.best_fid == float(chosen.best_model_score or math.nan) == 9.0
    metadata = read_metadata(tmp_path / "best_generator.pth")
    assert (metadata["weights"], metadata["data_source"]) == ("ema", "packaged")
    saved = load_generator(tmp_path / "best_generator.pth").state_dict()
    assert all(torch.equal(value, saved[name]) for name, value in gan.sampling_generator.state_dict().items())


@pytest.mark.parametrize(("ema_decay", "kinds"), [(None, ["raw"]), (0.9, ["raw", "ema"])])
def test_final_numbers_are_logged_written_printed_and_tested(
    fit: Fit,
    digits: MNISTDataModule,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    tiny_classifier: DigitReader,
    ema_decay: float | None,
    kinds: list[str],
) -> None:
    logged, gan = RowLogger(), small_gan(ema_decay=ema_decay)
    trainer = fit(gan, metrics(final_samples=60, test_draws=3), max_steps=3, logger=logged)
    written = json.loads((tmp_path / "quality.json").read_text())
    assert list(written) == ["classifier", "data_source", "reference", "step", "remark", *kinds]
    assert (written["classifier"], written["data_source"], written["step"]) == ("digit_cnn", "packaged", 3)
    ((step, row),) = logged.of("final/").items()
    assert step == 3  # after the last batch's, so that a run that is extended drops it
    assert row == {f"final/{kind}/{name}": value for kind in kinds for name, value in written[kind].items()}
    assert (written["reference"], row["final/raw/fid_samples"]) == ("validation", 50)
    assert row["final/raw/real_nearest_neighbour_distance"] > 1
    remark, *lines = capsys.readouterr().out.splitlines()[-1 - len(kinds) :]
    assert remark == written["remark"] == CLASSIFIER_TRAINED_ON_THEM
    assert [line.partition(" ")[0] for line in lines] == kinds
    assert f"after 3 batches of the packaged digits: FID {written['raw']['fid']:.1f} with 50 samples" in lines[0]
    (tested,) = trainer.test(gan, datamodule=digits, verbose=False)
    assert CLASSIFIER_TRAINED_ON_THEM in capsys.readouterr().out
    gan.eval()
    for kind in kinds:
        assert (tested[f"test/{kind}/fid_samples"], tested[f"test/{kind}/fid_draws"]) == (60, 3)
        assert tested[f"test/{kind}/fid_std"] > 0
    expected = evaluate(gan.generator, RealImages(tiny_classifier, digits.splits, 60), seed=3, draws=3)
    for name, value in expected.items():
        assert tested[f"test/raw/{name}"] == pytest.approx(value, rel=1e-4, abs=1e-6), name


def test_fit_never_looks_at_test_images(fit: Fit, digits: MNISTDataModule, tmp_path: Path) -> None:
    written = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        options = {"logger": CSVLogger(str(folder)), "default_root_dir": folder, "log_every_n_steps": 1}
        fit(small_gan(), metrics(final_samples=60), max_steps=4, **options)
        written.append([(folder / name).read_bytes() for name in ("quality.json", "metrics.csv")])
        everything = digits.splits
        digits._splits = everything._replace(images=everything.images.clone())
        digits.splits.images[everything.test] = 0
    assert written[0] == written[1]


def test_a_classifier_that_was_trained_on_the_images_is_named(
    fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(small_gan(), metrics(final_samples=60), max_steps=3)
    assert json.loads((tmp_path / "quality.json").read_text())["remark"] == CLASSIFIER_TRAINED_ON_THEM
    assert CLASSIFIER_TRAINED_ON_THEM in capsys.readouterr().out.splitlines()


def test_statistics_of_each_classifier_are_cached_beside_the_data(
    fit: Fit, digits: MNISTDataModule, tmp_path: Path, tiny_classifier: DigitReader
) -> None:
    digits.root = tmp_path / "data"
    fit(small_gan(), metrics())
    assert not digits.root.exists()
    digits.root.mkdir()
    fit(small_gan(), metrics())
    assert len(list((digits.root / "classifiers").iterdir())) == 1
    with torch.no_grad():  # another classifier of the same name
        tiny_classifier.body.get_parameter("1.bias").add_(1)
    fit(small_gan(), metrics())
    assert len(list((digits.root / "classifiers").iterdir())) == 2


@pytest.mark.parametrize(("loss", "warned"), [("nonsaturating", True), ("relativistic", True), ("wasserstein", False)])
def test_wasserstein_discriminator_may_be_perfect(
    fit: Fit, loss: str, warned: bool, recwarn: pytest.WarningsRecorder
) -> None:
    class Perfect(GAN):
        def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
            self.log_dict({"train/d_accuracy_real": 1.0, "train/d_accuracy_fake": 1.0})

    callback = metrics(1000)
    callback.monitor = GANMonitor(perfect_for=2)
    fit(small_gan(Perfect, loss=loss, gradient_penalty=1.0), callback, max_steps=4, log_every_n_steps=1)
    assert any("discriminator perfect" in str(warning.message) for warning in recwarn) == warned


def test_data_without_digits_is_refused(plain_trainer: Callable[..., Trainer]) -> None:
    with pytest.raises(ValueError, match=r"this run's data has no `splits`; train with datamodule=MNISTDataModule"):
        plain_trainer(callbacks=[metrics()]).fit(Anybodys(), [torch.zeros(1)] * 4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"every_n_batches": 0}, "every_n_batches is 0; write 1 or more"),
        ({"samples": 1}, "samples is 1; write 2 or more"),
        ({"test_draws": 0}, "test_draws is 0; write 1 or more"),
        ({"final_samples": 3}, "final_samples is 3; write 4 or more, or 0 for none"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        GenerativeMetrics(**arguments)
