"""Corrections: labels given by the user that replace those of the source. The source is not changed.

They are a CSV with a header. The class is in the column `corrected_class_name`, `label` or `class_name`; the
first of these counts. The image is named by `image_id` or `id` (the SHA-256 of its content) or by `path` (its
path in the source); the id overrides the path. A row whose column `decision` is "left out" takes the image
out of the dataset. Other columns are ignored, such as who decided and when, and so are other rows without a
class: the report's table of label issues becomes a file of corrections when its empty classes are filled in.

A corrected raw dataset is a listing of its own with a copy of the corrections beside it. Its digest, and all
digests that follow from it, change with the content of the corrections.
"""

import csv
import logging
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.core.data import csv_text
from tasks.core.data.decode import Target
from tasks.core.data.readers.base import (
    UNLABELLED,
    Decoded,
    DecodedImage,
    DecodeFailure,
    ImageIndex,
    Reader,
    WrappedReader,
)
from tasks.core.errors import DataError, UsageError
from tasks.core.markup import text_of_cell
from tasks.core.stage.handles import RawDataset
from tasks.core.stage.stages import DOWNLOAD
from tasks.core.storage import hashing
from tasks.core.workspace import Workspace

log = logging.getLogger("plumbline.data")

NAME = "corrections.csv"
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

    An empty class means that the image is left out.
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
    try:
        with csv_text.rows(path, (*CLASS_COLUMNS, *IMAGE_COLUMNS, DECISION)) as reader:
            numbered = dict((reader.line_num, _as_text(row)) for row in reader)  # noqa: C402 - it changes
            columns = list(reader.fieldnames or [])
    except (OSError, csv.Error) as error:
        raise UsageError(
            f"the corrections {path} cannot be read", expected="a CSV with a header", found=str(error)
        ) from error
    rows = list(numbered.values())
    class_column = next((name for name in CLASS_COLUMNS if name in columns), "")
    if rows and not ((class_column or DECISION in columns) and {*columns} & {*IMAGE_COLUMNS}):
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
    _refuse_repeated(corrections, path)
    return corrections


def _as_text(row: dict[str, Any]) -> dict[str, Any]:
    """A row without the apostrophes that the form has before what a spreadsheet would calculate."""
    return {name: text_of_cell(value) if isinstance(value, str) else value for name, value in row.items()}


def digest(corrections: Sequence[Correction]) -> str:
    """A digest of the corrections, in any order: an ingredient of the tensors."""
    return hashing.digest_of(
        sorted([correction.image_id, correction.path, correction.class_name] for correction in corrections)
    )


def overlay(rows: ImageIndex, classes: Sequence[str], corrections: Sequence[Correction]) -> ImageIndex:
    """The index with corrected labels. All images with the same content are corrected.

    An image that is left out is `UNLABELLED`.

    Args:
        rows: The index of a raw dataset.
        classes: Names of its classes, in the order of the labels.
        corrections: The corrections.

    Raises:
        DataError: A correction names an image that does not exist, or a class that the dataset does not have.
    """
    by_path = [correction for correction in corrections if not correction.image_id]
    by_id = [correction for correction in corrections if correction.image_id]
    missing, label = [], rows.label.copy()
    # Ids override paths, so they are applied last.
    for group, column, field in ((by_path, rows.path, "path"), (by_id, rows.image_id, "image_id")):
        keys = [getattr(correction, field) for correction in group]
        indices = np.asarray(pc.fill_null(pc.index_in(column, pa.array(keys, pa.string())), -1))
        missing += sorted(set(keys) - {keys[index] for index in np.unique(indices).tolist() if index >= 0})
        labels = [
            classes.index(correction.class_name) if correction.class_name in classes else UNLABELLED
            for correction in group
        ]
        label[indices >= 0] = np.array(labels, np.int32)[indices[indices >= 0]]
    _check_known(missing, classes, corrections)
    return replace(rows, label=label)


def apply_corrections(raw: RawDataset, path: Path | None, workspace: Workspace) -> RawDataset:
    """The raw dataset with the corrections of a file; without corrections, the dataset itself.

    Args:
        raw: The dataset.
        path: The file of corrections, or None.
        workspace: Where the corrected listing is stored.

    Raises:
        UsageError: See `read`.
    """
    corrections = read(path) if path is not None else ()
    if not corrections:
        if path is not None:
            log.warning("%s corrects nothing: no row has a class, or the decision %r", path, LEFT_OUT)
        return raw
    manifest = raw.manifest
    ingredients = DOWNLOAD.ingredients(
        manifest["ingredients"]["inputs"] | {"corrections": digest(corrections)},
        manifest["ingredients"]["parameters"],
    )

    def build(staging: Path) -> dict[str, Any]:
        for name in manifest["files"]:
            shutil.copyfile(raw.directory / name, staging / name)
        left_out = _write(staging / NAME, corrections)
        return {**manifest["facts"], "corrections": len(corrections) - left_out, "left_out": left_out}

    values = {name: getattr(raw, name) for name in ("dataset", "format", "root")}
    return DOWNLOAD.output(ingredients, workspace, build, **values)


def _write(path: Path, corrections: Sequence[Correction]) -> int:
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


@dataclass(frozen=True)
class RelabelledReader(WrappedReader):
    """A reader with corrected labels, without the images that are left out."""

    reader: Reader
    corrections: Sequence[Correction]

    @classmethod
    def of(cls, reader: Reader, raw: RawDataset) -> Reader:
        """Apply the corrections in the raw dataset's directory; without any, return the reader."""
        path = raw.directory / NAME
        return cls(reader, read(path)) if path.exists() else reader

    def index(self) -> ImageIndex:
        """The images that are not left out, with corrected labels."""
        rows = overlay(self.reader.index(), self.classes, self.corrections)
        if self._kept is None:
            return rows
        columns = (rows.image_id.take(self._kept), rows.path.take(self._kept))
        return ImageIndex(*columns, rows.split[self._kept], rows.label[self._kept])

    def blocks(self, wanted: Sequence[int], target: Target) -> Iterator[Decoded]:
        """See `Reader.blocks`; one by one where images are left out."""
        return self.reader.blocks(wanted, target) if self._kept is None else self.images(wanted, target)

    def images(self, wanted: Sequence[int], target: Target) -> Iterator[DecodedImage | DecodeFailure]:
        """See `Reader.images`."""
        if self._kept is None:
            return self.reader.images(wanted, target)
        source_numbers = self._kept[list(wanted)].tolist()
        number_of = dict(zip(source_numbers, wanted, strict=True))
        images = self.reader.images(source_numbers, target)
        return (replace(image, row=number_of[image.row]) for image in images)

    @cached_property
    def _kept(self) -> NDArray[np.int64] | None:
        """The source's numbers of the images that are not left out, ascending; None if none is left out."""
        left_out = [correction for correction in self.corrections if not correction.class_name]
        if not left_out:
            return None
        source = self.reader.index()
        is_left_out = overlay(
            replace(source, label=np.zeros_like(source.label)), self.classes, left_out
        ).label
        return np.flatnonzero(is_left_out != UNLABELLED)


def _class(row: dict[str, str], class_column: str) -> str:
    return (row.get(class_column) or "").strip()


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
    return image_id, "" if image_id else (row.get("path") or "").strip()


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


def _refuse_repeated(corrections: Sequence[Correction], path: Path) -> None:
    counts = Counter((correction.image_id, correction.path) for correction in corrections)
    repeated = [image_id or path for (image_id, path), count in counts.items() if count > 1]
    if repeated:
        raise UsageError(
            f"the corrections {path} name an image twice",
            expected="one row per image",
            found=", ".join(repeated[:SHOWN]),
            done="nothing was written",
        )


def _check_known(missing: Sequence[str], classes: Sequence[str], corrections: Sequence[Correction]) -> None:
    unknown = sorted({correction.class_name for correction in corrections} - {"", *classes})
    if missing or unknown:
        found = [f"{len(missing)} images that do not exist: {', '.join(missing[:SHOWN])}"] if missing else []
        found += [f"no class {', '.join(unknown[:SHOWN])}"] if unknown else []
        raise DataError(
            "the corrections do not match the dataset",
            expected=f"images of the dataset, classes among {', '.join(classes)}",
            found="; ".join(found),
            done="nothing was written",
            todo="take ids and paths from rows.parquet or from the list of label issues",
        )
