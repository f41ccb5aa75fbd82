"""The file of costs: a CSV with a row for each true class and a column for each predicted one."""

import csv
import math
import re
from collections.abc import Sequence
from pathlib import Path

from tasks.core.data import csv_text
from tasks.core.errors import DataError

MAX_NAMED = 20  # classes that an error lists
Costs = tuple[tuple[float, ...], ...]


def read(path: Path, classes: Sequence[str]) -> Costs:
    """The costs in a CSV file, in the order of the classes.

    Args:
        path: Its header and its first column have the names of the classes, in any order.
        classes: Names of the classes.

    Raises:
        DataError: It cannot be read, lacks a class or has another one, or a cost is not a number of at least
            0, or no mistake costs anything.
    """
    (_, header), *rows = lines(path)
    columns, names = header[1:], [cells[0] for _, cells in rows]
    for place, found in (("header", columns), ("first column", names)):
        _check_cost_classes(path, place, found, classes)
    rows_of = {cells[0]: (number, dict(zip(columns, cells[1:], strict=False))) for number, cells in rows}
    matrix = tuple(
        tuple(
            _cost(f"{path}, line {number},", true, predicted, costs.get(predicted, ""))
            for predicted in classes
        )
        for true in classes
        for number, costs in [rows_of[true]]
    )
    if not any(value for number, row in enumerate(matrix) for value in (*row[:number], *row[number + 1 :])):
        raise DataError(f"{path} says that no mistake costs anything", expected="a cost above 0")
    return matrix


def lines(path: Path) -> list[tuple[int, list[str]]]:
    """The lines with their numbers, without empty cells at their ends; the first one is the header.

    Raises:
        DataError: It cannot be read, or a line has more cells than the header.
    """
    try:
        with csv_text.opened(path) as opened:
            rows = [(opened.line_num, _without_empty_end(cells)) for cells in opened]
    except (OSError, csv.Error) as error:
        raise DataError(
            f"the costs in {path} cannot be read", expected="a CSV file in UTF-8 or UTF-16", found=str(error)
        ) from error
    if not rows:
        raise DataError(f"{path} has no costs", expected="class names in the header and the first column")
    for number, cells in rows[1:]:
        _refuse_more_cells(f"{path}, line {number},", cells, len(rows[0][1]))
    return rows


def _without_empty_end(cells: Sequence[str]) -> list[str]:
    stripped = [cell.strip() for cell in cells]
    while not stripped[-1]:
        stripped.pop()
    return stripped


def _refuse_more_cells(where: str, cells: Sequence[str], most: int) -> None:
    """A number with a decimal comma makes two cells: all costs behind it would be others."""
    if len(cells) > most:
        raise DataError(
            f"{where} has more cells than the header",
            expected=f"{most} cells, the class and a cost for each class",
            found=f"{len(cells)}: {listed(cells)}",
            done="nothing was trained or evaluated",
            todo="write a decimal point, or separate the cells with semicolons",
        )


def _check_cost_classes(path: Path, place: str, found: Sequence[str], classes: Sequence[str]) -> None:
    unknown = [name for name in found if name not in classes]
    missing = [name for name in classes if name not in found]
    twice = [name for name in dict.fromkeys(found) if found.count(name) > 1]
    problems = {"unknown": unknown, "missing": missing, "twice": twice}
    if any(problems.values()):
        raise DataError(
            f"the {place} of {path} does not have the classes of the images",
            expected=listed(classes),
            found="; ".join(f"{kind}: {listed(names)}" for kind, names in problems.items() if names),
            done="nothing was trained or evaluated",
        )


def _cost(where: str, true: str, predicted: str, text: str) -> float:
    value = _number(text)
    if not 0 <= value < math.inf:
        raise DataError(
            f"{where} has no cost of predicting {predicted} for an image of {true}",
            expected="a number of at least 0, such as 2.5 or 2,5, without a thousands separator",
            found=repr(text),
            done="nothing was trained or evaluated",
        )
    return value


def _number(text: str) -> float:
    """The number, also one with a decimal comma; NaN if it is none, or if it could be 1,000 or 1.000."""
    decimal_comma = re.fullmatch(r"(\d+),(\d+)", text)
    if decimal_comma and not re.fullmatch(r"[1-9]\d{0,2},\d{3}", text):
        text = f"{decimal_comma[1]}.{decimal_comma[2]}"
    try:
        return math.nan if "_" in text else float(text)
    except ValueError:
        return math.nan


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more
