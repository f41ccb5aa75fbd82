"""Images that stay on the device: each step gathers, mirrors and shifts its own there.

A GPU waits for the host where a network is small: of 48 s of `good` on an H200, 9 went into gathering and
shifting images on the host (docs/experiments.md). The host sends 13 bytes an image instead of its pixels. The
images of each step are those of `HostImages`, to the byte.
"""

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tasks.core.data.loader import mmap
from tasks.core.model.devices.replicas import SingleDevice
from tasks.core.model.training.batches import augmentation
from tasks.core.model.training.batches.image_order import ImageOrder
from tasks.core.model.training.steps import StepPlan


class ResidentImages:
    """The images of a training's steps, by one device; attributes and methods are those of `HostImages`.

    Args:
        order: The images of each step; its plan has how they are augmented.
        images: uint8 (N, H, W, C); all are copied to the device.
    """

    def __init__(self, order: ImageOrder, images: NDArray[np.uint8]) -> None:
        self.order, self.plan, self.shape = order, order.plan, images.shape[1:]
        self.images = tf.constant(mmap.read_rows(images, np.arange(len(images))))
        size = self.plan.recipe.batch_size
        self.signature = [
            tf.TensorSpec((None, size), tf.int32),
            tf.TensorSpec((None, size), tf.bool),
            tf.TensorSpec((None, size, 2), tf.int32),
        ]
        self.step_bytes = 13 * size

    def window(self, start: int, end: int) -> list[tf.Tensor]:
        """What `batch` needs for each step of a window.

        Returns:
            Rows, int32 (steps, n); whether they are mirrored, bool (steps, n); shifts, int32 (steps, n, 2).
        """
        recipe, rows, draws = self.plan.recipe, self.order.rows(start, end), self.order.draws(start, end)
        mirrored, shifts = np.zeros(rows.shape, bool), np.zeros((*rows.shape, 2), np.int32)
        if recipe.augment == "shift":
            seed, largest = self.plan.seed, recipe.max_shift
            drawn = augmentation.draws(rows.ravel(), seed, draws.ravel(), largest, self.shape)
            mirrored, shifts = drawn[0].reshape(rows.shape), drawn[1].reshape(shifts.shape)
        return [tf.constant(rows, tf.int32), tf.constant(mirrored), tf.constant(shifts, tf.int32)]

    def batch(self, rows: tf.Tensor, mirrored: tf.Tensor, shifts: tf.Tensor) -> tf.Tensor:
        """The images of a step, uint8 (n, H, W, C)."""
        images = tf.gather(self.images, rows)
        if self.plan.recipe.augment != "shift":
            return images
        height, width, _ = self.shape
        columns = _reflected(shifts[:, 1], width)
        columns = tf.where(mirrored[:, None], width - 1 - columns, columns)
        images = tf.gather(images, _reflected(shifts[:, 0], height), axis=1, batch_dims=1)
        return tf.gather(images, columns, axis=2, batch_dims=1)


def is_possible(plan: StepPlan, images: NDArray[np.uint8], devices: SingleDevice) -> bool:
    """Whether a training's images may stay on its device: one device, and images that all fit into memory."""
    fits = plan.shuffle.is_full_shuffle and images.dtype == np.uint8
    return fits and devices.replicas == 1 and plan.recipe.augment != "view"


def _reflected(shifts: tf.Tensor, side: int) -> tf.Tensor:
    """For each pixel of a shifted row, the pixel it comes from; the row continues as its own reflection.

    Args:
        shifts: int32 (n,); pixels to the right or down at which the row begins.
        side: Pixels of the row.

    Returns:
        int32 (n, side).
    """
    index = tf.range(side) + shifts[:, None]
    return (side - 1) - tf.abs((side - 1) - tf.abs(index))
