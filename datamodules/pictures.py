"""Reading a folder of pictures into one tensor, in either layout of `ImageFolderDataModule`."""

import hashlib
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Int, UInt8
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor

T = TypeVar("T")

LARGEST = 256
"""The highest height and width of pictures that are taken as they are; larger ones need an `image_shape`."""
HIGHEST = 2**16 - 1
"""The highest value of 16 bits."""


class Pictures(NamedTuple):
    """The pictures of a folder.

    Attributes:
        images: all of them.
        labels: the numbers of their classes; 0 without classes.
        class_names: the names of the classes' folders, in order.
        digest: of all this.
        remarks: what was converted and left out.
    """

    images: UInt8[Tensor, "size channels height width"]
    labels: Int[Tensor, " size"]
    class_names: tuple[str, ...]
    digest: str
    remarks: tuple[str, ...]


_last_read: dict[tuple[Any, ...], Pictures] = {}
"""The pictures that were read last, by their folder, shape and files."""


def read_pictures(root: Path, image_shape: tuple[int, int, int] | None) -> Pictures:
    """Reads a folder, unless it is the last one that was read and its files haven't changed.

    Raises:
        ValueError: as `ImageFolderDataModule` does.
    """
    try:
        by_class, left_out = find_pictures(root)
        of_all = ((name, path, path.stat()) for name, paths in by_class.items() for path in paths)
        files = tuple((name, path, stat.st_size, stat.st_mtime_ns) for name, path, stat in of_all)
    except OSError as error:
        raise ValueError(
            f"{error.filename} can't be read ({error.strerror}); remove it, or make it readable"
        ) from error
    if len(files) < 3:
        held = f"{len(files)} picture{'s' * (len(files) > 1)}"
        raise ValueError(f"{root} holds {held}; add more, because each of the three splits needs one")
    key = (root, image_shape, files)
    if key not in _last_read:
        pictures = _read_pictures(root, image_shape, [(name, path) for name, path, *_ in files])
        _last_read.clear()
        _last_read.update({key: pictures, (root, tuple(pictures.images.shape[1:]), files): pictures})
    return _last_read[key]._replace(remarks=(*_last_read[key].remarks, *left_out))


def find_pictures(root: Path) -> tuple[dict[str, list[Path]], list[str]]:
    """Returns the pictures of each class, in order, and what is left out. A folder without classes has one, "".

    Raises:
        OSError: when a folder can't be listed.
        ValueError: when the folder holds no pictures, or anything but one of the two layouts.
    """
    if not root.is_dir():
        raise ValueError(f"{root} is not a folder; write --data.root with the folder that holds your pictures")
    folders = [path for path in _listed(root) if path.is_dir()]
    files = {folder: [path for path in _listed(folder) if not path.is_dir()] for folder in (root, *folders)}
    pictures = {folder: [*filter(_is_picture, paths)] for folder, paths in files.items()}
    for inner in (path for folder in folders for path in _listed(folder) if path.is_dir()):
        if any(map(_is_picture, _listed(inner))):
            raise ValueError(f"the pictures in {inner} are too deep; write --data.root {inner.parent}, or move them up")
    by_class = {folder.name: pictures[folder] for folder in folders if pictures[folder]}
    if pictures[root] and by_class:
        raise ValueError(
            f"{root} holds pictures, such as {pictures[root][0].name}, beside folders of pictures, such as "
            f"{next(iter(by_class))}; move each picture into the folder of its class"
        )
    others = [path for paths in files.values() for path in paths if not _is_picture(path)]
    if not (pictures[root] or by_class):
        instead = f", but files such as {others[0].name}" if others else ""
        raise ValueError(
            f"{root} holds no pictures that Pillow opens{instead}; write --data.root with a folder that holds "
            "class/picture.png or picture.png"
        )
    left_out = [f"{len(others):,} files of other kinds left out, such as {others[0].name}"] if others else []
    left_out += [
        f"{folder.name} is no class, because it holds no pictures" for folder in folders if not pictures[folder]
    ]
    return by_class or {"": pictures[root]}, left_out


def _listed(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _is_picture(path: Path) -> bool:
    """Whether the ending is that of a format that Pillow opens."""
    return Image.registered_extensions().get(path.suffix.lower()) in Image.OPEN


def _read_pictures(root: Path, image_shape: tuple[int, int, int] | None, files: Sequence[tuple[str, Path]]) -> Pictures:
    paths = [path for _, path in files]
    if image_shape is None:
        _check_sizes(root, _of_each(_size, paths))  # before reading them all
    pictures, converted = zip(*_of_each(partial(_read_picture, image_shape), paths), strict=True)
    if image_shape is None:
        _check_sizes(root, [picture.size for picture in pictures])
    is_grey = image_shape[0] == 1 if image_shape else all(picture.mode == "L" for picture in pictures)
    width, height = pictures[0].size
    images = np.empty((len(pictures), 1 if is_grey else 3, height, width), np.uint8)
    for pixels, picture in zip(images, pictures, strict=True):
        pixels[:] = np.atleast_3d(np.asarray(picture.convert("L" if is_grey else "RGB"))).transpose(2, 0, 1)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(name for name, _ in files))}
    labels = [numbers[name] for name, _ in files]
    names = tuple(filter(None, numbers))
    digest = hashlib.blake2b(repr((names, labels, images.shape)).encode(), digest_size=4)
    digest.update(images.data)
    remarks = tuple(f"{count:,} {remark}" for remark, count in Counter(chain(*converted)).items())
    return Pictures(torch.from_numpy(images), torch.tensor(labels), names, digest.hexdigest(), remarks)


def _of_each(read: Callable[[Path], T], paths: Sequence[Path]) -> list[T]:
    """What is read of each file.

    Raises:
        ValueError: when some can't be read.
    """
    found, errors = [], []
    for path in paths:
        try:
            found.append(read(path))
        except ValueError as error:
            errors.append((path, error))
    if errors:
        others = [path.name for path, _ in errors[1:]]
        also = f"; nor can {len(others):,} more, such as {', '.join(others[:3])}" if others else ""
        raise ValueError(f"{errors[0][1]}{also}") from errors[0][1]
    return found


def _read_picture(image_shape: tuple[int, int, int] | None, path: Path) -> tuple[Image.Image, list[str]]:
    """A picture, scaled and cropped if there is a shape, and what was converted."""
    with _opened(path) as opened:
        if image_shape is not None:  # decodes a JPEG at a fraction of its size, at least twice the size asked for
            opened.draft(None, (2 * max(image_shape[1:]), 2 * max(image_shape[1:])))
        picture, converted = _convert(opened)
    if image_shape is not None and picture.size != image_shape[:0:-1]:
        picture = ImageOps.fit(picture, image_shape[:0:-1])
    return picture, converted


def _size(path: Path) -> tuple[int, int]:
    with _opened(path) as picture:
        # Turned by a quarter; Pillow turns a TIFF by itself.
        turned = picture.format != "TIFF" and picture.getexif().get(ExifTags.Base.Orientation, 1) > 4
        return picture.size[::-1] if turned else picture.size


def _check_sizes(root: Path, sizes: Sequence[tuple[int, int]]) -> None:
    """Raises ValueError unless all pictures have one size, and it is small enough to be meant."""
    several = Counter(sizes).most_common()
    found = ", ".join(f"{count:,} of {height}×{width}" for (width, height), count in several[:3])
    if len(several) > 3:
        found += f" and {len(several) - 3:,} more"
    if len(several) == 1 and max(several[0][0]) > LARGEST:
        found += f", more than {LARGEST} pixels"
    elif len(several) == 1:
        return
    raise ValueError(
        f"the sizes of the pictures in {root} are (height×width): {found}; write --data.image_shape [3,32,32], say, to "
        "which they are scaled and cropped"
    )


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Opens a picture, of which so far only the head is read.

    Raises:
        ValueError: when the file isn't a picture, or the block raises an error.
    """
    try:
        with warnings.catch_warnings(), Image.open(path) as picture:
            warnings.simplefilter("ignore")  # about many pixels, or odd metadata
            yield picture
    except Exception as error:  # Pillow raises many kinds of exception for a damaged file
        reason = "no picture" if isinstance(error, UnidentifiedImageError) else " ".join(str(error).split())
        raise ValueError(f"{path} can't be read ({reason}); remove it, or save it as a PNG") from error


def _convert(picture: Image.Image) -> tuple[Image.Image, list[str]]:
    """Returns a picture in mode L, if it is grey, or RGB, and what was converted.

    Raises:
        ValueError: when its pixels aren't whole numbers of 16 bits or less.
    """
    mode, file_format, converted = picture.mode, picture.format, []
    if getattr(picture, "is_animated", False):
        converted.append("animated (first frame taken)")
    is_grey = mode in ("1", "L", "LA", "La")
    if mode == "P":
        palette = picture.getpalette() or []
        is_grey = palette[0::3] == palette[1::3] == palette[2::3]
    picture = ImageOps.exif_transpose(picture)
    if mode.startswith(("I", "F")):
        pixels = np.asarray(picture)
        if mode == "F" or (mode == "I" and file_format not in ("PNG", "PPM")):  # of these, 16 bits may become "I"
            raise ValueError("its pixels aren't whole numbers of 16 bits or less")
        converted.append("of 16 bits (scaled to 8)")
        return Image.fromarray((pixels / HIGHEST * 255).round().astype(np.uint8)), converted
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        converted.append("transparent (laid over white)")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    elif mode not in ("L", "RGB"):
        converted.append(f"of mode {mode} (converted to {'grey' if is_grey else 'RGB'})")
    return picture.convert("L" if is_grey else "RGB"), converted
