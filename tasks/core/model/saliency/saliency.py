"""The saliency stage: where in some test images the features lie that voted for a class.

It can be imported without TensorFlow.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from tasks.core.data.loader import originals
from tasks.core.data.pixels import as_picture
from tasks.core.data.tensors.cache import open_split, read_rows
from tasks.core.errors import DataError
from tasks.core.model.devices import runtime
from tasks.core.model.inference import predict_splits
from tasks.core.model.saliency import rows
from tasks.core.model.saliency.reading import MAPS, PICTURES, SCHEMA, TABLE
from tasks.core.model.saliency.rows import NO_CLASS, Chosen
from tasks.core.stage.handles import Model, RawDataset, TensorCache
from tasks.core.stage.ingredients import Ingredients
from tasks.core.stage.saliency import Saliency
from tasks.core.stage.stages import SALIENCY
from tasks.core.workspace import Workspace

if TYPE_CHECKING:
    from tasks.core.model.saliency.network import ClassMaps

SPLIT = "test"
PICTURE_SIDE = 112  # pixels of a picture; larger images are reduced
# Largest difference of a probability from that of the predict stage. GPUs calculate with 11 bits.
TOLERANCE = 0.05
EXACT = 1e-3  # largest difference of map and logit, as a share of the largest logit


def ingredients(model: Model, tensors: TensorCache, raw: RawDataset | None = None) -> Ingredients:
    """What decides the maps: the model's file, the tensors, and the predictions that choose the images."""
    predictions = predict_splits.ingredients(model, tensors, raw).digest
    inputs = {"model": model.model_sha256, "tensors": tensors.digest, "predictions": predictions}
    modules, libraries = originals.ingredients(model, tensors, raw)
    return SALIENCY.ingredients(inputs, {}, modules, libraries)


def saliency(
    model: Model,
    tensors: TensorCache,
    workspace: Workspace,
    raw: RawDataset | None = None,
    *,
    refresh: bool = False,
) -> Saliency:
    """Write `maps.npy`, `pictures.npy` and `maps.parquet`, see `reading`.

    Args:
        model: Its `model.keras` takes uint8 (N, H, W, C) and returns probabilities.
        tensors: The images.
        workspace: Where the output is written.
        raw: Their source; needed for a model that takes images of another size than theirs.
        refresh: Whether to compute existing maps again.

    Raises:
        DataError: The model's graph has other probabilities than the predict stage.
    """
    return SALIENCY.output(
        ingredients(model, tensors, raw),
        workspace,
        lambda staging: _write(staging, model, tensors, workspace, raw),
        refresh=refresh,
    )


def _write(
    staging: Path, model: Model, tensors: TensorCache, workspace: Workspace, raw: RawDataset | None
) -> Mapping[str, Any]:
    with runtime.quiet_tensorflow():
        import keras

    from tasks.core.model.saliency import network

    facts = {"model_sha256": model.model_sha256}
    found = network.cut(keras.models.load_model(model.directory / "model.keras"))
    if found is None:
        return facts | {"layer": "", "rows": 0, "columns": 0, "images": 0, "adds_up": False}
    predictions = predict_splits.predict_splits(model, tensors, workspace, raw)
    path = predictions.path_of(SPLIT)
    probabilities = np.load(path, mmap_mode="r", allow_pickle=False)
    chosen = rows.choose(open_split(tensors, SPLIT).labels, probabilities)
    numbers = np.array([image.row for image in chosen])
    images = originals.open_images(tensors, SPLIT, model, raw)[numbers]
    labels = np.array([[image.predicted_label, max(image.other_label, 0)] for image in chosen])
    mapped = found.maps(images, labels)
    check_probabilities(mapped.logits, probabilities[numbers])
    of_map = _maps_of(chosen)
    np.save(staging / MAPS, np.stack([mapped.maps[index] for index in of_map]))
    np.save(staging / PICTURES, np.stack([_reduced(image) for image in images]))
    pq.write_table(_table(chosen, tensors, mapped), staging / TABLE)
    height, width = mapped.maps.shape[2:]
    size = {"rows": height, "columns": width, "images": len(chosen)}
    return facts | {"layer": found.layer, **size, "adds_up": _adds_up(mapped, labels)}


def _maps_of(chosen: list[Chosen]) -> list[tuple[int, int]]:
    """Of each map, the number of its image and 0 for the predicted class or 1 for the other one."""
    numbers = range(len(chosen))
    return [(n, which) for n in numbers for which in range(1 if chosen[n].other_label == NO_CLASS else 2)]


def check_probabilities(logits: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    """Refuse logits that do not give the probabilities of the predict stage, float32 (n, classes) both.

    Raises:
        DataError: A probability differs by more than `TOLERANCE`.
    """
    from scipy.special import softmax  # imported here: a reused stage needs none of it

    difference = float(np.abs(softmax(logits.astype(np.float64), axis=1) - expected).max())
    if not difference <= TOLERANCE:
        raise DataError(
            "the maps are not of the model that was evaluated",
            expected=f"its probabilities to {TOLERANCE}",
            found=f"a difference of {difference:.3f}",
            done="no map was written",
            todo="report this, with the recipe and the backbone",
        )


def _adds_up(mapped: "ClassMaps", labels: NDArray[np.int64]) -> bool:
    logits = np.take_along_axis(mapped.logits, labels, axis=1)
    sums = mapped.maps.sum(axis=(2, 3), dtype=np.float64) + mapped.constants[labels]
    return bool(np.abs(sums - logits).max() <= EXACT * max(1.0, float(np.abs(logits).max())))


def _table(chosen: list[Chosen], tensors: TensorCache, mapped: "ClassMaps") -> pa.Table:
    from scipy.special import softmax

    probabilities = softmax(mapped.logits, axis=1)
    paths = read_rows(tensors, ["path"], SPLIT)["path"].to_pylist()
    table = []
    for n, which in _maps_of(chosen):
        image = chosen[n]
        label = image.other_label if which else image.predicted_label
        table.append(
            {
                "picture": n,
                "kind": image.kind,
                "row": image.row,
                "path": paths[image.row],
                "label": image.label,
                "predicted_label": image.predicted_label,
                "map_label": label,
                "probability": probabilities[n, label],
                "logit": mapped.logits[n, label],
                "constant": mapped.constants[label],
            }
        )
    return pa.Table.from_pylist(table, SCHEMA)


def _reduced(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    picture = as_picture(image)
    picture.thumbnail((PICTURE_SIDE, PICTURE_SIDE), Image.Resampling.LANCZOS)
    return np.asarray(picture).reshape(picture.height, picture.width, -1)
