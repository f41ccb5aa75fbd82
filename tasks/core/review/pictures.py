"""Pictures of the images to look at: from the source if it can be read, else from the tensors."""

import io
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from tasks.core.data import decode
from tasks.core.data.decode import Target
from tasks.core.data.pixels import Pixels, as_picture
from tasks.core.data.readers import factory
from tasks.core.data.readers.base import DecodedImage, Reader
from tasks.core.data.tensors.cache import open_split
from tasks.core.errors import DecodeError, PlumblineError
from tasks.core.review.items import Item
from tasks.core.stage.handles import RawDataset, TensorCache

log = logging.getLogger("plumbline.review")

AS_IT_IS = Target(None, 3)
LOSSLESS = 64  # pixels of the longer side up to which a picture is a PNG
JPEG_QUALITY = 85


class Pictures:
    """Gives the picture of each image.

    Args:
        items: The images that will be asked for. Partners are included.
        tensors: The images at the model's size.
        reader: The source; None if it cannot be read, or has the images at the model's size only.
    """

    def __init__(self, items: Sequence[Item], tensors: TensorCache, reader: Reader | None) -> None:
        self.tensors, self.reader = tensors, reader
        self.numbers = _numbers(with_partners(items), reader) if reader else {}

    def encoded(self, item: Item, side: int) -> tuple[str, bytes]:
        """A picture as a file, reduced to `side` pixels if it is larger, and never enlarged.

        Returns:
            The media type, "image/png" or "image/jpeg", and the content; a grey square if there is nothing to
            show.
        """
        pixels = self._pixels(item)
        if pixels is None and item.thumbnail:
            return "image/png", item.thumbnail
        if pixels is None:
            pixels = np.full((8, 8, 1), 128, np.uint8)
        picture = as_picture(pixels)
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
        content, is_small = io.BytesIO(), max(picture.size) <= LOSSLESS
        if is_small:
            picture.save(content, "png")
        else:
            picture.convert("RGB").save(content, "jpeg", quality=JPEG_QUALITY)
        return f"image/{'png' if is_small else 'jpeg'}", content.getvalue()

    def _pixels(self, item: Item) -> Pixels | None:
        """The original, uint8 (H, W, C); else the tensors' image; None if there is neither."""
        if not item.image_id:
            return _file_pixels(Path(item.path))
        if self.reader and item.key in self.numbers:
            for image in self.reader.images([self.numbers[item.key]], AS_IT_IS):
                if isinstance(image, DecodedImage):
                    return image.image
        return np.asarray(open_split(self.tensors, item.split).images[item.row]) if item.split else None


def open_source(acquire: Callable[[], RawDataset]) -> Reader | None:
    """The source of the pictures; None if it cannot be read, or has no larger pictures than the tensors.

    Args:
        acquire: Gives the source.
    """
    try:
        raw = acquire()
        return None if factory.is_read_whole(raw) else factory.open_raw(raw)
    except (PlumblineError, OSError) as error:
        summary = error.summary if isinstance(error, PlumblineError) else str(error)
        log.warning(
            "review: the source cannot be read, so its pictures are those of the tensors: %s", summary
        )
        return None


def with_partners(items: Sequence[Item]) -> list[Item]:
    """The images, and after each its partner if it has one."""
    return [each for item in items for each in (item, item.partner) if each]


def _numbers(items: Sequence[Item], reader: Reader) -> dict[str, int]:
    """The source's number of each image that is still there with the same content, by key."""
    index = reader.index()
    paths = pa.array([item.path for item in items], pa.string())
    numbers = pc.fill_null(pc.index_in(paths, index.path.combine_chunks()), -1).to_pylist()
    return {
        item.key: number
        for item, number in zip(items, numbers, strict=True)
        if number >= 0 and item.image_id and index.image_id[number].as_py() == item.image_id
    }


def _file_pixels(path: Path) -> Pixels | None:
    try:
        return decode.decode(path.read_bytes(), AS_IT_IS)[0]
    except (OSError, DecodeError):
        return None
