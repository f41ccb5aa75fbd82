"""Image folders: `<class>/*` or `{train,val,test}/<class>/*`, looked at and never written to."""

import logging
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tasks.core.data.classes import check, refusal

log = logging.getLogger("plumbline.data")

SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
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

    A class folder may have folders of its own. Names that begin with a dot, and `__MACOSX`, don't count;
    files of other kinds are counted in the log.

    Raises:
        DataError: No class, one class, a class without images, or splits with different classes.
    """
    seen: list[Seen] = []
    classes: dict[str, set[str]] = {}
    others: Counter[str] = Counter()
    for split, folder in _splits(root):
        names = _folders(folder)
        classes[split] = set(names)
        for name in names:
            prefix = (folder / name).relative_to(root).as_posix() + "/"
            found = [Seen(path, split, name, stamp) for path, stamp in _images(folder / name, prefix, others)]
            if not found:
                where = folder.relative_to(root) / name
                raise refusal(str(root), "has an empty class", LAYOUTS, f"no image in {where}")
            seen += found
    check(str(root), classes, LAYOUTS)
    if others:
        kinds = ", ".join(f"{count:,} {suffix}" for suffix, count in others.most_common())
        log.warning("%s: left alone, since they are no images by their names: %s", root, kinds)
    return sorted(seen)


def _splits(root: Path) -> list[tuple[str, Path]]:
    names = _folders(root)
    inside = {name: set(_folders(root / name)) for name in names}
    if "train" not in names or not all(inside.values()):
        return [("", root)]
    unknown = [name for name in names if name not in SPLITS]
    if unknown and all(inside[name] == inside["train"] for name in unknown):
        found = f"{', '.join(unknown)} with the same folders as train"
        raise refusal(str(root), "has a folder beside train that is no split", LAYOUTS, found)
    splits = [SPLITS[name] for name in names if name in SPLITS]
    if len(set(splits)) < len(splits):
        raise refusal(str(root), "has two folders for one split", LAYOUTS, ", ".join(names))
    return [("", root)] if unknown else [(SPLITS[name], root / name) for name in names]


def _folders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and _counts(entry.name))


def _counts(name: str) -> bool:
    return not name.startswith(".") and name != "__MACOSX"


def _suffix(name: str) -> str:
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""


def _images(folder: Path, prefix: str, others: Counter[str]) -> Iterator[tuple[str, Stamp]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if not _counts(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _images(folder / entry.name, f"{prefix}{entry.name}/", others)
            elif (suffix := _suffix(entry.name)) not in SUFFIXES:
                others[suffix or "without a suffix"] += 1
            elif entry.is_file():
                yield prefix + entry.name, Stamp.of(entry.stat())
