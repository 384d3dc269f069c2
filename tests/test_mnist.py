"""The MNIST datamodule on the packaged digits. Files and downloads: `tests/integration/test_mnist_download.py`."""

import warnings
from argparse import Namespace
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import SingleDeviceStrategy
from lightning.pytorch.trainer.states import TrainerFn
from torchvision.datasets import MNIST

from datamodules import MNISTDataModule
from datamodules.images import split_by_class
from datamodules.mnist import packaged_digits

MakeTrainer = Callable[..., Trainer]


def packaged(seed: int = 0, **arguments: Any) -> MNISTDataModule:
    datamodule = MNISTDataModule(source="packaged", **arguments)
    datamodule.load_state_dict({"seed": seed})
    datamodule.prepare_data()
    datamodule.setup("fit")
    return datamodule


def labels(loader: Any) -> list[int]:
    return torch.cat([batch.labels for batch in loader]).tolist()


def attach(datamodule: MNISTDataModule, make: MakeTrainer, device: str) -> None:
    """Gives the datamodule a Trainer that fits on `device`."""
    datamodule.trainer = make(strategy=SingleDeviceStrategy(device))
    datamodule.trainer.state.fn = TrainerFn.FITTING


class TestSplits:
    @given(st.lists(st.integers(0, 9), min_size=1, max_size=300), st.integers(2, 12))
    def test_every_class_keeps_its_proportion(self, classes: list[int], one_in: int) -> None:
        rest, taken = split_by_class(torch.tensor(classes), one_in)
        assert sorted(rest.tolist() + taken.tolist()) == list(range(len(classes)))
        for digit in set(classes):
            share = sum(classes[row] == digit for row in taken.tolist())
            assert abs(share - classes.count(digit) / one_in) < 1

    def test_sizes_of_the_packaged_splits(self) -> None:
        digits = packaged_digits()
        for rows, of_each_class in ((digits.train, 350), (digits.validation, 50), (digits.test, 100)):
            assert digits.labels[rows].bincount().tolist() == 10 * [of_each_class]
        rows = torch.cat([digits.train, digits.validation, digits.test])
        assert rows.sort().values.tolist() == list(range(5000))

    def test_predicted_images_are_the_same_for_every_seed_and_show_all_digits(self) -> None:
        predicted = labels(packaged(seed=1, predict_size=64).predict_dataloader())
        assert predicted == labels(packaged(seed=2).test_dataloader())[:64]
        assert set(predicted) == set(range(10))


class TestBatches:
    def test_images_range_from_minus_one_to_one_and_keep_their_labels(self) -> None:
        digits = packaged_digits()
        known = {image.numpy().tobytes(): int(label) for image, label in zip(digits.images, digits.labels, strict=True)}
        images, targets = next(iter(packaged().train_dataloader()))
        assert (images.dtype, images.shape) == (torch.float32, (64, 1, 28, 28))
        assert (targets.dtype, targets.shape) == (torch.int64, (64,))
        assert (float(images.min()), float(images.max())) == (-1, 1)
        for image, label in zip(images, targets, strict=True):
            assert known[((image[0] + 1) * 127.5).round().byte().numpy().tobytes()] == label

    @pytest.mark.parametrize(("loader", "size"), [("train", 3500), ("val", 500), ("test", 1000), ("predict", 1000)])
    def test_the_last_short_batch_is_kept(self, loader: str, size: int) -> None:
        batches = getattr(packaged(batch_size=64), f"{loader}_dataloader")()
        sizes = [len(batch.labels) for batch in batches]
        assert sizes == [64] * (size // 64) + [size % 64]
        assert len(batches) == len(sizes)

    def test_an_epoch_takes_every_image_once_in_a_new_order(self) -> None:
        train = packaged(1).train_dataloader()
        first, second = labels(train), labels(train)
        assert sorted(first) == sorted(second) == sorted(350 * list(range(10)))
        assert first != second
        assert first == labels(packaged(1).train_dataloader()) != labels(packaged(2).train_dataloader())

    def test_images_are_moved_to_the_device_once(self, plain_trainer: MakeTrainer) -> None:
        datamodule = packaged()
        attach(datamodule, plain_trainer, "meta")  # a device without data
        batches = iter(datamodule.train_dataloader())
        images, targets = next(batches)
        assert (images.device.type, images.dtype, images.shape) == ("meta", torch.float32, (64, 1, 28, 28))
        assert (targets.device.type, targets.dtype, targets.shape) == ("meta", torch.int64, (64,))
        moved = datamodule._on_device
        next(batches)
        assert datamodule._on_device is moved

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
    def test_a_batch_on_a_gpu_equals_that_on_the_cpu(self, plain_trainer: MakeTrainer) -> None:
        there = packaged()
        attach(there, plain_trainer, "cuda")
        ours, others = next(iter(packaged().train_dataloader())), next(iter(there.train_dataloader()))
        assert all(torch.equal(one, other.cpu()) for one, other in zip(ours, others, strict=True))


class TestSource:
    @pytest.fixture(autouse=True)
    def offline(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])  # the discard port, where nothing listens

    def test_packaged_needs_no_network_and_does_not_warn(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert packaged().data_source == "packaged"

    def test_auto_falls_back_with_one_warning(self, tmp_path: Path) -> None:
        datamodule = MNISTDataModule(tmp_path / "data")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for stage in ("fit", "validate", "test", "predict"):
                datamodule.prepare_data()
                datamodule.setup(stage)
        assert datamodule.data_source == "packaged"
        [warning] = [str(warning.message) for warning in caught]
        assert warning.startswith("USING 5,000 PACKAGED DIGITS INSTEAD OF MNIST")
        assert "MNIST can't be downloaded (http://127.0.0.1:9/" in warning

    def test_torchvision_is_refused(self, tmp_path: Path) -> None:
        datamodule = MNISTDataModule(tmp_path, source="torchvision")
        with pytest.raises(ValueError, match=r"MNIST can't be downloaded .*refused.*; check the network"):
            datamodule.prepare_data()
        with pytest.raises(ValueError, match=r"has no MNIST files; call prepare_data\(\)"):
            datamodule.setup("fit")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": "internet"}, "source is 'internet'; write one of auto, torchvision, packaged"),
        ({"batch_size": 0}, "batch_size is 0; write 1 or more"),
        ({"predict_size": 0}, "predict_size is 0; write 1 or more"),
        ({"dataset": "cifar10"}, "dataset is 'cifar10'; write one of mnist, fashion_mnist, kmnist, emnist_letters"),
        ({"dataset": "kmnist", "source": "packaged"}, "source is packaged, which has MNIST's digits only; write torch"),
        ({"image_shape": (2, 28, 28)}, "image_shape has 2 channels; write 1, or 3 for colour"),
        ({"image_shape": (1, 28, 20)}, r"image_shape is \[1, 28, 20\]; write a height and a width of 28 or more"),
    ],
)
def test_bad_arguments_are_refused(unchecked: None, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MNISTDataModule(**arguments)


def test_loaders_before_setup_and_large_batches_are_refused() -> None:
    with pytest.raises(ValueError, match=r"the images aren't loaded yet; call prepare_data\(\) and setup\(\)"):
        MNISTDataModule().train_dataloader()
    with pytest.raises(ValueError, match="batch_size is 3,501, but there are 3,500 training images"):
        packaged(batch_size=3501).train_dataloader()


@pytest.mark.parametrize(("size", "sizes"), [(41, {8: 5}), (42, {8: 5, 2: 1}), (40, {8: 5})])
def test_a_last_batch_of_one_image_is_left_out(size: int, sizes: dict[int, int]) -> None:
    data = packaged(batch_size=8)
    data._splits = data.splits._replace(train=data.splits.train[:size])
    loader = data.train_dataloader()
    for _ in range(3):  # epochs
        batches = [images for images, _ in loader]
        assert Counter(map(len, batches)) == sizes
        assert len(torch.cat(batches).flatten(1).unique(dim=0)) == sum(count * n for count, n in sizes.items())


@pytest.mark.parametrize(("size", "batches"), [(40, 5), (41, 5), (43, 5), (44, 6)])
def test_so_is_one_that_would_give_a_device_one_image(size: int, batches: int) -> None:
    data = packaged(batch_size=8)
    data._splits = data.splits._replace(train=data.splits.train[:size])
    trainer: Any = Namespace(world_size=2, overfit_batches=0, fit_loop=Namespace(total_batch_idx=-1))
    data.trainer = trainer
    assert len(data.train_dataloader()) == batches
