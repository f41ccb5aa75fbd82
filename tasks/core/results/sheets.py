"""Contact sheets: the test images that are worth a look, with what the models said about them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tasks.core.data.cache import open_split
from tasks.core.handles import TensorCache
from tasks.core.results.evaluation import Scored
from tasks.core.results.pictures import picture

MISTAKES = 36
FLIPS = 18
SUSPECTS = 24


def mistakes(scored: Scored, tensors: TensorCache, count: int = MISTAKES) -> list[dict[str, Any]]:
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
    return sheet(flips, "challenger", tensors)


def sheet(flips: Sequence[Mapping[str, Any]], said_by: str, tensors: TensorCache) -> list[dict[str, Any]]:
    """Pictures of listed test images.

    Args:
        flips: As in `gate.flips`.
        said_by: "challenger" or "champion": whose prediction is shown.
    """
    images = open_split(tensors, "test").images
    paths = _paths(tensors)
    return [
        {
            "picture": picture(np.asarray(images[flip["row"]])),
            "path": paths.get(flip["row"], ""),
            "label": tensors.classes[flip["label"]],
            "said": tensors.classes[flip[said_by]],
            "probability": flip[f"{said_by}_probability"],
        }
        for flip in flips
    ]


def suspects(table: pd.DataFrame, tensors: TensorCache, count: int = SUSPECTS) -> list[dict[str, Any]]:
    """The images whose label is the least likely, of all splits that were looked at.

    Args:
        table: See `suspects.read`.
    """
    return [
        {
            "picture": picture(np.asarray(open_split(tensors, row["split"]).images[row["row"]])),
            "path": f"{row['split']}: {row['path']}",
            "label": row["given"],
            "said": row["suggested"],
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
    rows = pd.read_parquet(tensors.directory / "rows.parquet", columns=["split", "row", "path"])
    test = rows[rows["split"] == "test"]
    return dict(zip(test["row"].tolist(), test["path"].tolist(), strict=True))
