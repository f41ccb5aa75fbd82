"""The profile stage: describes the images of a model, so that later batches can be compared with them.

The output has `profile.parquet` with one row per image, for at most 2,000 validation images: the statistics
of `image_stats`, the model's confidence, and the coordinates of the embedding. The directions of the
coordinates are those of the training images and are in `embedding.npz`. The profile has validation images
since a model is more confident on its training images than on any others. It has rows instead of a summary
since a two-sample test depends on the size of the smaller sample. `bfloat16.json` is the certificate of
predictions in bfloat16 (`devices.bfloat16_certificate`). This module can be imported without TensorFlow.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.core.config import Precision
from tasks.core.data.audit import image_stats
from tasks.core.data.loader import originals
from tasks.core.data.tensors.cache import open_split, read_rows
from tasks.core.data.tensors.groups import read_groups
from tasks.core.model.devices import bfloat16_certificate, processor
from tasks.core.model.features.reading import averaged, open_features
from tasks.core.model.inference import frozen, predictor
from tasks.core.model.inference.embedding import Projection
from tasks.core.progress import Progress, ignore_progress
from tasks.core.stage.handles import Features, Model, ModelVersion, Profile, RawDataset, TensorCache
from tasks.core.stage.ingredients import Ingredients
from tasks.core.stage.stages import PROFILE
from tasks.core.workspace import Workspace

TABLE = "profile.parquet"
FOLDER = "profile"  # in the directory of a model version
SPLIT = "val"
# Images of val, and of train for the directions. A Kolmogorov-Smirnov distance of 0.05 is then detected.
IMAGES = 2000
CERTIFIED = 4000  # val images that are predicted in bfloat16 at most: 0.25 ms of CPU each with `flash`
MAX_BYTES = 64 << 20  # of decoded images at a time
Floats = NDArray[np.float32]
Score = Callable[[str, NDArray[np.uint8]], tuple[Floats, Floats]]


def ingredients(
    model: Model, tensors: TensorCache, raw: RawDataset | None = None, features: Features | None = None
) -> Ingredients:
    """Everything that decides a profile: the model's file, the tensors, and features if there are any."""
    inputs = {"model": model.model_sha256, "tensors": tensors.digest}
    inputs |= {"features": features.digest} if features else {}
    modules, libraries = originals.ingredients(model, tensors, raw)
    return PROFILE.ingredients(inputs, {}, (*modules, *frozen.modules(model, raw)), libraries)


def profile(
    model: Model,
    tensors: TensorCache,
    workspace: Workspace,
    raw: RawDataset | None = None,
    features: Features | None = None,
    *,
    refresh: bool = False,
    progress: Progress = ignore_progress,
) -> Profile:
    """Write the profile of a model's images.

    Args:
        model: Its `model.keras` takes uint8 (N, H, W, C) and returns probabilities.
        tensors: The tensor cache that it was trained on.
        workspace: Where the output is written.
        raw: The source of the tensors; needed for a model that takes images of another size than theirs.
        features: Features of the images, if the model's embeddings are their mean over the views.
        refresh: Whether to write the profile again if it exists.
        progress: Called with splits done.

    Returns:
        Handle of the profile.
    """

    def build(staging: Path) -> Mapping[str, Any]:
        score = _scorer(model, tensors, raw, workspace)
        progress(0, 2, "train images")
        # The row order of the tensors is random, so the first rows are a random sample.
        count = min(IMAGES, max(1, MAX_BYTES // int(np.prod(model.shape))))
        if features is None:
            embeddings = score("train", originals.open_images(tensors, "train", model, raw)[:count])[1]
        else:
            embeddings = averaged(open_features(features, "train")[:IMAGES])
        projection = Projection.of(embeddings)
        projection.write(staging)
        progress(1, 2, f"{SPLIT} images")
        val_images = originals.open_images(tensors, SPLIT, model, raw)
        images = val_images[:count]
        scored = score(SPLIT, images)
        described = describe(images, _sizes(tensors, len(images)), *scored, projection)
        if frozen.kind_of(model, raw) is None:
            _certify_bfloat16(model, tensors, val_images, scored[0], score, staging)
        pq.write_table(pa.table(described), staging / TABLE)
        return {"model_sha256": model.model_sha256, "split": SPLIT, "images": len(images)}

    return PROFILE.output(ingredients(model, tensors, raw, features), workspace, build, refresh=refresh)


def _certify_bfloat16(
    model: Model,
    tensors: TensorCache,
    images: NDArray[np.uint8],
    known: Floats,
    score: Score,
    staging: Path,
) -> None:
    """Write the certificate, where the processor calculates in bfloat16 and the images are enough for it.

    Args:
        model: The model.
        tensors: The labels and groups of the images.
        images: All val images, uint8 (N, H, W, C).
        known: The probabilities in float32 of the first n of them, float32 (n, classes). If these leave open
            whether accuracy is lost, up to `CERTIFIED` images are predicted in both.
        score: Predicts in float32.
        staging: The directory of the profile.
    """
    groups, labels, count = read_groups(tensors, SPLIT), open_split(tensors, SPLIT).labels, len(known)
    units = count if groups is None else len(np.unique(groups[:count]))
    if not processor.predicts_in_bfloat16() or not bfloat16_certificate.can_pass(units):
        return
    in_bfloat16 = predictor.load(model.directory / "model.keras", Precision.bfloat16)
    found, expected = [in_bfloat16.probabilities(images[:count])], [known]

    def certificate(last: int) -> dict[str, Any]:
        of_images = None if groups is None else groups[:last]
        return bfloat16_certificate.certify(
            np.concatenate(found), np.concatenate(expected), labels[:last], of_images
        )

    certified, last = certificate(count), min(len(images), CERTIFIED)
    if last > count and bfloat16_certificate.needs_more(certified):
        for start in range(count, last, count):
            block = images[start : min(start + count, last)]
            found.append(in_bfloat16.probabilities(block))
            expected.append(score(SPLIT, block)[0])
        certified = certificate(last)
    bfloat16_certificate.write(certified, staging)


def _scorer(model: Model, tensors: TensorCache, raw: RawDataset | None, workspace: Workspace) -> Score:
    """A function from a split and its first images to their probabilities and embeddings."""
    kind = frozen.kind_of(model, raw)
    if kind is None or raw is None:
        loaded = predictor.load(model.directory / "model.keras")
        return lambda _, images: loaded.score(images)

    def score(split: str, images: NDArray[np.uint8]) -> tuple[Floats, Floats]:
        probabilities, embeddings = frozen.score(model, kind, tensors, split, raw, workspace)
        return probabilities[: len(images)], embeddings[: len(images)]

    return score


def describe(
    images: NDArray[np.uint8],
    sizes: NDArray[np.integer],
    probabilities: Floats,
    embeddings: Floats,
    projection: Projection,
) -> dict[str, Floats]:
    """The features by which images are compared.

    Args:
        images: uint8 (N, H, W, C), as the model takes them.
        sizes: Integers (N, 2), height and width of each image before it was resized.
        probabilities: The model's probabilities, float32 (N, classes).
        embeddings: The model's embeddings, float32 (N, D).
        projection: Projection of the embeddings.

    Returns:
        By name, float32 (N,) each.
    """
    confidence = {"confidence": probabilities.max(1)}
    return image_stats.of(images, sizes) | confidence | projection.features(embeddings)


def of_version(version: ModelVersion) -> Projection | None:
    """The projection of a version's profile; None if the version has no profile."""
    directory = version.directory / FOLDER
    return Projection.read(directory) if directory.is_dir() else None


def _sizes(tensors: TensorCache, count: int) -> NDArray[np.int32]:
    """Original height and width of the first `count` images, int32 (count, 2)."""
    rows = read_rows(tensors, ["height", "width"], SPLIT).slice(0, count)
    return np.stack([rows["height"].to_numpy(), rows["width"].to_numpy()], axis=1)
