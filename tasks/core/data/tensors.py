"""The normalize stage: images of any source become the tensor cache, in bounded memory.

A directory has `{train,val,test}.images.npy` (uint8 N, H, W, C), `{train,val,test}.labels.npy` (int32 N),
`rows.parquet` (which image each row is) and `quarantine.parquet` (which files were set aside, and why).
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.core import stage
from tasks.core.config import NormalizeSettings
from tasks.core.data import readers, statistics
from tasks.core.data.cache import SPLITS
from tasks.core.data.layout import Layout
from tasks.core.data.pace import Pace
from tasks.core.data.plan import Differs, Plan
from tasks.core.data.reader import Failed, Reader, Row
from tasks.core.data.rows import Rows
from tasks.core.errors import DataError, QuarantineError
from tasks.core.handles import RawDataset, TensorCache
from tasks.core.progress import Progress, silent
from tasks.core.stage import Ingredients
from tasks.core.workspace import Workspace

log = logging.getLogger("plumbline.data")

ROWS = pa.schema(
    {
        "split": pa.string(),
        "row": pa.int32(),
        "id": pa.string(),  # SHA-256 of the image's content
        "path": pa.string(),
        "label": pa.int32(),
        "class_name": pa.string(),
    }
)
QUARANTINE = pa.schema({"path": pa.string(), "reason": pa.string(), "done": pa.string()})
SHOWN = 5  # set-aside files that an error names


def ingredients(raw: RawDataset, settings: NormalizeSettings) -> Ingredients:
    """What a tensor cache follows from."""
    return Ingredients(
        stage="normalize",
        inputs={"raw": raw.digest},
        parameters=vars(settings),
        modules=("tasks.core.data.tensors",),
        libraries=readers.libraries(raw.kind),
    )


def normalize(
    raw: RawDataset,
    settings: NormalizeSettings,
    workspace: Workspace,
    *,
    refresh: bool = False,
    progress: Progress = silent,
) -> TensorCache:
    """Decode, orient, convert and resize every image (rules: `decode`), and split them (`splits`).

    Args:
        raw: The images.
        settings: Size, share of validation images, share of unreadable files to bear.
        workspace: Where the tensor cache is put.
        refresh: Make it again even if it is there.
        progress: Told images done.

    Raises:
        QuarantineError: More unreadable files than `settings.max_quarantine` allows.
        DataError: A split would be empty.
    """
    made_of = ingredients(raw, settings)
    directory = workspace.tensors / made_of.digest
    manifest = stage.publish(
        directory, made_of, lambda staging: _build(staging, raw, settings, progress), refresh=refresh
    )
    facts = manifest["facts"]
    return TensorCache(
        path=workspace.relative(directory),
        digest=made_of.digest,
        dataset=facts["dataset"],
        classes=tuple(facts["classes"]),
        shape=tuple(facts["shape"]),
        train=facts["train"],
        val=facts["val"],
        test=facts["test"],
        quarantined=facts["quarantined"],
    )


def _build(
    directory: Path, raw: RawDataset, settings: NormalizeSettings, progress: Progress
) -> dict[str, Any]:
    reader = readers.open_raw(raw)
    rows = reader.rows()
    layout = Layout.of(rows, settings.val_fraction)
    plan = Plan.of(reader, settings.image_size, layout.splits["train"])
    failed, plan = _decode_all(directory, reader, layout, plan, progress)
    _refuse_many(failed, rows, settings)
    layout = layout.without(failed)
    _refuse_empty(layout, raw, settings)
    _write_tables(directory, reader, rows, layout, failed)
    mean, std = statistics.channels(directory / "train.images.npy")
    return {
        "dataset": raw.dataset,
        "classes": list(reader.classes),
        "shape": list(plan.shape),
        **{split: len(numbers) for split, numbers in layout.splits.items()},
        "quarantined": len(failed),
        "mean": mean,
        "std": std,
        "class_counts": _class_counts(reader, rows, layout),
    }


def _decode_all(
    directory: Path, reader: Reader, layout: Layout, plan: Plan, progress: Progress
) -> tuple[dict[int, str], Plan]:
    """Write the images; begin again when one shows that the plan must change (at most twice)."""
    while True:
        try:
            return _decode(directory, reader, layout, plan, progress), plan
        except Differs as other:
            log.info("images differ: all become %dx%dx%d", *other.plan.shape)
            plan = other.plan


def _decode(
    directory: Path, reader: Reader, layout: Layout, plan: Plan, progress: Progress
) -> dict[int, str]:
    """Write every image to its place; reasons by number for those that can't be read."""
    files = {split: _images(directory, split, len(layout.splits[split]), plan) for split in SPLITS}
    places, failed = layout.places(), {}
    pace = Pace(len(places), "img", progress)
    for image in reader.images(sorted(places), plan.target):
        if isinstance(image, Failed):
            failed[image.row] = image.reason
        else:
            plan.check(image.original)
            split, row = places[image.row]
            files[split].write(row, image.image)
        pace.step()
    for split, file in files.items():
        file.close(without=[places[number][1] for number in failed if places[number][0] == split])
    return failed


def _images(directory: Path, split: str, count: int, plan: Plan) -> Rows:
    path = directory / f"{split}.images.npy"
    path.unlink(missing_ok=True)
    return Rows(path, count, plan.shape)


def _write_tables(
    directory: Path, reader: Reader, rows: list[Row], layout: Layout, failed: dict[int, str]
) -> None:
    for split, numbers in layout.splits.items():
        labels = np.array([rows[number].label for number in numbers], np.int32)
        np.save(directory / f"{split}.labels.npy", labels)
    places = [(split, row, rows[n]) for split in SPLITS for row, n in enumerate(layout.splits[split])]
    columns = {
        "split": [split for split, _, _ in places],
        "row": [row for _, row, _ in places],
        "id": [image.identity for _, _, image in places],
        "path": [image.path for _, _, image in places],
        "label": [image.label for _, _, image in places],
        "class_name": [reader.classes[image.label] for _, _, image in places],
    }
    pq.write_table(pa.table(columns, ROWS), directory / "rows.parquet")
    aside = [
        {"path": rows[number].path, "reason": reason, "done": "left out; the file is unchanged"}
        for number, reason in sorted(failed.items())
    ]
    pq.write_table(pa.Table.from_pylist(aside, QUARANTINE), directory / "quarantine.parquet")


def _class_counts(reader: Reader, rows: list[Row], layout: Layout) -> dict[str, list[int]]:
    return {
        split: np.bincount([rows[n].label for n in numbers], minlength=len(reader.classes)).tolist()
        for split, numbers in layout.splits.items()
    }


def _refuse_many(failed: dict[int, str], rows: list[Row], settings: NormalizeSettings) -> None:
    share = len(failed) / len(rows)
    if share <= settings.max_quarantine:
        return
    first = "; ".join(f"{rows[number].path}: {failed[number]}" for number in sorted(failed)[:SHOWN])
    more = f" and {len(failed) - SHOWN} more" if len(failed) > SHOWN else ""
    raise QuarantineError(
        f"{len(failed)} of {len(rows)} images cannot be used ({share:.1%})",
        expected=f"at most {settings.max_quarantine:.1%} (--max-quarantine {settings.max_quarantine:g})",
        found=first + more,
        done="nothing was written, the files are unchanged",
        todo="repair or remove these files, or allow more with --max-quarantine",
    )


def _refuse_empty(layout: Layout, raw: RawDataset, settings: NormalizeSettings) -> None:
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
