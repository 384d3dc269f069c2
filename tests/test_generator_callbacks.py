"""What the callbacks for generators have in common: any module, no change of training, files that can't be written."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from anybodys import Anybodys
from lightning.pytorch import Callback, Trainer
from small_modules import small_gan
from torch import nn

import callbacks.logging
from callbacks import GenerativeMetrics, ImageGrid, InterpolationStrip
from callbacks.generators import fixed_noise
from lightning_modules import DigitClassifier
from networks.classifiers import DigitCNN

pytestmark = [pytest.mark.filterwarnings("ignore:modes lost"), pytest.mark.usefixtures("tiny_classifier")]

Fit = Callable[..., Trainer]

CALLBACKS: dict[str, Callable[[], Callback]] = {
    "grid": lambda: ImageGrid(every_n_batches=1),
    "metrics": lambda: GenerativeMetrics(every_n_batches=1, samples=40, final_samples=40),
    "strip": lambda: InterpolationStrip(steps=3),
}
EACH = pytest.mark.parametrize("name", CALLBACKS)


@EACH
@pytest.mark.parametrize("ema_decay", [None, 0.9])
@pytest.mark.usefixtures("unchecked")  # beartype draws by `random` which item of a list it checks
def test_training_is_not_changed(fit: Fit, name: str, ema_decay: float | None) -> None:
    results = []
    for watching in ([], [CALLBACKS[name]()]):
        gan = small_gan(ema_decay=ema_decay)
        random.seed(1), np.random.seed(1)  # noqa: NPY002
        fit(gan, *watching)
        streams = torch.rand(1).item(), np.random.rand(), random.random()  # noqa: NPY002
        results.append((gan.state_dict(), [part.training for part in gan.modules()], streams))
    (weights, *without), (same_weights, *watched) = results
    assert all(torch.equal(value, same_weights[name]) for name, value in weights.items())
    assert without == watched


@EACH
def test_module_without_generator_is_refused_first(fit: Fit, name: str) -> None:
    unmeasured: Any = Anybodys()
    del unmeasured.generator.latent_dim
    for module, words in (
        (DigitClassifier(DigitCNN()), "a DigitClassifier has no `generator` to sample from"),
        (unmeasured, "Anybodys.generator needs a whole number `latent_dim`"),
    ):
        with pytest.raises(ValueError, match=words):
            fit(module, CALLBACKS[name]())
        assert module.trainer.global_step == 0


def test_metrics_are_left_out_for_images_unlike_digits(fit: Fit, tmp_path: Path) -> None:
    module: Any = Anybodys()
    module.generator[1] = nn.Unflatten(1, (4, 14, 14))
    with pytest.warns(UserWarning, match=r"leaves FID .* takes images of the shape \(1, 28, 28\), not \(4, 14, 14\)"):
        fit(module, CALLBACKS["metrics"](), max_steps=2)
    assert not list(tmp_path.iterdir())


def test_half_precision_is_shown_and_evaluated(fit: Fit, tmp_path: Path) -> None:
    fit(small_gan(), *(make() for make in CALLBACKS.values()), max_steps=2, precision="bf16-true")
    assert len(list(tmp_path.rglob("*.png"))) == 4
    assert '"fid": null' not in (tmp_path / "quality.json").read_text()


def test_unwritable_files_are_one_warning_each(fit: Fit, tmp_path: Path) -> None:
    callbacks.logging._warnings.clear()
    (tmp_path / "images").write_text("a file where the folder should be")
    for name in ("best_generator.pth", "quality.json", "interpolation.png"):
        (tmp_path / name).mkdir()
    with pytest.warns(UserWarning, match="training continues without") as caught:
        trainer = fit(small_gan(), *(make() for make in CALLBACKS.values()))
    messages = [str(one.message) for one in caught if "continues without" in str(one.message)]
    assert messages == [
        "images/ can't be written (File exists); training continues without it",
        "best_generator.pth can't be written (Is a directory); training continues without it",
        "quality.json can't be written (Is a directory); training continues without it",
        "mnist_generator.pth or interpolation.png can't be written (Is a directory); training continues without it",
    ]
    assert trainer.global_step == 3
    assert not list(tmp_path.glob(".*.part"))


def test_fixed_noise_depends_on_seed_and_purpose(monkeypatch: pytest.MonkeyPatch) -> None:
    gan = small_gan()
    gan.seed = 3
    noise = fixed_noise(gan, 4, "grid")
    torch.manual_seed(99)
    assert torch.equal(fixed_noise(gan, 4, "grid"), noise)
    assert not torch.equal(fixed_noise(gan, 4, "strip"), noise)
    gan.seed = None
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")
    assert torch.equal(fixed_noise(gan, 4, "grid"), noise)
    monkeypatch.setenv("PL_GLOBAL_SEED", "4")
    assert not torch.equal(fixed_noise(gan, 4, "grid"), noise)
