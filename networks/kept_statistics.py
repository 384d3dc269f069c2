"""The statistics of real images as a judge sees them, kept on disk, for 55,000 images take it some seconds."""

import hashlib
from contextlib import suppress
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from networks.files import read_tensors, write_tensors
from networks.judge import Judge
from networks.quality import FrechetDistance, Statistics, statistics
from networks.quality_report import SplitDigits, impression, scaled

IMAGES_AT_ONCE = 5000


def distance_to_training(judge: Judge, digits: SplitDigits, samples: int, folder: Path | None) -> FrechetDistance:
    """FID to the training images, of so many samples, or as many as there are validation images, which give the floor.

    Args:
        folder: see `kept_statistics`.
    """
    held_out = impression(judge, scaled(digits.images[digits.validation[:samples]])).features
    return FrechetDistance(kept_statistics(judge, digits.images[digits.train], folder), held_out)


def kept_statistics(judge: Judge, images: UInt8[Tensor, "n 28 28"], folder: Path | None) -> Statistics:
    """Those of images from 0 to 255, read from `folder` if they were taken before.

    Without a folder, or where it can't be written, they are taken anew each time. What is found for other weights of
    the judge or other images is another file, and likewise for another number of threads, with which the last bits may
    differ.
    """
    path = None if folder is None else folder / f"{_fingerprint(judge, images)}.pt"
    if path is not None and path.is_file():
        try:
            return Statistics(**read_tensors(path))
        except (ValueError, TypeError):  # damaged, so it is written again
            pass
    batches = images.split(IMAGES_AT_ONCE)
    found = statistics(torch.cat([impression(judge, scaled(batch)).features for batch in batches]))
    if path is not None:
        with suppress(OSError):  # somebody else's folder, or a full disk
            write_tensors(found._asdict(), path)
    return found


def _fingerprint(judge: Judge, images: UInt8[Tensor, "n 28 28"]) -> str:
    circumstances = (
        type(judge).__name__,
        next(judge.parameters()).device.type,
        torch.get_num_threads(),
        torch.__version__,
    )
    digest = hashlib.blake2b(repr(circumstances).encode(), digest_size=16)
    for tensor in (*judge.state_dict().values(), images):
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
