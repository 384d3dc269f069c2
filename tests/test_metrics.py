"""FID, KID, precision, recall, mode coverage and memorisation against their formulas, and the statistics' cache."""

import math
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from common.matmul_precision import matmul_precision
from metrics import fid, precision_recall
from metrics.features import Classifier, features_and_logits, scaled
from metrics.fid import FrechetDistance, Statistics, cached_reference_statistics, kernel_distance, reference_statistics
from metrics.memorisation import nearest_neighbour_distances
from metrics.mode_coverage import class_histogram, confidence, mode_coverage, modes_covered
from metrics.precision_recall import manifold, precision_and_recall
from networks.classifiers import DigitReader


def cloud(seed: int, n: int, features: int = 4, shift: float = 0.0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    mixing = torch.randn(features, features, generator=rng, dtype=torch.float64)
    return torch.randn(n, features, generator=rng, dtype=torch.float64) @ mixing + shift


def frechet_by_formula(a: Tensor, b: Tensor) -> float:
    """‖μ_a − μ_b‖² + tr(Σ_a + Σ_b − 2 (Σ_a^½ Σ_b Σ_a^½)^½).

    For Σ = L Lᵀ the trace of that root is the sum of the singular values of L_aᵀ L_b.
    """
    covariance_a, covariance_b = a.T.cov(), b.T.cov()
    product = torch.linalg.cholesky(covariance_a).T @ torch.linalg.cholesky(covariance_b)
    squared = (a.mean(dim=0) - b.mean(dim=0)).square().sum()
    return float(squared + (covariance_a + covariance_b).trace() - 2 * torch.linalg.svdvals(product).sum())


@given(st.integers(0, 10**6), st.floats(-3, 3))
@settings(max_examples=10, deadline=None)
def test_fid_equals_its_formula(seed: int, shift: float) -> None:
    reference, held_out, samples = cloud(seed, 30), cloud(seed + 1, 20), cloud(seed + 2, 20, shift=shift)
    found = FrechetDistance(reference_statistics(reference), held_out)(samples)
    real, fake = frechet_by_formula(reference, held_out), frechet_by_formula(reference, samples)
    expected = {"fid": fake, "fid_real": real, "fid_over_real": fake / real, "fid_samples": 20}
    assert found == pytest.approx(expected, rel=1e-6)


def test_infinite_features_give_nan_and_calls_are_independent() -> None:
    reference = cloud(1, 50)
    distance = FrechetDistance(reference_statistics(reference), cloud(2, 50))
    first = distance(cloud(3, 50, shift=2.0))
    assert first["fid"] > 1
    broken = reference.clone()
    broken[4, 2] = torch.inf
    assert math.isnan(distance(broken)["fid"])
    assert distance(reference)["fid"] == pytest.approx(0, abs=1e-9)
    assert distance(cloud(3, 50, shift=2.0)) == first


def test_fid_uses_float64() -> None:
    reference = cloud(1, 50) + 1e4
    shifted = FrechetDistance(reference_statistics(reference), cloud(2, 50) + 1e4)(reference + 0.01)
    assert shifted["fid"] == pytest.approx(4 * 0.01**2, rel=1e-2)  # float32 would see no difference


def test_fid_refuses_other_sample_numbers() -> None:
    distance = FrechetDistance(reference_statistics(cloud(1, 50)), cloud(2, 20))
    with pytest.raises(ValueError, match=r"that of 20 images, so the FID of 21 can't .* take 20 samples"):
        distance(cloud(3, 21))
    with pytest.raises(ValueError, match=r"1 images are left for the real-data FID; it needs 2"):
        FrechetDistance(reference_statistics(cloud(1, 50)), cloud(2, 1))


def kid_by_formula(x: Tensor, y: Tensor) -> float:
    """The unbiased MMD² of two sets of n with the kernel (x·y/d + 1)³."""
    n, d = x.shape
    xx, yy, xy = ((a @ b.T / d + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    off_diagonal = xx.sum() - xx.trace() + yy.sum() - yy.trace()
    return float(off_diagonal / (n * (n - 1)) - 2 * xy.mean())


def test_kid_equals_its_formula() -> None:
    real, fake = cloud(1, 30), cloud(2, 30, shift=1.0)
    assert kernel_distance(real, fake) == pytest.approx(kid_by_formula(real, fake), rel=1e-9)


def test_kid_is_deterministic_and_keeps_the_random_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fid, "KID_SUBSET", 50)
    real, fake = cloud(1, 80), cloud(2, 80)
    before = torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = kernel_distance(real, fake)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(5)
    assert kernel_distance(real, fake) == first


def test_manifold_radius_is_the_kth_neighbour_distance() -> None:
    points = torch.tensor([[0.0], [1.0], [3.0], [6.0], [10.0]], dtype=torch.float64)
    assert manifold(points, k=1).radii.tolist() == pytest.approx([1, 1, 2, 3, 4])
    assert manifold(points).radii.tolist() == pytest.approx([6, 5, 3, 5, 9])
    with pytest.raises(ValueError, match="3 images have no 3 neighbours each; take 4 or more"):
        manifold(cloud(1, 3))


def precision_recall_by_definition(real: Tensor, fake: Tensor) -> tuple[float, float]:
    """Kynkäänniemi et al. 2019, equations 1 and 2, pair by pair."""

    def distance(a: Tensor, b: Tensor) -> float:
        return float((a - b).norm())

    def inside(point: Tensor, points: Tensor) -> bool:
        return any(distance(point, p) <= sorted(distance(p, other) for other in points)[3] for p in points)

    precise = sum(inside(point, real) for point in fake) / len(fake)
    covered = sum(inside(point, fake) for point in real) / len(real)
    return precise, covered


@given(st.integers(0, 10**6), st.floats(0, 4))
@settings(max_examples=5, deadline=None)
def test_precision_and_recall_equal_their_definition(seed: int, shift: float) -> None:
    real, fake = cloud(seed, 12), cloud(seed + 1, 9, shift=shift)
    expected = precision_recall_by_definition(real, fake)
    for rows_at_once in (5, 1000):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(precision_recall, "ROWS_AT_ONCE", rows_at_once)
            assert precision_and_recall(manifold(real), manifold(fake)) == pytest.approx(expected)


def logits_for(*digits: int, height: float = 9.0) -> Tensor:
    return height * torch.nn.functional.one_hot(torch.tensor(digits), 10).float()


def test_class_histogram_and_modes_covered() -> None:
    logits = logits_for(3, 3, 0, 9, 5)
    logits[-1] = torch.nan  # such an image counts for no class
    histogram = class_histogram(logits)
    assert histogram == pytest.approx([0.2, 0, 0, 0.4, 0, 0, 0, 0, 0, 0.2])
    expected = {f"class_{digit}": fraction for digit, fraction in enumerate(histogram)}
    assert mode_coverage(histogram) == {**expected, "modes_covered": 3}
    assert modes_covered([0.02, 0.0199, *[0.12] * 8]) == {*range(10)} - {1}


def test_confidence_is_the_mean_highest_probability() -> None:
    assert confidence(torch.zeros(3, 10)) == pytest.approx(0.1)
    half = torch.full((1, 10), -50.0)
    half[0, :2] = 0
    assert confidence(torch.cat([half, logits_for(5, height=50.0)])) == pytest.approx(0.75)


def test_nearest_neighbour_distances_are_exact_for_small_ones() -> None:
    training = torch.randint(0, 256, (2500, 1, 28, 28), dtype=torch.uint8)
    copies = scaled(training[[0, 999, 1000, 2499]])
    assert nearest_neighbour_distances(copies, training).tolist() == pytest.approx([0] * 4, abs=1e-5)
    changed = copies.clone()
    changed[:, 0, 3, 4:8] += 0.5  # a quarter of the range, in four pixels
    assert nearest_neighbour_distances(changed, training).tolist() == pytest.approx([0.5] * 4, rel=1e-4)


@pytest.fixture
def classifier() -> DigitReader:
    return DigitReader(hidden_size=4).eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randint(0, 256, (30, 1, 28, 28), dtype=torch.uint8)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of images of each pass through the classifier."""
    numbers = []

    def counting(classifier: Classifier, images: Tensor) -> object:
        numbers.append(len(images))
        return features_and_logits(classifier, images)

    monkeypatch.setattr(fid, "features_and_logits", counting)
    return numbers


def same(a: Statistics, b: Statistics) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("content", [b"", b"torn", None])
def test_reference_statistics_are_cached_and_damage_is_repaired(
    classifier: DigitReader, images: Tensor, tmp_path: Path, passes: list[int], content: bytes | None
) -> None:
    folder = tmp_path / "classifiers"
    first = cached_reference_statistics(classifier, images, folder)
    assert same(first, reference_statistics(features_and_logits(classifier, scaled(images)).features))
    assert same(cached_reference_statistics(classifier, images, folder), first)
    assert passes == [30]
    (path,) = folder.iterdir()
    if content is None:
        torch.save({"something": 1}, path)
    else:
        path.write_bytes(content)
    for _ in range(2):
        assert same(cached_reference_statistics(classifier, images, folder), first)
    assert passes == [30, 30]


def test_cache_depends_on_weights_images_and_threads(
    classifier: DigitReader, images: Tensor, tmp_path: Path, passes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    cached_reference_statistics(classifier, images, tmp_path)
    cached_reference_statistics(classifier, images.flip(2), tmp_path)
    with torch.no_grad():
        classifier.head.get_parameter("1.bias").add_(1)
    cached_reference_statistics(classifier, images, tmp_path)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    cached_reference_statistics(classifier, images, tmp_path)
    assert passes == [30] * 4


def test_cache_depends_on_what_rounds_and_orders_sums(
    classifier: DigitReader, images: Tensor, tmp_path: Path, passes: list[int]
) -> None:
    cached_reference_statistics(classifier, images, tmp_path)
    with matmul_precision("high"):
        cached_reference_statistics(classifier, images, tmp_path)
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        cached_reference_statistics(classifier, images, tmp_path)
    torch.use_deterministic_algorithms(True)
    cached_reference_statistics(classifier, images, tmp_path)
    torch.use_deterministic_algorithms(False)
    cached_reference_statistics(classifier, images, tmp_path)  # as the first: "highest" was only set explicitly
    assert passes == [30] * 4


def test_reference_statistics_without_a_writable_folder(
    classifier: DigitReader, images: Tensor, tmp_path: Path, passes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fid, "IMAGES_AT_ONCE", 20)
    (tmp_path / "classifiers").write_text("a file where a folder should be")
    for folder in (tmp_path / "classifiers", None):
        cached_reference_statistics(classifier, images, folder)
    assert passes == [20, 10, 20, 10]
