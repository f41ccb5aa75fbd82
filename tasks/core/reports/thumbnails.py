"""Single images of the tensors as small PNGs for the report."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from tasks.core.data.tensors.cache import open_split, read_rows
from tasks.core.evaluation.evaluate import Scored
from tasks.core.reports.plots import data_uri
from tasks.core.stage.handles import TensorCache

MAX_SIDE = 96  # pixels; a sheet of 48 pictures stays below 1 MB


def thumbnail(image: NDArray[np.uint8]) -> str:
    """An image as a PNG in a data URI, made smaller if need be, never larger.

    Args:
        image: uint8 (H, W, C), C = 1, 3 or 4.
    """
    drawn = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    if max(drawn.size) > MAX_SIDE:
        drawn.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    drawn.save(content, format="png", optimize=True)
    return data_uri(content.getvalue())


MISTAKES = 36
DISAGREEMENTS = 18
LABEL_ISSUES = 24


def worst_mistakes(scored: Scored, tensors: TensorCache, count: int = MISTAKES) -> list[dict[str, Any]]:
    """The mistakes on the test images of which the model was surest, surest first.

    Returns:
        For each: picture (data URI), path, label, said (class names), probability.
    """
    predicted = scored.predicted
    rows = np.flatnonzero(predicted != scored.labels)
    sure = scored.probabilities[rows].max(axis=1)
    flips = [
        {
            "row": int(row),
            "label": int(scored.labels[row]),
            "challenger": int(predicted[row]),
            "challenger_probability": float(scored.probabilities[row].max()),
        }
        for row in rows[np.argsort(-sure, kind="stable")][:count]
    ]
    return test_thumbnails(flips, "challenger", tensors)


def test_thumbnails(
    flips: Sequence[Mapping[str, Any]], said_by: str, tensors: TensorCache
) -> list[dict[str, Any]]:
    """Pictures of listed test images.

    Args:
        flips: As in `gate.disagreements`.
        said_by: "challenger" or "champion": whose prediction is shown.
    """
    images = open_split(tensors, "test").images
    paths = _paths(tensors)
    return [
        {
            "picture": thumbnail(np.asarray(images[flip["row"]])),
            "path": paths.get(flip["row"], ""),
            "label": tensors.classes[flip["label"]],
            "said": tensors.classes[flip[said_by]],
            "probability": flip[f"{said_by}_probability"],
        }
        for flip in flips
    ]


def issue_thumbnails(
    table: pd.DataFrame, tensors: TensorCache, count: int = LABEL_ISSUES
) -> list[dict[str, Any]]:
    """The images whose label is the least likely, of all splits that were looked at.

    Args:
        table: See `label_issues.read_label_issues`.
    """
    return [
        {
            "picture": thumbnail(np.asarray(open_split(tensors, row["split"]).images[row["row"]])),
            "path": f"{row['split']}: {row['path']}",
            "label": row["class_name"],
            "said": row["suggested_class_name"],
            "probability": row["suggested_probability"],
        }
        for row in table.head(count).to_dict("records")
    ]


def confusions(scored: Scored, classes: Sequence[str], count: int = 8) -> list[dict[str, Any]]:
    """The most frequent mistakes: label, said, images, and their share of the label's images."""
    table = pd.DataFrame({"label": scored.labels, "said": scored.predicted})
    support = table["label"].value_counts()
    wrong = table[table["label"] != table["said"]].value_counts().head(count)
    return [
        {
            "label": classes[label],
            "said": classes[said],
            "images": int(images),
            "share": float(images / support[label]),
        }
        for (label, said), images in wrong.items()
    ]


def _paths(tensors: TensorCache) -> dict[int, str]:
    return dict(enumerate(read_rows(tensors, ["path"], "test")["path"].to_pylist()))
