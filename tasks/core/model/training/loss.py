"""The training loss: cross-entropy with label smoothing, of logits with offsets for the classes' shares."""

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tasks.core.recipes import Recipe

LOGIT_ADJUSTMENT = 1.0


def smoothed_cross_entropy(
    logits: tf.Tensor, labels: tf.Tensor, smoothing: float, offsets: tf.Tensor, shares: tf.Tensor
) -> tf.Tensor:
    """Mean cross-entropy with label smoothing (Szegedy et al., 2016), towards the classes' shares.

    Smoothing towards equal shares would raise the probability of a rare class: a share of 9 % to 13 %, for
    two classes and a smoothing of 0.1.

    Args:
        logits: Floats (N, classes) of any precision.
        labels: int32 (N,).
        smoothing: Share of the target that is spread over all classes, 0..1.
        offsets: float32 (classes,), added to the logits; see `class_offsets`.
        shares: float32 (classes,), see `class_shares`.

    Returns:
        A float32 scalar, in nats.
    """
    targets = (1 - smoothing) * tf.one_hot(labels, logits.shape[1]) + smoothing * shares
    adjusted = tf.cast(logits, tf.float32) + offsets
    return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(targets, adjusted))


def class_offsets(recipe: Recipe, labels: NDArray[np.int32], classes: int) -> NDArray[np.float32]:
    """Offsets that are added to the network's logits, in the training loss and in the published model.

    Logit adjustment (Menon et al., "Long-tail learning via logit adjustment", 2021): `LOGIT_ADJUSTMENT`
    times the logarithm of the class's share of the labels. The network itself then learns what speaks for a
    class whatever its share. With the offsets, its probabilities are for the shares of the data; without
    them, they would be for equal shares.

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


def class_shares(labels: NDArray[np.int32], classes: int) -> NDArray[np.float32]:
    """Shares of the classes among the labels, float32 (classes,), 0..1."""
    return (np.bincount(labels, minlength=classes) / len(labels)).astype(np.float32)
