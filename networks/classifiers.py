"""Two classifiers of digits, images `(batch, 1, 28, 28)` in [−1, 1] to logits `(batch, 10)`, as unlike as possible.

`DigitCNN`: a small convolutional network, 421,738 parameters.

    image 1×28×28 → conv 32×28×28 → pool 32×14×14 → conv 64×14×14 → pool 64×7×7 → 128 features → 10 logits

`DigitReader`: two LSTMs that read an image as sequences, without convolution, pooling or BatchNorm, 195,978 parameters.

    image 1×28×28 → 28 rows    → LSTM → h of the last row    (hidden_size) ┐
                  → 28 columns → LSTM → h of the last column (hidden_size) ┴→ 128 features → 10 logits

The 128 features are the space in which FID compares generated digits with real ones.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from networks.lstm import LSTM

SIDE = 28


class DigitCNN(nn.Module):
    """A convolutional classifier: images `(batch, 1, 28, 28)` in [−1, 1] to logits `(batch, 10)`."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            # Pooling first, so that BatchNorm and ReLU have a quarter of the pixels to process.
            nn.Conv2d(1, 32, kernel_size=3, padding=1, bias=False),  # (batch, 32, 28, 28)
            nn.MaxPool2d(2),  # (batch, 32, 14, 14)
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 64, kernel_size=3, padding=1, bias=False),  # (batch, 64, 14, 14)
            nn.MaxPool2d(2),  # (batch, 64, 7, 7)
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.Flatten(),  # (batch, 3136)
            nn.Dropout(0.25),
            nn.Linear(64 * 7 * 7, 128),  # (batch, 128)
            nn.ReLU(),
        )
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(128, 10))

    def features(self, images: Float[Tensor, "batch 1 28 28"]) -> Float[Tensor, "batch 128"]:
        """Returns the activations of the penultimate layer, all ≥ 0."""
        features: Tensor = self.body((images + 1) / 2)
        return features

    def forward(self, images: Float[Tensor, "batch 1 28 28"]) -> Float[Tensor, "batch 10"]:
        logits: Tensor = self.head(self.features(images))
        return logits


class DigitReader(nn.Module):
    """A recurrent classifier: images `(batch, 1, 28, 28)` in [−1, 1] to logits `(batch, 10)`.

    Args:
        hidden_size: units of each LSTM.

    Raises:
        ValueError: when it is below 1.
    """

    def __init__(self, hidden_size: int = 128) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        # The first row must be remembered for 28 steps.
        self.rows = LSTM(SIDE, hidden_size, init="forget_log", horizon=SIDE)
        self.columns = LSTM(SIDE, hidden_size, init="forget_log", horizon=SIDE)
        self.body = nn.Sequential(nn.Dropout(0.25), nn.Linear(2 * hidden_size, 128), nn.ReLU())
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(128, 10))

    def features(self, images: Float[Tensor, "batch 1 28 28"]) -> Float[Tensor, "batch 128"]:
        """Returns the activations of the penultimate layer, all ≥ 0."""
        pixels = (images[:, 0] + 1) / 2
        _, (after_rows, _) = self.rows(pixels.permute(1, 0, 2))  # (1, batch, hidden)
        _, (after_columns, _) = self.columns(pixels.permute(2, 0, 1))
        features: Tensor = self.body(torch.cat([after_rows[0], after_columns[0]], dim=1))
        return features

    def forward(self, images: Float[Tensor, "batch 1 28 28"]) -> Float[Tensor, "batch 10"]:
        logits: Tensor = self.head(self.features(images))
        return logits
