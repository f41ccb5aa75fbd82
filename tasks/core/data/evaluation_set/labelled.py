"""The evaluation_set stage: labelled images of any source, as a published version takes them.

A directory has `test.images.npy` (uint8 N, H, W, C), `test.labels.npy` (int32 N, the version's labels),
`rows.parquet` and `quarantine.parquet`, as tensors have, and empty train and val arrays.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.core.data.evaluation_set import known_classes, seen_images
from tasks.core.data.evaluation_set.seen_images import SeenImages
from tasks.core.data.files.class_names import any_classes
from tasks.core.data.files.columns import GROUP
from tasks.core.data.grouping import joined_groups, remarks
from tasks.core.data.grouping.option import GroupedReader
from tasks.core.data.readers import factory
from tasks.core.data.readers.base import ImageIndex, Reader
from tasks.core.data.tensors import image_writer, quarantine, splits
from tasks.core.data.tensors.cache import ROWS, SPLITS
from tasks.core.data.tensors.npy_writer import write_rows
from tasks.core.data.tensors.reuse import ReusableCache
from tasks.core.data.tensors.splits import Splits
from tasks.core.data.tensors.target_shape import TargetShape
from tasks.core.errors import DataError
from tasks.core.progress import Progress, ignore_progress
from tasks.core.stage.evaluation_set import EvaluationSet
from tasks.core.stage.handles import ModelVersion, RawDataset
from tasks.core.stage.ingredients import Ingredients
from tasks.core.stage.stages import EVALUATION_SET
from tasks.core.workspace import Workspace

Numbers = NDArray[np.int64]
TEST = "test"


@dataclass(frozen=True)
class LabelledSettings:
    """Which images of a source are evaluated.

    Args:
        split: Only the images of this split of the source; empty for all.
        group_by: As in `NormalizeSettings`.
        max_quarantine: Share of images that cannot be used above which the evaluation fails, 0..1.
    """

    split: str = ""
    group_by: str | None = None
    max_quarantine: float = 0.01


class FixedShape(TargetShape):
    """A version's own shape: an image with more bits than it takes is unreadable, as it is to predict."""

    def check_grey_bits(self, needed: int) -> None:
        """Change nothing."""


def ingredients(
    raw: RawDataset, version: ModelVersion, settings: LabelledSettings, workspace: Workspace
) -> Ingredients:
    """What decides the images: the source, the settings, how the version takes them, and what it has seen."""
    tensors = seen_images.tensors_of(version, workspace)
    inputs = {"raw": raw.images_digest} | ({"tensors": tensors.digest} if tensors else {})
    parameters = {
        **{name: value for name, value in vars(settings).items() if value},
        "classes": list(version.manifest["facts"]["classes"]),
        "shape": list(version.shape),
        "fit": str(version.fit),
        "grey_bits": version.grey_bits,
    }
    return EVALUATION_SET.ingredients(inputs, parameters, factory.modules(raw), factory.libraries(raw))


def labelled(
    raw: RawDataset,
    version: ModelVersion,
    settings: LabelledSettings,
    workspace: Workspace,
    *,
    refresh: bool = False,
    progress: Progress = ignore_progress,
) -> EvaluationSet:
    """Decode the images of known classes that the version has not seen.

    Args:
        raw: The images.
        version: The published version.
        settings: Which of the images.
        workspace: Where the output is stored.
        refresh: Whether to build an existing output again.
        progress: Called with images done.

    Raises:
        DataError: No image is left, or the source has no such split.
        QuarantineError: More images cannot be used than `settings.max_quarantine` allows.
    """

    def build(staging: Path) -> dict[str, Any]:
        tensors = seen_images.tensors_of(version, workspace)
        seen = seen_images.read(tensors, version.shape, str(version.fit))
        with any_classes():
            reader = GroupedReader.of(factory.open_raw(raw), settings.group_by, raw.format)
            return _Build(staging, reader, raw, version, settings, seen).run(progress)

    return EVALUATION_SET.output(
        ingredients(raw, version, settings, workspace), workspace, build, refresh=refresh
    )


class _Build:
    """One build: `run` writes the files."""

    def __init__(
        self,
        directory: Path,
        reader: Reader,
        raw: RawDataset,
        version: ModelVersion,
        settings: LabelledSettings,
        seen: SeenImages,
    ) -> None:
        self.directory, self.reader, self.raw, self.seen = directory, reader, raw, seen
        self.version, self.settings = version, settings
        self.classes = tuple(version.manifest["facts"]["classes"])
        self.index = reader.index()

    def run(self, progress: Progress) -> dict[str, Any]:
        """Write all files; returns the facts."""
        wanted = self._wanted()
        unknown = known_classes.unknown_counts(self.reader.classes, self.index.label[wanted], self.classes)
        conflicts = {} if self.reader.published else self._conflicts(wanted)
        index = known_classes.relabelled(self.index, self.reader.classes, self.classes)
        known = wanted[(index.label[wanted] >= 0) & ~np.isin(wanted, list(conflicts))]
        if not len(known):
            raise known_classes.no_known_class(self.raw.dataset, list(unknown), self.classes)
        ids = index.image_id.take(known)
        by_split = {split: self.seen.by_id(ids, split) for split in SPLITS}
        new = _in_order(known[~(by_split["train"] | by_split["val"])], index)
        written, new, twins = self._write_images(new, index, progress)
        left_out = conflicts | written.failed
        quarantine.check_share(left_out, index, self.settings.max_quarantine)
        trained, chosen = (a + b for a, b in zip(_seen_counts(by_split), _seen_counts(twins), strict=True))
        if not len(new):
            raise self._refuse_empty(trained, chosen, len(written.failed))
        index = remarks.with_joined(joined_groups.without_broken(index, self.reader))
        quarantine.write(self.directory, index, left_out, {})
        self._write_tables(new, index, written.originals)
        own = self.seen.by_id(index.image_id.take(new), TEST) | twins[TEST]
        return {
            **self._facts_of(new, index),
            "quarantined": len(left_out),
            "decoded": written.decoded,
            "source_images": len(wanted),
            "unknown": unknown,
            "trained": trained,
            "chosen": chosen,
            "own_test": int(own.sum()),
        }

    def _facts_of(self, new: Numbers, index: ImageIndex) -> dict[str, Any]:
        """What the images are, and how the version takes them."""
        return {
            "dataset": self.raw.dataset,
            "classes": list(self.classes),
            "shape": list(self.version.shape),
            "fit": str(self.version.fit),
            "grey_bits": self.version.grey_bits,
            "train": 0,
            "val": 0,
            "test": len(new),
            "class_counts": {TEST: np.bincount(index.label[new], minlength=len(self.classes)).tolist()},
            "shared_groups": self._shared_groups(new, index),
            "not_checked": self.seen.not_checked,
            **remarks.facts(index, {split: new if split == TEST else new[:0] for split in SPLITS}),
        }

    def _wanted(self) -> Numbers:
        """Numbers of the images that are asked for."""
        split = self.settings.split
        wanted = np.arange(len(self.index)) if not split else np.flatnonzero(self.index.split == split)
        if not len(wanted):
            there = sorted(set(self.index.split.tolist()) - {""})
            raise DataError(
                f"{self.raw.dataset} has no images of the split {split}" if split else "there are no images",
                expected="folders train, val and test, or a column split",
                found=f"the splits {', '.join(there)}" if there else "a source without splits",
                done="nothing was evaluated",
                todo="leave out --split: then all images are evaluated",
            )
        return wanted

    def _conflicts(self, wanted: Numbers) -> dict[int, str]:
        """Images without a label or in two classes: reasons by number."""
        asked = set(wanted.tolist())
        reasons = quarantine.find_label_conflicts(self.index, self.reader.classes)
        return {number: reason for number, reason in reasons.items() if number in asked}

    def _write_images(
        self, numbers: Numbers, index: ImageIndex, progress: Progress
    ) -> tuple[image_writer.WrittenImages, Numbers, dict[str, NDArray[np.bool_]]]:
        """Write the images, without those whose pixels the version has seen.

        Returns:
            What was written, the numbers of the images that are left, and which images look like one of each
            split: for train and val all readable ones, for test those that are left.
        """
        target = FixedShape(
            self.version.shape[:2],
            self.version.shape[2],
            fit=self.version.fit,
            grey_bits=self.version.grey_bits,
        )
        placed = Splits({split: numbers if split == TEST else numbers[:0] for split in SPLITS})
        written = image_writer.write(
            self.directory, self.reader, index, placed, target, ReusableCache(), progress
        )
        numbers = numbers[~np.isin(numbers, list(written.failed))]
        path = self.directory / f"{TEST}.images.npy"
        images = np.load(path, mmap_mode="r", allow_pickle=False)
        digests = list(seen_images.pixel_digests(images)) if self.seen.pixels else []
        none = np.zeros(len(numbers), bool)
        twins = {split: self.seen.by_pixels(digests, split) if digests else none for split in SPLITS}
        left = np.flatnonzero(~(twins["train"] | twins["val"]))
        if len(left) < len(numbers):
            _keep_rows(path, images, left)
        return written, numbers[left], twins | {TEST: twins[TEST][left]}

    def _refuse_empty(self, trained: int, chosen: int, failed: int) -> DataError:
        return DataError(
            f"{self.raw.dataset} has no image left to evaluate {self.version.version} on",
            expected="images that it has not seen",
            found=f"{trained:,} that it was trained on, {chosen:,} of its val images, {failed:,} unreadable",
            done="nothing was evaluated",
            todo="give images that were not part of its training data",
        )

    def _shared_groups(self, numbers: Numbers, index: ImageIndex) -> int:
        if index.group is None or not len(self.seen.groups):
            return 0
        return int(np.sum(pc.is_in(index.group.take(numbers), self.seen.groups).to_numpy()))

    def _write_tables(self, numbers: Numbers, index: ImageIndex, originals: NDArray[np.int32]) -> None:
        for split in SPLITS:
            labels = index.label[numbers] if split == TEST else index.label[:0]
            np.save(self.directory / f"{split}.labels.npy", labels)
        labels = pa.array(index.label[numbers])
        columns = {
            "split": pa.array([TEST] * len(numbers), pa.string()),
            "row": pa.array(np.arange(len(numbers), dtype=np.int32)),
            "image_id": index.image_id.take(numbers),
            "path": index.path.take(numbers),
            "label": labels,
            "class_name": pa.array(self.classes).take(labels),
            **dict(zip(("height", "width", "channels"), originals[numbers].T, strict=True)),
            **{name: values.take(numbers) for name, values in remarks.columns(index).items()},
        }
        dictionary = [name for name in columns if name in ("split", "class_name", GROUP)]
        pq.write_table(pa.table(columns), self.directory / ROWS, use_dictionary=dictionary)


def _seen_counts(by_split: dict[str, NDArray[np.bool_]]) -> tuple[int, int]:
    """Number of train images, and of val images that are no train images; bool (N,) by split."""
    return int(by_split["train"].sum()), int((by_split["val"] & ~by_split["train"]).sum())


def _in_order(numbers: Numbers, index: ImageIndex) -> Numbers:
    """The images in the order of tensors, which follows from their content; the path breaks ties."""
    ids, paths = index.image_id.take(numbers).to_pylist(), index.path.take(numbers).to_pylist()
    keys = list(zip(splits.fractions(splits.ORDER_SALT, ids).tolist(), ids, paths, strict=True))
    return numbers[sorted(range(len(numbers)), key=keys.__getitem__)]


def _keep_rows(path: Path, images: NDArray[np.uint8], rows: Numbers) -> None:
    """Replace a file of images by some of its rows, int64 (n,), ascending."""
    new = path.with_suffix(".kept")
    write_rows(new, images, rows)
    new.replace(path)
