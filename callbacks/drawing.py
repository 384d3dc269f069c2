"""Images as pictures: grids with a text under each image, strips, animations. Pillow draws, in shades of grey."""

from collections.abc import Iterator, Sequence
from math import ceil, sqrt
from pathlib import Path

import torch
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from common.files import replacing

ENLARGEMENT = 2
ANIMATION_ENLARGEMENT = 5
MARGIN = 2
"""Between images, in their own pixels."""
GREY = 76
SHADES = 16
TEXT_SIZE, TEXT_HEIGHT = 11, 16
CAPTION_SIZE, CAPTION_HEIGHT, CAPTION_INDENT = 13, 22, 6
STRIP_WIDTH = 15
"""Frames in a row; longer strips go on in the next, so that texts stay legible when a picture is fitted to a page."""
GAP = 12
"""Between strips, in pixels of the picture."""
FRAME_MS, WAYPOINT_MS = 80, 800
IN_WORDS = {"torchvision": "MNIST", "packaged": "the packaged digits", "unnamed": "unnamed data"}


def trained_on(step: int, data_source: str) -> str:
    """How much of what the images are learned from, in words that stand under every picture."""
    return f"after {step:,} batch{'es' * (step != 1)} of {IN_WORDS.get(data_source, data_source)}"


def along(path: str, ends: Sequence[str] = ()) -> str:
    """What a strip shows, in words, such as "3 to 8 to 1 in a straight line"."""
    way = {"lerp": "a straight line", "slerp": "an arc"}[path]
    return f"{' to '.join(ends)} in {way}" if ends else way


def readings(classifier: nn.Module, images: Float[Tensor, "n 1 28 28"]) -> list[str]:
    """What the classifier takes each image for and how sure it is, such as "3: 97%"."""
    with torch.no_grad():
        confidences, digits = classifier(images).softmax(dim=1).max(dim=1)
    return [
        f"{digit}: {confidence:.0%}" for digit, confidence in zip(digits.tolist(), confidences.tolist(), strict=True)
    ]


def shades(images: Float[Tensor, "n 1 height width"]) -> Iterator[Image.Image]:
    """Each image, in [−1, 1], pixel by pixel, from black to white."""
    values = images.float().cpu().add(1).mul(127.5).clamp(0, 255).round().byte()
    for image in values[:, 0].numpy():
        yield Image.fromarray(image)


def grid(
    images: Float[Tensor, "n 1 height width"],
    per_row: int,
    texts: Sequence[str] = (),
    enlargement: int = ENLARGEMENT,
) -> Image.Image:
    """Images in [−1, 1] in rows of at most `per_row`, enlarged, with margins around, and each over its text if any."""
    count, _, height, width = images.shape
    columns, rows = min(per_row, count), ceil(count / per_row)
    text_height = TEXT_HEIGHT if texts else 0
    margin = MARGIN * enlargement
    across, down = width * enlargement + margin, height * enlargement + margin + text_height
    picture = Image.new("L", (columns * across + margin, rows * down + margin), GREY)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(TEXT_SIZE)
    for place, image in enumerate(shades(images)):
        row, column = divmod(place, per_row)
        left, top = margin + column * across, margin + row * down
        size = (width * enlargement, height * enlargement)
        picture.paste(image.resize(size, Image.Resampling.NEAREST), (left, top))
        if texts:
            below = (left + size[0] / 2, top + size[1] + text_height / 2)
            draw.text(below, texts[place], fill="white", font=font, anchor="mm")
    return picture


def strip(frames: Float[Tensor, "n 1 height width"], texts: Sequence[str] = ()) -> Image.Image:
    """Frames side by side, or in as few rows as hold them, all about as long."""
    rows = ceil(len(frames) / STRIP_WIDTH)
    return grid(frames, ceil(len(frames) / rows), texts)


def page(pictures: Sequence[Image.Image], caption: str) -> Image.Image:
    """Pictures one below the other over a line of text, on white."""
    font = ImageFont.load_default(CAPTION_SIZE)
    widths = [picture.width for picture in pictures]
    bottom = sum(picture.height for picture in pictures) + GAP * (len(pictures) - 1)
    width = max(*widths, ceil(font.getlength(caption)) + 2 * CAPTION_INDENT)
    canvas = Image.new("RGB", (width, bottom + CAPTION_HEIGHT), "white")
    top = 0
    for picture in pictures:
        canvas.paste(picture, (0, top))
        top += picture.height + GAP
    ImageDraw.Draw(canvas).text((CAPTION_INDENT, bottom + 4), caption, fill="black", font=font)
    return canvas


def few_shades(picture: Image.Image) -> Image.Image:
    """The picture in so few shades of grey that its file is small."""
    return picture.convert("L").quantize(SHADES)


def write_png(picture: Image.Image, path: Path) -> None:
    """Writes it whole or not at all."""
    with replacing(path) as draft:
        picture.save(draft, format="PNG")


def write_numbered(images: Float[Tensor, "n 1 height width"], folder: Path, first: int = 0) -> None:
    """Writes each image in [−1, 1] as it is: 000000.png, 000001.png and so on, counted from `first`."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(shades(images), first):
        image.save(folder / f"{number:06d}.png")


def write_animation(
    strips: Float[Tensor, "strips frames 1 height width"],
    path: Path,
    texts: Sequence[Sequence[str]],
    waypoints_every: int,
    caption: str,
) -> None:
    """Writes a GIF in which all strips play at once, side by side, there and back for ever.

    Args:
        texts: for each strip, that of each frame.
        waypoints_every: distance between frames to rest at, in frames.
    """
    count, last = len(strips), len(strips[0]) - 1
    per_row = ceil(sqrt(count))
    there_and_back = [*range(last), *range(last, 0, -1)]

    def frame(time: int) -> Image.Image:
        row = grid(strips[:, time], per_row, [text[time] for text in texts], ANIMATION_ENLARGEMENT)
        return page([row], caption).convert("L")

    durations = [FRAME_MS if time % waypoints_every else WAYPOINT_MS for time in there_and_back]
    with replacing(path) as draft:
        others = map(frame, there_and_back[1:])  # one at a time, for each is as large as all strips together
        frame(0).save(draft, format="GIF", save_all=True, append_images=others, duration=durations, loop=0)
