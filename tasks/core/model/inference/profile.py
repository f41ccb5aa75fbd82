"""The profile stage: what a model's images were like, so that later batches can be compared with them.

A directory has `profile.parquet`, a row an image of some validation images: what `traits` says of it, how
sure the model is of it, and where its embedding lies (`embedding.npz` has the directions, which are those of
the training images). They are validation images since the model is as sure of its training images as of no
others, and the rows themselves instead of a summary since a test of two samples has to know how much the
smaller one says. Importable without TensorFlow.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.core.data.audit import image_stats
from tasks.core.data.tensors.cache import open_split, read_rows
from tasks.core.model.inference import predictor
from tasks.core.model.inference.embedding import Projection
from tasks.core.progress import Progress, ignore_progress
from tasks.core.stage.handles import Model, ModelVersion, Profile, TensorCache
from tasks.core.stage.ingredients import Ingredients
from tasks.core.stage.stages import PROFILE
from tasks.core.workspace import Workspace

TABLE = "profile.parquet"
FOLDER = "profile"  # in a model version
SPLIT = "val"
IMAGES = 2000  # of val, and of train for the directions; a Kolmogorov-Smirnov distance of 0.05 shows
Floats = NDArray[np.float32]


def ingredients(model: Model, tensors: TensorCache) -> Ingredients:
    return PROFILE.ingredients({"model": model.model_sha256, "tensors": tensors.digest}, {})


def profile(
    model: Model,
    tensors: TensorCache,
    workspace: Workspace,
    *,
    refresh: bool = False,
    progress: Progress = ignore_progress,
) -> Profile:
    """Describe the model's images.

    Args:
        model: Its `model.keras` takes uint8 (N, H, W, C) and gives probabilities.
        tensors: What it was trained on.
    """

    def build(staging: Path) -> Mapping[str, Any]:
        loaded = predictor.load(model.directory / "model.keras")
        progress(0, 2, "train images")
        # The tensors' order is random: the first ones are a fair sample.
        seen = open_split(tensors, "train").images[:IMAGES]
        projection = Projection.of(loaded.score(seen)[1])
        projection.write(staging)
        progress(1, 2, f"{SPLIT} images")
        images = open_split(tensors, SPLIT).images[:IMAGES]
        numbers = describe(images, _sizes(tensors, len(images)), *loaded.score(images), projection)
        pq.write_table(pa.table(numbers), staging / TABLE)
        return {"model_sha256": model.model_sha256, "split": SPLIT, "images": len(images)}

    return PROFILE.output(ingredients(model, tensors), workspace, build, refresh=refresh)


def describe(
    images: NDArray[np.uint8],
    sizes: NDArray[np.integer],
    probabilities: Floats,
    embeddings: Floats,
    projection: Projection,
) -> dict[str, Floats]:
    """The numbers by which images are compared, float32 (N,) each.

    Args:
        images: uint8 (N, H, W, C), as the model takes them.
        sizes: Height and width of each before it was resized, (N, 2).
        probabilities, embeddings: What the model gives, float32 (N, classes) and (N, D).
    """
    confidence = {"confidence": probabilities.max(1)}
    return image_stats.of(images, sizes) | confidence | projection.features(embeddings)


def of_version(version: ModelVersion) -> Projection | None:
    """The directions that a version's profile was made with; None if the version has no profile."""
    directory = version.directory / FOLDER
    return Projection.read(directory) if directory.is_dir() else None


def _sizes(tensors: TensorCache, count: int) -> NDArray[np.int32]:
    kept = read_rows(tensors, ["height", "width"], SPLIT).slice(0, count)
    return np.stack([kept["height"].to_numpy(), kept["width"].to_numpy()], axis=1)
