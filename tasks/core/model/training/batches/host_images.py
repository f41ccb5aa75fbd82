"""Images that are gathered and augmented on the host, and sent to the device window by window."""

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tasks.core.data.loader import mmap
from tasks.core.data.loader.window_buffer import WindowBuffer
from tasks.core.model.devices.replicas import SingleDevice
from tasks.core.model.training.batches import augmentation
from tasks.core.model.training.batches.image_order import ImageOrder


class HostImages:
    """The images of a training's steps.

    Args:
        order: The images of each step; its plan has how they are augmented.
        images: (N, H, W, C), or (N, views, H, W, C); a mapped array.
        devices: Replicas that share each batch.

    Attributes:
        signature: What `window` returns, for `tf.function`.
        step_bytes: Bytes that `window` sends to the device for each step.
    """

    def __init__(self, order: ImageOrder, images: NDArray[np.uint8], devices: SingleDevice) -> None:
        self.order, self.plan, self.images, self.devices = order, order.plan, images, devices
        plan = order.plan
        self.buffer = WindowBuffer(images, plan.shuffle)
        shape = images.shape[2:] if plan.recipe.augment == "view" else images.shape[1:]
        batch = (None, len(devices.process_share(np.arange(plan.recipe.batch_size))))
        self.signature = [tf.TensorSpec((*batch, *shape), images.dtype)]
        share = plan.recipe.batch_size // devices.processes
        self.step_bytes = share * int(np.prod(images.shape[1:])) * images.dtype.itemsize

    def window(self, start: int, end: int) -> list[tf.Tensor]:
        """What `batch` needs for each step of a window: this process's images, (steps, n, H, W, C)."""
        seed, recipe, share = self.plan.seed, self.plan.recipe, self.devices.process_share
        steps = share(self.order.rows(start, end))
        rows, draws = steps.ravel(), share(self.order.draws(start, end)).ravel()
        images = self._read(start, end, rows)
        if recipe.augment == "shift":
            images = augmentation.shift(images, rows, seed, draws, recipe.max_shift)
        elif recipe.augment == "view":
            images = augmentation.choose_view(images, rows, seed, draws)
        return [tf.constant(images.reshape(*steps.shape, *images.shape[1:]))]

    def batch(self, images: tf.Tensor) -> tf.Tensor:
        """The images of a step, of what `window` has for it."""
        return images

    def _read(self, start: int, end: int, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        if self.plan.shuffle.is_full_shuffle:
            return mmap.read_rows(self.images, rows)
        positions = self.devices.process_share(self.plan.positions(start, end))
        return self.buffer.take(self.plan.epoch(start), positions.ravel())
