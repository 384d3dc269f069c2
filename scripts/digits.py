"""The images that a script trains or evaluates on."""

from pathlib import Path

from datamodules import MNISTDataModule
from datamodules.mnist import Source
from twofold.errors import UsageError


def open_digits(root: str | Path, source: Source) -> MNISTDataModule:
    """The data module of these images, ready for use. MNIST is downloaded if it is missing.

    Args:
        root: the folder that holds MNIST/raw.
        source: as `datamodules.MNISTDataModule` takes it.

    Raises:
        UsageError: when the images can't be had.
    """
    data = MNISTDataModule(root, source)
    try:
        data.prepare_data()
        data.setup()
    except (ValueError, OSError) as error:
        raise UsageError(str(error)) from error
    return data
