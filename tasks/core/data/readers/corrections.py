"""Corrections: labels given by the user that replace those of the source. The source is not changed.

A corrected raw dataset is a listing of its own with a copy of the corrections beside it. Its digest, and all
digests that follow from it, change with the content of the corrections.
"""

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.core import shares
from tasks.core.data.decode import Target
from tasks.core.data.files import listing
from tasks.core.data.readers import corrections_file
from tasks.core.data.readers.base import (
    UNLABELLED,
    Decoded,
    DecodedImage,
    DecodeFailure,
    ImageIndex,
    Reader,
    WrappedReader,
)
from tasks.core.data.readers.corrections_file import LEFT_OUT, NAME, SHOWN, Correction
from tasks.core.errors import DataError
from tasks.core.stage.handles import RawDataset
from tasks.core.stage.stages import DOWNLOAD
from tasks.core.workspace import Workspace

UNNAMED = UNLABELLED - 1  # of an image without a correction
log = logging.getLogger("plumbline.data")


def overlay(rows: ImageIndex, classes: Sequence[str], corrections: Sequence[Correction]) -> ImageIndex:
    """The index with corrected labels. All images with the same content are corrected.

    An image that is left out is `UNLABELLED`.

    Args:
        rows: The index of a raw dataset.
        classes: Names of its classes, in the order of the labels.
        corrections: The corrections.

    Raises:
        DataError: A correction names an image that does not exist, or a class that the dataset does not have;
            or two give an image different classes.
    """
    by_path, not_there = _given_labels(rows.path, "path", classes, corrections)
    by_id, no_ids = _given_labels(rows.image_id, "image_id", classes, corrections)
    _check_known([*not_there, *no_ids], classes, corrections)
    is_twice = (by_path != UNNAMED) & (by_id != UNNAMED) & (by_path != by_id)
    if is_twice.any():
        raise DataError(
            "the corrections name an image twice, by its path and by its id",
            expected="one row per image",
            found=", ".join(rows.path.take(np.flatnonzero(is_twice)[:SHOWN]).to_pylist()),
            done="nothing was written",
        )
    given = np.where(by_id == UNNAMED, by_path, by_id)
    return replace(rows, label=np.where(given == UNNAMED, rows.label, given))


def _given_labels(
    column: pa.ChunkedArray, field: str, classes: Sequence[str], corrections: Sequence[Correction]
) -> tuple[NDArray[np.int32], list[str]]:
    """The label that corrections by `field` give each image, else UNNAMED; and what they name in vain."""
    group = [correction for correction in corrections if bool(correction.image_id) == (field == "image_id")]
    keys = [getattr(correction, field) for correction in group]
    names = [_known_name(correction.class_name, classes) for correction in group]
    labels = [classes.index(name) if name in classes else UNLABELLED for name in names]
    indices = np.asarray(pc.fill_null(pc.index_in(column, pa.array(keys, pa.string())), -1))
    missing = sorted(set(keys) - {keys[index] for index in np.unique(indices).tolist() if index >= 0})
    return np.array([*labels, UNNAMED], np.int32)[indices], missing  # -1 is the last one


def _known_name(name: str, classes: Sequence[str]) -> str:
    """A class, which may have blanks around it; blanks of the file's own don't count."""
    return name if name in classes else name.strip()


def apply_corrections(
    raw: RawDataset, path: Path | None, workspace: Workspace, open_source: Callable[[RawDataset], Reader]
) -> RawDataset:
    """The raw dataset with the corrections of a file; without corrections, the dataset itself.

    Args:
        raw: The dataset.
        path: The file of corrections, or None.
        workspace: Where the corrected listing is stored.
        open_source: Opens the reader of the dataset; for corrections that were not applied to it before.

    Raises:
        UsageError: See `corrections_file.read`.
        DataError: See `overlay`.
    """
    corrections = _read(path, raw) if path is not None else ()
    if not corrections:
        if path is not None:
            log.warning("%s corrects nothing: no row has a class, or the decision %r", path, LEFT_OUT)
        return raw
    manifest = raw.manifest
    ingredients = DOWNLOAD.ingredients(
        manifest["ingredients"]["inputs"] | {"corrections": corrections_file.digest(corrections)},
        manifest["ingredients"]["parameters"],
    )

    def build(staging: Path) -> dict[str, Any]:
        source = open_source(raw)
        overlay(source.index(), source.classes, corrections)  # refuses what does not match
        for name in manifest["files"]:
            shutil.copyfile(raw.directory / name, staging / name)
        left_out = corrections_file.write(staging / NAME, corrections)
        return {**manifest["facts"], "corrections": len(corrections) - left_out, "left_out": left_out}

    values = {name: getattr(raw, name) for name in ("dataset", "format", "root")}
    return DOWNLOAD.output(ingredients, workspace, build, **values)


def _read(path: Path, raw: RawDataset) -> Sequence[Correction]:
    """The corrections, with paths as the listing has them: relative to the dataset's folder, with slashes."""
    given = corrections_file.read(path)
    if not any(correction.path for correction in given):
        return given
    listed = set(listing.read_paths(raw.directory).to_pylist())
    root = Workspace.active().root / raw.root
    corrections = [
        replace(correction, path=_listed_path(correction.path, root, listed))
        if correction.path
        else correction
        for correction in given
    ]
    corrections_file.refuse_repeated(corrections, path)
    return corrections


def _listed_path(given: str, root: Path, listed: Set[str]) -> str:
    """The listed path that a path means, which may be absolute or of Windows; if there is none, itself."""
    if given in listed:
        return given
    given = given.strip()
    path = Path(given.replace("\\", "/"))
    real = path.parent.resolve() / path.name  # the image itself may be a link to somewhere else
    for found, folder in ((path, root), (real, root.resolve())):
        name = (found.relative_to(folder) if found.is_relative_to(folder) else path).as_posix()
        if name in listed:
            return name
    return given


@dataclass(frozen=True)
class RelabelledReader(WrappedReader):
    """A reader with corrected labels, without the images that are left out."""

    reader: Reader
    corrections: Sequence[Correction]

    @classmethod
    def of(cls, reader: Reader, raw: RawDataset) -> Reader:
        """Apply the corrections in the raw dataset's directory; without any, return the reader."""
        path = raw.directory / NAME
        return cls(reader, corrections_file.read(path)) if path.exists() else reader

    def index(self) -> ImageIndex:
        """The images that are not left out, with corrected labels."""
        rows = overlay(self.reader.index(), self.classes, self.corrections)
        return rows if self._kept is None else rows.take(self._kept)

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

    def files(self, wanted: Sequence[int]) -> Iterator[IO[bytes] | None]:
        """See `Reader.files`."""
        return self.reader.files(wanted if self._kept is None else self._kept[list(wanted)].tolist())

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


def _check_known(missing: Sequence[str], classes: Sequence[str], corrections: Sequence[Correction]) -> None:
    unknown = sorted({_known_name(each.class_name, classes) for each in corrections} - {"", *classes})
    if missing or unknown:
        outside = any(Path(name).is_absolute() or "\\" in name for name in missing)
        what = shares.said(len(missing), "image that does not exist", "images that do not exist")
        found = [f"{what}: {', '.join(missing[:SHOWN])}"] if missing else []
        found += [f"no class {', '.join(unknown[:SHOWN])}"] if unknown else []
        raise DataError(
            "the corrections do not match the dataset",
            expected=f"images of the dataset, classes among {', '.join(classes)}",
            found="; ".join(found),
            done="nothing was written",
            todo="take ids and paths from rows.parquet or from the list of label issues"
            + "; an absolute path has to lie in the dataset's folder" * outside,
        )
