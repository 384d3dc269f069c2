"""Pictures made of images: grids with a text under each image, strips, pages with a caption, animations."""

from collections.abc import Iterator, Sequence
from math import ceil, sqrt
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn
from torch.nn.functional import pad
from torchvision.transforms.functional import to_pil_image
from torchvision.utils import make_grid

from common.files import replacing

Images = Float[Tensor, "n channels height width"]

CHANNELS = (1, 3)
ENLARGEMENT = 2
ANIMATION_ENLARGEMENT = 5
MARGIN = 2
"""The space between images, in their own pixels."""
GREY = 76
TEXT_SIZE, TEXT_HEIGHT = 11, 16
CAPTION_SIZE, CAPTION_HEIGHT, CAPTION_INDENT = 13, 22, 6
STRIP_WIDTH = 15
"""The most frames in a row of a strip, so that texts stay legible when the picture is fitted to a page."""
CLASS_ROW = 10
"""The most images of a class in a row, unless a square grid has more."""
GAP = 12
"""The space between the pictures of a page, in pixels."""
FRAME_MS, WAYPOINT_MS = 80, 800
DATA_NAMES = {
    "torchvision": "MNIST",
    "packaged": "the packaged digits",
    "unnamed": "unnamed data",
    "fashion_mnist": "Fashion-MNIST",
    "kmnist": "KMNIST",
    "emnist_letters": "EMNIST letters",
}


def trained_on(step: int, data_source: str) -> str:
    """How long and on which data a generator was trained, such as "after 500 batches of MNIST"."""
    return f"after {step:,} batch{'es' * (step != 1)} of {DATA_NAMES.get(data_source, data_source)}"


def interpolation_title(interpolation: str, ends: Sequence[str] = ()) -> str:
    """What a strip shows, such as "lerp from 3 to 8 to 1"."""
    return f"{interpolation} from {' to '.join(ends)}" if ends else interpolation


def predictions(classifier: nn.Module | None, images: Images) -> list[str]:
    """The classifier's label and confidence for each image, such as "3: 97%"; none if it takes another shape."""
    if classifier is None or images.shape[1:] != classifier.image_shape:
        return []
    with torch.no_grad():
        confidences, digits = classifier(images).softmax(dim=1).max(dim=1)
    return [f"{digit}: {value:.0%}" for digit, value in zip(digits.tolist(), confidences.tolist(), strict=True)]


def to_pixels(images: Images) -> UInt8[Tensor, "n channels height width"]:
    """Images in [−1, 1] as bytes from 0, black, to 255, white or the full colour.

    Raises:
        ValueError: unless the images have 1 channel, grey, or 3, red, green and blue.
    """
    if images.dim() != 4 or images.shape[1] not in CHANNELS:
        raise ValueError(f"pictures are made of images (n, 1 or 3 channels, height, width), not {tuple(images.shape)}")
    return images.float().cpu().add(1).mul(127.5).clamp(0, 255).round().byte()


def to_pil(images: Images) -> Iterator[Image.Image]:
    """Each image in [−1, 1] as a picture of the same size, in greyscale or in colour."""
    return map(to_pil_image, to_pixels(images))


def grid(
    images: Images,
    per_row: int,
    texts: Sequence[str] = (),
    enlargement: int = ENLARGEMENT,
) -> Image.Image:
    """Images in [−1, 1] in rows of at most `per_row`, enlarged, each with its text beneath if there are any."""
    margin = MARGIN * enlargement
    tiles = to_pixels(images).repeat_interleave(enlargement, 2).repeat_interleave(enlargement, 3)
    tiles = pad(tiles, (0, margin, 0, margin + TEXT_HEIGHT * bool(texts)), value=GREY)
    height, width = tiles.shape[2:]
    # make_grid's own padding leaves out a single image; it repeats a single channel.
    cells = make_grid(tiles, per_row, padding=0, pad_value=GREY)[: tiles.shape[1]]
    picture: Image.Image = to_pil_image(pad(cells, (margin, 0, margin, 0), value=GREY))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(TEXT_SIZE)
    for place, text in enumerate(texts):
        row, column = divmod(place, per_row)
        centre = (column * width + (width + margin) / 2, (row + 1) * height - TEXT_HEIGHT / 2)
        draw.text(centre, text, fill="white", font=font, anchor="mm")
    return picture


def class_rows(images: Images, classes: int) -> tuple[Float[Tensor, "cells channels height width"], int]:
    """Arranges images of so many classes in turn for `grid`, so that each class starts a row.

    Returns:
        The images, with grey ones after those of a class whose last row isn't full, and the number of images in a row.
    """
    classes = min(classes, len(images))
    of_class = ceil(len(images) / classes)
    rows = ceil(of_class / max(CLASS_ROW, ceil(sqrt(len(images)))))
    per_row = ceil(of_class / rows)
    size = per_row * rows
    blank = images.new_full((classes * size - len(images), *images.shape[1:]), GREY / 127.5 - 1)
    return torch.cat([images, blank]).unflatten(0, (size, classes)).transpose(0, 1).flatten(0, 1), per_row


def strip(frames: Images, texts: Sequence[str] = ()) -> Image.Image:
    """Frames side by side, or in as few rows as hold them, all about as long."""
    rows = ceil(len(frames) / STRIP_WIDTH)
    return grid(frames, ceil(len(frames) / rows), texts)


def page(pictures: Sequence[Image.Image], caption: str) -> Image.Image:
    """Pictures one below the other over a line of text, on white."""
    font = ImageFont.load_default(CAPTION_SIZE)
    bottom = sum(picture.height + GAP for picture in pictures) - GAP
    width = max(*(picture.width for picture in pictures), ceil(font.getlength(caption)) + 2 * CAPTION_INDENT)
    canvas = Image.new("RGB", (width, bottom + CAPTION_HEIGHT), "white")
    top = 0
    for picture in pictures:
        canvas.paste(picture, (0, top))
        top += picture.height + GAP
    ImageDraw.Draw(canvas).text((CAPTION_INDENT, bottom + 4), caption, fill="black", font=font)
    return canvas


def write_png(picture: Image.Image, path: Path) -> None:
    """Writes the whole file or none, and makes its folder."""
    with replacing(path) as draft:
        picture.save(draft, format="PNG")


def write_numbered(images: Images, folder: Path, first: int = 0) -> None:
    """Writes each image in [−1, 1] to a file of its own: 000000.png, 000001.png and so on, counted from `first`."""
    pictures = to_pil(images)
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(pictures, first):
        image.save(folder / f"{number:06d}.png")


def write_animation(
    strips: Float[Tensor, "strips frames channels height width"],
    path: Path,
    texts: Sequence[Sequence[str]],
    waypoints_every: int,
    caption: str,
) -> None:
    """Writes a GIF that plays all strips at once, side by side, forwards and backwards in a loop.

    Args:
        strips: images in [−1, 1].
        path: the GIF.
        texts: for each strip, the text of each frame, or none.
        waypoints_every: number of frames from one waypoint, which is shown longer, to the next.
        caption: the line of text below.
    """
    last = strips.shape[1] - 1
    times = [*range(last), *range(last, 0, -1)]

    def frame(time: int) -> Image.Image:
        images = grid(
            strips[:, time], ceil(sqrt(len(strips))), [text[time] for text in texts if text], ANIMATION_ENLARGEMENT
        )
        return page([images], caption).convert(images.mode)

    durations = [FRAME_MS if time % waypoints_every else WAYPOINT_MS for time in times]
    with replacing(path) as draft:
        others = map(frame, times[1:])  # one at a time: each is as large as all strips together
        frame(0).save(draft, format="GIF", save_all=True, append_images=others, duration=durations, loop=0)
