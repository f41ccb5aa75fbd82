"""The reader of image files: those of a folder, of an archive, or that a CSV names. They are only read."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.core.data import decode_blocks, threads
from tasks.core.data.block_decoder import library, recent_files
from tasks.core.data.block_decoder.library import Library
from tasks.core.data.decode import Target
from tasks.core.data.files import listing
from tasks.core.data.files.class_names import ordered
from tasks.core.data.files.file_hashes import read_file
from tasks.core.data.readers import base
from tasks.core.data.readers.base import Decoded, DecodedImage, DecodeFailure, ImageIndex
from tasks.core.errors import ArchiveError


class ImageFolderReader:
    """Reads the image files of a listing.

    Args:
        root: The folder that the paths are relative to.
        files: The listing, a table of `listing.SCHEMA`.
        contents: Gives a file's content by its path and size; None if the files are below the root.
    """

    shape = None
    published = False

    def __init__(
        self, root: Path, files: pa.Table, contents: Callable[[str, int], bytes] | None = None
    ) -> None:
        self.classes = ordered(files["class_name"].unique().to_pylist())
        self._files = files
        self._contents = contents or (lambda path, size: read_file(f"{root}/{path}", size))
        self._folder = None if contents else root
        self._bytes = files["bytes"].to_numpy()
        self._kept = None if contents else recent_files.take(root, files["path"], files["sha256"])

    @property
    def random_access(self) -> bool:
        """True for small files: they were just hashed and are in the page cache.

        Large files are read in the order of the listing, which saves disk seeks.
        """
        return bool(self._bytes.mean() < threads.MIN_THREADED_BYTES)

    def index(self) -> ImageIndex:
        """All images, in the order of the listing; no file is read."""
        labels = pc.index_in(self._files["class_name"], pa.array(self.classes))
        splits = self._files["split"].combine_chunks().dictionary_encode()
        split = np.array(splits.dictionary.to_pylist(), np.str_)[splits.indices.to_numpy()]
        index = ImageIndex(
            self._files["sha256"], self._files["path"], split, labels.to_numpy().astype(np.int32)
        )
        return index.with_columns({name: self._files[name] for name in listing.further_columns(self._files)})

    def images(self, wanted: Sequence[int], target: Target) -> Iterator[DecodedImage | DecodeFailure]:
        """See `Reader.images`. A file that was changed or removed becomes a `DecodeFailure`."""
        size = self._bytes[wanted].sum() / max(1, len(wanted))
        return threads.map_threaded(partial(self._image, target), self._listed(wanted), size=size)

    def blocks(self, wanted: Sequence[int], target: Target) -> Iterator[Decoded]:
        """See `Reader.blocks`: small files in a folder by the compiled decoder, if there is one."""
        decoder = library.load() if self._folder and self.random_access else None
        if decoder is None:
            yield from self.images(wanted, target)
            return
        numbers = np.array(wanted, np.int64)
        parts = (
            numbers[start : start + decode_blocks.BLOCK]
            for start in range(0, len(numbers), decode_blocks.BLOCK)
        )
        work = partial(self._block, decoder, target)
        for block in threads.map_threaded(work, parts, size=threads.MIN_THREADED_BYTES):
            yield from block

    def _block(self, decoder: Library, target: Target, rows: NDArray[np.int64]) -> list[Decoded]:
        def rest(row: int) -> DecodedImage | DecodeFailure:
            (listed,) = self._listed([row])
            return self._image(target, listed)

        files = self._files.take(pa.array(rows))
        return list(base.decode_files(decoder, str(self._folder), files, rows, self._kept, target, rest))

    def files(self, wanted: Sequence[int]) -> Iterator[IO[bytes] | None]:
        """See `Reader.files`. A file on disk is not read as a whole."""
        for _, path, size, _ in self._listed(wanted):
            try:
                yield (
                    (self._folder / path).open("rb") if self._folder else BytesIO(self._contents(path, size))
                )
            except (OSError, ValueError, ArchiveError):  # decoding it says why
                yield None

    def _listed(self, wanted: Sequence[int]) -> Iterator[tuple[int, str, int, str]]:
        """Number, path, bytes and SHA-256 of each; `listing.BATCH` at a time are Python objects."""
        for start in range(0, len(wanted), listing.BATCH):
            numbers = wanted[start : start + listing.BATCH]
            batch = self._files.take(pa.array(numbers, pa.int64()))
            yield from zip(
                numbers, *(batch[name].to_pylist() for name in ("path", "bytes", "sha256")), strict=True
            )

    def _image(self, target: Target, listed: tuple[int, str, int, str]) -> DecodedImage | DecodeFailure:
        row, path, size, sha256 = listed
        try:
            content = self._contents(path, size)
        except (OSError, ValueError) as error:
            return DecodeFailure(row, f"not readable: {getattr(error, 'strerror', None) or error}")
        except ArchiveError as error:
            return DecodeFailure(row, f"not readable: {error.summary}")
        is_known = self._kept is not None and self._kept.is_unchanged(row, f"{self._folder}/{path}", size)
        if not is_known and hashlib.sha256(content).hexdigest() != sha256:
            return DecodeFailure(row, "changed after it was listed")
        return base.decode_image(row, content, target)
