"""Class offsets of the training loss."""

import numpy as np
from numpy.typing import NDArray

from tasks.core.recipes import Recipe

LOGIT_ADJUSTMENT = (
    0.5  # between all images alike and all classes alike; 1 made everything the class of ten images
)


def class_offsets(recipe: Recipe, labels: NDArray[np.int32], classes: int) -> NDArray[np.float32]:
    """What the loss adds to each class's logit, so that a rare class has to win by a margin in training.

    Logit adjustment (Menon et al., "Long-tail learning via logit adjustment", 2021): `LOGIT_ADJUSTMENT`
    times the logarithm of the class's share of the labels. With 1, and without label smoothing, the model
    would be the best for the mean recall of classes; with 0 for the share of right images. Zeros without
    `balance`.
    """
    counts = np.bincount(labels, minlength=classes).astype(np.float64)
    if not recipe.logit_adjustment or counts.min() == counts.max():
        return np.zeros(classes, np.float32)
    return (LOGIT_ADJUSTMENT * np.log(np.maximum(counts, 1) / len(labels))).astype(np.float32)
