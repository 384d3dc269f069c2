"""The MNIST datamodule on the packaged digits. Files and downloads: `tests/integration/test_mnist_download.py`."""

import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jsonargparse import ArgumentParser
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torchvision.datasets import MNIST

from datamodules import ImageBatch, MNISTDataModule
from datamodules.mnist_files import packaged_digits, split_by_class


def packaged(seed: int = 0, **arguments: Any) -> MNISTDataModule:
    datamodule = MNISTDataModule(source="packaged", **arguments)
    datamodule.load_state_dict({"seed": seed})
    datamodule.prepare_data()
    datamodule.setup("fit")
    return datamodule


def labels(loader: Any) -> list[int]:
    return torch.cat([batch.labels for batch in loader]).tolist()


def trainer(device: str = "cpu", global_rank: int = 0, world_size: int = 1) -> SimpleNamespace:
    """As much of one as a datamodule asks."""
    return SimpleNamespace(
        global_rank=global_rank,
        world_size=world_size,
        overfit_batches=0.0,
        fit_loop=SimpleNamespace(total_batch_idx=-1),
        strategy=SimpleNamespace(root_device=torch.device(device), broadcast=lambda seed: seed),
    )


class TestSplits:
    @given(st.lists(st.integers(0, 9), min_size=1, max_size=300), st.integers(2, 12))
    def test_every_class_gives_its_proportion(self, classes: list[int], one_in: int) -> None:
        rest, taken = split_by_class(torch.tensor(classes), one_in)
        assert sorted(rest.tolist() + taken.tolist()) == list(range(len(classes)))
        for digit in set(classes):
            share = sum(classes[row] == digit for row in taken.tolist())
            assert abs(share - classes.count(digit) / one_in) < 1

    def test_packaged_sizes(self) -> None:
        digits = packaged_digits()
        for rows, of_each_class in ((digits.train, 350), (digits.validation, 50), (digits.test, 100)):
            assert digits.labels[rows].bincount().tolist() == 10 * [of_each_class]
        rows = torch.cat([digits.train, digits.validation, digits.test])
        assert rows.sort().values.tolist() == list(range(5000))

    def test_they_are_the_same_for_every_seed(self) -> None:
        for one, other in zip(packaged(seed=1).test_dataloader(), packaged(seed=2).test_dataloader(), strict=True):
            assert torch.equal(one.images, other.images)

    def test_the_first_test_images_show_all_digits(self) -> None:
        assert len(set(labels(packaged(predict_size=64).predict_dataloader()))) == 10


class TestBatches:
    def test_shapes_types_and_range(self) -> None:
        images, targets = next(iter(packaged().train_dataloader()))
        assert images.shape == (64, 1, 28, 28)
        assert images.dtype == torch.float32
        assert images.min() == -1
        assert images.max() == 1
        assert targets.shape == (64,)
        assert targets.dtype == torch.int64

    def test_images_keep_their_labels(self) -> None:
        digits = packaged_digits()
        known = {image.numpy().tobytes(): int(label) for image, label in zip(digits.images, digits.labels, strict=True)}
        images, targets = next(iter(packaged().train_dataloader()))
        for image, label in zip(images, targets, strict=True):
            pixels = ((image[0] + 1) * 127.5).round().byte()
            assert known[pixels.numpy().tobytes()] == label

    @pytest.mark.parametrize(("loader", "size"), [("train", 3500), ("val", 500), ("test", 1000), ("predict", 1000)])
    def test_the_last_short_batch_is_kept(self, loader: str, size: int) -> None:
        batches = getattr(packaged(batch_size=64), f"{loader}_dataloader")()
        sizes = [len(batch.labels) for batch in batches]
        assert sizes == [64] * (size // 64) + [size % 64]
        assert len(batches) == len(sizes)

    def test_an_epoch_takes_every_image_once_in_its_own_order(self) -> None:
        train = packaged().train_dataloader()
        first, second = labels(train), labels(train)
        assert sorted(first) == sorted(second) == sorted(350 * list(range(10)))
        assert first != second

    def test_seeds_reproduce_and_differ(self) -> None:
        assert labels(packaged(1).train_dataloader()) == labels(packaged(1).train_dataloader())
        assert labels(packaged(1).train_dataloader()) != labels(packaged(2).train_dataloader())

    def test_ranks_share_each_batch(self) -> None:
        whole = next(iter(packaged(5).train_dataloader()))
        for rank in range(3):
            datamodule = packaged(5)
            datamodule.trainer = trainer(global_rank=rank, world_size=3)  # type: ignore[assignment]
            share = next(iter(datamodule.train_dataloader()))
            assert torch.equal(share.images, whole.images[rank::3])
            assert torch.equal(share.labels, whole.labels[rank::3])

    def test_images_are_moved_once_to_where_the_trainer_computes(self) -> None:
        datamodule = packaged()
        datamodule.trainer = trainer(device="meta")  # type: ignore[assignment]  # a device that holds no numbers
        batches = iter(datamodule.train_dataloader())
        images, labels = next(batches)
        assert (images.device.type, images.dtype, images.shape) == ("meta", torch.float32, (64, 1, 28, 28))
        assert (labels.device.type, labels.dtype, labels.shape) == ("meta", torch.int64, (64,))
        moved = datamodule._elsewhere
        next(batches)
        assert datamodule._elsewhere is moved

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
    def test_a_batch_on_a_gpu_has_the_numbers_of_one_on_the_cpu(self) -> None:
        there = packaged()
        there.trainer = trainer(device="cuda")  # type: ignore[assignment]
        for ours, others in zip(
            next(iter(packaged().train_dataloader())), next(iter(there.train_dataloader())), strict=True
        ):
            assert torch.equal(ours, others.cpu())

    def test_predict_size(self) -> None:
        datamodule = packaged(predict_size=100)
        assert labels(datamodule.predict_dataloader()) == labels(datamodule.test_dataloader())[:100]

    def test_train_on_validation(self) -> None:
        datamodule = packaged(train_on_validation=True)
        assert len(labels(datamodule.train_dataloader())) == 4000
        assert len(labels(datamodule.val_dataloader())) == 500


class Counter(LightningModule):
    """Counts the images that it trains on, validates and predicts."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.trained = self.validated = self.predicted = 0

    def training_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
        self.trained += len(batch.images)
        return self.weight * batch.images.mean()

    def validation_step(self, batch: ImageBatch, batch_idx: int) -> None:
        self.validated += len(batch.images)

    def predict_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
        self.predicted += len(batch.images)
        return batch.labels

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class TestTrainer:
    def test_fit_validates_on_the_validation_split(self) -> None:
        counter = Counter()
        quiet_trainer(max_epochs=1, num_sanity_val_steps=0).fit(counter, datamodule=packaged())
        assert (counter.trained, counter.validated) == (3500, 500)

    def test_a_fit_that_trains_on_validation_does_not_validate_but_validate_does(self) -> None:
        counter, datamodule = Counter(), packaged(train_on_validation=True)
        trainer = quiet_trainer(max_epochs=1)
        trainer.fit(counter, datamodule=datamodule)
        assert (counter.trained, counter.validated) == (4000, 0)
        trainer.validate(counter, datamodule=datamodule, verbose=False)
        assert counter.validated == 500

    def test_limits(self) -> None:
        counter = Counter()
        quiet_trainer(max_epochs=2, limit_train_batches=3, limit_val_batches=1, num_sanity_val_steps=0).fit(
            counter, datamodule=packaged()
        )
        assert (counter.trained, counter.validated) == (2 * 3 * 64, 2 * 64)

    def test_predict(self) -> None:
        counter = Counter()
        quiet_trainer().predict(counter, datamodule=packaged(predict_size=100), return_predictions=False)
        assert counter.predicted == 100


def quiet_trainer(**switches: Any) -> Trainer:
    return Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **switches,
    )


class TestSource:
    @pytest.fixture(autouse=True)
    def offline(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # The discard port of this machine, where nobody listens.
        monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])

    def test_packaged_asks_nobody_and_warns_nobody(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert packaged().data_source == "packaged"

    def test_auto_falls_back_with_one_warning(self, tmp_path: Path) -> None:
        datamodule = MNISTDataModule(tmp_path / "data")
        assert datamodule.data_source is None
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for stage in ("fit", "validate", "test", "predict"):
                datamodule.prepare_data()
                datamodule.setup(stage)
        assert datamodule.data_source == "packaged"
        assert [warning.category for warning in caught] == [UserWarning]
        warning = str(caught[0].message)
        assert warning.startswith("USING 5,000 PACKAGED DIGITS INSTEAD OF MNIST")
        assert "MNIST can't be downloaded (http://127.0.0.1:9/" in warning
        assert "Connection refused" in warning
        assert "\n" not in warning

    def test_auto_falls_back_where_root_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        datamodule = MNISTDataModule(tmp_path / "file" / "data")
        datamodule.prepare_data()
        with pytest.warns(UserWarning, match="can't write MNIST into .*Not a directory.*; choose another root"):
            datamodule.setup("fit")
        assert datamodule.data_source == "packaged"

    def test_torchvision_is_refused_in_words(self, tmp_path: Path) -> None:
        datamodule = MNISTDataModule(tmp_path, source="torchvision")
        with pytest.raises(
            ValueError, match=r"MNIST can't be downloaded .*Connection refused.*; check the network"
        ) as no:
            datamodule.prepare_data()
        assert "\n" not in str(no.value)
        with pytest.raises(ValueError, match=r"lacks MNIST's files; call prepare_data\(\)"):
            datamodule.setup("fit")


def test_the_command_line_can_build_it() -> None:
    parser = ArgumentParser()
    parser.add_class_arguments(MNISTDataModule, "data")
    config = parser.parse_args(["--data.root=elsewhere", "--data.source=packaged", "--data.predict_size=null"])
    datamodule = parser.instantiate(config).data
    assert (datamodule.root, datamodule.source, datamodule.predict_size) == (Path("elsewhere"), "packaged", None)
    assert "the folder that holds, or will hold, `MNIST/raw`" in " ".join(parser.format_help().split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"source": "internet"}, "source is 'internet'; write auto, torchvision or packaged"),
        ({"batch_size": 0}, "batch_size is 0; write a positive number"),
        ({"predict_size": 0}, "predict_size is 0; write a positive number, or null for all"),
    ],
)
def test_refusals(unchecked: None, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        MNISTDataModule(**arguments)


def test_loaders_before_setup_are_refused() -> None:
    with pytest.raises(ValueError, match=r"the images aren't loaded yet; call prepare_data\(\) and setup\(\)"):
        MNISTDataModule().train_dataloader()
