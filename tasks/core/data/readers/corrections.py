"""Corrections: labels that a person has put right, laid over the source's own, which stay as they are.

A CSV with a header. The column `label` has a class's name, `id` the image's id (the SHA-256 of its content),
`path` where the image is in the source; either of the last two will do. Other columns don't count, nor do
rows without a label: the report's list of suspects becomes corrections when its labels are filled in.
A corrected raw dataset is a listing of its own with a copy of the corrections beside it, so that its digest,
and all that follows from it, changes with what they say.
"""

import csv
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.core.data.decode import Target
from tasks.core.data.readers.base import UNLABELLED, DecodedImage, DecodeFailure, ImageIndex, Reader
from tasks.core.errors import DataError, UsageError
from tasks.core.stage.handles import RawDataset
from tasks.core.stage.stages import DOWNLOAD
from tasks.core.storage import hashing
from tasks.core.workspace import Workspace

NAME = "corrections.csv"
SHOWN = 5  # rows that an error names
# Of several columns the first counts: the form of label issues has the class as it is and as it should be.
CLASS_COLUMNS = ("corrected_class_name", "label", "class_name")
ID_COLUMNS = ("image_id", "id")


@dataclass(frozen=True)
class Correction:
    """One row: the image by its id or its path (the other is empty), and the name of its class."""

    image_id: str
    path: str
    class_name: str


def read(path: Path) -> tuple[Correction, ...]:
    """The corrections of a file, in its order.

    Raises:
        UsageError: The file isn't there, has no such columns, or names an image twice.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the corrections {path} cannot be read", found=str(error)) from error
    names = set(rows[0]) if rows else set()
    column = next((name for name in CLASS_COLUMNS if name in names), "")
    if rows and not (column and names & {*ID_COLUMNS, "path"}):
        raise UsageError(
            f"the corrections {path} have other columns",
            expected="class_name, and image_id or path",
            found=", ".join(map(str, rows[0])),
        )
    found = tuple(
        Correction(*_image(row), class_name=row[column].strip())
        for row in rows
        if (row[column] or "").strip()
    )
    _refuse_twice(found, path)
    return found


def digest(corrections: Sequence[Correction]) -> str:
    """What they say, whatever their order: part of the tensors' digest."""
    return hashing.digest_of(sorted([each.image_id, each.path, each.class_name] for each in corrections))


def overlay(rows: ImageIndex, classes: Sequence[str], corrections: Sequence[Correction]) -> ImageIndex:
    """The rows with their labels put right; of images with the same content, all are.

    Args:
        rows: Of a raw dataset.
        classes: Names of its classes, in the order of the labels.

    Raises:
        DataError: A correction of an image that isn't there, or to a class that isn't one.
    """
    by_path = [each for each in corrections if not each.image_id]
    by_identity = [each for each in corrections if each.image_id]
    absent, label = [], rows.label.copy()
    # An id counts before a path, so it comes last.
    for some, column, field in ((by_path, rows.path, "path"), (by_identity, rows.image_id, "image_id")):
        keys = [getattr(each, field) for each in some]
        places = np.asarray(pc.fill_null(pc.index_in(column, pa.array(keys, pa.string())), -1))
        absent += sorted(set(keys) - {keys[place] for place in np.unique(places).tolist() if place >= 0})
        right = [
            classes.index(each.class_name) if each.class_name in classes else UNLABELLED for each in some
        ]
        label[places >= 0] = np.array(right, np.int32)[places[places >= 0]]
    _refuse_strangers(absent, classes, corrections)
    return replace(rows, label=label)


def apply_corrections(raw: RawDataset, path: Path | None, workspace: Workspace) -> RawDataset:
    """The raw dataset with the corrections of a file; without any, the dataset itself.

    Raises:
        UsageError: See `read`.
    """
    corrections = read(path) if path is not None else ()
    if not corrections:
        return raw
    before = raw.manifest
    made_of = DOWNLOAD.ingredients(
        before["ingredients"]["inputs"] | {"corrections": digest(corrections)},
        before["ingredients"]["parameters"],
    )

    def build(staging: Path) -> dict[str, Any]:
        for name in before["files"]:
            shutil.copyfile(raw.directory / name, staging / name)
        rows = [
            {"image_id": each.image_id, "path": each.path, "class_name": each.class_name}
            for each in corrections
        ]
        with (staging / NAME).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, ["image_id", "path", "class_name"])
            writer.writeheader()
            writer.writerows(rows)
        return {**before["facts"], "corrections": len(corrections)}

    values = {name: getattr(raw, name) for name in ("dataset", "format", "root")}
    return DOWNLOAD.output(made_of, workspace, build, **values)


@dataclass(frozen=True)
class RelabelledReader:
    """A reader whose labels are put right."""

    reader: Reader
    corrections: Sequence[Correction]

    @classmethod
    def of(cls, reader: Reader, raw: RawDataset) -> Reader:
        """The reader, with the corrections that lie in the raw dataset's directory, if there are any."""
        path = raw.directory / NAME
        return cls(reader, read(path)) if path.exists() else reader

    @property
    def classes(self) -> tuple[str, ...]:
        return self.reader.classes

    @property
    def shape(self) -> tuple[int, int, int] | None:
        return self.reader.shape

    @property
    def published(self) -> bool:
        return self.reader.published

    @property
    def random_access(self) -> bool:
        return self.reader.random_access

    def index(self) -> ImageIndex:
        return overlay(self.reader.index(), self.classes, self.corrections)

    def images(self, wanted: Sequence[int], target: Target) -> Iterator[DecodedImage | DecodeFailure]:
        return self.reader.images(wanted, target)


def _image(row: dict[str, str]) -> tuple[str, str]:
    """Id and path; the path doesn't count where there is an id."""
    image_id = next((row[name].strip() for name in ID_COLUMNS if row.get(name)), "")
    return image_id, "" if image_id else (row.get("path") or "").strip()


def _refuse_twice(corrections: Sequence[Correction], path: Path) -> None:
    counts = Counter((each.image_id, each.path) for each in corrections)
    twice = [identity or path for (identity, path), count in counts.items() if count > 1]
    if twice:
        raise UsageError(
            f"the corrections {path} name an image twice",
            expected="one row an image",
            found=", ".join(twice[:SHOWN]),
            done="nothing was written",
        )


def _refuse_strangers(
    absent: Sequence[str], classes: Sequence[str], corrections: Sequence[Correction]
) -> None:
    other = sorted({each.class_name for each in corrections} - set(classes))
    if absent or other:
        found = [f"{len(absent)} images that aren't there: {', '.join(absent[:SHOWN])}"] if absent else []
        found += [f"no class {', '.join(other[:SHOWN])}"] if other else []
        raise DataError(
            "the corrections don't fit the images",
            expected=f"images of the dataset, classes among {', '.join(classes)}",
            found="; ".join(found),
            done="nothing was written",
            todo="take ids and paths from rows.parquet or from the list of label issues",
        )
