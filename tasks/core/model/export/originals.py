"""Test images at their own size: what callers give to an export that takes images of any size."""

from collections.abc import Iterator

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.core.data.decode import Target
from tasks.core.data.pixels import Pixels
from tasks.core.data.readers import factory
from tasks.core.data.readers.base import DecodeFailure
from tasks.core.data.tensors.cache import read_rows
from tasks.core.errors import DataError
from tasks.core.stage.handles import RawDataset, TensorCache

COUNT = 500  # the first test images; their order is random with respect to class


def originals(
    raw: RawDataset, tensors: TensorCache, channels: int, count: int = COUNT
) -> Iterator[tuple[int, Pixels]]:
    """Decode test images at their own size, by the rules of `tasks.core.data.decode`.

    Args:
        raw: The source.
        tensors: Its tensors, which say which images are test.
        channels: 1 or 3.
        count: Only the first rows; all if there are fewer.

    Yields:
        The image's row among the test images, and the image, uint8 (H, W, C).

    Raises:
        DataError: An image is no longer what it was when it was listed.
    """
    reader = factory.open_raw(raw)
    image_ids = read_rows(tensors, ["image_id"], "test")["image_id"][:count]
    numbers = np.asarray(pc.fill_null(pc.index_in(image_ids, reader.index().image_id), -1), np.int64)
    if (numbers < 0).any():
        raise _changed(raw, f"{(numbers < 0).sum()} of {len(numbers)} test images are not there")
    wanted = np.unique(numbers)
    for image in reader.images(wanted.tolist(), Target(None, channels, grey_bits=tensors.grey_bits)):
        if isinstance(image, DecodeFailure):
            raise _changed(raw, image.reason)
        for row in _rows(numbers, image.row):
            yield row, image.image


def _rows(numbers: NDArray[np.int64], number: int) -> list[int]:
    """The rows with this image: several where test has exact copies of it."""
    return np.flatnonzero(numbers == number).tolist()


def _changed(raw: RawDataset, found: str) -> DataError:
    return DataError(
        f"the images of {raw.dataset} have changed during the run",
        expected="the test images as they were listed, to verify the exports on",
        found=found,
        done="no export was written",
        todo="run again",
    )
