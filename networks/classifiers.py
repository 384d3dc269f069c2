"""Two classifiers of images `(batch, *image_shape)` in [−1, 1] to logits `(batch, classes)`, as unlike as possible.

The sizes below are those for the ten digits in images of 1×28×28.

`DigitCNN`: a small convolutional network, 421,738 parameters.

    image 1×28×28 → conv 32×28×28 → pool 32×14×14 → conv 64×14×14 → pool 64×7×7 → 128 features → 10 logits

`DigitReader`: two LSTMs that read an image as sequences, without convolution, pooling or BatchNorm, 195,978 parameters.

    image 1×28×28 → 28 rows    → LSTM → h of the last row    (hidden_size) ┐
                  → 28 columns → LSTM → h of the last column (hidden_size) ┴→ 128 features → 10 logits

The 128 features are the space in which FID compares generated digits with real ones.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from common.arguments import check_image_shape, check_positive
from networks.lstm import LSTM


class DigitCNN(nn.Module):
    """A convolutional classifier: images `(batch, *image_shape)` in [−1, 1] to logits `(batch, classes)`.

    Args:
        image_shape: channels, height and width; the last two are multiples of 4.
        classes: number of classes.

    Raises:
        ValueError: when a size is below 1, or height or width is no multiple of 4.

    Attributes:
        class_names, data_source: of the data that it was trained on; empty if they aren't known.
    """

    class_names: tuple[str, ...] = ()
    data_source: str = ""

    def __init__(self, image_shape: Sequence[int] = (1, 28, 28), classes: int = 10) -> None:
        super().__init__()
        check_positive(classes=classes)
        self.image_shape = check_image_shape("DigitCNN", image_shape, multiple=4)
        self.classes = classes
        channels, height, width = self.image_shape
        self.body = nn.Sequential(
            # Pooling first, so that BatchNorm and ReLU have a quarter of the pixels to process.
            nn.Conv2d(channels, 32, kernel_size=3, padding=1, bias=False),  # (batch, 32, height, width)
            nn.MaxPool2d(2),  # (batch, 32, height / 2, width / 2)
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 64, kernel_size=3, padding=1, bias=False),
            nn.MaxPool2d(2),  # (batch, 64, height / 4, width / 4)
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.25),
            nn.Linear(64 * (height // 4) * (width // 4), 128),  # (batch, 128)
            nn.ReLU(),
        )
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(128, classes))

    def features(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch 128"]:
        """Returns the activations of the penultimate layer, all ≥ 0."""
        features: Tensor = self.body((images + 1) / 2)
        return features

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        logits: Tensor = self.head(self.features(images))
        return logits


class DigitReader(nn.Module):
    """A recurrent classifier: images `(batch, *image_shape)` in [−1, 1] to logits `(batch, classes)`.

    Args:
        hidden_size: units of each LSTM.
        image_shape: channels, height and width.
        classes: number of classes.

    Raises:
        ValueError: when a size is below 1.

    Attributes:
        class_names, data_source: of the data that it was trained on; empty if they aren't known.
    """

    class_names: tuple[str, ...] = ()
    data_source: str = ""

    def __init__(self, hidden_size: int = 128, image_shape: Sequence[int] = (1, 28, 28), classes: int = 10) -> None:
        super().__init__()
        check_positive(classes=classes)
        self.hidden_size = hidden_size
        self.image_shape = check_image_shape("DigitReader", image_shape)
        self.classes = classes
        channels, height, width = self.image_shape
        # The first row must be remembered for as many steps as there are rows.
        self.rows = LSTM(channels * width, hidden_size, init="forget_log", horizon=height)
        self.columns = LSTM(channels * height, hidden_size, init="forget_log", horizon=width)
        self.body = nn.Sequential(nn.Dropout(0.25), nn.Linear(2 * hidden_size, 128), nn.ReLU())
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(128, classes))

    def features(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch 128"]:
        """Returns the activations of the penultimate layer, all ≥ 0."""
        pixels = (images + 1) / 2
        _, (after_rows, _) = self.rows(pixels.permute(2, 0, 1, 3).flatten(2))  # (1, batch, hidden)
        _, (after_columns, _) = self.columns(pixels.permute(3, 0, 1, 2).flatten(2))
        features: Tensor = self.body(torch.cat([after_rows[0], after_columns[0]], dim=1))
        return features

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        logits: Tensor = self.head(self.features(images))
        return logits
