"""Images that are gathered and augmented on the host, and sent to the device window by window."""

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tasks.core.data.loader.window_buffer import WindowBuffer
from tasks.core.model.devices.replicas import SingleDevice
from tasks.core.model.training.batches import augmentation
from tasks.core.model.training.steps import StepPlan


class HostImages:
    """The images of a training's steps.

    Args:
        plan: The images of each step, and how they are augmented.
        images: (N, H, W, C), or (N, views, H, W, C); a mapped array.
        devices: Replicas that share each batch.

    Attributes:
        signature: What `window` returns, for `tf.function`.
        step_bytes: Bytes that `window` sends to the device for each step.
    """

    def __init__(self, plan: StepPlan, images: NDArray[np.uint8], devices: SingleDevice) -> None:
        self.plan, self.devices = plan, devices
        self.buffer = WindowBuffer(images, plan.shuffle)
        shape = images.shape[2:] if plan.recipe.augment == "view" else images.shape[1:]
        batch = (None, len(devices.process_share(np.arange(plan.recipe.batch_size))))
        self.signature = [tf.TensorSpec((*batch, *shape), images.dtype)]
        share = plan.recipe.batch_size // devices.processes
        self.step_bytes = share * int(np.prod(images.shape[1:])) * images.dtype.itemsize

    def window(self, start: int, end: int) -> list[tf.Tensor]:
        """What `batch` needs for each step of a window: this process's images, (steps, n, H, W, C)."""
        epoch, recipe = self.plan.epoch(start), self.plan.recipe
        positions = self.devices.process_share(self.plan.positions(start, end))
        images = self.buffer.take(epoch, positions.ravel())
        rows = self.plan.shuffle.order(epoch)[positions].ravel()
        if recipe.augment == "shift":
            images = augmentation.shift(images, rows, self.plan.seed, epoch, recipe.max_shift)
        elif recipe.augment == "view":
            images = augmentation.choose_view(images, rows, self.plan.seed, epoch)
        return [tf.constant(images.reshape(*positions.shape, *images.shape[1:]))]

    def batch(self, images: tf.Tensor) -> tf.Tensor:
        """The images of a step, of what `window` has for it."""
        return images
