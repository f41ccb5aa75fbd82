"""The file of decisions: what a person said of each image, when, and where it was shown. It is a CSV.

It is the form that `--corrections` reads (`data.readers.corrections_file`): `corrected_class_name` is filled
in where the label was wrong, and `decision` says "left out" where an image is taken out of the dataset. A
label that was confirmed has a row, too, with an empty `corrected_class_name`: the image is not shown again.
Who decided and when is in the file only. It does not change what the labels are, so it is no part of the
data's identity.

Images without a label get theirs in a file of its own, `new_labels.csv` beside it. Its columns `path` and
`label` are those of a CSV dataset.
"""

import csv
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.core import shares
from tasks.core.data import csv_text
from tasks.core.data.readers import corrections_file
from tasks.core.data.tensors.cache import read_rows
from tasks.core.errors import UsageError
from tasks.core.metrics import intervals
from tasks.core.operations import command_line
from tasks.core.review.items import CONTROL, Item
from tasks.core.stage.handles import TensorCache
from tasks.core.storage import atomic, lock

COLUMNS = (
    *("image_id", "path", "class_name", "corrected_class_name", "decision"),
    *("list", "user", "time"),
)
NEW_LABELS = "new_labels.csv"
NEW_COLUMNS = ("path", "label", "list", "user", "time")
Row = dict[str, str]


class LabelDecision(StrEnum):
    """What a person can say of an image."""

    corrected = "corrected"  # the label is another class
    kept = "kept"  # the label is right
    left_out = corrections_file.LEFT_OUT  # the image is not to be used
    labelled = "labelled"  # an image without a label got one


@dataclass(frozen=True)
class DecisionFiles:
    """The CSV of decisions, and the CSV of new labels beside it.

    Every change reads the file again and replaces it atomically under a lock, so that several reviews may
    write to one file.

    Args:
        path: The file of decisions; it need not exist.
        earlier: Rows that a new file begins with: the corrections that the run was trained with.
    """

    path: Path
    earlier: Sequence[Row] = ()

    @property
    def new_labels(self) -> Path:
        """The file of new labels."""
        return self.path.with_name(NEW_LABELS)

    def rows(self) -> list[Row]:
        """The rows of the file, with the columns of `COLUMNS` and what other columns there are.

        Raises:
            UsageError: It is no file of corrections.
        """
        if not self.path.exists():
            return [dict(row) for row in self.earlier]
        corrections_file.read(self.path)  # refuses what `--corrections` would refuse
        return [as_row(row) for row in _read(self.path)]

    @cached_property
    def decided(self) -> set[str]:
        """Image ids and paths of all images that had a decision when this was first asked."""
        return decided_keys(self.rows()) | {row["path"] for row in _read(self.new_labels)}

    def is_decided(self, item: Item) -> bool:
        """Whether an image had a decision when this was first asked."""
        return item.key in self.decided or item.path in self.decided

    def count_new_labels(self) -> int:
        """How many images without a label got one."""
        return len(_read(self.new_labels))

    def check(self, tensors: TensorCache, source: str) -> None:
        """Refuse a file that the decisions cannot go to, before a person begins.

        Args:
            tensors: The images that are reviewed.
            source: The dataset's path or name. A CSV of images is never written to.

        Raises:
            UsageError: The folder does not exist or is read-only, or the file is no file of corrections, or
                one of another dataset, or the dataset itself.
        """
        if self.path.exists() and self.path.resolve() == Path(source).resolve():
            raise UsageError(
                f"{self.path} is the dataset itself",
                expected="another file for the decisions",
                done="nothing was started, the dataset is unchanged",
                todo="name another file with --out",
            )
        folder = self.path.parent
        if not folder.is_dir() or not os.access(folder, os.W_OK) or self.path.is_dir():
            raise UsageError(
                f"{self.path} cannot be written",
                expected="a CSV in a folder that exists and can be written to",
                found="a folder" if self.path.is_dir() else f"no such folder, or a read-only one: {folder}",
                done="nothing was started",
            )
        used = [row for row in self.rows() if row["decision"] not in ("", str(LabelDecision.left_out))]
        if self.path.exists() and used and not _are_any_in(used, tensors):
            raise UsageError(
                f"{self.path} is about other images",
                expected=f"decisions about images of {tensors.dataset}",
                found=f"{shares.counted(len(used), 'decision')}, none of them about one of these images",
                done="nothing was started",
                todo="name another file with --out",
            )

    def decide(self, item: Item, decision: LabelDecision, class_name: str, user: str) -> None:
        """Write the decision about an image, in place of an earlier one.

        Args:
            item: The image.
            decision: The decision.
            class_name: The right class, if it is `corrected` or `labelled`.
            user: Who decided.
        """
        record = {
            "path": item.path,
            "list": "; ".join(item.lists),
            "user": user,
            "time": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        }
        if decision is LabelDecision.labelled:
            self._replace_new_label(item, record | {"label": class_name})
            return
        self._replace(
            item,
            record
            | {
                "image_id": item.image_id,
                "class_name": item.class_name,
                "corrected_class_name": class_name,
                "decision": str(decision),
            },
        )

    def forget(self, item: Item) -> None:
        """Remove the decision about an image."""
        if item.image_id:
            self._replace(item, None)
        else:
            self._replace_new_label(item, None)

    def _replace(self, item: Item, record: Row | None) -> None:
        with lock.exclusive(self.path.with_name(f".{self.path.name}.lock")):
            others = [row for row in self.rows() if not _is_about(row, item)]
            _write(self.path, COLUMNS, [*others, *([record] if record else [])])

    def _replace_new_label(self, item: Item, record: Row | None) -> None:
        with lock.exclusive(self.new_labels.with_name(f".{NEW_LABELS}.lock")):
            others = [row for row in _read(self.new_labels) if row["path"] != item.path]
            _write(self.new_labels, NEW_COLUMNS, [*others, *([record] if record else [])])


def decided_keys(rows: Sequence[Row]) -> set[str]:
    """The image id, or without one the path, of each row with a decision."""
    return {row["image_id"] or row["path"] for row in rows if row["decision"]}


def as_row(row: Mapping[str, str]) -> Row:
    """A row of any file of corrections, with the columns of `COLUMNS`; see `CLASS_COLUMNS` there."""
    class_column = next((name for name in corrections_file.CLASS_COLUMNS if name in row), "")
    given = row.get("class_name") or "" if class_column == "corrected_class_name" else ""
    corrected = corrections_file.text_of(row, class_column)
    image_id = next((row[name] for name in corrections_file.ID_COLUMNS if row.get(name)), "")
    known = {"class_name": given, "corrected_class_name": corrected, "image_id": image_id.strip()}
    others = {
        name: value or "" for name, value in row.items() if name not in corrections_file.ID_COLUMNS and name
    }
    others.pop("label", None)
    made = dict.fromkeys(COLUMNS, "") | others | known
    return made | {"decision": made["decision"] or (str(LabelDecision.corrected) if corrected else "")}


def earlier_rows(directory: Path) -> list[Row]:
    """The corrections that a raw dataset was made with, as rows; empty without any."""
    return [as_row(row) for row in _read(directory / corrections_file.NAME)]


def train_command(parameters: Mapping[str, Any], path: str) -> str:
    """The command that trains with the decisions.

    Args:
        parameters: Those of the run that was reviewed.
        path: The file of decisions.

    >>> train_command({"dataset": "my photos", "corrections": None}, "corrections.csv")
    "plumbline train --dataset 'my photos' --corrections corrections.csv"
    """
    return command_line.train_command(dict(parameters) | {"corrections": path})


def counts_text(rows: Sequence[Row]) -> str:
    """How many decisions of each kind, as text.

    >>> counts_text([{"decision": "corrected"}, {"decision": "kept"}, {"decision": "corrected"}])
    '2 corrections, 1 kept'
    """
    counts = Counter(row["decision"] for row in rows)
    corrected = counts[LabelDecision.corrected]
    parts = [f"{corrected:,} correction{'' if corrected == 1 else 's'}"]
    parts += [
        f"{counts[name]:,} {name}" for name in (LabelDecision.kept, LabelDecision.left_out) if counts[name]
    ]
    return ", ".join(parts)


def controls_text(rows: Sequence[Row]) -> str:
    """How many labels of the random controls were wrong, with an interval; empty without controls."""
    controls = [row["decision"] for row in rows if row["list"] == CONTROL]
    controls = [
        decision for decision in controls if decision in (LabelDecision.corrected, LabelDecision.kept)
    ]
    if not controls:
        return ""
    wrong = controls.count(str(LabelDecision.corrected))
    low, high = intervals.wilson(np.array(wrong), np.array(len(controls)))
    return (
        f"{wrong} of {shares.counted(len(controls), 'random image')} on no list had a wrong label "
        f"({shares.percent(wrong / len(controls))}, 95 % interval {shares.interval(float(low), float(high))})"
    )


def _are_any_in(rows: Sequence[Row], tensors: TensorCache) -> bool:
    images = read_rows(tensors, ["image_id", "path"])
    return any(
        pc.any(pc.is_in(images[name], pa.array(keys, pa.string()))).as_py()
        for name in ("image_id", "path")
        if (keys := [row[name] for row in rows if row[name]])
    )


def _is_about(row: Row, item: Item) -> bool:
    return row["image_id"] == item.image_id if row["image_id"] else row["path"] == item.path


def _read(path: Path) -> list[Row]:
    if not path.exists():
        return []
    try:
        with csv_text.rows(path, COLUMNS) as reader:
            return list(reader)
    except (OSError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read", expected="a CSV", found=str(error)) from error


def _write(path: Path, columns: Sequence[str], rows: Sequence[Row]) -> None:
    names = [*columns, *dict.fromkeys(name for row in rows for name in row if name not in columns)]
    with (
        atomic.replacing(path) as staging,
        staging.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows(rows)
