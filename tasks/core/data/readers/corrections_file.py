"""The file of corrections: a CSV that gives images other classes than their source does.

The class is in the column `corrected_class_name`, `label` or `class_name`; the first of these counts. The
image is named by `image_id` or `id` (the SHA-256 of its content) or by `path` (its path in the source); the
id overrides the path. A row whose column `decision` is "left out" takes the image out of the dataset. Other
columns are ignored, such as who decided and when, and so are other rows without a class: the report's table
of label issues becomes a file of corrections when its empty classes are filled in.
"""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.core.data import csv_text
from tasks.core.errors import UsageError
from tasks.core.markup import text_of_cell
from tasks.core.storage import hashing

NAME = "corrections.csv"  # of the copy in the directory of a raw dataset
SHOWN = 5  # rows that an error names
# The first column that exists counts: a table of label issues has the given class and the corrected one.
CLASS_COLUMNS = ("corrected_class_name", "label", "class_name")
ID_COLUMNS = ("image_id", "id")
IMAGE_COLUMNS = (*ID_COLUMNS, "path")
DECISION, LEFT_OUT = "decision", "left out"  # the column, and its only value that matters here
DECISIONS = {"", "corrected", "kept", LEFT_OUT}


@dataclass(frozen=True)
class Correction:
    """One row: the image by its id or its path (the other is empty), and the correct class.

    An empty class means that the image is left out. Path and class are as they stand in the file: blanks
    around them count only if the dataset has a path or a class with them.
    """

    image_id: str
    path: str
    class_name: str


def read(path: Path) -> tuple[Correction, ...]:
    """The corrections of a file, in its order.

    Raises:
        UsageError: The file cannot be read, lacks the columns, names an image twice, or gives a class to an
            image that is left out.
    """
    numbered, columns = _lines(path)
    rows = list(numbered.values())
    class_column = next((name for name in CLASS_COLUMNS if name in columns), "")
    if columns and not ((class_column or DECISION in columns) and {*columns} & {*IMAGE_COLUMNS}):
        raise UsageError(
            f"the corrections {path} have other columns",
            expected="class_name, and image_id or path",
            found=", ".join(columns),
        )
    for number, row in numbered.items():
        _refuse_odd(row, class_column, f"{path}, line {number},")
    corrections = tuple(
        Correction(*_image(row), class_name=_class(row, class_column))
        for row in rows
        if _class(row, class_column) or _is_left_out(row)
    )
    _refuse_contradiction(rows, class_column, path)
    refuse_repeated(corrections, path)
    return corrections


def _lines(path: Path) -> tuple[dict[int, dict[str, Any]], list[str]]:
    """The rows by the numbers of their lines, and the names of the columns."""
    try:
        with csv_text.rows(path, (*CLASS_COLUMNS, *IMAGE_COLUMNS, DECISION)) as reader:
            numbered = dict((reader.line_num, _without_apostrophes(row)) for row in reader)  # noqa: C402 - it changes
            return numbered, reader.fieldnames
    except (OSError, csv.Error) as error:
        raise UsageError(
            f"the corrections {path} cannot be read", expected="a CSV with a header", found=str(error)
        ) from error


def _without_apostrophes(row: dict[str, Any]) -> dict[str, Any]:
    """A row without the apostrophes that the form has before what a spreadsheet would calculate."""
    return {name: text_of_cell(value) if isinstance(value, str) else value for name, value in row.items()}


def digest(corrections: Sequence[Correction]) -> str:
    """A digest of the corrections, in any order: an ingredient of the tensors."""
    return hashing.digest_of(
        sorted([correction.image_id, correction.path, correction.class_name] for correction in corrections)
    )


def write(path: Path, corrections: Sequence[Correction]) -> int:
    """Write what decides the labels, not who decided it and when. Returns how many images are left out."""
    columns = ["image_id", "path", "class_name"]
    rows = [{name: getattr(correction, name) for name in columns} for correction in corrections]
    left_out = [row for row in rows if not row["class_name"]]
    for row in left_out:
        row[DECISION] = LEFT_OUT
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*columns, DECISION] if left_out else columns)
        writer.writeheader()
        writer.writerows(rows)
    return len(left_out)


def _class(row: dict[str, str], class_column: str) -> str:
    return text_of(row, class_column)


def text_of(row: Mapping[str, str], column: str) -> str:
    """A cell with the blanks around it, which a folder's name may have, too; empty if it has only blanks."""
    text = row.get(column) or ""
    return text if text.strip() else ""


def _decision(row: dict[str, str]) -> str:
    return (row.get(DECISION) or "").strip().lower().replace("_", " ")


def _is_left_out(row: dict[str, str]) -> bool:
    return _decision(row) == LEFT_OUT


def _refuse_odd(row: dict[str, str], class_column: str, where: str) -> None:
    """Refuse a row that would be ignored, or read in part, although somebody has written something there."""
    done = "nothing was written"
    if extra := row.get(None):  # type: ignore[call-overload]
        raise UsageError(
            f"{where} has more fields than the first line",
            expected="quotes around a name with a comma",
            found=f"also: {', '.join(extra)}",
            done=done,
        )
    name, decision = _class(row, class_column), _decision(row)
    if not name and decision not in DECISIONS:
        expected = ", ".join(sorted(DECISIONS - {""}))
        raise UsageError(f"{where} has an unknown decision", expected=expected, found=decision, done=done)
    if name and not any(_image(row)):
        expected = "the path or the image_id of an image"
        raise UsageError(f"{where} names no image", expected=expected, found=f"a class: {name}", done=done)


def _image(row: dict[str, str]) -> tuple[str, str]:
    """Id and path of a row; the path is empty where there is an id."""
    image_id = next((row[name].strip() for name in ID_COLUMNS if row.get(name)), "")
    return image_id, "" if image_id else text_of(row, "path")


def _refuse_contradiction(rows: Sequence[dict[str, str]], class_column: str, path: Path) -> None:
    wrong = [row for row in rows if _is_left_out(row) and _class(row, class_column)]
    if wrong:
        images = [image_id or image_path for image_id, image_path in map(_image, wrong[:SHOWN])]
        raise UsageError(
            f"the corrections {path} give a class to an image that is left out",
            expected=f"no class where {DECISION} is {LEFT_OUT!r}",
            found=", ".join(images),
            done="nothing was written",
        )


def refuse_repeated(corrections: Sequence[Correction], path: Path) -> None:
    """Refuse corrections that name an image twice.

    Args:
        corrections: The corrections.
        path: Their file, for the message.

    Raises:
        UsageError: The message names the images.
    """
    counts = Counter((correction.image_id, correction.path) for correction in corrections)
    repeated = [image_id or path for (image_id, path), count in counts.items() if count > 1]
    if repeated:
        raise UsageError(
            f"the corrections {path} name an image twice",
            expected="one row per image",
            found=", ".join(repeated[:SHOWN]),
            done="nothing was written",
        )
