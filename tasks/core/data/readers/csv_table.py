"""A CSV that lists image files: columns path and label, and optionally split.

The paths are relative to the CSV's own folder. After the scan it is treated like a folder of images.
"""

import csv
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from tasks.core.data.files import file_stats
from tasks.core.data.readers.class_names import check_classes, layout_error
from tasks.core.data.readers.image_folder import SPLITS

COLUMNS = "a header with the columns path and label (and optionally split), then one line per image"


def scan(path: Path) -> pa.Table:
    """Every image that the CSV lists, as a `file_stats.stats_table`.

    Raises:
        DataError: It is not such a CSV, or a line has no path, no label or no existing file, or repeats an
            image. The message has the line number.
    """
    classes: dict[str, set[str]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = file_stats.stats_table(
                path, _file_stats(path, csv.DictReader(file, strict=True), classes)
            )
    except (csv.Error, UnicodeDecodeError, OSError) as error:
        raise layout_error(str(path), "cannot be read as a CSV", COLUMNS, str(error)) from error
    if "" in classes and len(classes) > 1:
        raise layout_error(
            str(path), "has a split in some lines only", "a split in every line or in none", "both"
        )
    check_classes(str(path), classes, COLUMNS)
    return table


def _file_stats(
    path: Path, reader: "csv.DictReader[str]", classes: dict[str, set[str]]
) -> Iterator[file_stats.FileStat]:
    """One entry per line. Adds each line's class to `classes`, by split."""
    header = reader.fieldnames or []
    if not {"path", "label"} <= set(header):
        raise layout_error(str(path), "lacks a column", COLUMNS, f"the first line: {', '.join(header)}")
    line_numbers: dict[str, int] = {}
    for row in reader:
        number = reader.line_num
        name = Path(_cell(path, row, "path", number)).as_posix()
        label, split = _cell(path, row, "label", number), (row.get("split") or "").strip().lower()
        if split and split not in SPLITS:
            raise layout_error(f"{path}, line {number},", "has an unknown split", "train, val or test", split)
        if name in line_numbers:
            where = f"{path}, line {number},"
            raise layout_error(
                where, f"lists {name} again", "every image once", f"it also in line {line_numbers[name]}"
            )
        line_numbers[name] = number
        classes.setdefault(SPLITS.get(split, ""), set()).add(label)
        yield file_stats.file_stat(name, SPLITS.get(split, ""), label, _status(path, name, number))


def _cell(path: Path, row: Mapping[str, str | None], column: str, number: int) -> str:
    value = (row[column] or "").strip()
    if not value:
        raise layout_error(f"{path}, line {number},", f"has no {column}", COLUMNS, "nothing in this column")
    return value


def _status(path: Path, name: str, number: int) -> os.stat_result:
    try:
        return (path.parent / name).stat()
    except (OSError, ValueError) as error:
        found = getattr(error, "strerror", None) or str(error)
        raise layout_error(
            f"{path}, line {number},", f"names a file that does not exist: {name}", COLUMNS, found
        ) from error
