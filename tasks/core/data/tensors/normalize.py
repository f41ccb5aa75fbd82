"""The normalize stage: images of any source become the tensor cache, in bounded memory.

A directory has `{train,val,test}.images.npy` (uint8 N, H, W, C), `{train,val,test}.labels.npy` (int32 N),
`rows.parquet` (the image of each row) and `quarantine.parquet` (images that were left out, or kept with a
remark, and the reasons). Where the source has groups or attributes, `rows.parquet` has them, too.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.core import shares
from tasks.core.config import NormalizeSettings
from tasks.core.data.files import class_names, file_stats
from tasks.core.data.grouping import joined_groups, remarks
from tasks.core.data.grouping.option import GroupedReader
from tasks.core.data.pixels import EIGHT
from tasks.core.data.readers import factory
from tasks.core.data.readers.base import ImageIndex, Reader
from tasks.core.data.tensors import image_writer, npy_writer, quarantine, split_floor
from tasks.core.data.tensors.cache import ROWS, SPLITS
from tasks.core.data.tensors.distributed_decode import DistributedReader, Work
from tasks.core.data.tensors.reuse import ReusableCache
from tasks.core.data.tensors.splits import Splits
from tasks.core.data.tensors.target_shape import TargetShape
from tasks.core.errors import DataError
from tasks.core.progress import Progress, ignore_progress
from tasks.core.stage.handles import RawDataset, TensorCache
from tasks.core.stage.ingredients import Ingredients
from tasks.core.stage.stages import NORMALIZE
from tasks.core.workspace import Workspace

log = logging.getLogger("plumbline.data")

SHOWN_CLASSES = 5  # small classes that a warning names
ROW_SCHEMA = pa.schema(
    {
        "split": pa.string(),
        "row": pa.int32(),
        "image_id": pa.string(),  # SHA-256 of the image's content
        "path": pa.string(),
        "label": pa.int32(),
        "class_name": pa.string(),
        "height": pa.int32(),  # of the original image, after orientation
        "width": pa.int32(),
        "channels": pa.int32(),  # of the original image: 1 if it is grey, else 3
    }
)


def ingredients(raw: RawDataset, settings: NormalizeSettings) -> Ingredients:
    """The ingredients: the raw dataset, the settings, and the reader's modules and libraries."""
    parameters = vars(settings)
    if not settings.group_by:  # so that the tensors of data without groups keep their digest
        parameters = {name: value for name, value in parameters.items() if name != "group_by"}
    return NORMALIZE.ingredients(
        {"raw": raw.images_digest}, parameters, factory.modules(raw), factory.libraries(raw)
    )


def normalize(
    raw: RawDataset,
    settings: NormalizeSettings,
    workspace: Workspace,
    *,
    refresh: bool = False,
    progress: Progress = ignore_progress,
    work: Work | None = None,
    portion: int | None = None,
) -> TensorCache:
    """Decode, orient, convert and resize every image (rules: `decode`), and split them (`splits`).

    Images that an earlier cache of the dataset contains are copied from it (`reuse`).

    Args:
        raw: The images.
        settings: Image size, fit, fraction of validation images, largest share of unreadable files, groups.
        workspace: Where the tensor cache is stored.
        refresh: Build it again from scratch even if it exists.
        progress: Called with images done.
        work: Has portions of the images decoded by workers; the tensors are byte-identical.
        portion: Images in a portion; None chooses.

    Raises:
        QuarantineError: More files are unreadable than `settings.max_quarantine` allows.
        DataError: A split would be empty.
    """
    stage_ingredients = ingredients(raw, settings)
    directory = NORMALIZE.directory(stage_ingredients.digest, workspace)

    def build(staging: Path) -> dict[str, Any]:
        from_scratch = refresh or factory.is_read_whole(raw)
        reusable = (
            ReusableCache()
            if from_scratch
            else ReusableCache.find(workspace, raw.dataset, stage_ingredients.record())
        )
        reader = GroupedReader.of(factory.open_raw(raw), settings.group_by, raw.format)
        if work and not factory.is_read_whole(raw):
            reader = DistributedReader(reader, raw, work, directory, portion)
        return _build(staging, reader, raw, settings, reusable, progress)

    return NORMALIZE.output(stage_ingredients, workspace, build, refresh=refresh)


def _build(
    directory: Path,
    reader: Reader,
    raw: RawDataset,
    settings: NormalizeSettings,
    reusable: ReusableCache,
    progress: Progress,
) -> dict[str, Any]:
    index = joined_groups.without_broken(reader.index(), reader)
    _warn_of_alike_names(reader.classes)
    remarks.say_joined(index)
    conflicts = quarantine.find_label_conflicts(index, reader.classes)
    left_out = {} if reader.published else conflicts
    splits = Splits.of(index, settings.val_fraction).without(left_out)
    if not left_out and np.isin(index.split, ["val", "test"]).all():  # else unusable images may be the reason
        _refuse_empty(splits, raw, settings, index)
    target_shape = TargetShape.of(
        reader, settings.image_size, splits.numbers["train"], index, reusable, settings.fit
    )
    written = image_writer.write(directory, reader, index, splits, target_shape, reusable, progress)
    if written.target_shape.grey_bits > 8:  # 8 are kept as they are
        log.info("grey values of %d bits are scaled to 8", written.target_shape.grey_bits)
    left_out |= written.failed
    quarantine.check_share(left_out, index, settings.max_quarantine)
    splits, index = splits.without(written.failed), remarks.with_joined(index)
    _refuse_empty(splits, raw, settings, index)
    class_counts = _checked_class_counts(raw.dataset, reader, index, splits)
    quarantine.write(directory, index, left_out, quarantine.copies(index) | conflicts)
    _write_tables(directory, reader, index, splits, written.originals)
    mean, std = npy_writer.channel_stats(directory / "train.images.npy")
    return {
        "dataset": raw.dataset,
        "classes": list(reader.classes),
        **_facts_of_images(written, settings),
        **{split: len(numbers) for split, numbers in splits.numbers.items()},
        "quarantined": len(left_out),
        "mean": mean,
        "std": std,
        "class_counts": class_counts,
        **remarks.facts(index, splits.numbers),
    }


def _facts_of_images(written: image_writer.WrittenImages, settings: NormalizeSettings) -> dict[str, Any]:
    return {
        "shape": list(written.target_shape.shape),
        "fit": str(settings.fit),
        "grey_bits": written.target_shape.grey_bits or EIGHT,
        "decoded": written.decoded,
    }


def _write_tables(
    directory: Path, reader: Reader, index: ImageIndex, splits: Splits, originals: NDArray[np.int32]
) -> None:
    for split, numbers in splits.numbers.items():
        np.save(directory / f"{split}.labels.npy", index.label[numbers])
    numbers_by_split = [splits.numbers[split] for split in SPLITS]
    numbers = np.concatenate(numbers_by_split)
    labels = pa.array(index.label[numbers])
    columns = {
        "split": pa.array(SPLITS).take(np.repeat(range(len(SPLITS)), list(map(len, numbers_by_split)))),
        "row": np.concatenate([np.arange(len(numbers_of_split)) for numbers_of_split in numbers_by_split]),
        "image_id": index.image_id.take(numbers),
        "path": index.path.take(numbers),
        "label": labels,
        "class_name": pa.array(reader.classes).take(labels),
        **dict(zip(("height", "width", "channels"), originals[numbers].T, strict=True)),
    }
    table, names = pa.table(columns, ROW_SCHEMA), ["split", "class_name"]
    for name, values in remarks.columns(index).items():
        table, names = table.append_column(name, values.take(numbers)), [*names, name]
    pq.write_table(table, directory / ROWS, use_dictionary=names, row_group_size=file_stats.ROW_GROUP)


def _checked_class_counts(
    dataset: str, reader: Reader, index: ImageIndex, splits: Splits
) -> dict[str, list[int]]:
    """Images of each class by split. Refuses a single class, and names classes that lack a split."""
    counts = _class_counts(reader, index, splits)
    what = "groups" if index.group is not None else "images"
    _refuse_single_class(dataset, reader.classes, counts["train"], what)
    if not (index.split == "test").any():
        _warn_of_small_classes(reader.classes, counts, what)
    return counts


def _class_counts(reader: Reader, index: ImageIndex, splits: Splits) -> dict[str, list[int]]:
    return {
        split: np.bincount(index.label[numbers], minlength=len(reader.classes)).tolist()
        for split, numbers in splits.numbers.items()
    }


def _warn_of_small_classes(classes: tuple[str, ...], counts: dict[str, list[int]], what: str) -> None:
    lacking = [name for name, *numbers in zip(classes, *counts.values(), strict=True) if not all(numbers)]
    if lacking:
        log.warning(
            "%d of %d classes lack train, val or test images: %s%s; a class needs %d different %s",
            len(lacking),
            len(classes),
            ", ".join(lacking[:SHOWN_CLASSES]),
            ", ..." if len(lacking) > SHOWN_CLASSES else "",
            split_floor.MIN_IMAGES,
            what,
        )


def _warn_of_alike_names(classes: tuple[str, ...]) -> None:
    """Say which classes may be one and the same, or none."""
    if missing := class_names.meaning_none(classes):
        log.warning("a class is called %s: images without a label have no class", " and ".join(missing))
    groups = class_names.alike(classes)
    if groups:
        shown = "; ".join(" and ".join(map(repr, group)) for group in groups[:SHOWN_CLASSES])
        log.warning("classes whose names differ only in case, blanks or form stay separate: %s", shown)
    numbers = [name for name in classes if class_names.WHOLE.fullmatch(name)]
    if numbers and len(numbers) < len(classes):
        others = sorted(set(classes) - set(numbers))
        log.warning("some classes are numbers, others are not: %s; %s", numbers[0], others[0])


def _refuse_empty(splits: Splits, raw: RawDataset, settings: NormalizeSettings, index: ImageIndex) -> None:
    counts = {split: len(numbers) for split, numbers in splits.numbers.items()}
    empty = [split for split, count in counts.items() if not count]
    if empty and index.group is not None:
        used = np.concatenate(list(splits.numbers.values()))
        raise remarks.too_few_groups(index, used, raw.dataset, empty)
    if empty:
        used = np.concatenate(list(splits.numbers.values()))
        different = pc.count_distinct(index.image_id.take(used)).as_py()
        images = shares.counted(different, "different image")
        copies = "" if different == len(used) else f"; {images}, and copies of these"
        raise DataError(
            f"{raw.dataset} has too few images: none for {' and '.join(empty)}",
            expected="images in each of train, val and test",
            found=", ".join(f"{count:,} {split}" for split, count in counts.items()) + copies,
            done="nothing was written",
            todo=_where_images_come_from(empty, index, settings),
        )


def _refuse_single_class(dataset: str, classes: tuple[str, ...], train_counts: list[int], what: str) -> None:
    """Refuse to train on one class: no image of the others can be used, or other splits have their groups."""
    usable = [name for name, count in zip(classes, train_counts, strict=True) if count]
    if len(usable) > 1:
        return
    others = [name for name in classes if name not in usable]
    more = f" and {len(others) - SHOWN_CLASSES} more" if len(others) > SHOWN_CLASSES else ""
    raise DataError(
        f"only one class of {dataset} has train images that can be used",
        expected="two classes or more",
        found=f"{usable[0]}: {max(train_counts):,}; none of {', '.join(others[:SHOWN_CLASSES])}{more}",
        done="nothing was written",
        todo=f"add {what} of the other classes ({split_floor.MIN_IMAGES} of each), or repair their files",
    )


def _where_images_come_from(empty: list[str], index: ImageIndex, settings: NormalizeSettings) -> str:
    if unusable := [split for split in empty if split in index.split]:
        names = " and ".join(unusable)
        return f"repair or label the images of {names}, or leave {names} out: then others are held out"
    if empty != ["val"]:
        return "add images: five different ones of each class at least"
    return f"add images, or raise --val-fraction (now {settings.val_fraction:g})"
