"""Image folders, `<class>/*` or `{train,val,test}/<class>/*`. They are only read."""

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.core.data import threads
from tasks.core.data.decode import Target
from tasks.core.data.files import file_stats, listing
from tasks.core.data.files.file_hashes import read_file
from tasks.core.data.readers import base
from tasks.core.data.readers.base import DecodedImage, DecodeFailure, ImageIndex
from tasks.core.data.readers.class_names import check_classes, layout_error
from tasks.core.errors import ArchiveError
from tasks.core.storage.names import is_visible

if TYPE_CHECKING:
    from tasks.core.data.files.name_tree import Scandir

log = logging.getLogger("plumbline.data")

SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
LAYOUTS = "<class>/*.jpg or {train,val,test}/<class>/*.jpg, with two classes or more"


def scan(root: Path, scandir: "Scandir" = os.scandir) -> pa.Table:
    """Every image file (by its suffix) below the class folders of `root`, as a `file_stats.stats_table`.

    A class folder may have subfolders. Names that begin with a dot, and `__MACOSX`, are ignored. Other files
    are counted in the log.

    Args:
        root: The folder, or what stands for it.
        scandir: Lists a folder; a `NameTree` has another one than the disk's.

    Raises:
        DataError: No class, one class, a class without images, splits with different classes, or a name
            that is not UTF-8.
    """
    splits = [(split, folder, _folders(folder, scandir)) for split, folder in _splits(root, scandir)]
    skipped: Counter[str] = Counter()
    table = file_stats.stats_table(root, _file_stats(root, splits, skipped, scandir))
    check_classes(str(root), {split: set(names) for split, _, names in splits}, LAYOUTS)
    if skipped:
        counts = ", ".join(f"{count:,} {suffix}" for suffix, count in skipped.most_common())
        log.warning("%s: skipped, the suffix is not one of an image: %s", root, counts)
    return table


def _file_stats(
    root: Path, splits: list[tuple[str, Path, list[str]]], skipped: Counter[str], scandir: "Scandir"
) -> Iterator[file_stats.FileStat]:
    for split, folder, names in splits:
        for name in names:
            class_folder, count = (folder / name).relative_to(root), 0
            for path, status in _images(folder / name, f"{class_folder.as_posix()}/", skipped, scandir):
                yield file_stats.file_stat(path, split, name, status)
                count += 1
            if not count:
                raise layout_error(str(root), "has an empty class", LAYOUTS, f"no image in {class_folder}")


def _splits(root: Path, scandir: "Scandir") -> list[tuple[str, Path]]:
    names = _folders(root, scandir)
    subfolders = {name: set(_folders(root / name, scandir)) for name in names}
    if "train" not in names or not all(subfolders.values()):
        return [("", root)]
    unknown = [name for name in names if name not in SPLITS]
    if unknown and all(subfolders[name] == subfolders["train"] for name in unknown):
        found = f"{', '.join(unknown)} with the same folders as train"
        raise layout_error(str(root), "has a folder beside train that is not a split", LAYOUTS, found)
    splits = [SPLITS[name] for name in names if name in SPLITS]
    if len(set(splits)) < len(splits):
        raise layout_error(str(root), "has two folders for one split", LAYOUTS, ", ".join(names))
    return [("", root)] if unknown else [(SPLITS[name], root / name) for name in names]


def _folders(folder: Path, scandir: "Scandir") -> list[str]:
    with scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and is_visible(entry.name))


def _suffix(name: str) -> str:
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""


def _images(
    folder: Path, prefix: str, skipped: Counter[str], scandir: "Scandir"
) -> Iterator[tuple[str, os.stat_result]]:
    with scandir(folder) as entries:
        for entry in entries:
            if not is_visible(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _images(folder / entry.name, f"{prefix}{entry.name}/", skipped, scandir)
            elif (suffix := _suffix(entry.name)) not in SUFFIXES:
                skipped[suffix or "without a suffix"] += 1
            elif entry.is_file():
                yield prefix + entry.name, entry.stat()


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
        self.classes = tuple(sorted(files["class_name"].unique().to_pylist()))
        self._files = files
        self._contents = contents or (lambda path, size: read_file(f"{root}/{path}", size))
        self._bytes = files["bytes"].to_numpy()

    @property
    def random_access(self) -> bool:
        """True for small files: they were just hashed and are in the page cache.

        Large files are read in the order of the listing, which saves disk seeks.
        """
        return bool(self._bytes.mean() < threads.MIN_THREADED_BYTES)

    def index(self) -> ImageIndex:
        """All images, in the order of the listing; no file is read."""
        labels = pc.index_in(self._files["class_name"], pa.array(self.classes))
        split = np.array(self._files["split"].to_pylist(), np.str_)
        return ImageIndex(
            self._files["sha256"], self._files["path"], split, labels.to_numpy().astype(np.int32)
        )

    def images(self, wanted: Sequence[int], target: Target) -> Iterator[DecodedImage | DecodeFailure]:
        """See `Reader.images`. A file that was changed or removed becomes a `DecodeFailure`."""
        size = self._bytes[wanted].sum() / max(1, len(wanted))
        return threads.map_threaded(partial(self._image, target), self._listed(wanted), size=size)

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
        if hashlib.sha256(content).hexdigest() != sha256:
            return DecodeFailure(row, "changed after it was listed")
        return base.decode_image(row, content, target)
