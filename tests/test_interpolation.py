"""Lines and arcs through the noise, and where in it a classifier finds a digit."""

import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor, nn

from metrics.interpolation import INTERPOLATIONS, interpolate_latents, lerp, most_confident_latents, slerp
from networks.mlp_gan import MLPGenerator
from networks.sampling import BATCH, images_from

DIMENSION = 4
numbers = st.floats(-5, 5, width=32).filter(lambda number: number == 0 or abs(number) > 1e-3)
vectors = st.lists(numbers, min_size=DIMENSION, max_size=DIMENSION).map(torch.tensor)
routes = st.lists(vectors, min_size=2, max_size=5).map(torch.stack)
paths = st.sampled_from(sorted(INTERPOLATIONS))


def walkable(waypoints: Tensor, path: str) -> bool:
    """Whether each leg has a shortest arc."""
    directions = nn.functional.normalize(waypoints.double(), dim=1)
    opposite = (directions[1:] + directions[:-1]).norm(dim=1) < 1e-2
    return path == "lerp" or bool(waypoints.any(dim=1).all() and not opposite.any())


@given(routes, st.integers(2, 7), paths)
def test_every_waypoint_is_met_once_and_exactly(waypoints: Tensor, steps: int, path: str) -> None:
    assume(walkable(waypoints, path))
    latents = interpolate_latents(waypoints, steps, path)
    assert latents.shape == ((len(waypoints) - 1) * (steps - 1) + 1, DIMENSION)
    assert latents.dtype == waypoints.dtype
    assert latents.isfinite().all()
    torch.testing.assert_close(latents[:: steps - 1], waypoints, atol=0, rtol=0)


@given(routes, st.integers(2, 7), paths)
def test_a_walk_is_its_legs_one_after_the_other(waypoints: Tensor, steps: int, path: str) -> None:
    assume(walkable(waypoints, path))
    legs = [interpolate_latents(waypoints[leg : leg + 2], steps, path) for leg in range(len(waypoints) - 1)]
    expected = torch.cat([legs[0][:1], *(leg[1:] for leg in legs)])
    assert torch.equal(interpolate_latents(waypoints, steps, path), expected)


@given(vectors, vectors, st.integers(2, 7), paths)
def test_the_way_back_is_the_way_there(start: Tensor, end: Tensor, steps: int, path: str) -> None:
    there = torch.stack([start, end])
    assume(walkable(there, path))
    torch.testing.assert_close(
        interpolate_latents(there.flip(0), steps, path), interpolate_latents(there, steps, path).flip(0)
    )


@given(vectors, vectors, st.floats(0.5, 20))
def test_an_arc_keeps_the_length_and_turns_evenly(start: Tensor, end: Tensor, length: float) -> None:
    ends = torch.stack([start, end]).double()
    assume(walkable(ends, "slerp"))
    ends = length * nn.functional.normalize(ends, dim=1)
    latents = interpolate_latents(ends, 6, "slerp")
    torch.testing.assert_close(latents.norm(dim=1), torch.full((6,), length, dtype=torch.float64))
    chords = latents.diff(dim=0).norm(dim=1)
    torch.testing.assert_close(chords, chords[:1].expand(5), atol=1e-9, rtol=1e-6)


@given(vectors, st.floats(0.25, 4))
def test_between_parallel_vectors_the_arc_is_the_line(start: Tensor, factor: float) -> None:
    ends = torch.stack([start, factor * start])
    assume(walkable(ends, "slerp"))
    torch.testing.assert_close(interpolate_latents(ends, 5, "slerp"), interpolate_latents(ends, 5, "lerp"))


def test_numbers_worked_out_by_hand() -> None:
    """A quarter of a circle, and the chord below it."""
    east, north, third = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0]), torch.tensor([1 / 3])
    torch.testing.assert_close(lerp(east, north, third), torch.tensor([[4 / 3, 2 / 3]]))
    torch.testing.assert_close(slerp(east, north, third), torch.tensor([[math.sqrt(3), 1.0]]))
    longer = slerp(east, 3 * north, torch.tensor([0.5]))
    torch.testing.assert_close(longer, torch.tensor([[math.sqrt(2), 3 * math.sqrt(2)]]))


@pytest.mark.parametrize(
    ("waypoints", "steps", "path", "words"),
    [
        (torch.ones(0, 3), 5, "lerp", "through 0 waypoints leads nowhere; write 2 or more"),
        (torch.ones(1, 3), 5, "lerp", "through 1 waypoint leads nowhere"),
        (torch.ones(2, 3), 1, "lerp", "steps is 1; a way from one waypoint to the next needs at least its 2 ends"),
        (torch.ones(2, 3), 5, "straight", "interpolation is 'straight'; write lerp or slerp"),
        (
            torch.tensor([[1.0, 2], [0, 0]]),
            5,
            "slerp",
            "zero vector, which has no direction; write interpolation: lerp",
        ),
        (torch.tensor([[1.0, 2], [-2, -4]]), 5, "slerp", "opposite directions; write interpolation: lerp"),
        (torch.tensor([[0.5], [-3.0]]), 5, "slerp", "opposite directions"),
    ],
)
def test_a_walk_that_leads_nowhere_is_refused(waypoints: Tensor, steps: int, path: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        interpolate_latents(waypoints, steps, path)


class Shades(nn.Module):
    """Paints the whole image with the first number of the latent."""

    latent_dim = 2

    def forward(self, z: Tensor) -> Tensor:
        return z[:, 0, None, None, None].expand(-1, 1, 28, 28)


class ShadeReader(nn.Module):
    """Reads bright images as 7 and dark ones as 2; of other digits it never dreams."""

    def forward(self, images: Tensor) -> Tensor:
        shade = images.mean(dim=(1, 2, 3))
        logits = torch.full((len(images), 10), -50.0)
        logits[:, 7], logits[:, 2] = 10 * shade, -10 * shade
        return logits


def test_the_surest_come_first_and_each_only_once() -> None:
    candidates = torch.tensor([[0.1, 0], [0.5, 1], [-0.9, 2], [0.9, 3], [-0.3, 4], [0.7, 5]])
    latents = most_confident_latents(Shades(), ShadeReader(), [7, 2, 7, 7], candidates)
    assert latents[:, 1].tolist() == [3, 2, 5, 1]


@pytest.mark.parametrize(
    ("digits", "words"),
    [
        (
            [7, 7, 7],
            r"of 4 images 2 can be read as a 7 with 90% confidence or more \(the best: 100%\), and .* needs 3;",
        ),
        ([7, 2], r"of 4 images none can be read as a 2 with 90% confidence or more \(the best: 12%\)"),
        ([7, 10], "digits holds 10; write digits from 0 to 9"),
        ([-1, 7], "digits holds -1; write digits from 0 to 9"),
    ],
)
def test_digits_that_cannot_be_found_are_refused(digits: list[int], words: str) -> None:
    candidates = torch.tensor([[0.1, 0], [0.5, 0], [0.9, 0], [0.1, 0]])
    with pytest.raises(ValueError, match=words):
        most_confident_latents(Shades(), ShadeReader(), digits, candidates)


def test_confidences_that_look_the_same_are_told_apart() -> None:
    """A float32 softmax is exactly 1 for all of them."""
    candidates = torch.tensor([[0.90, 0], [0.98, 1], [0.94, 2]])
    latents = most_confident_latents(Shades(), ShadeReader(), [7, 7, 7], candidates)
    assert latents[:, 1].tolist() == [1, 2, 0]


def test_images_come_in_batches_and_in_order() -> None:
    latents = torch.randn(2 * BATCH + 3, 2)
    batches = list(images_from(Shades(), latents))
    assert [len(batch) for batch in batches] == [BATCH, BATCH, 3]
    assert torch.equal(torch.cat(batches)[:, 0, 0, 0], latents[:, 0])
    images = next(images_from(MLPGenerator(2).eval(), latents[:1]))
    assert not images.requires_grad


def test_pixels_that_are_not_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="pixels that are no finite numbers"):
        list(images_from(Shades(), torch.tensor([[0.0, 1.0], [float("nan"), 1.0]])))
