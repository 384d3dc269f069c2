"""The statistics of real images as a classifier sees them, kept on disk, for 55,000 images take it some seconds."""

import hashlib
from contextlib import suppress
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from common.files import read_tensors, write_tensors
from metrics.evaluate import SplitDigits
from metrics.features import Classifier, features_and_logits, scaled
from metrics.fid import FrechetDistance, Statistics, statistics

IMAGES_AT_ONCE = 5000


def distance_to_training(
    classifier: Classifier, digits: SplitDigits, samples: int, folder: Path | None
) -> FrechetDistance:
    """FID to the training images, of so many samples, or as many as there are validation images, which give the floor.

    Args:
        folder: see `cached_reference_statistics`.
    """
    held_out = features_and_logits(classifier, scaled(digits.images[digits.validation[:samples]])).features
    return FrechetDistance(cached_reference_statistics(classifier, digits.images[digits.train], folder), held_out)


def cached_reference_statistics(
    classifier: Classifier, images: UInt8[Tensor, "n 28 28"], folder: Path | None
) -> Statistics:
    """Those of images from 0 to 255, read from `folder` if they were taken before.

    Without a folder, or where it can't be written, they are taken anew each time. What is found for other weights of
    the classifier or other images is another file, and likewise for another number of threads, with which the last bits
    may
    differ.
    """
    path = None if folder is None else folder / f"{_fingerprint(classifier, images)}.pt"
    if path is not None and path.is_file():
        try:
            return Statistics(**read_tensors(path))
        except (ValueError, TypeError):  # damaged, so it is written again
            pass
    batches = images.split(IMAGES_AT_ONCE)
    found = statistics(torch.cat([features_and_logits(classifier, scaled(batch)).features for batch in batches]))
    if path is not None:
        with suppress(OSError):  # somebody else's folder, or a full disk
            write_tensors(found._asdict(), path)
    return found


def _fingerprint(classifier: Classifier, images: UInt8[Tensor, "n 28 28"]) -> str:
    circumstances = (
        type(classifier).__name__,
        next(classifier.parameters()).device.type,
        torch.get_num_threads(),
        torch.__version__,
    )
    digest = hashlib.blake2b(repr(circumstances).encode(), digest_size=16)
    for tensor in (*classifier.state_dict().values(), images):
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
