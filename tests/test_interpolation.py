"""Linear and spherical interpolation, and the most confident latents for a digit."""

import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor, nn

from metrics.interpolation import (
    INTERPOLATIONS,
    class_log_probabilities,
    interpolate_latents,
    lerp,
    most_confident_latents,
    slerp,
)

DIMENSION = 4
numbers = st.floats(-5, 5, width=32).filter(lambda number: number == 0 or abs(number) > 1e-3)
vectors = st.lists(numbers, min_size=DIMENSION, max_size=DIMENSION).map(torch.tensor)
routes = st.lists(vectors, min_size=2, max_size=5).map(torch.stack)
interpolations = st.sampled_from(sorted(INTERPOLATIONS))


def defined(waypoints: Tensor, interpolation: str) -> bool:
    """Whether each segment has a shortest arc."""
    directions = nn.functional.normalize(waypoints.double(), dim=1)
    opposite = (directions[1:] + directions[:-1]).norm(dim=1) < 1e-2
    return interpolation == "lerp" or bool(waypoints.any(dim=1).all() and not opposite.any())


@given(routes, st.integers(2, 7), interpolations)
def test_segments_are_joined_at_the_exact_waypoints(waypoints: Tensor, steps: int, interpolation: str) -> None:
    assume(defined(waypoints, interpolation))
    latents = interpolate_latents(waypoints, steps, interpolation)
    assert latents.shape == ((len(waypoints) - 1) * (steps - 1) + 1, DIMENSION)
    assert latents.dtype == waypoints.dtype
    assert latents.isfinite().all()
    torch.testing.assert_close(latents[:: steps - 1], waypoints, atol=0, rtol=0)
    parts = [interpolate_latents(waypoints[n : n + 2], steps, interpolation) for n in range(len(waypoints) - 1)]
    assert torch.equal(latents, torch.cat([parts[0][:1], *(part[1:] for part in parts)]))


@given(vectors, vectors, st.integers(2, 7), interpolations)
def test_interpolation_is_symmetric(start: Tensor, end: Tensor, steps: int, interpolation: str) -> None:
    ends = torch.stack([start, end])
    assume(defined(ends, interpolation))
    torch.testing.assert_close(
        interpolate_latents(ends.flip(0), steps, interpolation), interpolate_latents(ends, steps, interpolation).flip(0)
    )


@given(vectors, vectors, st.floats(0.5, 20))
def test_slerp_keeps_the_length_and_a_constant_speed(start: Tensor, end: Tensor, length: float) -> None:
    ends = torch.stack([start, end]).double()
    assume(defined(ends, "slerp"))
    ends = length * nn.functional.normalize(ends, dim=1)
    latents = interpolate_latents(ends, 6, "slerp")
    torch.testing.assert_close(latents.norm(dim=1), torch.full((6,), length, dtype=torch.float64))
    chords = latents.diff(dim=0).norm(dim=1)
    torch.testing.assert_close(chords, chords[:1].expand(5), atol=1e-9, rtol=1e-6)


@given(vectors, st.floats(0.25, 4))
def test_slerp_equals_lerp_for_parallel_vectors(start: Tensor, factor: float) -> None:
    ends = torch.stack([start, factor * start])
    assume(defined(ends, "slerp"))
    torch.testing.assert_close(interpolate_latents(ends, 5, "slerp"), interpolate_latents(ends, 5, "lerp"))


def test_interpolation_values() -> None:
    """A quarter of a circle, and the chord below it."""
    east, north, third = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0]), torch.tensor([1 / 3])
    torch.testing.assert_close(lerp(east, north, third), torch.tensor([[4 / 3, 2 / 3]]))
    torch.testing.assert_close(slerp(east, north, third), torch.tensor([[math.sqrt(3), 1.0]]))
    longer = slerp(east, 3 * north, torch.tensor([0.5]))
    torch.testing.assert_close(longer, torch.tensor([[math.sqrt(2), 3 * math.sqrt(2)]]))


@pytest.mark.parametrize(
    ("waypoints", "steps", "interpolation", "words"),
    [
        (torch.ones(1, 3), 5, "lerp", "needs 2 or more waypoints, not 1"),
        (torch.ones(2, 3), 1, "lerp", "steps is 1; write 2 or more"),
        (torch.ones(2, 3), 5, "straight", "interpolation is 'straight'; write lerp or slerp"),
        (torch.tensor([[1.0, 2], [0, 0]]), 5, "slerp", "no direction; write interpolation: lerp"),
        (torch.tensor([[1.0, 2], [-2, -4]]), 5, "slerp", "opposite directions; write interpolation: lerp"),
    ],
)
def test_undefined_interpolations_are_refused(waypoints: Tensor, steps: int, interpolation: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        interpolate_latents(waypoints, steps, interpolation)


class Shades(nn.Module):
    """Fills the image with the first number of the latent."""

    latent_dim = 2

    def forward(self, z: Tensor) -> Tensor:
        return z[:, 0, None, None, None].expand(-1, 1, 28, 28)


class ShadeClassifier(nn.Module):
    """Classifies bright images as 7 and dark ones as 2."""

    image_shape = (1, 28, 28)

    def forward(self, images: Tensor) -> Tensor:
        shade = images.mean(dim=(1, 2, 3))
        logits = torch.full((len(images), 10), -50.0)
        logits[:, 7], logits[:, 2] = 10 * shade, -10 * shade
        return logits


def most_confident(candidates: Tensor, digits: list[int]) -> Tensor:
    log_probabilities = class_log_probabilities(Shades(), ShadeClassifier(), candidates)
    return most_confident_latents(candidates, log_probabilities, digits)


def test_most_confident_latents_are_sorted_and_distinct() -> None:
    candidates = torch.tensor([[0.1, 0], [0.5, 1], [-0.9, 2], [0.9, 3], [-0.3, 4], [0.7, 5]])
    assert most_confident(candidates, [7, 2, 7, 7])[:, 1].tolist() == [3, 2, 5, 1]
    # A float32 softmax is exactly 1 for all of these.
    candidates = torch.tensor([[0.90, 0], [0.98, 1], [0.94, 2]])
    assert most_confident(candidates, [7, 7, 7])[:, 1].tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    ("digits", "words"),
    [
        ([7, 7, 7], r"reads 2 of 4 images as a 7 with a confidence of 90% or more \(the highest is 100%\), and 3 are"),
        ([7, 2], r"reads none of 4 images as a 2 with a confidence of 90% or more \(the highest is 12%\)"),
        ([7, 10], "digits holds 10; write digits from 0 to 9"),
        ([-1, 7], "digits holds -1; write digits from 0 to 9"),
    ],
)
def test_missing_digits_are_refused(digits: list[int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        most_confident(torch.tensor([[0.1, 0], [0.5, 0], [0.9, 0], [0.1, 0]]), digits)
