"""The recipe `finetune`: the linear probe's head and the backbone's upper blocks are trained together.

The lower part of the backbone, its trunk, stays frozen. So its output ("maps") is computed once for each view
of each image, and an epoch costs only the upper blocks. Starting from a fitted head keeps the features from
being distorted by the first steps (A. Kumar et al., "Fine-Tuning can Distort Pretrained Features and
Underperform Out-of-Distribution", ICLR 2022). Backbones have no batch norms that training would update.
"""

from functools import partial
from typing import Any, cast

import keras
import numpy as np
from numpy.typing import NDArray

from tasks.core.data.tensors.cache import RowView, Split, open_split
from tasks.core.errors import DataError
from tasks.core.model.backbones import catalog, network
from tasks.core.model.backbones.declaration import Backbone
from tasks.core.model.features import maps
from tasks.core.model.transfer import probe, published
from tasks.core.model.transfer.head import Head
from tasks.core.progress import Progress
from tasks.core.recipes import Recipe
from tasks.core.stage.handles import Features, RawDataset
from tasks.core.workspace import Workspace

LOGITS = "logits"


def from_maps(
    job: Any, features: Features, raw: RawDataset | None, workspace: Workspace, progress: Progress
) -> dict[str, Any]:
    """The maps of a job's images, and the upper part of the backbone with the probe's head.

    Args:
        job: A `TrainingJob`.
        features: Features of the images, of the same backbone.
        raw: The source of the images.
        workspace: Where the maps are kept.
        progress: Called with images done.

    Returns:
        The fields of `loop.TrainingInputs`.

    Raises:
        DataError: All images of a split are left out, or an image can no longer be read.
    """
    parameters = features.manifest["ingredients"]["parameters"]
    backbone = catalog.find(parameters["backbone"])
    kept = {split: _kept(job, split) for split in ("train", "val")}
    head, _, _ = probe.fit_head(features, job.tensors, kept)
    opened = maps.open_maps(features, raw, job.tensors, job.checkpoints, workspace, progress)
    labels = {split: open_split(job.tensors, split).labels for split in ("train", "val")}
    held_out = None if job.held_out is None else np.flatnonzero(job.held_out)
    size, views = parameters["image_size"], parameters["views"]
    frozen = network.build(backbone, size)
    return {
        **{split: _split(opened[split], labels[split], kept[split]) for split in ("train", "val")},
        "held_out": None if held_out is None else _split(opened["train"], labels["train"], held_out),
        "build": partial(_build_upper, backbone, size, head),
        "publish": partial(_publish, frozen, views),
        "facts": {"shape": list(frozen.input_shape[1:]), "backbone": catalog.record(backbone)},
    }


def _split(values: NDArray[np.float16], labels: NDArray[np.int32], rows: NDArray[np.int64]) -> Split:
    return Split(cast(Any, RowView(cast(Any, values), rows)), labels[rows])


def _kept(job: Any, split: str) -> NDArray[np.int64]:
    without = job.without(split)
    count = getattr(job.tensors, split)
    rows = np.arange(count) if without is None else np.flatnonzero(~without)
    if not len(rows):
        raise DataError(
            f"every {split} image has a duplicate in test",
            expected="images without a duplicate in test",
            done="nothing was trained",
            todo="look at the audit's pairs in the report, and correct the splits or leave out --drop-leaks",
        )
    return rows


def _build_upper(
    backbone: Backbone,
    image_size: int,
    head: Head,
    recipe: Recipe,
    images: NDArray[np.float16],
    classes: int,
    seed: int,
    policy: str,
) -> keras.Model:
    """The network from maps to logits; see `architectures.build.build`. Nothing in it is random."""
    whole = network.build(backbone, image_size, policy)
    dense = keras.layers.Dense(classes, kernel_initializer="zeros", dtype="float32", name=LOGITS)
    logits = dense(whole.output)
    dense.set_weights([head.kernel, head.bias])
    return keras.Model(whole.get_layer(backbone.trunk).output, logits)


def _publish(
    frozen: keras.Model,
    views: int,
    recipe: Recipe,
    trained: keras.Model,
    temperature: float,
    offsets: NDArray[np.float32],
) -> keras.Model:
    """The whole network in float32: the frozen trunk, and the trained layers after it."""
    head = None
    for layer in trained.layers:
        if layer.name == LOGITS:
            kernel, bias = layer.get_weights()
            head = Head(kernel, bias + offsets, 0.0, np.empty((0, len(bias)), np.float32))
        elif layer.weights:
            frozen.get_layer(layer.name).set_weights(layer.get_weights())
    assert head is not None  # noqa: S101 - `_build_upper` made it
    return published.build_published(frozen, head, views, temperature)
