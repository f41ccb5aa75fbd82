"""How far apart two pictures are, learned from copies that are made for the purpose.

A sample of the dataset's own pictures is recompressed, shifted and brightened. The distance weighs the
directions in which different pictures differ more than a picture and its copy do (Fisher's linear
discriminant, 1936); the copies of another part of the sample say how far a copy may be from its picture.
"""

import io
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.linalg import eigh

from tasks.core.data.descriptors import Features, Floats, describe

SAMPLE = 2000  # pictures of which copies are made
FEWEST = 500  # copies of a kind that are made of fewer pictures
EVEN, ODD = 32, 16  # directions kept
RIDGE = 1e-3  # share of the copies' mean variance added to each direction
SHIFT = 2  # pixels of 32
MOVES = [(down, across) for down in range(3) for across in range(3)]  # in `SHIFT`, from the upper left
QUALITY = (50, 75)  # of JPEG
BRIGHTNESS = (0.9, 1.1)
REACH = 0.98  # share of the copies of each kind that must lie within the radius


@dataclass(frozen=True)
class Likeness:
    """A distance between descriptors.

    Args:
        centre: The mean of the even numbers.
        even, odd: Projections, float32 (E, e) and (O, o).
        radius: Within this distance lie `REACH` of the copies of each kind.
    """

    centre: Floats
    even: Floats
    odd: Floats
    radius: float

    @classmethod
    def learn(cls, images: NDArray[np.uint8]) -> "Likeness":
        """Learn from pictures; the same ones give the same distance.

        Args:
            images: uint8 (N, H, W, C); some `SAMPLE` of them.
        """
        generator = np.random.default_rng(0)
        taught, held_out = images[::2], images[1::2]
        own, copies = _with_copies(taught, generator)
        even = _directions(own.even, [copy.even for copy in copies], EVEN)
        odd = _directions(own.odd, [copy.odd for copy in copies], ODD)
        likeness = cls(own.even.mean(0), even, odd, 0.0)
        own, copies = _with_copies(held_out, generator)
        radius = max(np.quantile(likeness.between(own, copy), REACH) for copy in copies)
        return replace(likeness, radius=float(radius))

    def place(self, features: Features) -> Features:
        """Coordinates in which the distance is Euclidean."""
        even: Floats = features.even - self.centre
        return Features(even @ self.even, features.odd @ self.odd)

    def between(self, one: Features, other: Features) -> Floats:
        """Distances between pictures of the same number; a mirrored one counts as the same."""
        a, b = self.place(one), self.place(other)
        even = np.square(a.even - b.even).sum(1)
        odd = np.minimum(np.square(a.odd - b.odd).sum(1), np.square(a.odd + b.odd).sum(1))
        return np.sqrt(even + odd)


def _with_copies(
    images: NDArray[np.uint8], generator: np.random.Generator
) -> tuple[Features, list[Features]]:
    """Descriptors of pictures and of their copies; of few pictures there are more copies each."""
    images = np.tile(images, (max(1, FEWEST // len(images)), 1, 1, 1))
    return describe(images), [describe(copy) for copy in copied(images, generator)]


def copied(images: NDArray[np.uint8], generator: np.random.Generator) -> list[NDArray[np.uint8]]:
    """The pictures shifted (twice), recompressed and brightened or darkened, each at random."""
    gains = generator.uniform(*BRIGHTNESS, (len(images), 1, 1, 1))
    return [
        np.stack([_shifted(image, generator) for image in images]),
        np.stack([_shifted(image, generator) for image in images]),
        np.stack([_recompressed(image, int(generator.integers(*QUALITY))) for image in images]),
        np.clip(np.rint(images * gains), 0, 255).astype(np.uint8),
    ]


def _shifted(image: NDArray[np.uint8], generator: np.random.Generator) -> NDArray[np.uint8]:
    """Moved by `SHIFT` 32nds of a side, down, across or both; the edge is repeated."""
    height, width = image.shape[:2]
    down, across = (round(SHIFT * side / 32) for side in (height, width))
    top, left = generator.choice([move for move in MOVES if move != (1, 1)])
    padded = np.pad(image, ((down, down), (across, across), (0, 0)), "edge")
    return padded[top * down : top * down + height, left * across : left * across + width]


def _recompressed(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    content = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(content, "JPEG", quality=quality)
    return np.asarray(Image.open(content)).reshape(image.shape)


def _directions(own: Floats, copies: list[Floats], count: int) -> Floats:
    """Directions of the largest variance between pictures over that between a picture and its copies.

    Scaled so that the latter is 1 in each.
    """
    apart = np.concatenate([copy - own for copy in copies]).astype(np.float64)
    within = apart.T @ apart / len(apart)
    within += RIDGE * np.trace(within) / len(within) * np.eye(len(within))
    _, vectors = eigh(np.cov(own.T, dtype=np.float64), within)
    return vectors[:, ::-1][:, :count].astype(np.float32)
