"""What is wrong with single images, and what was done about it: `quarantine.parquet`.

An image is left out if it cannot be decoded, has no label, or lies in two classes (the same bytes, and no
telling which class is right: all copies go). An exact copy within one class is reported and kept: it
repeats an image, it doesn't contradict one, and copies always fall into the same split. In a published
dataset nothing is left out but what can't be read, so that scores stay comparable.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.core.data.readers.base import UNLABELLED, ImageIndex, ImageRef
from tasks.core.errors import QuarantineError

NAME = "quarantine.parquet"
SCHEMA = pa.schema({"path": pa.string(), "reason": pa.string(), "done": pa.string()})
SHOWN = 5  # left out images that an error names
LEFT_OUT = "left out; the file is unchanged"
KEPT = "kept"


def find_label_conflicts(rows: ImageIndex, classes: tuple[str, ...]) -> dict[int, str]:
    """Images without a label or in two classes: reasons by number."""
    found = dict.fromkeys(np.flatnonzero(rows.label == UNLABELLED).tolist(), "no label")
    alike = {number: row for number, row in _conflicting(rows) if row.label != UNLABELLED}
    first: dict[str, ImageRef] = {}
    torn: dict[str, ImageRef] = {}  # identity -> the first image that contradicts the first one
    for row in alike.values():
        if first.setdefault(row.image_id, row).label != row.label:
            torn.setdefault(row.image_id, row)
    for number, row in alike.items():
        if row.image_id in torn:
            one, other = first[row.image_id], torn[row.image_id]
            rival = other if one.label == row.label else one
            where = f"{classes[rival.label]} as {rival.path}"
            found[number] = f"in two classes: {classes[row.label]}, and {where}"
    return found


def copies(rows: ImageIndex) -> dict[int, str]:
    """Exact copies of an earlier image of the same class: reasons by number."""
    first: dict[str, ImageRef] = {}
    found = {}
    for number, row in _conflicting(rows):
        other = first.setdefault(row.image_id, row)
        if other is not row and other.label == row.label:
            found[number] = f"exact copy of {other.path}"
    return found


def _conflicting(rows: ImageIndex) -> Iterator[tuple[int, ImageRef]]:
    """The images whose content comes more than once."""
    return ((number, rows[number]) for number in rows.duplicated)


def write(directory: Path, rows: ImageIndex, left_out: Mapping[int, str], kept: Mapping[int, str]) -> None:
    """Write the table, left out images first, each part in the source's order."""
    lines = [
        {"path": rows.path[number].as_py(), "reason": reason, "done": done}
        for found, done in ((left_out, LEFT_OUT), (kept, KEPT))
        for number, reason in sorted(found.items())
        if done is LEFT_OUT or number not in left_out
    ]
    pq.write_table(pa.Table.from_pylist(lines, SCHEMA), directory / NAME)


def check_share(left_out: Mapping[int, str], rows: ImageIndex, allowed: float) -> None:
    """Fail if too large a share is left out.

    Args:
        left_out: Reasons by number.
        rows: All images.
        allowed: The largest share, 0..1.

    Raises:
        QuarantineError: With the first few of them.
    """
    share = len(left_out) / len(rows)
    if share <= allowed:
        return
    first = "; ".join(f"{rows.path[number]}: {left_out[number]}" for number in sorted(left_out)[:SHOWN])
    more = f" and {len(left_out) - SHOWN} more" if len(left_out) > SHOWN else ""
    raise QuarantineError(
        f"{len(left_out)} of {len(rows)} images cannot be used ({share:.1%})",
        expected=f"at most {allowed:.1%} (--max-quarantine {allowed:g})",
        found=first + more,
        done="nothing was written, the files are unchanged",
        todo="repair or remove these files, or allow more with --max-quarantine",
    )
