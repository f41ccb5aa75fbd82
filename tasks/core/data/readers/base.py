"""What every reader of a raw dataset gives, whatever the images come from."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.core.data import decode
from tasks.core.data.decode import Pixels, Target
from tasks.core.errors import DecodeError

UNLABELLED = -1
BATCH = 4096  # rows that are Python objects at the same time
SCHEMA = pa.schema({"identity": pa.string(), "path": pa.string(), "split": pa.string(), "label": pa.int32()})


class ImageRef(NamedTuple):
    """An image of a raw dataset, not decoded.

    Args:
        identity: The SHA-256 of its content: of the file, or of the pixels where images aren't files.
        path: Where it is in the source, for a person.
        split: "train", "val", "test", or "" where the source has no splits.
        label: 0..classes-1, or `UNLABELLED`.
    """

    image_id: str
    path: str
    split: str
    label: int


@dataclass(frozen=True)
class ImageIndex:
    """The images of a raw dataset in the source's own order, as columns: 150 bytes an image, not 400.

    Args:
        identity: Strings; fields as in `ImageRef`.
        path: Strings.
        split: Strings (N,).
        label: int32 (N,).
    """

    image_id: pa.ChunkedArray
    path: pa.ChunkedArray
    split: NDArray[np.str_]
    label: NDArray[np.int32]

    @classmethod
    def of(cls, rows: Iterable[ImageRef]) -> "ImageIndex":
        """Collect rows; few at a time are Python objects."""
        rows, batches = iter(rows), []
        while some := list(islice(rows, BATCH)):
            columns = zip(*some, strict=True)
            batches.append(pa.record_batch([*map(pa.array, columns, SCHEMA.types)], schema=SCHEMA))
        table = pa.Table.from_batches(batches, SCHEMA).combine_chunks()
        split = np.array(table["split"].to_pylist(), np.str_)
        return cls(table["identity"], table["path"], split, table["label"].to_numpy())

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, number: int) -> ImageRef:
        identity, path = self.image_id[number].as_py(), self.path[number].as_py()
        return ImageRef(identity, path, str(self.split[number]), int(self.label[number]))

    @cached_property
    def duplicated(self) -> list[int]:
        """Numbers of the images whose content comes more than once, ascending."""
        order = pc.sort_indices(self.image_id).to_numpy()
        laid = self.image_id.take(order)
        same = pc.equal(laid.slice(0, max(0, len(self) - 1)), laid.slice(1)).to_numpy()
        twice = np.zeros(len(self), bool)
        twice[:-1] |= same
        twice[1:] |= same
        return np.sort(order[twice]).tolist()


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """An image as it came out of the decoder; `image` and `original` as `decode.decode` gives them."""

    row: int
    image: Pixels
    original: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class DecodeFailure:
    """An image that couldn't be read, and why."""

    row: int
    reason: str


class Reader(Protocol):
    """A raw dataset, opened.

    Attributes:
        classes: Class names; their order is the labels' meaning.
        shape: Height, width, channels if the source fixes them, else None.
        published: Whether it is a dataset that others report scores on, so that its images stay as they are.
        random_access: Whether `images` may be asked for in any order, at the same cost, and gives them in
            that order.
    """

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def shape(self) -> tuple[int, int, int] | None: ...

    @property
    def published(self) -> bool: ...

    @property
    def random_access(self) -> bool: ...

    def index(self) -> ImageIndex:
        """All images, in the source's own order."""
        ...

    def images(self, wanted: Sequence[int], target: Target) -> Iterator[DecodedImage | DecodeFailure]:
        """Decode the images with the numbers `wanted` (ascending, but for `random_access`)."""
        ...


def decode_image(row: int, content: bytes, target: Target) -> DecodedImage | DecodeFailure:
    try:
        return DecodedImage(row, *decode.decode(content, target))
    except DecodeError as error:
        return DecodeFailure(row, error.summary)
