"""What every reader of a raw dataset gives, whatever the images come from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from tasks.core.data.decode import Pixels, Target

UNLABELLED = -1


class Row(NamedTuple):
    """An image of a raw dataset, not decoded.

    Args:
        identity: The SHA-256 of its content: of the file, or of the pixels where images aren't files.
        path: Where it is in the source, for a person.
        split: "train", "val", "test", or "" where the source has no splits.
        label: 0..classes-1, or `UNLABELLED`.
    """

    identity: str
    path: str
    split: str
    label: int


@dataclass(frozen=True, slots=True)
class Decoded:
    """An image as it came out of the decoder; `image` and `original` as `decode.decode` gives them."""

    row: int
    image: Pixels
    original: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Failed:
    """An image that couldn't be read, and why."""

    row: int
    reason: str


class Reader(Protocol):
    """A raw dataset, opened.

    Attributes:
        classes: Class names; their order is the labels' meaning.
        shape: Height, width, channels if the source fixes them, else None.
        published: Whether it is a dataset that others report scores on, so that its images stay as they are.
        random_access: Whether `images` may be asked for in any order, at the same cost, and gives them in
            that order.
    """

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def shape(self) -> tuple[int, int, int] | None: ...

    @property
    def published(self) -> bool: ...

    @property
    def random_access(self) -> bool: ...

    def rows(self) -> list[Row]:
        """All images, in the source's own order."""
        ...

    def images(self, wanted: Sequence[int], target: Target) -> Iterator[Decoded | Failed]:
        """Decode the images with the numbers `wanted` (ascending, but for `random_access`)."""
        ...
