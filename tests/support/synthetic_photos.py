"""Synthetic images with the statistics of photos, and perturbed copies of them."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

Picture = NDArray[np.uint8]


def scenes(count: int, seed: int = 0, side: int = 32, channels: int = 3) -> NDArray[np.uint8]:
    """Coloured clouds whose amplitudes fall with frequency as in photos (Field, 1987).

    Returns:
        uint8 (count, side, side, channels)
    """
    generator = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    frequency[0, 0] = np.inf
    noise = np.fft.fft2(generator.normal(size=(count, channels, side, side)))
    noise += 4 * noise[:, :1]  # the channels of a photo are strongly correlated
    clouds = np.fft.ifft2(noise / frequency**1.25).real
    clouds /= clouds.std((1, 2, 3), keepdims=True)
    levels = 128 + 45 * clouds + generator.normal(0, 20, (count, channels, 1, 1))
    return np.clip(levels, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)


def recompressed(picture: Picture, quality: int) -> Picture:
    """Saved as a JPEG and read again."""
    content = io.BytesIO()
    _image(picture).save(content, "JPEG", quality=quality)
    return np.asarray(Image.open(content)).reshape(picture.shape)


def moved(picture: Picture, down: int, across: int) -> Picture:
    """Shifted; the edge pixels are repeated."""
    rows, columns = (
        np.arange(side) - move for side, move in zip(picture.shape, (down, across), strict=False)
    )
    return picture[np.clip(rows, 0, picture.shape[0] - 1)][:, np.clip(columns, 0, picture.shape[1] - 1)]


def brightened(picture: Picture, factor: float = 1.1) -> Picture:
    """With the brightness multiplied by `factor`."""
    return np.asarray(ImageEnhance.Brightness(_image(picture)).enhance(factor)).reshape(picture.shape)


def mirrored(picture: Picture) -> Picture:
    """Mirrored left to right."""
    return picture[:, ::-1]


def _image(picture: Picture) -> Image.Image:
    return Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture)
