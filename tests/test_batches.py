"""Callbacks count batches in anybody's module, whatever `global_step` counts, and go on counting after a resume."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from anybodys import Anybodys
from lightning.pytorch import Callback, LightningModule, Trainer
from row_logger import RowLogger

from callbacks import GenerativeMetrics, ImageGrid, InterpolationStrip, Timer
from callbacks.batches import batches_trained
from networks.generator_files import read_metadata

pytestmark = [pytest.mark.filterwarnings("ignore:modes lost"), pytest.mark.usefixtures("tiny_classifier")]


class TwoOptimizers(Anybodys):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
        for optimizer in self.optimizers():  # type: ignore[union-attr]
            self.manual_backward(super().training_step(batch, batch_idx))
            optimizer.step()

    def configure_optimizers(self) -> Any:
        return [super(TwoOptimizers, self).configure_optimizers() for _ in range(2)]


class EndsEpochs(Anybodys):
    """Skips the rest of an epoch after four batches."""

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> int | None:
        return -1 if batch_idx == 4 else None


class Killed(Callback):
    """Breaks off the fifth batch at a hook and saves what there is."""

    def __init__(self, hook: str, path: Path) -> None:
        self.path = path
        setattr(self, hook, self.kill)

    def kill(self, trainer: Trainer, *_: Any) -> None:
        if batches_trained(trainer) == 4:
            raise RuntimeError("killed")

    def on_exception(self, trainer: Trainer, *_: Any) -> None:
        trainer.save_checkpoint(self.path)


class Pictures(RowLogger):
    def log_image(self, key: str, images: list[str], step: int, **_: Any) -> None:
        self.log_metrics({f"pictures/{key}": 1.0}, step)


@pytest.mark.parametrize(
    ("module", "hook", "arguments"),
    [
        (Anybodys, "on_before_backward", {}),
        (TwoOptimizers, "on_before_backward", {}),
        (EndsEpochs, "on_train_batch_start", {}),
        (Anybodys, "on_before_backward", {"accumulate_grad_batches": 2}),
        (Anybodys, "on_before_backward", {"accumulate_grad_batches": 3, "limit_train_batches": 5}),
    ],
)
def test_batches_are_counted_before_and_after_a_resume(
    fit: Callable[..., Trainer], tmp_path: Path, module: type[LightningModule], hook: str, arguments: dict[str, Any]
) -> None:
    rows, checkpoint = Pictures(), tmp_path / "four.ckpt"
    limits = {"max_steps": -1, "max_epochs": 2, "limit_train_batches": 6, "logger": rows, **arguments}

    def watching() -> list[Callback]:
        return [ImageGrid(3, also_at=[7]), GenerativeMetrics(4, 40, 40), InterpolationStrip(steps=2), Timer()]

    with pytest.raises(RuntimeError, match="killed"):
        fit(module(), *watching(), Killed(hook, checkpoint), **limits)
    last = batches_trained(fit(module(), *watching(), ckpt_path=checkpoint, **limits))
    assert last == (8 if module is EndsEpochs else 2 * limits["limit_train_batches"])
    drawn = [n for n in (0, 3, 6, 7, 9, 12) if n <= last]
    assert sorted(path.stem for path in (tmp_path / "images").iterdir()) == [f"step_{n:06d}" for n in drawn]
    assert [*rows.of("pictures/images")] == drawn
    assert [*rows.of("quality/fid")] == [n - 1 for n in (4, 8, 12) if n <= last]
    assert [*rows.of("final/raw/fid")] == [*rows.of("pictures/interpolation")] == [last]
    assert read_metadata(tmp_path / "mnist_generator.pth")["step"] == last


def test_module_without_arguments_trains_by_the_command(twofold: Callable[..., Any], tmp_path: Path) -> None:
    data = "{class_path: datamodules.MNISTDataModule, init_args: {source: packaged}}"
    trainer = (
        "{max_steps: 8, logger: false, callbacks: [{class_path: callbacks.ImageGrid, init_args: {every_n_batches: 3}}]}"
    )
    model = f"{{class_path: {__name__}.TwoOptimizers}}"
    (tmp_path / "mine.yaml").write_text(f"experiment: mine\nmodel: {model}\ndata: {data}\ntrainer: {trainer}\n")
    assert twofold("fit -c mine.yaml")[0] == 0
    assert {path.stem for path in tmp_path.rglob("step_*.png")} == {"step_000000", "step_000003"}
