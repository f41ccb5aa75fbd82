"""The training loss: cross-entropy with label smoothing, of logits with offsets for the classes' shares."""

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tasks.core.recipes import Recipe

# Between nothing and all of the logarithms of the classes' shares. With 1, the calibration slope of a class
# of 90 among 990 images was 0.58 instead of 0.82 (docs/experiments.md).
LOGIT_ADJUSTMENT = 0.5


def smoothed_cross_entropies(
    logits: tf.Tensor, labels: tf.Tensor, smoothing: float, offsets: tf.Tensor
) -> tf.Tensor:
    """Cross-entropy of each image with label smoothing (Szegedy et al., 2016).

    Args:
        logits: Floats (N, classes) of any precision.
        labels: int32 (N,).
        smoothing: Share of the target that is spread over all classes, 0..1.
        offsets: float32 (classes,), added to the logits; see `class_offsets`.

    Returns:
        float32 (N,), in nats.
    """
    classes = logits.shape[1]
    targets = tf.one_hot(labels, classes, 1 - smoothing + smoothing / classes, smoothing / classes)
    adjusted = tf.cast(logits, tf.float32) + offsets
    return tf.nn.softmax_cross_entropy_with_logits(targets, adjusted)


def class_offsets(recipe: Recipe, labels: NDArray[np.int32], classes: int) -> NDArray[np.float32]:
    """Offsets that are added to the network's logits, in the training loss and in the published model.

    Logit adjustment (Menon et al., "Long-tail learning via logit adjustment", 2021): `LOGIT_ADJUSTMENT`
    times the logarithm of the class's share of the labels. With the offsets, the probabilities are for the
    shares of the data, as the loss has them. Without them they would be for more equal shares: a rare class
    would seem to be more frequent than it is.

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
