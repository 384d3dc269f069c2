"""Moving images about."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from networks.augmentation import random_shifts, translate

SHIFTS = st.integers(-6, 6)


@given(SHIFTS, SHIFTS, SHIFTS)
def test_each_image_goes_its_own_way_and_paper_comes_into_view(down: int, right: int, other: int) -> None:
    images = torch.full((2, 1, 6, 6), -1.0)
    images[:, :, 2:4, 2:4] = torch.rand(2, 1, 2, 2)
    moved = translate(images, torch.tensor([[down, right], [other, 0]]))
    for image, result, shift in zip(images, moved, ((down, right), (other, 0)), strict=True):
        by_hand = torch.full((18, 18), -1.0)
        by_hand[6 + shift[0] : 12 + shift[0], 6 + shift[1] : 12 + shift[1]] = image[0]
        assert torch.equal(result[0], by_hand[6:12, 6:12])


def test_gradients_go_back_the_way_the_pixels_came() -> None:
    images = torch.zeros(1, 1, 3, 3, requires_grad=True)
    weight = torch.arange(9.0).view(1, 1, 3, 3)
    (translate(images, torch.tensor([[1, -1]])) * weight).sum().backward()
    assert images.grad is not None
    assert images.grad[0, 0].tolist() == [[0, 3, 4], [0, 6, 7], [0, 0, 0]]


def test_shifts_are_of_every_size_up_to_the_largest_and_repeat_with_their_seed() -> None:
    shifts = random_shifts(500, 2, torch.Generator().manual_seed(1))
    assert len(shifts.unique(dim=0)) == 25
    assert shifts.abs().max() == 2
    assert torch.equal(shifts, random_shifts(500, 2, torch.Generator().manual_seed(1)))
