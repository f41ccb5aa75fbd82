"""Decoding in portions, by whoever works for this process: a machine of a cluster, or another process here.

A portion's numbers and its decoded images lie as files in the workspace, which all workers share; only names
travel. What is decoded and where it goes is decided here as ever, so that the tensors are the same to the
byte whoever decodes, in however many portions.
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
from tasks.core.data.readers.base import DecodedImage, DecodeFailure, ImageIndex, Reader
from tasks.core.errors import FormatError
from tasks.core.stage.handles import RawDataset
from tasks.core.storage import atomic
from tasks.core.workspace import Workspace

IMAGES = 4096  # in a portion, at most
BYTES = 1 << 28  # of encoded images in a portion, about: some seconds of a worker's time


@dataclass(frozen=True)
class Portion:
    """Some images to decode.

    Args:
        raw: The source.
        folder: Where its files are, relative to the workspace.
        number: Names them: `<number>.numbers.npy`, int64 (n,), which images, ascending; and once decoded
            `<number>.images.npy`, uint8 (k, H, W, C), `<number>.rows.npy`, int64 (k, 4), each image's number
            and its own height, width and channels, and `<number>.failed.json`, written last.
        target: What the images are to become.
    """

    raw: RawDataset
    folder: str
    number: int
    target: Target

    def path(self, kind: str, workspace: Workspace) -> Path:
        return workspace.root / self.folder / f"{self.number:06}.{kind}"


Work = Callable[[Sequence[Portion]], Iterator[Portion]]  # has `decode` called somewhere; gives what is done


def decode(portion: Portion, workspace: Workspace) -> None:
    """Decode a portion; needs the source, and the workspace.

    Raises:
        FormatError: The workspace is not the one of who asks.
    """
    numbers = _load(portion.path("numbers.npy", workspace))
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


class DistributedReader:
    """A reader whose images are decoded by others.

    Args:
        reader: The source, opened here: its rows are told by this one.
        raw: The source.
        work: Has portions decoded.
        directory: Of the tensors to be; the portions' files lie beside it meanwhile.
        images: In a portion; None chooses.
    """

    random_access = False  # portions take files in the order of their paths, which is kinder to disks

    def __init__(
        self, reader: Reader, raw: RawDataset, work: Work, directory: Path, images: int | None = None
    ) -> None:
        self.reader, self.raw, self.work, self.directory = reader, raw, work, directory
        self.workspace = Workspace.active()
        mean = pc.sum(listing.read(raw.directory)["bytes"]).as_py() / max(1, raw.images)
        self.size = images or min(IMAGES, max(1, int(BYTES / max(1, mean))))

    @property
    def classes(self) -> tuple[str, ...]:
        return self.reader.classes

    @property
    def shape(self) -> tuple[int, int, int] | None:
        return self.reader.shape

    @property
    def published(self) -> bool:
        return self.reader.published

    def index(self) -> ImageIndex:
        return self.reader.index()

    def images(self, wanted: Sequence[int], target: Target) -> Iterator[DecodedImage | DecodeFailure]:
        if len(wanted) <= self.size:
            yield from self.reader.images(wanted, target)
            return
        with atomic.staging_directory(self.directory.with_name(f"{self.directory.name}.portions")) as folder:
            portions = list(self._cut(wanted, target, self.workspace.relative(folder)))
            for portion in self.work(portions):
                yield from _taken(portion, self.workspace)

    def _cut(self, wanted: Sequence[int], target: Target, folder: str) -> Iterator[Portion]:
        for number, start in enumerate(range(0, len(wanted), self.size)):
            portion = Portion(self.raw, folder, number, target)
            numbers = np.array(wanted[start : start + self.size], np.int64)
            _save(portion.path("numbers.npy", self.workspace), numbers)
            yield portion


def _taken(portion: Portion, workspace: Workspace) -> Iterator[DecodedImage | DecodeFailure]:
    """A decoded portion's images; its files are not needed any more."""
    images, rows = (_load(portion.path(f"{kind}.npy", workspace)) for kind in ("images", "rows"))
    for image, (number, height, width, channels) in zip(images, rows.tolist(), strict=True):
        yield DecodedImage(number, image, (height, width, channels))
    for number, reason in json.loads(portion.path("failed.json", workspace).read_bytes()).items():
        yield DecodeFailure(int(number), reason)
    for kind in ("images.npy", "rows.npy", "failed.json", "numbers.npy"):
        portion.path(kind, workspace).unlink()


@lru_cache(maxsize=1)
def _reader(raw: RawDataset, workspace: Workspace) -> Reader:
    """A worker opens a source once; its paths are relative to the workspace, which is the active one."""
    return factory.open_raw(raw)


def _save(path: Path, array: NDArray[Any]) -> None:
    with atomic.replacing(path) as staging, staging.open("wb") as file:
        np.save(file, array)


def _load(path: Path) -> NDArray[Any]:
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except FileNotFoundError as error:
        raise FormatError(
            "a portion of images is not there",
            expected=f"{path}",
            found="no such file: the workers must share this workspace",
        ) from error
