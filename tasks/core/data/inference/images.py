"""The images of a batch prediction, decoded by the same rules as the training images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.core.config import Fit
from tasks.core.data import decode, decode_blocks, threads
from tasks.core.data.block_decoder import library
from tasks.core.data.block_decoder.library import Library
from tasks.core.data.decode import Target
from tasks.core.data.decode_blocks import DecodedRun
from tasks.core.data.files.file_hashes import read_file
from tasks.core.data.inference import inputs
from tasks.core.data.inference.inputs import IMAGE, InputChunk
from tasks.core.data.inference.refused_files import NOT_READABLE
from tasks.core.data.pixels import Pixels
from tasks.core.data.readers.parquet import file as parquet_file
from tasks.core.data.readers.parquet import schema as parquet_schema
from tasks.core.data.readers.parquet.labels import NO_BYTES
from tasks.core.data.sources import remote
from tasks.core.errors import DecodeError

REMOTE_THREADS = 16  # they mostly wait for the network
CHANGED = "changed after it was listed"


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """An image before decoding.

    Args:
        path: Path or address of its file.
        row: Its row in a parquet file; None for an image file.
        content: The encoded image; None if it must be read from `path`.
        size: Bytes of an image file when it was listed.
    """

    path: str
    row: int | None
    content: bytes | None = None
    size: int = 0


@dataclass(slots=True)
class ImageBatch:
    """A batch of images for a model.

    Args:
        images: uint8 (size, H, W, C); zero where there is no readable image.
        sizes: int32 (size, 2); original height and width, 0 where there is no readable image.
        paths: Path or address of each image's file.
        rows: Row in the file; None for an image file.
        problems: Why an image cannot be read; None if it can.
    """

    images: NDArray[np.uint8]
    sizes: NDArray[np.int32]
    paths: list[str]
    rows: list[int | None]
    problems: list[str | None]

    @classmethod
    def empty(cls, size: int, shape: tuple[int, int, int]) -> "ImageBatch":
        """A batch with room for `size` images of this height, width and number of channels."""
        return cls(np.zeros((size, *shape), np.uint8), np.zeros((size, 2), np.int32), [], [], [])

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def full(self) -> bool:
        """Whether the batch has no room for another image."""
        return len(self.paths) == len(self.images)

    @property
    def readable(self) -> NDArray[np.bool_]:
        """Which images can be read, bool (len,)."""
        return np.array([problem is None for problem in self.problems], bool)


def image_batches(
    chunks: Sequence[InputChunk],
    size: int,
    shape: tuple[int, int, int],
    fit: Fit = Fit.crop,
    grey_bits: int = 16,
) -> Iterator[ImageBatch]:
    """The images of the chunks in their order. All batches but the last are full.

    Args:
        chunks: What to read.
        size: Images in a batch.
        shape: Height, width and channels of the images that the model takes.
        fit: How an image of other proportions becomes `shape`; that of the model's training images.
        grey_bits: Bits of the grey values of images that have more than 8, as in the training images.

    Raises:
        DataError: A parquet file can no longer be read.
        NetworkError: An address could not be reached; another attempt may succeed.
    """
    batch = ImageBatch.empty(size, shape)
    for images in _decoded(chunks, Target(shape[:2], shape[2], fit, grey_bits)):
        start = 0
        while start < len(images.encoded):
            start += _add(batch, images, start)
            if batch.full:
                yield batch
                batch = ImageBatch.empty(size, shape)
    if len(batch):
        yield batch


@dataclass(frozen=True, slots=True)
class _Images:
    """Consecutive images that are readable, or one that is not.

    Args:
        encoded: n images.
        pixels: uint8 (n, H, W, C); None for an unreadable one.
        sizes: Integers (n, 2), original height and width.
        problem: Why the one image is unreadable.
    """

    encoded: Sequence[EncodedImage]
    pixels: Pixels | None
    sizes: NDArray[np.int32] | tuple[int, int] = (0, 0)
    problem: str | None = None


def _add(batch: ImageBatch, images: _Images, start: int) -> int:
    """Add images from `start` on, as many as there is room for; returns their number."""
    first = len(batch)
    encoded = images.encoded[start : start + len(batch.images) - first]
    count = len(encoded)
    if images.pixels is not None:
        batch.images[first : first + count] = images.pixels[start : start + count]
        batch.sizes[first : first + count] = images.sizes[start : start + count]
    batch.paths += [image.path for image in encoded]
    batch.rows += [image.row for image in encoded]
    batch.problems += [images.problem] * count
    return count


def _decoded(chunks: Sequence[InputChunk], target: Target) -> Iterator[_Images]:
    groups = groupby(chunks, lambda chunk: (inputs.is_address(chunk.path), chunk.start == IMAGE))
    for (is_remote, is_image_file), members in groups:
        group = list(members)
        image_files = (EncodedImage(chunk.path, None, size=chunk.bytes) for chunk in group)
        images: Iterator[EncodedImage | _Images] = image_files if is_image_file else _rows(group)
        mean_bytes = sum(chunk.bytes for chunk in group) / sum(chunk.images for chunk in group)
        if is_remote and is_image_file:
            options = {"size": threads.MIN_THREADED_BYTES, "workers": REMOTE_THREADS}
            yield from threads.map_threaded(partial(_image, target), images, **options)
        elif mean_bytes < threads.MIN_THREADED_BYTES and (decoder := library.load()):
            yield from _decoded_blocks(decoder, target, images)
        else:
            yield from threads.map_threaded(partial(_image, target), images, size=mean_bytes)


def _decoded_blocks(
    decoder: Library, target: Target, images: Iterator[EncodedImage | _Images]
) -> Iterator[_Images]:
    """Small images, by the compiled decoder: blocks of them in threads, in their order."""
    parts = iter(lambda: list(islice(images, decode_blocks.BLOCK)), [])
    work = partial(_block, decoder, target)
    for decoded in threads.map_threaded(work, parts, size=threads.MIN_THREADED_BYTES):
        yield from decoded


def _block(decoder: Library, target: Target, images: Sequence[EncodedImage | _Images]) -> list[_Images]:
    read = [_with_content(image) for image in images]
    contents = [image.content or b"" if isinstance(image, EncodedImage) else b"" for image in read]
    files, addresses = library.in_memory(contents)
    rest = partial(_rest, target, read)
    encoded = [image.encoded[0] if isinstance(image, _Images) else image for image in read]
    return [
        _Images(encoded[item.first :][: len(item.images)], item.images, item.originals[:, :2])
        if isinstance(item, DecodedRun)
        else item
        for item in decode_blocks.decoded(decoder, files, target, None, addresses, rest)
    ]


def _rest(target: Target, images: Sequence[EncodedImage | _Images], number: int) -> _Images:
    return _image(target, images[number])


def _rows(chunks: Sequence[InputChunk]) -> Iterator[EncodedImage | _Images]:
    """Rows of parquet files. A file is opened once for consecutive chunks of it."""
    for (path, version_tag), members in groupby(chunks, lambda chunk: (chunk.path, chunk.version_tag)):
        wanted = [row for chunk in members for row in range(chunk.start, chunk.start + chunk.images)]
        read_count = 0
        if inputs.is_unchanged(path, version_tag):
            for image in _encoded(path, wanted):
                read_count += 1
                yield image
        yield from (_Images([EncodedImage(path, row)], None, problem=CHANGED) for row in wanted[read_count:])


def _encoded(path: str, wanted: Sequence[int]) -> Iterator[EncodedImage | _Images]:
    with inputs.input_errors(path), inputs.opened(path) as file:
        schema = file.schema_arrow
        column = parquet_schema.bytes_of(schema, parquet_schema.image_of(Path(path), schema))
        for row, content in parquet_file.encoded(file, column, wanted):
            image = EncodedImage(path, row, content)
            yield _Images([image], None, problem=NO_BYTES) if content is None else image


def _image(target: Target, encoded: EncodedImage | _Images) -> _Images:
    read = _with_content(encoded)
    if isinstance(read, _Images):
        return read
    try:
        pixels, (height, width, _) = decode.decode(read.content or b"", target)
    except DecodeError as error:
        return _Images([read], None, problem=error.summary)
    return _Images([read], pixels[None], np.array([[height, width]], np.int32))


def _with_content(encoded: EncodedImage | _Images) -> EncodedImage | _Images:
    """The image with its file's content, or why it cannot be read."""
    if isinstance(encoded, _Images) or encoded.content is not None:
        return encoded
    try:
        return EncodedImage(encoded.path, encoded.row, _read(encoded), encoded.size)
    except DecodeError as error:
        return _Images([encoded], None, problem=error.summary)
    except OSError as error:
        return _Images([encoded], None, problem=f"{NOT_READABLE}{error.strerror or error}")


def _read(encoded: EncodedImage) -> bytes:
    if not inputs.is_address(encoded.path):
        return read_file(encoded.path, encoded.size)
    system, path = remote.system_of(encoded.path)
    with remote.network(encoded.path):
        try:
            return bytes(system.cat_file(path))
        except FileNotFoundError as error:
            raise DecodeError("no longer exists") from error
