"""The training loss: cross-entropy with label smoothing, of logits with offsets for rare classes."""

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tasks.core.recipes import Recipe

# Between equal weight for images (0) and equal weight for classes (1). With 1, the model predicted a class of
# ten images for everything.
LOGIT_ADJUSTMENT = 0.5


def smoothed_cross_entropy(
    logits: tf.Tensor, labels: tf.Tensor, smoothing: float, offsets: tf.Tensor
) -> tf.Tensor:
    """Mean cross-entropy with label smoothing (Szegedy et al., 2016).

    Args:
        logits: Floats (N, classes) of any precision.
        labels: int32 (N,).
        smoothing: Share of the target that is spread over all classes, 0..1.
        offsets: float32 (classes,), added to the logits; see `class_offsets`.

    Returns:
        A float32 scalar, in nats.
    """
    classes = logits.shape[1]
    targets = tf.one_hot(labels, classes, 1 - smoothing + smoothing / classes, smoothing / classes)
    adjusted = tf.cast(logits, tf.float32) + offsets
    return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(targets, adjusted))


def class_offsets(recipe: Recipe, labels: NDArray[np.int32], classes: int) -> NDArray[np.float32]:
    """Offsets that the training loss adds to the logits, so that a rare class must win by a margin.

    Logit adjustment (Menon et al., "Long-tail learning via logit adjustment", 2021): `LOGIT_ADJUSTMENT`
    times the logarithm of the class's share of the labels. A factor of 1, without label smoothing, would
    optimize the mean recall of the classes; a factor of 0 optimizes accuracy.

    Args:
        recipe: Without its `logit_adjustment` all offsets are 0.
        labels: int32 (N,), labels of the training images.
        classes: Number of classes.

    Returns:
        float32 (classes,); zeros if all classes are equal in size.
    """
    counts = np.bincount(labels, minlength=classes).astype(np.float64)
    if not recipe.logit_adjustment or counts.min() == counts.max():
        return np.zeros(classes, np.float32)
    return (LOGIT_ADJUSTMENT * np.log(np.maximum(counts, 1) / len(labels))).astype(np.float32)
