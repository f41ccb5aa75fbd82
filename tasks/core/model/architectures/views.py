"""Test-time augmentation: the views of an image whose logits a published model averages."""

from typing import Any

import keras
from keras import ops

MIN_SIDE = 16  # pixels; smaller images are not moved in training either

Tensor = Any  # TensorFlow's, or Keras' symbol of one


def of_images(images: Tensor, count: int) -> list[Tensor]:
    """The views of images.

    Six views (Jordan, arXiv 2404.00498, 2024) are the image, the image moved by a pixel up and to the left,
    the image moved by a pixel down and to the right, and the mirror images of the three.

    Args:
        images: uint8 (N, H, W, C). Grey images have one view: they are never mirrored.
        count: 1, 2 for the image and its mirror image, or 6. With a side below 16 pixels it is 2 at most.

    Returns:
        Tensors like `images`, first the image itself; the second half are the mirror images of the first.
    """
    count = possible(count, images.shape[1:])
    if count == 1:
        return [images]
    views = [images, *_moved(images)] if count == 6 else [images]
    return [*views, *(mirrored(view, f"mirror_{number}") for number, view in enumerate(views))]


def possible(count: int, shape: tuple[int, ...]) -> int:
    """How many of `count` views there are of images of a shape (H, W, C)."""
    if count == 1 or shape[2] != 3:
        return 1
    return count if min(shape[:2]) >= MIN_SIDE else min(count, 2)


def mirrored(images: Tensor, name: str = "mirror_0") -> Tensor:
    """The mirror images of (N, H, W, C), by an operation of this name."""
    # TensorFlow's reversal takes a sixth of the time of a slice with a negative step.
    return _named(ops.flip(images, axis=2), name)


def _moved(images: Tensor) -> list[Tensor]:
    """Images that are moved by a pixel up and to the left, and down and to the right; edges are reflected."""
    padded = _named(ops.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect"), "pad")
    return [_named(padded[:, 2:, 2:], "up_left"), _named(padded[:, :-2, :-2], "down_right")]


def _named(tensor: Tensor, name: str) -> Tensor:
    # Operations take no name, and Keras numbers them per process, so that a second model in the same process
    # would have other bytes.
    if isinstance(tensor, keras.KerasTensor):
        tensor._keras_history.operation.name = name
    return tensor
