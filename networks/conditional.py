"""Class-conditional layers: the class of an image enters a generator by BatchNorm and a discriminator by a projection.

    G: h ← γ_y ⊙ BatchNorm(h) + β_y                   a gain γ and a bias β for each class y
    D: D(x, y) = w·φ(x) + b + e_y·φ(x) / √n           a vector e for each class y; φ is the last hidden layer, n units

The first is from de Vries et al. 2017 (arXiv 1707.00683), the second from Miyato & Koyama 2018, "cGANs with projection
discriminator" (arXiv 1802.05637), who use both. Their D also has spectral normalisation. The factor 1/√n is that of
StyleGAN2-ADA (Karras et al. 2020, arXiv 2006.06676); with it, Adam's steps of e change logits less.

A network with such layers has a number of `classes` and is called with labels, `network(input, labels)`. In place of a
label for each image it takes weights of all classes, from which γ, β and e are averaged:

    generator(z, torch.tensor([3, 8]))                      # a 3 and an 8
    generator(z[:1], 0.5 * one_hot[3] + 0.5 * one_hot[8])   # in between
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

Labels = Int[Tensor, " batch"] | Float[Tensor, "batch classes"]
"""The class of each image, counted from 0, or the weights of all classes, which sum to 1."""


class ConditionalBatchNorm(nn.Module):
    """BatchNorm with a gain and a bias for each class, at first 1 and 0: `(batch, width)` → `(batch, width)`."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        # A part instead of a parent, because `sync_batchnorm` replaces each BatchNorm by torch's synchronised one.
        self.norm = nn.BatchNorm1d(width, affine=False)
        self.gain = nn.Parameter(torch.ones(classes, width))
        self.bias = nn.Parameter(torch.zeros(classes, width))

    def forward(self, x: Float[Tensor, "batch width"], labels: Labels) -> Float[Tensor, "batch width"]:
        normalised: Tensor = self.norm(x)
        return _of_classes(self.gain, labels) * normalised + _of_classes(self.bias, labels)


class ProjectionHead(nn.Linear):
    """The last layer of a discriminator, `(batch, width)` → `(batch, 1)`, to which it adds the class's projection.

    The vectors of the classes start from N(0, 1).
    """

    def __init__(self, width: int, classes: int) -> None:
        super().__init__(width, 1)
        self.embedding = nn.Parameter(torch.randn(classes, width))

    def forward(  # type: ignore[override]  # of a linear layer, which takes no labels
        self, features: Float[Tensor, "batch width"], labels: Labels
    ) -> Float[Tensor, "batch 1"]:
        scaled = _of_classes(self.embedding, labels) / math.sqrt(self.in_features)
        return super().forward(features) + (scaled * features).sum(dim=1, keepdim=True)


class ConditionalSequential(nn.Sequential):
    """`nn.Sequential` whose class-conditional layers get the labels as well."""

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:  # type: ignore[override]
        for layer in self:
            x = layer(x, labels) if isinstance(layer, ConditionalBatchNorm | ProjectionHead) else layer(x)
        return x


def classes_of(network: nn.Module) -> int:
    """Returns the number of a network's classes, 0 for an unconditional network."""
    return int(getattr(network, "classes", 0))


def labels_in_turn(
    network: nn.Module, n: int, classes: Sequence[int] = (), first: int = 0
) -> tuple[Int[Tensor, " n"], ...]:
    """Returns the labels of `n` images in a tuple, which is empty for an unconditional network.

    Args:
        network: a generator; it is called as `network(noise, *labels_in_turn(network, len(noise)))`.
        n: number of images.
        classes: classes that take turns, by default all: 0, 1, …, 9, 0, 1, ….
        first: how many images came before, whose turns are over.

    Raises:
        ValueError: when the network doesn't have one of the classes.
    """
    number = classes_of(network)
    for each in classes:
        if not 0 <= each < number:
            instead = f"write 0 to {number - 1}" if number else "leave it out, for this generator has no classes"
            raise ValueError(f"the class is {each}; {instead}")
    if not number:
        return ()
    turns = torch.tensor([*(classes or range(number))])
    return (turns[torch.arange(first, first + n) % len(turns)],)


def class_weights(network: nn.Module, n: int, classes: Sequence[int] = ()) -> tuple[Float[Tensor, "n classes"], ...]:
    """Returns what `labels_in_turn` returns as weights, 1 for the class of an image and 0 for the others."""
    return tuple(F.one_hot(labels, classes_of(network)).float() for labels in labels_in_turn(network, n, classes))


def _of_classes(table: Float[Tensor, "classes width"], labels: Labels) -> Float[Tensor, "batch width"]:
    """The row of each label, or the average of all rows by their weights."""
    return labels @ table if labels.is_floating_point() else F.embedding(labels, table)
