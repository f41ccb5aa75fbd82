"""Images of the tensors as small PNGs for the report."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from tasks.core.data.tensors.cache import open_split, read_rows
from tasks.core.reports.plots import data_uri
from tasks.core.stage.handles import TensorCache

MAX_SIDE = 96  # pixels; 48 pictures then take less than 1 MB


def thumbnail(image: NDArray[np.uint8]) -> str:
    """An image as a PNG in a data URI, reduced to at most `MAX_SIDE` pixels and never enlarged.

    Args:
        image: uint8 (H, W, C), C = 1, 3 or 4.
    """
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    if max(picture.size) > MAX_SIDE:
        picture.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    picture.save(content, format="png", optimize=True)
    return data_uri(content.getvalue())


DISAGREEMENTS = 18
LABEL_ISSUES = 24


def thumbnails_of_test_images(
    disagreements: Sequence[Mapping[str, Any]],
    model: str,
    tensors: TensorCache,
    other_classes: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Pictures of the listed test images.

    Args:
        disagreements: As `gate.disagreements` returns them.
        model: The model whose prediction is shown: "challenger" or "champion".
        tensors: The tensors with the images.
        other_classes: Classes that only the champion knows; their numbers follow those of the tensors.

    Returns:
        One dictionary per image: picture (data URI), path, label and predicted (class names), probability.
    """
    images = open_split(tensors, "test").images
    paths = _paths(tensors)
    return [
        {
            "picture": thumbnail(np.asarray(images[image["row"]])),
            "path": paths.get(image["row"], ""),
            "label": tensors.classes[image["label"]],
            "predicted": (*tensors.classes, *other_classes)[image[model]],
            "probability": image[f"{model}_probability"],
        }
        for image in disagreements
    ]


def issue_thumbnails(
    table: pd.DataFrame, tensors: TensorCache, count: int = LABEL_ISSUES
) -> list[dict[str, Any]]:
    """The images with the least likely labels, of all splits.

    Args:
        table: The result of `label_issues.read_label_issues`.
        tensors: The tensors with the images.
        count: Largest number of images.

    Returns:
        One dictionary per image: picture (data URI), path, label and predicted (class names), probability (of
        `predicted`).
    """
    return [
        {
            "picture": thumbnail(np.asarray(open_split(tensors, row["split"]).images[row["row"]])),
            "path": f"{row['split']}: {row['path']}",
            "label": row["class_name"],
            "predicted": row["suggested_class_name"],
            "probability": row["suggested_probability"],
        }
        for row in table.head(count).to_dict("records")
    ]


def _paths(tensors: TensorCache) -> dict[int, str]:
    """The path of each test image, by row."""
    return dict(enumerate(read_rows(tensors, ["path"], "test")["path"].to_pylist()))
