"""Copies of pictures as the world makes them: what a near duplicate is meant to be."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SHIFT = 2  # pixels of 32
MOVES = [(down, across) for down in range(3) for across in range(3)]  # in `SHIFT`, from the upper left
QUALITY = (50, 75)  # of JPEG
BRIGHTNESS = (0.9, 1.1)


def copied(images: NDArray[np.uint8], generator: np.random.Generator) -> dict[str, NDArray[np.uint8]]:
    """The pictures shifted (twice), recompressed, and brightened or darkened, each at random."""
    gains = generator.uniform(*BRIGHTNESS, (len(images), 1, 1, 1))
    qualities = generator.integers(*QUALITY, len(images)).tolist()
    return {
        "shifted": np.stack([_shifted(image, generator) for image in images]),
        "shifted again": np.stack([_shifted(image, generator) for image in images]),
        "recompressed": np.stack([_recompressed(*pair) for pair in zip(images, qualities, strict=True)]),
        "brightened": np.clip(np.rint(images * gains), 0, 255).astype(np.uint8),
    }


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
