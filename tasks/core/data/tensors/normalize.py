"""The normalize stage: images of any source become the tensor cache, in bounded memory.

A directory has `{train,val,test}.images.npy` (uint8 N, H, W, C), `{train,val,test}.labels.npy` (int32 N),
`rows.parquet` (which image each row is) and `quarantine.parquet` (which were left out, or kept with a
remark, and why).
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.core.config import NormalizeSettings
from tasks.core.data.files import file_stats
from tasks.core.data.readers import factory
from tasks.core.data.readers.base import ImageIndex, Reader
from tasks.core.data.tensors import channel_stats, image_writer, quarantine
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

ROW_SCHEMA = pa.schema(
    {
        "split": pa.string(),
        "row": pa.int32(),
        "image_id": pa.string(),  # SHA-256 of the image's content
        "path": pa.string(),
        "label": pa.int32(),
        "class_name": pa.string(),
        "height": pa.int32(),  # of the image as it came, after orientation
        "width": pa.int32(),
        "channels": pa.int32(),  # 1 if it came grey, else 3
    }
)


def ingredients(raw: RawDataset, settings: NormalizeSettings) -> Ingredients:
    """What a tensor cache follows from."""
    return NORMALIZE.ingredients(
        {"raw": raw.digest}, vars(settings), factory.modules(raw), factory.libraries(raw)
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

    Images that an earlier cache of the dataset has are copied from there (`earlier`).

    Args:
        raw: The images.
        settings: Size, share of validation images, share of unreadable files to bear.
        workspace: Where the tensor cache is put.
        refresh: Make it again from scratch even if it is there.
        progress: Told images done.
        work: Has portions of the images decoded elsewhere; the tensors are the same to the byte.
        portion: Images in one; None chooses.

    Raises:
        QuarantineError: More unreadable files than `settings.max_quarantine` allows.
        DataError: A split would be empty.
    """
    made_of = ingredients(raw, settings)
    directory = NORMALIZE.directory(made_of.digest, workspace)

    def build(staging: Path) -> dict[str, Any]:
        scratch = refresh or factory.is_read_whole(raw)
        earlier = ReusableCache() if scratch else ReusableCache.find(workspace, raw.dataset, made_of.record())
        reader = factory.open_raw(raw)
        if work and not factory.is_read_whole(raw):
            reader = DistributedReader(reader, raw, work, directory, portion)
        return _build(staging, reader, raw, settings, earlier, progress)

    return NORMALIZE.output(made_of, workspace, build, refresh=refresh)


def _build(
    directory: Path,
    reader: Reader,
    raw: RawDataset,
    settings: NormalizeSettings,
    earlier: ReusableCache,
    progress: Progress,
) -> dict[str, Any]:
    rows = reader.index()
    doubtful = quarantine.find_label_conflicts(rows, reader.classes)
    left_out = {} if reader.published else doubtful
    layout = Splits.of(rows, settings.val_fraction).without(left_out)
    plan = TargetShape.of(reader, settings.image_size, layout.splits["train"], rows, earlier)
    written = image_writer.write(directory, reader, rows, layout, plan, earlier, progress)
    left_out |= written.failed
    quarantine.check_share(left_out, rows, settings.max_quarantine)
    layout = layout.without(written.failed)
    _refuse_empty(layout, raw, settings)
    quarantine.write(directory, rows, left_out, quarantine.copies(rows) | doubtful)
    _write_tables(directory, reader, rows, layout, written.originals)
    mean, std = channel_stats.channel_stats(directory / "train.images.npy")
    return {
        "dataset": raw.dataset,
        "classes": list(reader.classes),
        "shape": list(written.plan.shape),
        **{split: len(numbers) for split, numbers in layout.splits.items()},
        "quarantined": len(left_out),
        "decoded": written.decoded,
        "mean": mean,
        "std": std,
        "class_counts": _class_counts(reader, rows, layout),
    }


def _write_tables(
    directory: Path, reader: Reader, rows: ImageIndex, layout: Splits, originals: NDArray[np.int32]
) -> None:
    for split, numbers in layout.splits.items():
        np.save(directory / f"{split}.labels.npy", rows.label[numbers])
    members = [layout.splits[split] for split in SPLITS]
    numbers = np.concatenate(members)
    labels = pa.array(rows.label[numbers])
    columns = {
        "split": pa.array(SPLITS).take(np.repeat(range(len(SPLITS)), list(map(len, members)))),
        "row": np.concatenate([np.arange(len(some)) for some in members]),
        "image_id": rows.image_id.take(numbers),
        "path": rows.path.take(numbers),
        "label": labels,
        "class_name": pa.array(reader.classes).take(labels),
        **dict(zip(("height", "width", "channels"), originals[numbers].T, strict=True)),
    }
    table, names = pa.table(columns, ROW_SCHEMA), ["split", "class_name"]
    pq.write_table(table, directory / ROWS, use_dictionary=names, row_group_size=file_stats.ROW_GROUP)


def _class_counts(reader: Reader, rows: ImageIndex, layout: Splits) -> dict[str, list[int]]:
    return {
        split: np.bincount(rows.label[numbers], minlength=len(reader.classes)).tolist()
        for split, numbers in layout.splits.items()
    }


def _refuse_empty(layout: Splits, raw: RawDataset, settings: NormalizeSettings) -> None:
    counts = {split: len(numbers) for split, numbers in layout.splits.items()}
    empty = [split for split, count in counts.items() if not count]
    if empty:
        raise DataError(
            f"{raw.dataset} has too few images: none for {' and '.join(empty)}",
            expected="images in each of train, val and test",
            found=", ".join(f"{count} {split}" for split, count in counts.items()),
            done="nothing was written",
            todo=f"add images, or raise --val-fraction (now {settings.val_fraction:g})",
        )
