"""Images of the tensors as small PNGs for the report."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from tasks.core.data.loader import mmap
from tasks.core.data.pixels import as_picture
from tasks.core.data.tensors.cache import open_split, read_rows
from tasks.core.reports.plots import data_uri
from tasks.core.stage.handles import TensorCache

MAX_SIDE = 96  # pixels
LARGEST_PNG = 48  # pixels; larger pictures are JPEGs, a fifth of the size
QUALITY = 82
TILE = 64  # pixels of an image in a mosaic


def thumbnail(image: NDArray[np.uint8]) -> str:
    """An image as a PNG or a JPEG in a data URI, reduced to at most `MAX_SIDE` pixels and never enlarged.

    Args:
        image: uint8 (H, W, C), C = 1, 3 or 4; of a mapped array, or not.
    """
    picture = encoded(_reduced(image, MAX_SIDE))
    mmap.release_pages(image)
    return picture


def mosaic(images: Sequence[NDArray[np.uint8]], columns: int) -> str:
    """Images side by side as one picture in a data URI; small ones are enlarged by whole numbers.

    Args:
        images: uint8 (H, W, C) each, of one shape; at least one.
        columns: Images in a row.
    """
    pictures = [_reduced(np.asarray(image), TILE) for image in images]
    width, height = pictures[0].size
    scale = max(1, TILE // max(width, height))
    columns, rows = min(columns, len(pictures)), -(-len(pictures) // columns)
    gap = 2
    size = columns * (width * scale + gap) - gap, rows * (height * scale + gap) - gap
    whole = Image.new("RGB", size, "white")
    for number, picture in enumerate(pictures):
        tile = picture.convert("RGB").resize((width * scale, height * scale), Image.Resampling.NEAREST)
        row, column = divmod(number, columns)
        whole.paste(tile, (column * (width * scale + gap), row * (height * scale + gap)))
    return encoded(whole, as_png=max(width, height) <= TILE // 2)


def _reduced(image: NDArray[np.uint8], side: int) -> Image.Image:
    picture = as_picture(image)
    if max(picture.size) > side:
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return picture


def encoded(picture: Image.Image, *, as_png: bool | None = None) -> str:
    """A picture in a data URI: a PNG where it is small or has transparent parts, a JPEG otherwise."""
    content = io.BytesIO()
    if as_png if as_png is not None else max(picture.size) <= LARGEST_PNG or picture.mode == "RGBA":
        picture.save(content, format="png")  # optimized: 1 % smaller, 9 times the CPU time
        return data_uri(content.getvalue())
    picture.convert("RGB").save(content, format="jpeg", quality=QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"


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
        disagreements: As `disagreements.listed` of `tasks.core.registry.promotion` returns them.
        model: The model whose prediction is shown: "challenger" or "champion".
        tensors: The tensors with the images.
        other_classes: Classes that only the champion knows; their numbers follow those of the tensors.

    Returns:
        One dictionary per image: picture (data URI), path, label and predicted (class names), probability.
    """
    images = open_split(tensors, "test").images
    paths = paths_of(tensors, "test", [image["row"] for image in disagreements])
    return [
        {
            "picture": thumbnail(np.asarray(images[image["row"]])),
            "path": path,
            "label": tensors.classes[image["label"]],
            "predicted": (*tensors.classes, *other_classes)[image[model]],
            "probability": image[f"{model}_probability"],
        }
        for image, path in zip(disagreements, paths, strict=True)
    ]


def issue_thumbnails(table: pd.DataFrame, tensors: TensorCache) -> list[dict[str, Any]]:
    """The images with the least likely labels, of all splits.

    Args:
        table: The result of `label_issues.read_label_issues`.
        tensors: The tensors with the images.

    Returns:
        At most `LABEL_ISSUES` dictionaries: picture (data URI), path, label and predicted (class names),
        probability (of `predicted`).
    """
    return [
        {
            "picture": thumbnail(np.asarray(open_split(tensors, row["split"]).images[row["row"]])),
            "path": f"{row['split']}: {row['path']}",
            "label": row["class_name"],
            "predicted": row["suggested_class_name"],
            "probability": row["suggested_probability"],
        }
        for row in table.head(LABEL_ISSUES).to_dict("records")
    ]


def paths_of(tensors: TensorCache, split: str, rows: Sequence[int]) -> list[str]:
    """The path of each of these rows of a split."""
    return read_rows(tensors, ["path"], split)["path"].take(rows).to_pylist() if rows else []
