"""A folder of pictures, read once into one tensor.

flowers/rose/1.png      a folder for each class
flowers/tulip/1.jpg

faces/1.png             or all pictures in one folder, without classes
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import UInt8
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor

from common.arguments import check_image_shape
from datamodules.images import SPLIT_SEED, ImageDataModule, SplitImages, split_by_class
from datamodules.pictures import read_pictures

TENTHS = 10
"""One tenth of the pictures is for validation, one for testing."""


class ImageFolderDataModule(ImageDataModule):
    """The pictures of a folder, in any format that Pillow opens: `class/picture.png`, or without classes `picture.png`.

    Classes are in alphabetical order. Of each class about eight tenths are for training, one for validation, one for
    testing. Names that begin with a dot are ignored. All pictures become 8 bits per channel: transparent ones are laid
    over white, of animated ones the first frame is taken, 16 bits are scaled to 8, and palettes, CMYK and other modes
    are converted to grey or RGB. Rotation in a photograph's metadata is applied. `setup` says what was converted.

    Args:
        root: the folder.
        batch_size: images per batch, over all devices together; the last batch of an epoch may be smaller.
        predict_size: number of test images to predict; null predicts all of them.
        image_shape: channels (1 for grey, 3 for colour), height and width. Pictures of another size are scaled until
            they cover it, and cropped in the middle. Null takes the size of the pictures, which is then the same for
            all, and 3 channels unless all are stored in grey.
        split_seed: seed of the splits. A classifier and a generator need the same.

    Raises:
        ValueError: when an argument is out of range, the folder holds fewer than three pictures or anything but one of
            the two layouts, a picture can't be read, or the pictures have several sizes and there is no `image_shape`;
            from `train_dataloader` when a batch is larger than the data.

    Attributes:
        class_names: the names of the classes' folders.
        data_source: "pictures-" and a number made of the pictures, with the `split_seed` if it isn't 0, so that a run
            isn't resumed with others.
    """

    def __init__(
        self,
        root: str | Path,
        batch_size: int = 64,
        predict_size: int | None = None,
        image_shape: Sequence[int] | None = None,
        split_seed: int = SPLIT_SEED,
    ) -> None:
        super().__init__(batch_size, predict_size)
        if image_shape is not None:
            image_shape = check_image_shape("ImageFolderDataModule", image_shape)
            if image_shape[0] not in (1, 3):
                raise ValueError(f"image_shape has {image_shape[0]} channels; write 1 for grey pictures, 3 for colour")
        self.root = Path(root).expanduser()
        self.split_seed = split_seed
        pictures = read_pictures(self.root, image_shape)
        rest, test = split_by_class(pictures.labels, TENTHS, split_seed)
        train, validation = split_by_class(pictures.labels[rest], TENTHS - 1, split_seed)
        trained = {*pictures.labels[rest[train]].tolist()}
        untrained = [name for number, name in enumerate(pictures.class_names) if number not in trained]
        self._remarks = (*pictures.remarks, *(f"no picture of {name} is for training; add some" for name in untrained))
        self._splits = SplitImages(pictures.images, pictures.labels, rest[train], rest[validation], test)
        self.class_names = pictures.class_names
        self.image_shape = check_image_shape("ImageFolderDataModule", pictures.images.shape[1:])
        self.data_source = f"pictures-{pictures.digest}" + f"-split-{split_seed}" * (split_seed != SPLIT_SEED)
        self.mean_and_std = _mean_and_std(pictures.images[rest[train]])

    def setup(self, stage: str | None = None) -> None:
        """Says once what was converted and left out."""
        if self._remarks:
            rank_zero_warn(f"pictures in {self.root}: {'; '.join(self._remarks)}")
        self._remarks = ()


def _mean_and_std(images: UInt8[Tensor, "n channels height width"]) -> tuple[float, float]:
    """Mean and standard deviation of all pixels in [−1, 1]; the second is 1 where all are the same."""
    counts = images.flatten().bincount(minlength=256).double()
    values = torch.arange(256, dtype=torch.float64) / 127.5 - 1
    mean = (counts * values).sum() / counts.sum()
    variance = (counts * (values - mean) ** 2).sum() / counts.sum()
    return round(float(mean), 4), round(float(variance.sqrt()), 4) or 1.0
