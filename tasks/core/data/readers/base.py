"""What the readers of all formats give: an index of the images, and the decoded images."""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import IO, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.core.data import decode, decode_blocks, pixels
from tasks.core.data.block_decoder.library import FileBlock, Library
from tasks.core.data.block_decoder.recent_files import KeptContents
from tasks.core.data.block_decoder.text_hashes import digits_of
from tasks.core.data.decode import Target
from tasks.core.data.decode_blocks import DecodedRun
from tasks.core.data.files.columns import ATTRIBUTE, GROUP
from tasks.core.data.pixels import Pixels
from tasks.core.errors import DecodeError

UNLABELLED = -1
EMPTY = hashlib.sha256(b"").hexdigest()  # the image_id of empty files: unreadable, and not alike
BATCH = 4096  # rows held as Python objects at a time
SCHEMA = pa.schema({"image_id": pa.string(), "path": pa.string(), "split": pa.string(), "label": pa.int32()})


class ImageRef(NamedTuple):
    """An image of a raw dataset, not decoded.

    Args:
        image_id: The SHA-256 of its content: of the file, or of the pixels where images are not files.
        path: Where it is in the source, in a form that users can read.
        split: "train", "val", "test", or "" where the source has no splits.
        label: 0..classes-1, or `UNLABELLED`.
    """

    image_id: str
    path: str
    split: str
    label: int


TOO_MANY_BITS = re.compile(pixels.TOO_MANY_BITS.format(r"(\d+)"))


@dataclass(frozen=True)
class ImageIndex:
    """The images of a raw dataset in the source's own order, as columns: 150 bytes per image instead of 400.

    Args:
        image_id: Strings (N,); fields as in `ImageRef`.
        path: Strings (N,).
        split: Strings (N,).
        label: int32 (N,).
        group: Strings (N,), the name of each image's group; null for an image that is its own group. None
            where the source has no groups.
        attributes: By name, beginning with `ATTRIBUTE`, strings (N,) with null where there is no value.
    """

    image_id: pa.ChunkedArray
    path: pa.ChunkedArray
    split: NDArray[np.str_]
    label: NDArray[np.int32]
    group: pa.ChunkedArray | None = None
    attributes: Mapping[str, pa.ChunkedArray] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Iterable[ImageRef]) -> "ImageIndex":
        """Collect rows. At most `BATCH` of them are Python objects at a time."""
        rows, batches = iter(rows), []
        while batch := list(islice(rows, BATCH)):
            columns = zip(*batch, strict=True)
            batches.append(pa.record_batch([*map(pa.array, columns, SCHEMA.types)], schema=SCHEMA))
        table = pa.Table.from_batches(batches, SCHEMA).combine_chunks()
        split = np.array(table["split"].to_pylist(), np.str_)
        return cls(table["image_id"], table["path"], split, table["label"].to_numpy())

    def with_columns(self, columns: Mapping[str, pa.ChunkedArray]) -> "ImageIndex":
        """The index with further columns, named as in `columns.kept`."""
        attributes = {name: values for name, values in columns.items() if name.startswith(ATTRIBUTE)}
        return replace(self, group=columns.get(GROUP), attributes=attributes)

    def take(self, numbers: NDArray[np.int64]) -> "ImageIndex":
        """The index of some of its images, with all their columns."""
        return ImageIndex(
            self.image_id.take(numbers),
            self.path.take(numbers),
            self.split[numbers],
            self.label[numbers],
            None if self.group is None else self.group.take(numbers),
            {name: values.take(numbers) for name, values in self.attributes.items()},
        )

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, number: int) -> ImageRef:
        image_id, path = self.image_id[number].as_py(), self.path[number].as_py()
        return ImageRef(image_id, path, str(self.split[number]), int(self.label[number]))

    @cached_property
    def duplicated(self) -> list[int]:
        """Numbers of the images whose content occurs more than once, ascending."""
        order = pc.sort_indices(self.image_id).to_numpy()
        sorted_ids = self.image_id.take(order)
        equals_next = pc.equal(sorted_ids.slice(0, max(0, len(self) - 1)), sorted_ids.slice(1)).to_numpy()
        is_repeated = np.zeros(len(self), bool)
        is_repeated[:-1] |= equals_next
        is_repeated[1:] |= equals_next
        return np.sort(order[is_repeated]).tolist()


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """A decoded image; `image` and `original` as returned by `decode.decode`."""

    row: int
    image: Pixels
    original: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class DecodedBlock:
    """Consecutive images of what was wanted.

    Args:
        rows: int64 (n,); their numbers.
        images: uint8 (n, H, W, C).
        originals: int32 (n, 3); `original` of each, as returned by `decode.decode`.
    """

    rows: NDArray[np.int64]
    images: Pixels
    originals: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class DecodeFailure:
    """An image that could not be read, and the reason."""

    row: int
    reason: str

    @property
    def grey_bits(self) -> int:
        """The bits that its grey values need, if it was not read since the target has fewer; else 0."""
        match = TOO_MANY_BITS.match(self.reason)
        return int(match[1]) if match else 0


Decoded = DecodedImage | DecodedBlock | DecodeFailure


class Reader(Protocol):
    """An open raw dataset.

    Attributes:
        classes: Class names; a label is an index into them.
        shape: Height, width and channels if the source fixes them, else None.
        published: Whether others report scores on this dataset. If so, no readable image is left out.
        random_access: Whether `images` accepts numbers in any order at the same cost, and yields the images
            in that order.
    """

    @property
    def classes(self) -> tuple[str, ...]:
        """See `Reader`."""

    @property
    def shape(self) -> tuple[int, int, int] | None:
        """See `Reader`."""

    @property
    def published(self) -> bool:
        """See `Reader`."""

    @property
    def random_access(self) -> bool:
        """See `Reader`."""

    def index(self) -> ImageIndex:
        """All images, in the source's own order."""
        ...

    def images(self, wanted: Sequence[int], target: Target) -> Iterator[DecodedImage | DecodeFailure]:
        """Decode the images with the numbers `wanted`, which are ascending unless `random_access` is true."""
        ...

    def blocks(self, wanted: Sequence[int], target: Target) -> Iterator[Decoded]:
        """As `images`, and in the same order, where some images may come as a block."""
        ...

    def files(self, wanted: Sequence[int]) -> Iterator[IO[bytes] | None]:
        """The image files with the numbers `wanted`, ascending, each open; None where there is none."""
        ...


class WrappedReader:
    """A reader that changes a part of another one. What a subclass does not define is the other reader's."""

    reader: Reader

    @property
    def classes(self) -> tuple[str, ...]:
        """See `Reader`."""
        return self.reader.classes

    @property
    def shape(self) -> tuple[int, int, int] | None:
        """See `Reader`."""
        return self.reader.shape

    @property
    def published(self) -> bool:
        """See `Reader`."""
        return self.reader.published

    @property
    def random_access(self) -> bool:
        """See `Reader`."""
        return self.reader.random_access

    def index(self) -> ImageIndex:
        """See `Reader`."""
        return self.reader.index()

    def images(self, wanted: Sequence[int], target: Target) -> Iterator[DecodedImage | DecodeFailure]:
        """See `Reader`."""
        return self.reader.images(wanted, target)

    def blocks(self, wanted: Sequence[int], target: Target) -> Iterator[Decoded]:
        """See `Reader`."""
        return self.reader.blocks(wanted, target)

    def files(self, wanted: Sequence[int]) -> Iterator[IO[bytes] | None]:
        """See `Reader`."""
        return self.reader.files(wanted)


def decode_image(row: int, content: bytes, target: Target) -> DecodedImage | DecodeFailure:
    """Decode the image with this number; an error becomes a `DecodeFailure`."""
    try:
        return DecodedImage(row, *decode.decode(content, target))
    except DecodeError as error:
        return DecodeFailure(row, error.summary)


def decode_files(
    decoder: Library,
    folder: str,
    files: pa.Table,
    rows: NDArray[np.int64],
    kept: KeptContents | None,
    target: Target,
    rest: Callable[[int], DecodedImage | DecodeFailure],
) -> Iterator[Decoded]:
    """Decode the files of some rows of a listing, in their order.

    Args:
        decoder: The compiled decoder.
        folder: What the paths are relative to.
        files: These rows of `listing.SCHEMA`.
        rows: int64 (n,), their numbers.
        kept: Contents that need not be read again, by number.
        target: Wanted size and channels.
        rest: Decodes an image that the compiled decoder left, by its number.
    """
    stamps, contents = (kept.stamps[rows], kept.address[rows]) if kept else (None, None)
    block = FileBlock(folder, files["path"].combine_chunks(), files["bytes"].to_numpy(), stamps)
    expected = digits_of(files["sha256"])
    for item in decode_blocks.decoded(
        decoder, block, target, expected, contents, lambda place: rest(int(rows[place]))
    ):
        if isinstance(item, DecodedRun):
            yield DecodedBlock(rows[item.first :][: len(item.images)], item.images, item.originals)
        else:
            yield item
