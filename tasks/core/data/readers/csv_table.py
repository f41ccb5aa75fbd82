"""A CSV that lists image files: columns path and label, and optionally split, group and others.

The paths are relative to the CSV's own folder. After the scan it is treated like a folder of images.
`files.columns` says which other columns are kept.
"""

import csv
import errno
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tasks.core.data import csv_text, file_types
from tasks.core.data.files import columns, file_stats
from tasks.core.data.files.class_names import WHOLE, check_classes, layout_error
from tasks.core.data.split_names import split_of

COLUMNS = (
    "a header with the columns path and label (and optionally split, group and others), "
    "then one line per image"
)
MISSING = "-1"
DRIVE = re.compile(r"[A-Za-z]:[/\\]")
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
OWN = ("path", "label", "split")  # the columns that are no groups or attributes


def scan(path: Path) -> pa.Table:
    """Every image that the CSV lists, as a `file_stats.stats_table`.

    Raises:
        DataError: It is not such a CSV, or a line has no path, no label or no existing file, or repeats an
            image. The message has the line number.
    """
    classes: dict[str, set[str]] = {}
    further: dict[str, list[str]] = {}
    try:
        with csv_text.rows(path, (*OWN, columns.GROUP), skips_blanks=True) as reader:
            table = file_stats.stats_table(path, _file_stats(path, reader, classes, further))
    except (csv.Error, OSError) as error:
        raise layout_error(str(path), "cannot be read as a CSV", COLUMNS, str(error)) from error
    if "" in classes and len(classes) > 1:
        found, todo = "both", "fill the column split in every line, or remove it"
        expected = "a split in every line or in none"
        raise layout_error(str(path), "has a split in some lines only", expected, found, todo)
    table = _without_labels(table, classes)
    check_classes(str(path), classes, COLUMNS)
    for name, values in _further(path, table["path"].to_pylist(), further, bool(set(classes) - {""})).items():
        table = table.append_column(name, values)
    return table


def _without_labels(table: pa.Table, classes: dict[str, set[str]]) -> pa.Table:
    """Images of the label -1 are left out where all labels are whole numbers; -1 then means none."""
    names = set().union(*classes.values())
    if MISSING not in names or not all(map(WHOLE.fullmatch, names - {MISSING})):
        return table
    for split in classes.values():
        split.discard(MISSING)
    is_missing = pc.equal(table["class_name"], MISSING)
    reasons = pc.if_else(is_missing, file_types.NO_LABEL.reason, table["reason"])
    return table.set_column(table.schema.get_field_index("reason"), "reason", reasons)


def _further(
    path: Path, names: list[str], further: dict[str, list[str]], has_splits: bool
) -> dict[str, pa.ChunkedArray]:
    """The group and the attributes in the order of the table, which is sorted by path."""
    header, *rows = [further.pop("", []), *(further[name] for name in names)]
    values = {name: pa.array([row[place] for row in rows], pa.string()) for place, name in enumerate(header)}
    texts = {name: columns.as_text(text) for name, text in values.items()}
    return columns.kept(str(path), texts, has_splits=has_splits)


def _header(path: Path, header: Sequence[str]) -> list[str]:
    """The names of the further columns.

    Raises:
        DataError: A column is missing, or there twice.
    """
    if not {"path", "label"} <= set(header):
        found = f"the first line: {', '.join(header)}"
        todo = "name these two columns path and label, with a comma, a semicolon or a tab between them"
        raise layout_error(str(path), "lacks a column", COLUMNS, found, todo)
    named = [name for name in header if name.strip()]
    repeated = sorted({name for name in named if named.count(name) > 1})
    if repeated:
        found, todo = ", ".join(repeated), "rename or remove one of them"
        raise layout_error(str(path), "has a column twice", "every column once", found, todo)
    return [name for name in named if name not in OWN]


def _file_stats(
    path: Path,
    reader: csv_text.Rows,
    classes: dict[str, set[str]],
    further: dict[str, list[str]],
) -> Iterator[file_stats.FileStat]:
    """One entry per line. Adds each line's class to `classes`, by split.

    Adds the values of the further columns to `further`, by path, and the names of these columns under "".
    """
    names = further[""] = _header(path, reader.fieldnames)
    line_numbers: dict[str, int] = {}
    for row in reader:
        number = reader.line_num
        _refuse_more_fields(path, row, number)
        name = _name(path, _cell(path, row, "path", number), number)
        label, split = _cell(path, row, "label", number), _split(path, row, number)
        if name in line_numbers:
            where, found = f"{path}, line {number},", f"it also in line {line_numbers[name]}"
            todo = "remove one of the two lines"
            raise layout_error(where, f"lists {name} again", "every image once", found, todo)
        line_numbers[name] = number
        further[name] = [row[column] or "" for column in names]
        classes.setdefault(split, set()).add(label)
        yield file_stats.file_stat(name, split, label, _status(path, name, number))


def _refuse_more_fields(path: Path, row: dict[Any, Any], number: int) -> None:
    if None in row:
        found, where = f"also: {', '.join(row[None])}", f"{path}, line {number},"
        todo = "put quotes around a field with a separator in it, or name its column"
        raise layout_error(where, "has more fields than the first line", COLUMNS, found, todo)


def _split(path: Path, row: Mapping[str, str | None], number: int) -> str:
    name = (row.get("split") or "").strip()
    split = split_of(name)
    if name and not split:
        where, todo = f"{path}, line {number},", "correct the split, or rename the column if it is another"
        raise layout_error(where, "has an unknown split", "train, val or test", name, todo)
    return split


def _cell(path: Path, row: Mapping[str, str | None], column: str, number: int) -> str:
    value = (row[column] or "").strip()
    if not value:
        todo = f"fill in the {column}, or remove the line"
        where = f"{path}, line {number},"
        raise layout_error(where, f"has no {column}", COLUMNS, "nothing in this column", todo)
    return value


def _name(path: Path, given: str, number: int) -> str:
    """The path of an image relative to the CSV's folder, with forward slashes."""
    folder = path.parent.absolute()
    written = given
    if ADDRESS.match(given):
        where = f"{path}, line {number},"
        todo = "copy the images below the CSV's folder, and write their paths"
        raise layout_error(where, "has an address", "paths on this machine", written, todo)
    if "\\" in given and "\0" not in given and not (folder / given).exists():
        given = given.replace("\\", "/")  # of Windows
    if DRIVE.match(given):
        where = f"{path}, line {number},"
        todo = "write paths relative to the CSV's folder"
        raise layout_error(where, "has a path of another machine", "paths on this machine", written, todo)
    if not given.startswith("/"):
        return os.path.normpath(given) if ".." in Path(given).parts else Path(given).as_posix()
    if not Path(given).is_relative_to(folder):
        where = f"{path}, line {number},"
        todo = "put the CSV into a folder above all images, or write paths relative to its folder"
        raise layout_error(
            where, "has an absolute path outside of the CSV's folder", str(folder), given, todo
        )
    return Path(given).relative_to(folder).as_posix()


def _status(path: Path, name: str, number: int) -> os.stat_result:
    try:
        status = (path.parent / name).stat()
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, "a folder")
        return status
    except (OSError, ValueError) as error:
        found = getattr(error, "strerror", None) or str(error)
        what = (
            "names no image" if isinstance(error, IsADirectoryError) else "names a file that does not exist"
        )
        expected = f"a file, its path relative to the CSV's folder {path.parent.absolute()}"
        todo = _similar(path.parent / name) or "correct the path, or remove the line"
        raise layout_error(f"{path}, line {number},", f"{what}: {name}", expected, found, todo) from error


def _similar(missing: Path) -> str:
    """What to do if there is such a file in other case or with a suffix; else empty."""
    try:
        names = [found.name for found in missing.parent.iterdir()]
    except (OSError, ValueError):
        return ""
    wanted = missing.name.casefold()
    alike = [name for name in names if wanted in (name.casefold(), Path(name).stem.casefold())]
    return f"write the name as it is there: {min(alike)}" if alike else ""
