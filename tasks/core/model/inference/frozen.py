"""Predictions of a model with a frozen backbone, from features that are computed once for each image.

A linear classifier of features needs no second look at an image that another model of the same backbone has
seen: the champion, an earlier run, another classifier. The features are computed in float32, as the published
model does, so that the probabilities are its own but for the order of sums (largest difference 1e-6).
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.core.config import Precision
from tasks.core.data.tensors.cache import read_rows
from tasks.core.model.backbones import catalog
from tasks.core.model.devices import runtime
from tasks.core.model.features import embed
from tasks.core.model.features.kind import FeatureKind
from tasks.core.progress import Progress, ignore_progress
from tasks.core.stage.handles import Model, RawDataset, TensorCache
from tasks.core.workspace import Workspace

Floats = NDArray[np.float32]
MODULES = (__name__, "tasks.core.model.features.extractor")


def kind_of(model: Model, raw: RawDataset | None) -> FeatureKind | None:
    """The features that a model classifies; None if it is another model, or if they cannot be computed here.

    Args:
        model: A trained or a published model.
        raw: The source of the images; without it nothing can be computed.
    """
    facts = model.manifest["facts"]
    backbone, frozen = facts.get("backbone", {}), facts.get("frozen")
    declared = catalog.BACKBONES.get(backbone.get("name", ""))
    if raw is None or not frozen or declared is None or catalog.record(declared) != backbone:
        return None
    height, _, _ = model.shape
    return FeatureKind(
        declared.name, height, frozen["views"], Precision.float32, str(model.fit), grey_bits=model.grey_bits
    )


def modules(model: Model, raw: RawDataset | None) -> tuple[str, ...]:
    """Modules that decide the predictions of `score`; empty for other models."""
    return MODULES if kind_of(model, raw) else ()


def score(
    model: Model,
    kind: FeatureKind,
    tensors: TensorCache,
    split: str,
    raw: RawDataset,
    workspace: Workspace,
    progress: Progress = ignore_progress,
) -> tuple[Floats, Floats]:
    """Probabilities and embeddings of a split's images, in the row order of the tensors.

    Args:
        model: The model.
        kind: What `kind_of` returned.
        tensors: The images.
        split: "train", "val" or "test".
        raw: Their source.
        workspace: Where the store of features lies.
        progress: Called with images done.

    Returns:
        float32 (N, classes) and float32 (N, D).
    """
    from scipy.special import softmax  # imported here: a reused stage needs none of it

    embed.fill_store(kind, raw, tensors, (split,), workspace, progress)
    image_ids = read_rows(tensors, ["image_id"], split)["image_id"].combine_chunks()
    features = np.empty((len(image_ids), kind.views, kind.declaration.features), np.float32)
    embed.open_store(kind, workspace).read(image_ids, features)
    embeddings = features.mean(axis=1)
    logits = _logits(model.directory / "model.keras", embeddings)
    return np.asarray(softmax(logits, axis=1), np.float32), embeddings


def _logits(path: Path, embeddings: Floats) -> Floats:
    """Logits of the model's last layers, float32 (N, classes), divided by its temperature."""
    with runtime.quiet_tensorflow():
        import keras

    model = keras.models.load_model(path)
    kernel, bias = model.get_layer("logits").get_weights()
    scale = np.float32(model.get_layer("temperature").scale)
    return np.asarray((embeddings @ kernel + bias) * scale, np.float32)
