"""A split's images at another size than the tensors', decoded from the source when they are indexed."""

from typing import Any, cast

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.core import shares
from tasks.core.data.decode import Target
from tasks.core.data.readers import factory
from tasks.core.data.readers.base import DecodeFailure, ImageIndex, Reader
from tasks.core.data.tensors.cache import Split, open_split, read_rows
from tasks.core.errors import DataError
from tasks.core.stage.handles import Model, RawDataset, TensorCache

Images = NDArray[np.uint8]


class OriginalImages:
    """Images of a source, decoded when they are indexed. It is used like the array of these images.

    Args:
        reader: The source.
        numbers: int64 (n,); the source's number of each image.
        target: The size and the number of channels to decode to.
    """

    base = None  # it maps no file

    def __init__(self, reader: Reader, numbers: NDArray[np.int64], target: Target) -> None:
        assert target.size is not None  # noqa: S101 - an array's images have one size
        self.reader, self.numbers, self.target = reader, numbers, target
        self.shape = (len(numbers), *target.size, target.channels)
        self.dtype = np.dtype(np.uint8)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, key: Any) -> Images:
        """The images of a slice or of row numbers, uint8 (n, H, W, C); of one number, uint8 (H, W, C).

        Raises:
            DataError: An image can no longer be read.
        """
        wanted = np.atleast_1d(self.numbers[key])
        numbers, positions = np.unique(wanted, return_inverse=True)
        images = np.empty((len(numbers), *self.shape[1:]), np.uint8)
        position_of = {number: position for position, number in enumerate(numbers.tolist())}
        for image in self.reader.images(numbers.tolist(), self.target):
            if isinstance(image, DecodeFailure):
                raise unreadable(self.reader, image)
            images[position_of[image.row]] = image.image
        return images[positions] if np.ndim(self.numbers[key]) else images[0]


def unreadable(reader: Reader, failure: DecodeFailure) -> DataError:
    """The error about an image that was readable when the tensors were made."""
    return DataError(
        f"an image can no longer be read: {reader.index()[failure.row].path}",
        expected="the file that was listed and decoded at the start of the run",
        found=failure.reason,
        done="nothing was published",
        todo="run again: the folder is then listed again",
    )


def open_images(tensors: TensorCache, split: str, model: Model, raw: RawDataset | None) -> Images:
    """A split's images as a model takes them.

    Args:
        tensors: The tensors.
        split: "train", "val" or "test".
        model: The model.
        raw: The source; needed if the tensors have another shape or fit.

    Returns:
        uint8 (N, H, W, C): the mapped tensors, or an `OriginalImages`.

    Raises:
        DataError: The source is not that of the tensors.
    """
    if takes_tensors(model, tensors):
        return open_split(tensors, split).images
    if raw is None:
        raise DataError(
            "the tensors are not as the model takes images, and their source is not known",
            expected=f"images of {model.shape}, fit {model.fit}",
            found=f"{tensors.shape}, fit {tensors.fit}",
        )
    reader = factory.open_raw(raw)
    images = OriginalImages(reader, numbers_of(reader.index(), tensors, split), target_of(model))
    return cast(Images, images)


def open_labelled(tensors: TensorCache, split: str, model: Model, raw: RawDataset | None) -> Split:
    """As `open_images`, with the labels."""
    return Split(open_images(tensors, split, model, raw), open_split(tensors, split).labels)


def ingredients(
    model: Model, tensors: TensorCache, raw: RawDataset | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Modules and libraries that decide the images of `open_images` besides the tensors; empty if none."""
    if raw is None or takes_tensors(model, tensors):
        return (), ()
    return (__name__, *factory.modules(raw)), factory.libraries(raw)


def takes_tensors(model: Model, tensors: TensorCache) -> bool:
    """Whether a model takes images as the tensors have them."""
    return tuple(model.shape) == tuple(tensors.shape) and _reading(model) == _reading(tensors)


def _reading(handle: Model | TensorCache) -> tuple[str, int]:
    return str(handle.fit), handle.grey_bits


def target_of(model: Model) -> Target:
    """How images are decoded for a model."""
    height, width, channels = model.shape
    return Target((height, width), channels, model.fit, model.grey_bits)


def numbers_of(index: ImageIndex, tensors: TensorCache, split: str) -> NDArray[np.int64]:
    """The source's number of each image of a split, int64 (N,), in the order of the tensors.

    Raises:
        DataError: An image of the tensors is not in the source.
    """
    rows = read_rows(tensors, ["image_id", "path"], split)
    numbers = pc.index_in(rows["path"], index.path.combine_chunks())
    numbers = np.asarray(pc.fill_null(numbers, -1), np.int64)
    if (numbers < 0).any() or not index.image_id.take(numbers).equals(rows["image_id"]):
        raise DataError(
            f"the {split} images are not those of their source",
            expected=f"{shares.counted(len(numbers), 'image')} with the same path and content",
            found=f"{int((numbers < 0).sum()):,} of these paths are missing, or a content differs",
        )
    return numbers
