"""Image folders: `<class>/*` or `{train,val,test}/<class>/*`, looked at and never written to."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tasks.core.data.classes import check, refusal

SPLITS = ("train", "val", "test")
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
LAYOUTS = "<class>/*.jpg or {train,val,test}/<class>/*.jpg, with two classes or more"


class Stamp(NamedTuple):
    """What the system tells of a file without reading it (a fifth of an `os.stat_result`'s memory)."""

    bytes: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Stamp":
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class Seen(NamedTuple):
    """A file as the system shows it, unread.

    Args:
        path: Relative to the root, with forward slashes.
        split: "train", "val", "test", or empty in a source without splits.
        class_name: The class's name; empty for a file of many images.
        stamp: Its size and times.
    """

    path: str
    split: str
    class_name: str
    stamp: Stamp


def scan(root: Path) -> list[Seen]:
    """Every image file (by its suffix) below the class folders of `root`, sorted by path.

    A class folder may have folders of its own. Names that begin with a dot, and `__MACOSX`, don't count.

    Raises:
        DataError: No class, one class, a class without images, or splits with different classes.
    """
    seen: list[Seen] = []
    classes: dict[str, set[str]] = {}
    for split, folder in _splits(root):
        names = _folders(folder)
        classes[split] = set(names)
        for name in names:
            prefix = f"{split}/{name}/" if split else f"{name}/"
            found = [Seen(path, split, name, stamp) for path, stamp in _images(folder / name, prefix)]
            if not found:
                where = folder.relative_to(root) / name
                raise refusal(str(root), "has an empty class", LAYOUTS, f"no image in {where}")
            seen += found
    check(str(root), classes, LAYOUTS)
    return sorted(seen)


def _splits(root: Path) -> list[tuple[str, Path]]:
    names = _folders(root)
    divided = "train" in names and set(names) <= set(SPLITS) and all(_folders(root / name) for name in names)
    return [(name, root / name) for name in SPLITS if name in names] if divided else [("", root)]


def _folders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and _counts(entry.name))


def _counts(name: str) -> bool:
    return not name.startswith(".") and name != "__MACOSX"


def _images(folder: Path, prefix: str) -> Iterator[tuple[str, Stamp]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if not _counts(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _images(folder / entry.name, f"{prefix}{entry.name}/")
            elif entry.name[entry.name.rfind(".") :].lower() in SUFFIXES and entry.is_file():
                yield prefix + entry.name, Stamp.of(entry.stat())
