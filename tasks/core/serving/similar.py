"""The training images that are most alike to an image, by the model's own embeddings.

Cosine similarity of embeddings minus their mean, as in the audit of features. A model with a frozen backbone
has the embeddings of its training images in the workspace's store; for another model they are computed here.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from tasks.core.data.pixels import as_picture
from tasks.core.data.tensors.cache import open_split, read_rows
from tasks.core.serving.served_model import ServedModel
from tasks.core.stage.handles import ModelVersion, RawDataset, TensorCache
from tasks.core.stage.stages import NORMALIZE
from tasks.core.workspace import Workspace

Floats = NDArray[np.float32]
MOST = 5_000  # training images that are compared; of more, evenly chosen ones
ROWS = 32  # images that are computed between two looks whether the server stops


@dataclass(frozen=True)
class TrainingImages:
    """Embeddings of training images, and where the images are.

    Args:
        tensors: The tensors.
        rows: int64 (n,); which rows of the split train.
        labels: int32 (n,).
        paths: n paths in the source.
        mean: float32 (D,), of the embeddings.
        directions: float32 (n, D), of length 1.
    """

    tensors: TensorCache
    rows: NDArray[np.int64]
    labels: NDArray[np.int32]
    paths: list[str]
    mean: Floats
    directions: Floats

    def nearest(self, embeddings: Floats, count: int) -> list[list[dict[str, object]]]:
        """The most alike training images of each image, the most alike first.

        Args:
            embeddings: float32 (N, D).
            count: How many.

        Returns:
            For each image, dictionaries of path, class_name, similarity (-1..1) and row.
        """
        cosines = _unit(embeddings - self.mean) @ self.directions.T
        best = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
        return [
            [
                {
                    "path": self.paths[index],
                    "class_name": self.tensors.classes[self.labels[index]],
                    "similarity": round(float(cosines[image, index]), 4),
                    "row": int(self.rows[index]),
                }
                for index in indices
            ]
            for image, indices in enumerate(best)
        ]

    def picture(self, row: int) -> bytes | None:
        """A training image as PNG; None if it is not among the compared ones, or no longer there."""
        position = int(np.searchsorted(self.rows, row))
        if position == len(self.rows) or self.rows[position] != row:
            return None
        try:
            pixels = np.asarray(open_split(self.tensors, "train").images[row])
        except OSError:
            return None
        content = io.BytesIO()
        as_picture(pixels).save(content, "png")
        return content.getvalue()


def training_images(
    model: ServedModel, workspace: Workspace, is_needed: Callable[[], bool]
) -> TrainingImages | None:
    """Embed the training images of a model; None if they are not here, or have not the model's size.

    Args:
        model: The model.
        workspace: The workspace with the tensors and the stored features.
        is_needed: Whether to go on; None is returned if not.
    """
    digest = model.version.manifest["facts"].get("tensors")
    tensors = NORMALIZE.of_digest(digest, workspace) if digest else None
    if tensors is None or not tensors.train:
        return None
    rows = np.unique(np.linspace(0, tensors.train - 1, min(MOST, tensors.train)).astype(np.int64))
    embeddings = _stored(model.version, tensors, rows, workspace)
    if embeddings is None and tuple(tensors.shape) == tuple(model.version.shape):
        embeddings = _computed(model, open_split(tensors, "train").images, rows, is_needed)
    if embeddings is None:
        return None
    labels = np.asarray(open_split(tensors, "train").labels[rows])
    paths = read_rows(tensors, ["path"], "train")["path"].take(rows).to_pylist()
    mean = embeddings.mean(0)
    return TrainingImages(tensors, rows, labels, paths, mean, _unit(embeddings - mean))


def _computed(
    model: ServedModel, images: NDArray[np.uint8], rows: NDArray[np.int64], is_needed: Callable[[], bool]
) -> Floats | None:
    """Embeddings float32 (n, D) of rows of images; None as soon as they are not needed."""
    parts = []
    for start in range(0, len(rows), ROWS):
        if not is_needed():
            return None
        parts.append(model.predictor.score(np.asarray(images[rows[start : start + ROWS]]))[1])
    return np.concatenate(parts)


def _stored(
    version: ModelVersion, tensors: TensorCache, rows: NDArray[np.int64], workspace: Workspace
) -> Floats | None:
    """Embeddings from the store of features; None if they are not all there."""
    from tasks.core.model.features import embed
    from tasks.core.model.inference import frozen

    # Nothing is computed, so the source itself is not needed: it is only asked whether there is one.
    kind = frozen.kind_of(version, cast(RawDataset, tensors))
    if kind is None:
        return None
    image_ids = read_rows(tensors, ["image_id"], "train")["image_id"].take(rows).combine_chunks()
    features = np.empty((len(rows), kind.views, kind.declaration.features), np.float32)
    try:
        embed.open_store(kind, workspace).read(image_ids, features)
    except (KeyError, OSError):
        return None
    return features.mean(axis=1)


def _unit(vectors: Floats) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), np.float32)
