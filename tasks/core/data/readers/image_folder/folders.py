"""What lies in an image folder, `<class>/*` or `{train,val,test}/<class>/*`; no image is read."""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from tasks.core.data import file_types
from tasks.core.data.block_decoder.plain_folders import PlainFolder, PlainFolders
from tasks.core.data.files import file_stats, quarantine_table
from tasks.core.data.files.class_names import check_classes, layout_error
from tasks.core.data.files.name_tree import is_dir, is_file
from tasks.core.data.readers.image_folder.split_folders import LAYOUTS, TopFolder, find_splits
from tasks.core.data.split_names import split_of
from tasks.core.errors import DataError

if TYPE_CHECKING:
    from tasks.core.data.files.name_tree import Entry, Scandir

log = logging.getLogger("plumbline.data")

SHOWN = 5  # names of folders in a message
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".xz", ".bz2", ".zst", ".7z", ".rar")
EMPTY_STATUS = os.stat_result((0,) * 10, {"st_mtime_ns": 0, "st_ctime_ns": 0})
Split = tuple[str, Path, list[str]]  # name, folder, and names of the class folders
FoundFile = tuple[str, os.stat_result, str]  # path, stat, and why it is not used, as in `file_stats.SCHEMA`


class Walk(NamedTuple):
    """How folders and files are looked at.

    Args:
        scandir: Lists a folder.
        read_head: The first bytes of a file; see `file_types.read_head`.
        plain: The files of a folder that has only images by their names; None for every other folder.
    """

    scandir: "Scandir"
    read_head: Callable[[str], bytes]
    plain: Callable[[Path], PlainFolder | None] = lambda _: None


DISK = Walk(os.scandir, file_types.read_head)


def scan(root: Path, walk: Walk = DISK) -> pa.Table:
    """Every file of `root`, as a `file_stats.stats_table`; those that are not used have a reason.

    An image is in a class folder, or in a subfolder of one. A file with the suffix of an image is listed
    unread. Of a file with another suffix, or without one, the first bytes are looked at (`file_types`).

    Args:
        root: The folder, or what stands for it.
        walk: An archive and a remote folder have another one than the disk.

    Raises:
        DataError: No class, one class, a class without images, splits with different classes, or an image
            whose name is not UTF-8.
    """
    walk = walk._replace(plain=PlainFolders().find) if walk is DISK else walk
    splits, left_out = layout(root, walk)
    _warn_of_equal_folders(root, splits, walk)
    plain = [
        found.columns(_prefix(root, folder / name), split, name)
        for split, folder, names in splits
        for name in names
        if (found := walk.plain(folder / name))
    ]
    table = file_stats.stats_table(root, _file_stats(root, splits, left_out, walk), plain)
    check_classes(str(root), {split: set(names) for split, _, names in splits}, LAYOUTS)
    return table


def check_layout(root: Path, walk: Walk = DISK) -> None:
    """Refuse what `scan` refuses, unlisted: each class is looked at as far as its first image.

    Raises:
        DataError: As `scan`.
    """
    splits, _ = layout(root, walk)
    check_classes(str(root), {split: set(names) for split, _, names in splits}, LAYOUTS)
    for _, folder, names in splits:
        for name in names:
            files = _files(folder / name, "", walk)
            if all(reason for _, _, reason in files):
                raise _empty_class(root, folder / name, walk)


def layout(root: Path, walk: Walk) -> tuple[list[Split], list[TopFolder]]:
    """The splits with their folders and classes, and the folders that are left out."""
    top = _top_folders(root, walk)
    _refuse_without_classes(root, top, walk)
    found = find_splits(str(root), top)
    if found:
        roots = [(split, _split_root(root / name, split, walk)) for name, split in found.items()]
        splits = [(split, folder, _folders(folder, walk)) for split, folder in roots]
        left_out = [folder for folder in top if folder.name not in found]
    else:
        splits, left_out = [("", root, [folder.name for folder in top])], []
    for _, folder, names in splits:
        file_stats.refuse_odd_names(root, (_prefix(root, folder / name) for name in names))
    return splits, left_out


def _top_folders(root: Path, walk: Walk) -> list[TopFolder]:
    return [
        TopFolder(name, frozenset(_folders(root / name, walk)), _has_images(root / name, walk))
        for name in _folders(root, walk)
    ]


def _split_root(folder: Path, split: str, walk: Walk) -> Path:
    """The folder with the classes: `seg_train/seg_train` where that is the only folder in `seg_train`."""
    names = _folders(folder, walk)
    if len(names) == 1 and split_of(names[0]) == split and _folders(folder / names[0], walk):
        return folder / names[0]
    return folder


def _has_images(folder: Path, walk: Walk) -> bool:
    if walk.plain(folder):
        return True
    with walk.scandir(folder) as entries:
        return any(is_file(entry) and not _found(entry, "", walk)[2] for entry in entries)


def _refuse_without_classes(root: Path, top: list[TopFolder], walk: Walk) -> None:
    """Refuse images without folders, and a single folder around the folders."""
    if not top and not _has_images(root, walk):
        found, todo = _what_is_there(root, walk)
        raise layout_error(str(root), "has no classes", LAYOUTS, found, todo)
    if not top:
        todo = "sort the images into one folder for each class, or give a CSV of path,label"
        raise layout_error(str(root), "has no classes", LAYOUTS, "images, but no folders", todo)
    if len(top) == 1 and len(top[0].subfolders) > 1 and not top[0].has_images and not split_of(top[0].name):
        inside = root / top[0].name
        raise layout_error(
            *(str(root), "has only one class", LAYOUTS, str(top[0])),
            f"if the classes are in {inside}, give that folder"
            + ("" if root.is_dir() else ": unpack the archive, or pack it without the folders around"),
        )


def _what_is_there(root: Path, walk: Walk) -> tuple[str, str]:
    """The first names beside which there is no folder to search, and what to do."""
    with walk.scandir(root) as entries:
        names = sorted(_text(entry.name) for entry in entries)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    found = f"no folder of images, but {', '.join(names[:SHOWN])}{more}" if names else "nothing in it"
    is_packed = any(name.lower().endswith(ARCHIVES) for name in names)
    return found, "unpack the archives in it, each into a folder" if is_packed else "name another place"


def _warn_of_equal_folders(root: Path, splits: list[Split], walk: Walk) -> None:
    """Say so if each class has the same folders: `photo/{cat,dog}` and `sketch/{cat,dog}` are two domains."""
    for _, folder, names in splits:
        inside = {tuple(_folders(folder / name, walk)) for name in names}
        if len(names) > 1 and len(inside) == 1 and len(shared := next(iter(inside))) > 1:
            log.warning(
                "%s: the classes are %s, and each has the folders %s; if these are the classes, name one of "
                "the outer folders, or give a CSV of path,label",
                *(folder, ", ".join(names[:SHOWN]), ", ".join(shared[:SHOWN])),
            )


def _file_stats(
    root: Path, splits: list[Split], left_out: list[TopFolder], walk: Walk
) -> Iterator[file_stats.FileStat]:
    for folder in {root, *(folder for _, folder, _ in splits)}:
        for path, status, reason in _outside_classes(folder, _prefix(root, folder), walk):
            yield file_stats.file_stat(path, "", "", status, reason)
    for path, status, reason in _left_out(root, left_out, walk):
        yield file_stats.file_stat(path, "", "", status, reason)
    for split, folder, names in splits:
        for name in names:
            class_folder, count = folder / name, 0
            if walk.plain(class_folder):
                continue
            for path, status, reason in _files(class_folder, _prefix(root, class_folder), walk):
                yield file_stats.file_stat(path, split, name, status, reason)
                count += not reason
            if not count:
                raise _empty_class(root, class_folder, walk)


def _empty_class(root: Path, folder: Path, walk: Walk) -> DataError:
    """The error for a class folder without an image, which names what is there instead."""
    reasons = [reason for _, _, reason in _files(folder, "", walk)]
    there = f", but {quarantine_table.counts(reasons)}" if reasons else ": the folder is empty"
    found = f"no image in {folder.relative_to(root)}{there}"
    todo = "add images, or move the folder away"
    return layout_error(str(root), "has an empty class", LAYOUTS, found, todo)


def _left_out(root: Path, folders: list[TopFolder], walk: Walk) -> Iterator[FoundFile]:
    """The files of folders beside the splits: images without labels, and others."""
    for folder in folders:
        reason = (file_types.UNLABELLED if split_of(folder.name) else file_types.NO_SPLIT).reason
        files = [*_files(root / folder.name, f"{folder.name}/", walk)]
        if not files and split_of(folder.name):
            yield f"{_text(folder.name)}/", EMPTY_STATUS, file_types.EMPTY_SPLIT.reason
        for path, status, own_reason in files:
            yield _text(path), status, own_reason or reason


def _prefix(root: Path, folder: Path) -> str:
    return "" if folder == root else f"{folder.relative_to(root).as_posix()}/"


def _folders(folder: Path, walk: Walk) -> list[str]:
    if walk.plain(folder):
        return []
    with walk.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if is_dir(entry) and not _why_not_searched(entry))


def _files(folder: Path, prefix: str, walk: Walk) -> Iterator[FoundFile]:
    """The files of a class folder and of its subfolders."""
    with walk.scandir(folder) as entries:
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                yield _found(entry, prefix, walk)
            elif reason := _why_not_searched(entry):
                yield _not_searched(entry, prefix, reason)
            else:
                yield from _files(folder / entry.name, f"{prefix}{entry.name}/", walk)


def _outside_classes(folder: Path, prefix: str, walk: Walk) -> Iterator[FoundFile]:
    """What lies beside class folders; nothing of it is used."""
    with walk.scandir(folder) as entries:
        for entry in entries:
            if not is_dir(entry):
                path, status, reason = _found(entry, prefix, walk)
                yield path, status, reason or file_types.NO_CLASS.reason
            elif reason := _why_not_searched(entry):
                yield _not_searched(entry, prefix, reason)


def _why_not_searched(entry: "Entry") -> str:
    return file_types.reason_of_folder(entry.name, entry.path)


def _not_searched(entry: "Entry", prefix: str, reason: str) -> FoundFile:
    return f"{_text(prefix + entry.name)}/", entry.stat(follow_symlinks=False), reason


def _found(entry: "Entry", prefix: str, walk: Walk) -> FoundFile:
    path = prefix + entry.name
    if not is_file(entry):
        return _text(path), entry.stat(follow_symlinks=False), file_types.NO_FILE.reason
    reason = file_types.reason_of(entry.name, lambda: walk.read_head(entry.path))
    return _text(path) if reason else path, entry.stat(), reason


def _text(path: str) -> str:
    """A path as text; bytes of a name that is not UTF-8 are escaped, since the file is not used."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
