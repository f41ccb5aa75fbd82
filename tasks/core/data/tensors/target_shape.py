"""The shape that all images of a dataset are converted to. The source, the settings or the images decide it.

If all images of a folder have the same size, between 8 and 128 pixels a side, they keep it. Else they become
squares of the largest of 32, 48, 64 and 96 pixels that nine in ten fill with their shorter side. The folder
is grey if all its images are grey. The shape is inferred from the first images. The others are decoded on the
assumption that they are alike; the first exception changes the target shape.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from tasks.core.config import Fit
from tasks.core.data.decode import Target
from tasks.core.data.readers.base import DecodedImage, DecodeFailure, ImageIndex, Reader
from tasks.core.data.tensors.reuse import ReusableCache

SIZES = (32, 48, 64, 96)  # pixels; few sizes, so that a growing folder seldom changes its own
SIDES = range(8, 129)  # pixels; a folder's own size is kept if its sides are in this range
PROBES = 32  # images from which the shape is inferred
MAX_KEPT_SIDE = 256  # pixels; probes that are not decoded again take 6 MB at most


@dataclass(frozen=True)
class TargetShape:
    """Height, width and channels of all images, and which of them were inferred from images.

    Args:
        size: Height and width in pixels.
        channels: 1 or 3.
        inferred_size: Whether an image of another size changes the target shape.
        inferred_grey: Whether a colour image changes the target shape.
        fallback: Height and width in pixels if an image has another size than the inferred one.
        fit: How an image of other proportions becomes `size`.
        grey_bits: Bits that hold every grey value of images with more than 8 bits; 0 if none was seen.
        probes: The images from which it was inferred, if they need not be decoded again.
    """

    size: tuple[int, int]
    channels: int
    inferred_size: bool = False
    inferred_grey: bool = False
    fallback: tuple[int, int] = (SIZES[0], SIZES[0])
    fit: Fit = Fit.crop
    grey_bits: int = 0
    probes: tuple[DecodedImage, ...] = field(default=(), compare=False, repr=False)

    @classmethod
    def of(
        cls,
        reader: Reader,
        image_size: int | None,
        sample: NDArray[np.int64],
        index: ImageIndex,
        reusable: ReusableCache,
        fit: Fit = Fit.crop,
    ) -> "TargetShape":
        """The target shape of a source.

        Args:
            reader: The source.
            image_size: The size in the settings, if any.
            sample: int64 (n,); numbers of some of its images.
            index: All its images.
            reusable: An earlier cache, which has the original sizes of some images.
            fit: How an image of other proportions becomes the size.
        """
        requested = (image_size, image_size) if image_size else None
        if reader.shape:
            return cls(requested or reader.shape[:2], reader.shape[2], fit=fit)
        sampled = np.sort(sample[:PROBES])
        cached_rows = reusable.lookup(index.image_id.take(sampled))
        # Only the sizes are needed. A small target avoids decoding photos in full (64 ms each).
        probed = Target(requested or (SIZES[0], SIZES[0]), 3, grey_bits=0)
        probes, grey_bits = _probes(reader, sampled[cached_rows < 0].tolist(), probed)
        originals = set(map(tuple, reusable.originals[cached_rows[cached_rows >= 0]].tolist()))
        originals |= {image.original for image in probes}
        grey = all(channels == 1 for _, _, channels in originals)
        sizes = {(height, width) for height, width, _ in originals}
        fallback = _fallback([min(size) for size in sizes])
        common = next(iter(sizes), fallback)
        is_kept = len(sizes) == 1 and common[0] in SIDES and common[1] in SIDES
        shape = cls(
            size=requested or (common if is_kept else fallback),
            channels=1 if grey else 3,
            inferred_size=is_kept and not requested,
            inferred_grey=grey,
            fallback=fallback,
            fit=fit,
            grey_bits=grey_bits,
        )
        is_final = shape.target == probed and shape.size[0] <= MAX_KEPT_SIDE
        return replace(shape, probes=tuple(probes) if is_final else ())

    @property
    def target(self) -> Target:
        """Size, channels and fit for the decoder."""
        return Target(self.size, self.channels, self.fit, self.grey_bits)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        return (*self.size, self.channels)

    def check(self, original: tuple[int, int, int]) -> None:
        """Check that an image's original height, width and channels agree with what was inferred.

        Raises:
            ShapeMismatch: They do not. It has a target shape that fits the image.
        """
        target_shape = self
        if self.inferred_size and original[:2] != self.size:
            target_shape = replace(target_shape, size=self.fallback, inferred_size=False)
        if self.inferred_grey and original[2] != 1:
            target_shape = replace(target_shape, channels=3, inferred_grey=False)
        if target_shape is not self:
            raise ShapeMismatch(replace(target_shape, probes=()))

    def check_grey_bits(self, needed: int) -> None:
        """Check that the grey values of an image that could not be read do not need more bits.

        Raises:
            ShapeMismatch: They do. It has a target shape with as many.
        """
        if needed > self.grey_bits:
            raise ShapeMismatch(replace(self, grey_bits=needed, probes=()))


def _probes(reader: Reader, numbers: list[int], target: Target) -> tuple[list[DecodedImage], int]:
    """Those of some images that can be decoded, and the bits that grey values beyond 8 bits need, else 0."""
    images = [*reader.images(numbers, target)]
    failures = [image for image in images if isinstance(image, DecodeFailure)]
    wide = [image.row for image in failures if image.grey_bits]
    images += reader.images(wide, Target(target.size, target.channels)) if wide else []
    decoded = [image for image in images if isinstance(image, DecodedImage)]
    return decoded, max((image.grey_bits for image in failures), default=0)


def _fallback(sides: list[int]) -> tuple[int, int]:
    """The largest of `SIZES` that nine in ten of the shorter sides reach, as height and width."""
    reached = sorted(sides)[len(sides) // 10] if sides else SIZES[0]
    size = max((size for size in SIZES if size <= reached), default=SIZES[0])
    return size, size


class ShapeMismatch(Exception):  # noqa: N818 - handled in `image_writer`, never shown to the user
    """An image does not fit the inferred shape; `target_shape` fits it."""

    def __init__(self, target_shape: TargetShape) -> None:
        super().__init__(target_shape)
        self.target_shape = target_shape
