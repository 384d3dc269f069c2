"""FID and KID on the features of a digit classifier.

FID depends on the feature extractor, the reference and the number of samples, and it is above 0 even for real images.
So every FID comes with the real-data FID: that of as many real images that aren't in the reference.

    distance = FrechetDistance(reference_statistics(real_features), other_real_features)
    distance(fake_features)    # {"fid": 5.5, "fid_real": 2.9, "fid_over_real": 1.9, "fid_samples": 10000}
"""

import hashlib
import warnings
from contextlib import suppress
from operator import attrgetter
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import torch
from jaxtyping import Float64, Int, UInt8
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from common.files import read_tensors, write_tensors
from common.seeding import reseed, rng
from metrics.features import Classifier, Splits, features_and_logits, scaled

KID_SUBSET = 1000
IMAGES_AT_ONCE = 5000
PRODUCTS = ("cuda.matmul", "cudnn.conv", "cudnn.rnn", "mkldnn.matmul", "mkldnn.conv", "mkldnn.rnn")
"""Where `torch.backends` has settings for the precision of float32 products."""


class Statistics(NamedTuple):
    """What FID needs of the reference images: the sum of their features, of the outer products, and their number."""

    features_sum: Float64[Tensor, " features"]
    features_cov_sum: Float64[Tensor, "features features"]
    features_num_samples: Int[Tensor, ""]


class FrechetDistance:
    """FID (Heusel et al. 2017, https://arxiv.org/abs/1706.08500) to a fixed reference, in float64 on the CPU.

    Args:
        reference: `reference_statistics` of real images.
        others: features of other real images, in one or more sets of one size. The mean of their FIDs is the
            real-data FID.

    Attributes:
        fids_real: the FID of each set.

    Raises:
        ValueError: when there are fewer than two other images.
    """

    def __init__(self, reference: Statistics, *others: Float64[Tensor, "n features"]) -> None:
        self.samples = len(others[0])
        if self.samples < 2:
            raise ValueError(f"{self.samples} images are left for the real-data FID; it needs 2 or more")
        self.metric = _frechet_metric(others[0].shape[1])
        for name, value in reference._asdict().items():
            setattr(self.metric, f"real_{name}", value)
        self.fids_real = [self._fid(features) for features in others]
        self.fid_real = mean(self.fids_real)

    def __call__(self, features: Float64[Tensor, "n features"]) -> dict[str, float]:
        """Returns fid, fid_real, fid_over_real (their quotient) and fid_samples. FID is NaN if a feature isn't finite.

        Raises:
            ValueError: unless there are as many samples as other images in a set.
        """
        if len(features) != self.samples:
            raise ValueError(
                f"the real-data FID is that of {self.samples:,} images, so the FID of {len(features):,} can't be "
                f"compared with it; take {self.samples:,} samples"
            )
        fid = self._fid(features)
        return {
            "fid": fid,
            "fid_real": self.fid_real,
            "fid_over_real": fid / self.fid_real,
            "fid_samples": self.samples,
        }

    def _fid(self, features: Float64[Tensor, "n features"]) -> float:
        if not features.isfinite().all():  # torch finds no eigenvalues then
            return float("nan")
        self.metric.reset()
        self.metric.update(features, real=False)
        return float(self.metric.compute())


def kernel_distance(real: Float64[Tensor, "n features"], fake: Float64[Tensor, "m features"]) -> float:
    """KID (Bińkowski et al. 2018, https://arxiv.org/abs/1801.01401), the mean over 100 subsets of at most 1,000 images.

    KID has no bias: for two sets of one distribution its expected value is 0. The subsets don't depend on the global
    random state and don't change it.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Metric `Kernel Inception Distance` will save all")
        size = min(KID_SUBSET, len(real), len(fake))
        metric = KernelInceptionDistance(nn.Identity(), subset_size=size, sync_on_compute=False)
    metric.update(real, real=True)
    metric.update(fake, real=False)
    with torch.random.fork_rng(devices=[]):
        reseed(0, torch.device("cpu"))
        mean, _ = metric.compute()
    return float(mean)


def permuted(rows: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """Returns the rows of a split in an order that is random and always the same.

    So the first of them are a fair sample. In file order they need not be: the first 5,000 of MNIST's test images are
    cleaner than the last.
    """
    return rows[torch.randperm(len(rows), generator=rng(0, "real images"))]


def distance_to_training(classifier: Classifier, splits: Splits, samples: int, folder: Path | None) -> FrechetDistance:
    """Returns FID to the training images. The real-data FID is that of `samples` validation images.

    Args:
        samples: number of samples; where there are fewer validation images, their number.
        folder: where `cached_reference_statistics` keeps its files.
    """
    rows = permuted(splits.validation)[:samples]
    held_out = features_and_logits(classifier, scaled(splits.images[rows])).features
    return FrechetDistance(cached_reference_statistics(classifier, splits.images[splits.train], folder), held_out)


def cached_reference_statistics(
    classifier: Classifier, images: UInt8[Tensor, "n channels height width"], folder: Path | None
) -> Statistics:
    """Returns the `reference_statistics` of images in 0 … 255, read from `folder` if they are there.

    55,000 images take some seconds. The file's name depends on the weights and the images, and on what may change
    bits: the device, the number of threads, the version of torch, whether algorithms are deterministic, and the
    precision of float32 products, of which a GPU rounds the factors of convolutions to TensorFloat32 by default.
    Without a folder, or where it can't be written, the statistics are computed each time.
    """
    path = None if folder is None else folder / f"{_fingerprint(classifier, images)}.pt"
    if path is not None and path.is_file():
        with suppress(ValueError, TypeError):  # a damaged file is written again
            return Statistics(**read_tensors(path))
    batches = images.split(IMAGES_AT_ONCE)
    features = torch.cat([features_and_logits(classifier, scaled(batch)).features for batch in batches])
    statistics = reference_statistics(features)
    if path is not None:
        with suppress(OSError):  # a read-only folder or a full disk
            write_tensors(statistics._asdict(), path)
    return statistics


def reference_statistics(features: Float64[Tensor, "n features"]) -> Statistics:
    """Computes what `FrechetDistance` needs of its reference."""
    metric = _frechet_metric(features.shape[1])
    metric.update(features, real=True)
    return Statistics(metric.real_features_sum, metric.real_features_cov_sum, metric.real_features_num_samples)


def _frechet_metric(features: int) -> FrechetInceptionDistance:
    identity = nn.Identity()  # features are given instead of images
    identity.num_features = features  # type: ignore[assignment]
    # Only one process computes FID, so it must not wait for the others.
    return FrechetInceptionDistance(identity, reset_real_features=False, sync_on_compute=False)


def _fingerprint(classifier: Classifier, images: UInt8[Tensor, "n channels height width"]) -> str:
    device = next(classifier.parameters()).device
    model = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    # "none" is full precision, as "ieee" is. torch's older settings raise an error where somebody has set these.
    precisions = [attrgetter(f"{name}.fp32_precision")(torch.backends).replace("none", "ieee") for name in PRODUCTS]
    environment = (type(classifier).__name__, model, threads, torch.__version__, deterministic, *precisions)
    digest = hashlib.blake2b(repr(environment).encode(), digest_size=16)
    for tensor in (*classifier.state_dict().values(), images):
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
