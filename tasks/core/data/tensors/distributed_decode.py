"""Distributed decoding: portions of the images are decoded by other processes or machines.

The numbers of a portion's images, and the decoded images, are files in the workspace, which all workers
share. Only their names are transferred. This process decides what is decoded and where it is stored, so that
the tensors are byte-identical for any workers and any number of portions.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.core.data.decode import Target
from tasks.core.data.files import listing
from tasks.core.data.readers import factory
from tasks.core.data.readers.base import Decoded, DecodedImage, DecodeFailure, Reader, WrappedReader
from tasks.core.errors import FormatError
from tasks.core.stage.handles import RawDataset
from tasks.core.storage import atomic
from tasks.core.workspace import Workspace

MAX_IMAGES = 4096  # in a portion
BYTES = 1 << 28  # of encoded images in a portion, approximately: some seconds of a worker's time


@dataclass(frozen=True)
class Portion:
    """Images that a worker decodes.

    The workspace has these files for it: `<number>.numbers.npy`, int64 (n,), the numbers of the images,
    ascending; and once decoded `<number>.images.npy`, uint8 (k, H, W, C), `<number>.rows.npy`, int64 (k, 4),
    each image's number and its original height, width and channels, and `<number>.failed.json`, which is
    written last.

    Args:
        raw: The source.
        folder: Where the files are, relative to the workspace.
        number: The portion's number.
        target: The size and channels of the decoded images.
    """

    raw: RawDataset
    folder: str
    number: int
    target: Target

    def path(self, suffix: str, workspace: Workspace) -> Path:
        """The path of one of its files."""
        return workspace.root / self.folder / f"{self.number:06}.{suffix}"


# Calls `decode` in workers; yields portions once they are decoded.
Work = Callable[[Sequence[Portion]], Iterator[Portion]]


def decode(portion: Portion, workspace: Workspace) -> None:
    """Decode a portion. It needs access to the source and the workspace.

    Raises:
        FormatError: The worker's workspace is not that of the calling process.
    """
    numbers = _load_portion(portion.path("numbers.npy", workspace))
    images, rows, failed = [], [], {}
    for image in _reader(portion.raw, workspace).images(numbers.tolist(), portion.target):
        if isinstance(image, DecodeFailure):
            failed[image.row] = image.reason
        else:
            images.append(image.image)
            rows.append((image.row, *image.original))
    _save(portion.path("images.npy", workspace), np.array(images, np.uint8))
    _save(portion.path("rows.npy", workspace), np.array(rows, np.int64))
    atomic.write_bytes(portion.path("failed.json", workspace), json.dumps(failed).encode())


class DistributedReader(WrappedReader):
    """A reader whose images are decoded by workers.

    Args:
        reader: The source, opened in this process; gives the index.
        raw: The source.
        work: Has portions decoded.
        directory: The future directory of the tensors; the portions' files are beside it meanwhile.
        images: Number of images in a portion; None chooses one.
    """

    random_access = False  # portions read files in the order of their paths, which saves disk seeks

    def __init__(
        self, reader: Reader, raw: RawDataset, work: Work, directory: Path, images: int | None = None
    ) -> None:
        self.reader, self.raw, self.work, self.directory = reader, raw, work, directory
        self.workspace = Workspace.active()
        mean_bytes = pc.sum(listing.read(raw.directory)["bytes"]).as_py() / max(1, raw.images)
        self.size = images or min(MAX_IMAGES, max(1, int(BYTES / max(1, mean_bytes))))

    def images(self, wanted: Sequence[int], target: Target) -> Iterator[DecodedImage | DecodeFailure]:
        """See `Reader.images`. A single portion is decoded in this process."""
        if len(wanted) <= self.size:
            yield from self.reader.images(wanted, target)
            return
        with atomic.staging_directory(self.directory.with_name(f"{self.directory.name}.portions")) as folder:
            portions = list(self._portions(wanted, target, self.workspace.relative(folder)))
            for portion in self.work(portions):
                yield from _collect(portion, self.workspace)

    def blocks(self, wanted: Sequence[int], target: Target) -> Iterator[Decoded]:
        """See `Reader.blocks`. Workers give images one by one."""
        one_portion = len(wanted) <= self.size
        return self.reader.blocks(wanted, target) if one_portion else self.images(wanted, target)

    def _portions(self, wanted: Sequence[int], target: Target, folder: str) -> Iterator[Portion]:
        for number, start in enumerate(range(0, len(wanted), self.size)):
            portion = Portion(self.raw, folder, number, target)
            numbers = np.array(wanted[start : start + self.size], np.int64)
            _save(portion.path("numbers.npy", self.workspace), numbers)
            yield portion


def _collect(portion: Portion, workspace: Workspace) -> Iterator[DecodedImage | DecodeFailure]:
    """The images of a decoded portion; its files are then removed."""
    images, rows = (_load_portion(portion.path(f"{suffix}.npy", workspace)) for suffix in ("images", "rows"))
    for image, (number, height, width, channels) in zip(images, rows.tolist(), strict=True):
        yield DecodedImage(number, image, (height, width, channels))
    for number, reason in json.loads(portion.path("failed.json", workspace).read_bytes()).items():
        yield DecodeFailure(int(number), reason)
    for suffix in ("images.npy", "rows.npy", "failed.json", "numbers.npy"):
        portion.path(suffix, workspace).unlink()


@lru_cache(maxsize=1)
def _reader(raw: RawDataset, workspace: Workspace) -> Reader:
    """A worker opens a source once. Its paths are relative to the active workspace, which is `workspace`."""
    return factory.open_raw(raw)


def _save(path: Path, array: NDArray[Any]) -> None:
    with atomic.replacing(path) as staging, staging.open("wb") as file:
        np.save(file, array)


def _load_portion(path: Path) -> NDArray[Any]:
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except FileNotFoundError as error:
        raise FormatError(
            "a portion of the images is missing",
            expected=f"{path}",
            found="no such file; all workers must share this workspace",
        ) from error
