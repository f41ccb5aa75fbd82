"""What all images of a dataset become: decided by the source, the settings, or the images themselves.

A folder keeps its images' own size if all have the same one, between 8 and 224 pixels; else they become
32x32. It is grey if all its images are. To find out, the first images are looked at and the rest is
decoded on the assumption that they are alike; the first that isn't changes the plan.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tasks.core.data.decode import Target
from tasks.core.data.readers.base import DecodedImage, ImageIndex, Reader
from tasks.core.data.tensors.reuse import ReusableCache

DEFAULT_SIZE = (32, 32)
SIDES = range(8, 225)  # pixels; sides that a folder's own size may have
PROBES = 32


@dataclass(frozen=True)
class TargetShape:
    """Height and width in pixels, channels, and which of them were found by looking at images.

    Args:
        size: Height and width.
        channels: 1 or 3.
        found_size: Whether an image of another size changes the plan.
        found_grey: Whether a colour image changes the plan.
    """

    size: tuple[int, int]
    channels: int
    inferred_size: bool = False
    inferred_grey: bool = False

    @classmethod
    def of(
        cls,
        reader: Reader,
        image_size: int | None,
        sample: NDArray[np.int64],
        rows: ImageIndex,
        earlier: ReusableCache,
    ) -> "TargetShape":
        """The plan for a source.

        Args:
            reader: The source.
            image_size: What the settings ask for.
            sample: Numbers of some of its images, int64 (n,).
            rows: All its images.
            earlier: Knows the sizes of some.
        """
        asked = (image_size, image_size) if image_size else None
        if reader.shape:
            return cls(asked or reader.shape[:2], reader.shape[2])
        probed = np.sort(sample[:PROBES])
        places = earlier.lookup(rows.image_id.take(probed))
        unknown = probed[places < 0].tolist()
        # The sizes stand in the headers: a small target spares decoding photos in full (64 ms each).
        probes = reader.images(unknown, Target(asked or DEFAULT_SIZE, 3))
        originals = set(map(tuple, earlier.originals[places[places >= 0]].tolist()))
        originals |= {image.original for image in probes if isinstance(image, DecodedImage)}
        grey = all(channels == 1 for _, _, channels in originals)
        sizes = {(height, width) for height, width, _ in originals}
        own = sizes.pop() if len(sizes) == 1 else DEFAULT_SIZE
        kept = not sizes and own[0] in SIDES and own[1] in SIDES
        return cls(
            size=asked or (own if kept else DEFAULT_SIZE),
            channels=1 if grey else 3,
            inferred_size=kept and not asked,
            inferred_grey=grey,
        )

    @property
    def target(self) -> Target:
        return Target(self.size, self.channels)

    @property
    def shape(self) -> tuple[int, int, int]:
        return (*self.size, self.channels)

    def check(self, original: tuple[int, int, int]) -> None:
        """Hold an image's own height, width and channels against the plan.

        Raises:
            Differs: With the plan that has room for it.
        """
        plan = self
        if self.inferred_size and original[:2] != self.size:
            plan = replace(plan, size=DEFAULT_SIZE, inferred_size=False)
        if self.inferred_grey and original[2] != 1:
            plan = replace(plan, channels=3, inferred_grey=False)
        if plan is not self:
            raise ShapeMismatch(plan)


class ShapeMismatch(Exception):  # noqa: N818 - an event, handled in `image_writer`
    """An image that the plan has no room for; `plan` has."""

    def __init__(self, plan: TargetShape) -> None:
        super().__init__(plan)
        self.plan = plan
