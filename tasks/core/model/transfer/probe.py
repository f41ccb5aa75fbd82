"""The recipe `probe`: a linear classifier of a frozen backbone's features, fitted in seconds."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import softmax

from tasks.core.data.tensors.cache import SPLITS, open_split
from tasks.core.data.tensors.groups import read_groups
from tasks.core.metrics import temperature
from tasks.core.metrics.temperature import Choice
from tasks.core.model.backbones import catalog, licences, network
from tasks.core.model.devices import device
from tasks.core.model.export import keras_file
from tasks.core.model.export.description import Description
from tasks.core.model.features.reading import averaged, open_features
from tasks.core.model.transfer import head as head_module
from tasks.core.model.transfer import published
from tasks.core.model.transfer.head import Floats, Head, Labels
from tasks.core.stage.handles import Features, TensorCache, TrainedModel
from tasks.core.storage import hashing


def fit_head(
    features: Features, tensors: TensorCache, kept: dict[str, Any]
) -> tuple[Head, Labels, NDArray[np.int64] | None]:
    """The linear classifier of the train images, their labels, and their groups if there are any.

    Args:
        features: Features of the tensors' images.
        tensors: The tensors with the labels.
        kept: By split, the row numbers to use, int64 (n,); a split that is not in it is used whole.
    """
    values, labels = rows_of(features, tensors, "train", kept)
    groups = read_groups(tensors, "train")
    groups = groups if groups is None else groups[kept.get("train", slice(None))]
    return head_module.fit(values, labels, len(tensors.classes), groups), labels, groups


def rows_of(
    features: Features, tensors: TensorCache, split: str, kept: dict[str, Any]
) -> tuple[Floats, Labels]:
    """Features of a split's rows, the views averaged, float32 (n, D), and their labels, int32 (n,)."""
    values, labels = averaged(open_features(features, split)), open_split(tensors, split).labels
    rows = kept.get(split, slice(None))
    return values[rows], np.asarray(labels[rows], np.int32)


def train(features: Features, tensors: TensorCache, kept: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Fit the classifier and write `model.keras`, `weights.npz` and `history.parquet` into `directory`.

    The temperature is fitted on what the folds predict for the train images that they have not seen: these
    are many more than the val images.

    Args:
        features: Features of the tensors' images.
        tensors: The tensors with the labels.
        kept: By split, the row numbers to use; a split that is not in it is used whole.
        directory: Existing directory for the files.

    Returns:
        The fields of `TrainedModel` except path and digest.
    """
    head, labels, groups = fit_head(features, tensors, kept)
    written = write_model(head, labels, groups, features, tensors, directory)
    val_logits, val_labels = _logits(head, *rows_of(features, tensors, "val", kept))
    history = _history(head, labels, val_logits, val_labels)
    pd.DataFrame([history]).to_parquet(directory / TrainedModel.HISTORY, index=False)
    return {
        **written,
        "recipe": "probe",
        "epochs": 0.0,
        "val_accuracy": history["val_accuracy"],
        "device": device.name(),
        "precision": "float32",
        "strength": head.strength,
        "cross_validated": {"correct": int((head.held_out.argmax(1) == labels).sum()), "images": len(labels)},
    }


def write_model(
    head: Head,
    labels: Labels,
    groups: NDArray[np.int64] | None,
    features: Features,
    tensors: TensorCache,
    directory: Path,
) -> dict[str, Any]:
    """Write `model.keras`, `weights.npz` and the notices of the backbone into `directory`.

    Args:
        head: The classifier.
        labels: int32 (N,), of the images that it was fitted to.
        groups: int64 (N,), which of them belong together; None if each is by itself.
        features: Features that it was fitted to.
        tensors: The tensors with the classes.
        directory: Existing directory for the files.

    Returns:
        Facts of the manifest: model_sha256, shape, fit, temperature, calibration, backbone, frozen.
    """
    chosen = temperature_of(head, labels, groups)
    parameters = features.manifest["ingredients"]["parameters"]
    backbone = catalog.find(parameters["backbone"])
    frozen = network.build(backbone, parameters["image_size"])
    model = published.build_published(frozen, head, parameters["views"], chosen.temperature)
    keras_file.write_weights(model, directory / "weights.npz")
    shape = frozen.input_shape[1:]
    keras_file.write_keras(model, directory / "model.keras", Description.of(tensors, shape, "probe"))
    licences.write_notice(backbone, directory)
    return {
        "model_sha256": hashing.sha256_file(directory / "model.keras"),
        "shape": list(shape),
        "fit": tensors.fit,
        **tensors.grey_facts,
        "temperature": chosen.temperature,
        "calibration": chosen.reason,
        "backbone": catalog.record(backbone),
        "frozen": {"views": parameters["views"]},
    }


def temperature_of(head: Head, labels: Labels, groups: NDArray[np.int64] | None = None) -> Choice:
    """The temperature of what the folds predict for the images that they have not seen."""
    if not head.held_out.any():
        return Choice(temperature.NONE, "no temperature: no class has two images")
    return temperature.choose(labels, head.held_out, groups, "train images that the folds had not seen")


def all_features(features: Features) -> Floats:
    """Features of all images, the views averaged, float32 (N, D), in the order train, val, test."""
    return np.concatenate([averaged(open_features(features, split)) for split in SPLITS])


def held_out_probabilities(
    features: Features, tensors: TensorCache, held_out: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """What the classifier predicts for train images that its fold has not seen, and for the val images.

    Args:
        features: Features of the tensors' images.
        tensors: The tensors with the labels.
        held_out: Which of the train images, bool (N,).

    Returns:
        float32 (n, classes): those train images in their order, then the val images.
    """
    head, labels, groups = fit_head(features, tensors, {})
    values, _ = rows_of(features, tensors, "val", {})
    logits = np.concatenate([head.held_out[held_out], head.logits(values)])
    scaled = logits / temperature_of(head, labels, groups).temperature
    return np.asarray(softmax(scaled, axis=1), np.float32)


def _logits(head: Head, features: Floats, labels: Labels) -> tuple[Floats, Labels]:
    return head.logits(features), labels


def _history(head: Head, labels: Labels, val_logits: Floats, val_labels: Labels) -> dict[str, float]:
    """One row of the history: "train" figures are of images that their fold has not seen."""
    return {
        "epoch": 1.0,
        "train_loss": head_module.log_loss(head.held_out, labels),
        "train_accuracy": float((head.held_out.argmax(1) == labels).mean()),
        "val_loss": head_module.log_loss(val_logits, val_labels),
        "val_accuracy": float((val_logits.argmax(1) == val_labels).mean()),
        "learning_rate": float("nan"),
        "images_per_second": float("nan"),
        "seconds": float("nan"),
    }
