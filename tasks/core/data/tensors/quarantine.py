"""Problems of single images and what was done about them: `quarantine.parquet`.

An image is left out if it cannot be decoded, has no label, or belongs to two classes. In the last case the
same bytes have two labels, and all copies are left out since the right class is unknown. An exact copy within
one class is reported and kept, because copies always belong to the same split. In a published dataset only
unreadable images are left out, so that scores stay comparable.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from tasks.core import shares
from tasks.core.data.files import quarantine_table
from tasks.core.data.files.quarantine_table import KEPT, LEFT_OUT
from tasks.core.data.readers.base import EMPTY, UNLABELLED, ImageIndex, ImageRef
from tasks.core.errors import QuarantineError

SHOWN = 5  # images that an error names


def find_label_conflicts(index: ImageIndex, classes: tuple[str, ...]) -> dict[int, str]:
    """Images without a label or in two classes: reasons by image number."""
    reasons = dict.fromkeys(np.flatnonzero(index.label == UNLABELLED).tolist(), "no label")
    labelled = {
        number: image
        for number, image in _duplicated(index)
        if image.label != UNLABELLED and image.image_id != EMPTY
    }
    first: dict[str, ImageRef] = {}
    contradicting: dict[str, ImageRef] = {}  # image_id -> the first image with another label
    for image in labelled.values():
        if first.setdefault(image.image_id, image).label != image.label:
            contradicting.setdefault(image.image_id, image)
    for number, image in labelled.items():
        if image.image_id in contradicting:
            first_image, second_image = first[image.image_id], contradicting[image.image_id]
            contradictor = second_image if first_image.label == image.label else first_image
            where = f"{classes[contradictor.label]} as {contradictor.path}"
            reasons[number] = f"in two classes: {classes[image.label]}, and {where}"
    return reasons


def copies(index: ImageIndex) -> dict[int, str]:
    """Exact copies of an earlier image of the same class: reasons by image number."""
    first: dict[str, ImageRef] = {}
    reasons = {}
    for number, image in _duplicated(index):
        original = first.setdefault(image.image_id, image)
        if original is not image and original.label == image.label:
            reasons[number] = f"exact copy of {original.path}"
    return reasons


def _duplicated(index: ImageIndex) -> Iterator[tuple[int, ImageRef]]:
    """Number and reference of the images whose content occurs more than once."""
    return ((number, index[number]) for number in index.duplicated)


def write(directory: Path, index: ImageIndex, left_out: Mapping[int, str], kept: Mapping[int, str]) -> None:
    """Write the table: images that are left out, then those that are kept, each part in the source's order.

    Args:
        directory: Where the table is written.
        index: All images.
        left_out, kept: Reasons by image number.
    """
    rows = [
        (index.path[number].as_py(), reason, action)
        for reasons, action in ((left_out, LEFT_OUT), (kept, KEPT))
        for number, reason in sorted(reasons.items())
        if action is LEFT_OUT or number not in left_out
    ]
    quarantine_table.write(directory, rows)


def check_share(left_out: Mapping[int, str], index: ImageIndex, allowed: float) -> None:
    """Fail if the share of images that are left out is too large.

    Args:
        left_out: Reasons by image number.
        index: All images.
        allowed: The largest allowed share, 0..1.

    Raises:
        QuarantineError: It names the first few images.
    """
    share = len(left_out) / len(index)
    if share <= allowed:
        return
    first = "; ".join(f"{index.path[number]}: {left_out[number]}" for number in sorted(left_out)[:SHOWN])
    more = f" and {len(left_out) - SHOWN:,} more" if len(left_out) > SHOWN else ""
    images = shares.counted(len(index), "image")
    raise QuarantineError(
        f"{len(left_out):,} of {images} cannot be used ({shares.percent(share)})",
        expected=f"at most {shares.percent(allowed)} (--max-quarantine {allowed:g})",
        found=first + more,
        done="nothing was written, the files are unchanged",
        todo="repair or remove these files, or allow more with --max-quarantine",
    )
