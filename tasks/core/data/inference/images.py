"""The images of a batch prediction, read and decoded by the same rules as those that a model learned from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.core.data import decode, threads
from tasks.core.data.decode import Target
from tasks.core.data.files.file_hashes import read_file
from tasks.core.data.inference import inputs
from tasks.core.data.inference.inputs import IMAGE, InputChunk
from tasks.core.data.readers import parquet, parquet_schema
from tasks.core.data.sources import remote
from tasks.core.errors import DecodeError

FAR = 16  # threads that wait for files at an address
CHANGED = "changed after it was listed"


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """An image as it lies there.

    Args:
        place: Path or address of its file.
        row: In a parquet file; None for an image file.
        content: The image's bytes; None if they are to be read from `place`.
        size: Bytes of an image file as it was listed.
    """

    path: str
    row: int | None
    content: bytes | None = None
    size: int = 0


@dataclass(slots=True)
class ImageBatch:
    """Images side by side, as many as a model takes at once.

    Args:
        images: uint8 (size, H, W, C); black where there is none.
        sizes: int32 (size, 2); height and width as they came, 0 where there is none.
        files, rows, problems: Of the images that there are: file, row in it, why it can't be read.
    """

    images: NDArray[np.uint8]
    sizes: NDArray[np.int32]
    paths: list[str]
    rows: list[int | None]
    problems: list[str | None]

    @classmethod
    def empty(cls, size: int, shape: tuple[int, int, int]) -> "ImageBatch":
        return cls(np.zeros((size, *shape), np.uint8), np.zeros((size, 2), np.int32), [], [], [])

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def full(self) -> bool:
        return len(self.paths) == len(self.images)

    @property
    def readable(self) -> NDArray[np.bool_]:
        """bool (len,)."""
        return np.array([problem is None for problem in self.problems], bool)


def image_batches(
    lines: Sequence[InputChunk], size: int, shape: tuple[int, int, int]
) -> Iterator[ImageBatch]:
    """The images of some lines in their order; all blocks but the last are full.

    Args:
        size: Images of a block.
        shape: Height, width and channels of the images that the model takes.

    Raises:
        DataError: A parquet file can't be read any more.
        NetworkError: An address could not be reached; another try may help.
    """
    block = ImageBatch.empty(size, shape)
    for image in _decoded(lines, Target(size=shape[:2], channels=shape[2])):
        _add(block, image)
        if block.full:
            yield block
            block = ImageBatch.empty(size, shape)
    if len(block):
        yield block


@dataclass(frozen=True, slots=True)
class _Image:
    encoded: EncodedImage
    pixels: decode.Pixels | None
    size: tuple[int, int] = (0, 0)
    problem: str | None = None


def _add(block: ImageBatch, image: _Image) -> None:
    number = len(block)
    if image.pixels is not None:
        block.images[number] = image.pixels
    block.sizes[number] = image.size
    block.paths.append(image.encoded.path)
    block.rows.append(image.encoded.row)
    block.problems.append(image.problem)


def _decoded(lines: Sequence[InputChunk], target: Target) -> Iterator[_Image]:
    kinds = groupby(lines, lambda line: (inputs.is_address(line.path), line.start == IMAGE))
    for (far, single), some in kinds:
        group = list(some)
        files = (EncodedImage(line.path, None, size=line.bytes) for line in group)
        images: Iterator[EncodedImage | _Image] = files if single else _rows(group)
        size = sum(line.bytes for line in group) / sum(line.images for line in group)
        waiting = {"size": threads.MIN_THREADED_BYTES, "workers": FAR} if far and single else {"size": size}
        yield from threads.map_threaded(partial(_image, target), images, **waiting)


def _rows(lines: Sequence[InputChunk]) -> Iterator[EncodedImage | _Image]:
    """Rows of parquet files; a file is opened once for lines that follow each other."""
    for (place, mark), some in groupby(lines, lambda line: (line.path, line.version_tag)):
        wanted = [row for line in some for row in range(line.start, line.start + line.images)]
        come = 0
        if inputs.is_unchanged(place, mark):
            for image in _encoded(place, wanted):
                come += 1
                yield image
        yield from (_Image(EncodedImage(place, row), None, problem=CHANGED) for row in wanted[come:])


def _encoded(place: str, wanted: Sequence[int]) -> Iterator[EncodedImage]:
    with inputs.reading(place), inputs.opened(place) as file:
        schema = file.schema_arrow
        column = parquet_schema.bytes_of(schema, parquet_schema.image_of(Path(place), schema))
        for row, content in parquet.encoded(file, column, wanted):
            yield EncodedImage(place, row, content or b"")


def _image(target: Target, encoded: EncodedImage | _Image) -> _Image:
    if isinstance(encoded, _Image):
        return encoded
    try:
        content = _read(encoded) if encoded.content is None else encoded.content
        pixels, (height, width, _) = decode.decode(content, target)
    except DecodeError as error:
        return _Image(encoded, None, problem=error.summary)
    except OSError as error:
        return _Image(encoded, None, problem=f"not readable: {error.strerror or error}")
    return _Image(encoded, pixels, (height, width))


def _read(encoded: EncodedImage) -> bytes:
    if not inputs.is_address(encoded.path):
        return read_file(encoded.path, encoded.size)
    system, path = remote.system_of(encoded.path)
    with remote.network(encoded.path):
        try:
            return bytes(system.cat_file(path))
        except FileNotFoundError as error:
            raise DecodeError("not there any more") from error
