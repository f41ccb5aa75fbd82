"""Image folders: `<class>/*` or `{train,val,test}/<class>/*`, looked at and never written to."""

import logging
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from tasks.core.data import seen
from tasks.core.data.classes import check, refusal

log = logging.getLogger("plumbline.data")

SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
LAYOUTS = "<class>/*.jpg or {train,val,test}/<class>/*.jpg, with two classes or more"


def scan(root: Path) -> pa.Table:
    """Every image file (by its suffix) below the class folders of `root`, as a `seen.table`.

    A class folder may have folders of its own. Names that begin with a dot, and `__MACOSX`, don't count;
    files of other kinds are counted in the log.

    Raises:
        DataError: No class, one class, a class without images, splits with different classes, or a name
            that is no text.
    """
    splits = [(split, folder, _folders(folder)) for split, folder in _splits(root)]
    others: Counter[str] = Counter()
    table = seen.table(root, _lines(root, splits, others))
    check(str(root), {split: set(names) for split, _, names in splits}, LAYOUTS)
    if others:
        kinds = ", ".join(f"{count:,} {suffix}" for suffix, count in others.most_common())
        log.warning("%s: left alone, since they are no images by their names: %s", root, kinds)
    return table


def _lines(
    root: Path, splits: list[tuple[str, Path, list[str]]], others: Counter[str]
) -> Iterator[seen.Line]:
    for split, folder, names in splits:
        for name in names:
            place, found = (folder / name).relative_to(root), 0
            for path, status in _images(folder / name, f"{place.as_posix()}/", others):
                yield seen.line(path, split, name, status)
                found += 1
            if not found:
                raise refusal(str(root), "has an empty class", LAYOUTS, f"no image in {place}")


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


def _images(folder: Path, prefix: str, others: Counter[str]) -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if not _counts(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _images(folder / entry.name, f"{prefix}{entry.name}/", others)
            elif (suffix := _suffix(entry.name)) not in SUFFIXES:
                others[suffix or "without a suffix"] += 1
            elif entry.is_file():
                yield prefix + entry.name, entry.stat()
