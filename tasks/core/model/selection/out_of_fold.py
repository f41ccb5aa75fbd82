"""What a recipe predicts for all images, each by a model that has not seen it.

Every choice of a fold's model is made inside the fold's training images: the strength and the temperature of
a linear classifier by folds of their own, early stopping and temperature of other recipes on a part of them.
"""

import shutil
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tasks.core.config import RecipeName, TrainSettings
from tasks.core.data.cross_validation import assignment
from tasks.core.data.cross_validation.images import AllImages
from tasks.core.data.cross_validation.resplit import resplit
from tasks.core.data.tensors.cache import SPLITS
from tasks.core.model.features import embed
from tasks.core.model.features.kind import settings_of
from tasks.core.model.features.reading import averaged, open_features
from tasks.core.model.inference import predict_splits
from tasks.core.model.selection.choice import Probabilities
from tasks.core.model.training import train
from tasks.core.progress import Progress
from tasks.core.stage.handles import Features, RawDataset, TensorCache
from tasks.core.workspace import Workspace


@dataclass(frozen=True)
class FoldInputs:
    """What the models of all folds are made of.

    Args:
        images: All images.
        assigned: The fold in which each image is tested, int8 (N,).
        tensors: The tensors of the images.
        features: Features of the images; needed by recipes that start from a backbone.
        raw: The source of the images.
        workspace: Where the tensors and models of the folds are written.
    """

    images: AllImages
    assigned: NDArray[np.int8]
    tensors: TensorCache
    features: Features | None
    raw: RawDataset
    workspace: Workspace

    @property
    def groups(self) -> NDArray[np.int64] | None:
        """The groups of the images, int64 (N,); None if each image is alone."""
        return self.images.groups if self.images.dependent else None


def out_of_fold(inputs: FoldInputs, settings: TrainSettings, progress: Progress) -> Probabilities:
    """What a recipe predicts for each image, float32 (N, classes), in the order of `AllImages`.

    Args:
        inputs: The images and their folds.
        settings: The recipe and how it is trained.
        progress: Called with folds done.
    """
    folds = int(inputs.assigned.max()) + 1
    probabilities = np.empty((len(inputs.images), len(inputs.tensors.classes)), np.float32)
    features = _features(inputs) if settings.recipe is RecipeName.probe else None
    for number in range(folds):
        progress(number, folds, f"{settings.recipe}, fold {number + 1} of {folds}")
        tested = inputs.assigned == number
        if features is not None:
            probabilities[tested] = probed(
                features, inputs.images.labels, tested, probabilities.shape[1], inputs.groups
            )
        else:
            probabilities[tested] = _trained(inputs, settings, tested)
    return probabilities


def probed(
    features: NDArray[np.float32],
    labels: NDArray[np.int32],
    tested: NDArray[np.bool_],
    classes: int,
    groups: NDArray[np.int64] | None = None,
) -> Probabilities:
    """What a linear classifier of the other images predicts for the tested ones, float32 (n, classes).

    Args:
        features: float32 (N, D).
        labels: int32 (N,).
        tested: bool (N,), which images it does not see.
        classes: Number of classes.
        groups: int64 (N,), images that belong together; None if each image is alone.
    """
    from scipy.special import softmax

    from tasks.core.model.transfer import head as head_module
    from tasks.core.model.transfer import probe

    seen = ~tested
    seen_groups = None if groups is None else groups[seen]
    head = head_module.fit(features[seen], labels[seen], classes, seen_groups)
    fitted = probe.temperature_of(head, labels[seen], seen_groups).temperature
    return np.asarray(softmax(head.logits(features[tested]) / fitted, axis=1), np.float32)


def _features(inputs: FoldInputs) -> NDArray[np.float32]:
    """Features of all images, the views averaged, float32 (N, D)."""
    assert inputs.features is not None  # noqa: S101 - the pipeline embeds for a probe
    return np.concatenate([averaged(open_features(inputs.features, split)) for split in SPLITS])


def _trained(inputs: FoldInputs, settings: TrainSettings, tested: NDArray[np.bool_]) -> Probabilities:
    """What a model of the other images predicts for the tested ones; its tensors are deleted afterwards."""
    tensors, workspace = inputs.tensors, inputs.workspace
    seen = np.flatnonzero(~tested)
    share = tensors.val / (tensors.train + tensors.val)
    held_back = assignment.held_back(inputs.images.labels[seen], inputs.images.groups[seen], share)
    positions = {"train": seen[~held_back], "val": seen[held_back], "test": np.flatnonzero(tested)}
    fold = resplit(tensors, positions, workspace)
    features = None
    if settings.recipe is RecipeName.finetune:
        features = features_of(fold, inputs.features, inputs.raw, workspace)
    plain = replace(settings, drop_leaks=False)  # duplicates are in one fold
    trained = train.train(fold, plain, workspace, features=features, raw=inputs.raw)
    predictions = predict_splits.predict_splits(trained, fold, workspace, inputs.raw)
    probabilities = np.load(predictions.path_of("test"), allow_pickle=False)
    for handle in (fold, features):
        if handle is not None:
            shutil.rmtree(handle.directory)
    return np.asarray(probabilities, np.float32)


def features_of(
    tensors: TensorCache, features: Features | None, raw: RawDataset, workspace: Workspace
) -> Features:
    """The same features for tensors in other splits; they are read from the store."""
    assert features is not None  # noqa: S101 - the pipeline embeds for these recipes
    return embed.embed(raw, tensors, settings_of(features), workspace)
