"""What makes generated digits good, against formulas and on planted cases."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from metrics import fid
from metrics.fid import FID, FrechetDistance, kernel_distance, statistics
from metrics.memorisation import nearest_neighbour_distances
from metrics.mode_coverage import class_histogram, confidence, histogram_numbers, modes_covered
from metrics.precision_recall import manifold, precision_and_recall

Matrix = NDArray[np.float64]


def cloud(seed: int, n: int, features: int = 4, shift: float = 0.0) -> Tensor:
    stream = torch.Generator().manual_seed(seed)
    mixing = torch.randn(features, features, generator=stream, dtype=torch.float64)
    return torch.randn(n, features, generator=stream, dtype=torch.float64) @ mixing + shift


def symmetric_root(matrix: Matrix) -> Matrix:
    values, vectors = np.linalg.eigh(matrix)
    root: Matrix = vectors @ np.diag(np.sqrt(values.clip(0))) @ vectors.T
    return root


def frechet_by_the_formula(a: Matrix, b: Matrix) -> float:
    """‖μ_a − μ_b‖² + tr(Σ_a + Σ_b − 2 (Σ_a^½ Σ_b Σ_a^½)^½)"""
    root = symmetric_root(np.cov(a.T))
    middle = symmetric_root(root @ np.cov(b.T) @ root)
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * middle))


@given(st.integers(0, 10**6), st.floats(-3, 3))
@settings(max_examples=25, deadline=None)
def test_fid_is_the_formula(seed: int, shift: float) -> None:
    reference, held_out, samples = cloud(seed, 30), cloud(seed + 1, 20), cloud(seed + 2, 20, shift=shift)
    fid = FrechetDistance(statistics(reference), held_out)(samples)
    assert fid.value == pytest.approx(frechet_by_the_formula(reference.numpy(), samples.numpy()), rel=1e-6)
    assert fid.floor == pytest.approx(frechet_by_the_formula(reference.numpy(), held_out.numpy()), rel=1e-6)
    assert fid.samples == 20


def test_fid_of_the_reference_itself_is_0_also_after_others_were_measured() -> None:
    reference = cloud(1, 50)
    distance = FrechetDistance(statistics(reference), cloud(2, 50))
    assert distance(reference).value == pytest.approx(0, abs=1e-9)
    first = distance(cloud(3, 50, shift=2.0))
    assert first.value > 1
    assert distance(reference).value == pytest.approx(0, abs=1e-9)
    assert distance(cloud(3, 50, shift=2.0)) == first


def test_fid_is_float64_where_float32_would_see_nothing() -> None:
    reference = cloud(1, 50) + 1e4
    shifted = FrechetDistance(statistics(reference), cloud(2, 50) + 1e4)(reference + 0.01)
    assert shifted.value == pytest.approx(4 * 0.01**2, rel=1e-2)


def test_fid_of_broken_features_is_nan() -> None:
    distance = FrechetDistance(statistics(cloud(1, 50)), cloud(2, 20))
    broken = cloud(3, 20)
    broken[4, 2] = torch.inf
    assert math.isnan(distance(broken).value)
    assert not math.isnan(distance(cloud(3, 20)).value)


def test_fid_comes_with_its_floor() -> None:
    assert FID(5.0, 2.0, 100).numbers() == {"fid": 5.0, "fid_real": 2.0, "fid_over_real": 2.5, "fid_samples": 100}


def test_another_number_of_samples_than_the_floors_is_refused() -> None:
    distance = FrechetDistance(statistics(cloud(1, 50)), cloud(2, 20))
    with pytest.raises(ValueError, match=r"the floor is that of 20 images, so 21 can't .* take 20 samples"):
        distance(cloud(3, 21))


def test_a_floor_of_one_image_is_refused() -> None:
    with pytest.raises(ValueError, match=r"1 images are held out for FID's floor; it needs 2"):
        FrechetDistance(statistics(cloud(1, 50)), cloud(2, 1))


def kid_by_the_formula(x: Matrix, y: Matrix) -> float:
    """The unbiased MMD² with the kernel (x·y/d + 1)³, of two sets of n."""
    n, d = x.shape

    def kernel(a: Matrix, b: Matrix) -> Matrix:
        cube: Matrix = (a @ b.T / d + 1) ** 3
        return cube

    def of_others(k: Matrix) -> float:
        return float((k.sum() - k.trace()) / (n * (n - 1)))

    return of_others(kernel(x, x)) + of_others(kernel(y, y)) - 2 * float(kernel(x, y).mean())


def test_kid_is_the_formula() -> None:
    real, fake = cloud(1, 30), cloud(2, 30, shift=1.0)
    assert kernel_distance(real, fake) == pytest.approx(kid_by_the_formula(real.numpy(), fake.numpy()), rel=1e-9)


def test_kid_is_near_0_for_one_distribution_and_grows_with_the_distance() -> None:
    points = torch.randn(400, 4, dtype=torch.float64)
    same = kernel_distance(points[:200], points[200:])
    near, far = (kernel_distance(points[:200], points[200:] + shift) for shift in (0.5, 1.0))
    assert abs(same) < 0.1 < near < far


def test_kid_is_the_same_every_time_and_leaves_the_random_stream_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fid, "KID_SUBSET", 50)
    real, fake = cloud(1, 80), cloud(2, 80)
    before = torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = kernel_distance(real, fake)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(5)
    assert kernel_distance(real, fake) == first
    assert kernel_distance(real, fake) != pytest.approx(kid_by_the_formula(real.numpy(), fake.numpy()))  # of subsets


def test_a_manifold_reaches_to_the_kth_neighbour() -> None:
    points = torch.tensor([[0.0], [1.0], [3.0], [6.0], [10.0]], dtype=torch.float64)
    assert manifold(points, k=1).radii.tolist() == pytest.approx([1, 1, 2, 3, 4])
    assert manifold(points).radii.tolist() == pytest.approx([6, 5, 3, 5, 9])


def test_too_few_images_for_their_neighbours_are_refused() -> None:
    with pytest.raises(ValueError, match="3 images have no 3 neighbours each; take 4 or more"):
        manifold(cloud(1, 3))


def by_the_definition(real: Tensor, fake: Tensor) -> tuple[float, float]:
    """Kynkäänniemi et al. 2019, equations 1 and 2, one pair after the other."""

    def distance(a: Tensor, b: Tensor) -> float:
        return float((a - b).norm())

    def inside(point: Tensor, points: Tensor) -> bool:
        return any(distance(point, p) <= sorted(distance(p, other) for other in points)[3] for p in points)

    precise = sum(inside(point, real) for point in fake) / len(fake)
    covered = sum(inside(point, fake) for point in real) / len(real)
    return precise, covered


@given(st.integers(0, 10**6), st.floats(0, 4))
@settings(max_examples=10, deadline=None)
def test_precision_and_recall_are_the_definition(seed: int, shift: float) -> None:
    real, fake = cloud(seed, 12), cloud(seed + 1, 9, shift=shift)
    assert precision_and_recall(manifold(real), manifold(fake)) == pytest.approx(by_the_definition(real, fake))


def test_precision_and_recall_tell_collapse_from_noise() -> None:
    stream = torch.Generator().manual_seed(0)
    centres = 20 * torch.eye(10, dtype=torch.float64)
    real = centres.repeat_interleave(150, 0) + torch.randn(1500, 10, generator=stream, dtype=torch.float64)
    collapsed = centres[:1] + torch.randn(1200, 10, generator=stream, dtype=torch.float64)
    noise = 200 + torch.randn(1200, 10, generator=stream, dtype=torch.float64)
    real_manifold = manifold(real)
    precision, recall = precision_and_recall(real_manifold, manifold(collapsed))
    assert precision > 0.8
    assert recall < 0.15
    assert precision_and_recall(real_manifold, manifold(noise)) == (0, 0)
    assert precision_and_recall(real_manifold, real_manifold) == (1, 1)


def test_all_images_alike_cover_nothing() -> None:
    real = cloud(1, 100)
    one_of_them = real[:1].expand(80, -1).contiguous()
    assert precision_and_recall(manifold(real), manifold(one_of_them)) == pytest.approx((1, 0), abs=0.02)


def logits_for(*digits: int, height: float = 9.0) -> Tensor:
    return height * torch.nn.functional.one_hot(torch.tensor(digits), 10).float()


def test_shares_count_the_digits() -> None:
    shares = class_histogram(logits_for(3, 3, 0, 9))
    assert shares == [0.25, 0, 0, 0.5, 0, 0, 0, 0, 0, 0.25]
    assert modes_covered(shares) == 3
    numbers = histogram_numbers(shares)
    assert list(numbers) == [*(f"class_{digit}" for digit in range(10)), "modes_covered"]
    assert numbers["class_3"] == 0.5
    assert numbers["modes_covered"] == 3


def test_a_digit_is_alive_from_2_percent_on() -> None:
    assert modes_covered([0.02, 0.0199, *[0.12] * 8]) == 9


def test_an_image_that_is_no_image_shows_no_digit() -> None:
    logits = logits_for(0, 4, 4, 4)
    logits[0] = torch.nan
    assert class_histogram(logits) == [0, 0, 0, 0, 0.75, 0, 0, 0, 0, 0]


def test_confidence_lies_between_a_tenth_and_one() -> None:
    assert confidence(torch.zeros(3, 10)) == pytest.approx(0.1)
    assert confidence(logits_for(1, 2, height=50.0)) == pytest.approx(1)
    half = torch.full((1, 10), -50.0)
    half[0, :2] = 0
    assert confidence(torch.cat([half, logits_for(5, height=50.0)])) == pytest.approx(0.75)


def test_a_copy_is_at_distance_0_and_others_where_they_are() -> None:
    training = torch.randint(0, 256, (2500, 28, 28), dtype=torch.uint8)
    copies = training[[0, 999, 1000, 2499]][:, None].float() / 127.5 - 1
    assert nearest_neighbour_distances(copies, training).tolist() == pytest.approx([0] * 4, abs=1e-5)
    changed = copies.clone()
    changed[:, 0, 3, 4:8] += 0.5  # a quarter of the range, in four pixels
    assert nearest_neighbour_distances(changed, training).tolist() == pytest.approx([0.5] * 4, rel=1e-4)


def test_the_nearest_of_several_is_found() -> None:
    training = torch.zeros(3, 28, 28, dtype=torch.uint8)
    training[1] = 255
    training[2, 0, 0] = 51
    white, dot = torch.ones(1, 1, 28, 28), -torch.ones(1, 1, 28, 28)
    dot[0, 0, 0, 0] = -0.4  # 0.3 of the ink; the dot in the training image has 0.2
    assert nearest_neighbour_distances(torch.cat([white, dot]), training).tolist() == pytest.approx([0, 0.1], abs=1e-5)
