"""What can be said of images without a model: how bright, how colourful, how sharp, how large they came.

Sharpness is the spread of the Laplacian, by J. L. Pech-Pacheco et al., "Diatom autofocusing in brightfield
microscopy: a comparative study", ICPR 2000.
"""

import numpy as np
from numpy.typing import NDArray

from tasks.core.data.audit import descriptors

Floats = NDArray[np.float32]
BLOCK = 256  # images at a time


def of(images: NDArray[np.uint8], sizes: NDArray[np.integer]) -> dict[str, Floats]:
    """Some numbers for each image, float32 (N,).

    Args:
        images: uint8 (N, H, W, C), C = 1 or 3; may be memory-mapped.
        sizes: Height and width of each image before it was resized, (N, 2).

    Returns:
        brightness: mean of the luma, 0..255
        contrast: its standard deviation
        red, green, blue: means, 0..255; not for grey images
        sharpness: standard deviation of the luma's Laplacian, grey levels
        pixels: height times width as it came
        shape: width by height as it came
    """
    parts = [_of(images[start : start + BLOCK]) for start in range(0, len(images), BLOCK)]
    height, width = np.asarray(sizes, np.float32).T
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return joined | {"pixels": height * width, "shape": width / np.maximum(height, 1)}


def _of(images: NDArray[np.uint8]) -> dict[str, Floats]:
    values = np.asarray(images, np.float32)
    light = descriptors.light_of(values)
    traits = {"brightness": light.mean((1, 2)), "contrast": light.std((1, 2))}
    if values.shape[-1] == 3:
        traits |= dict(zip(("red", "green", "blue"), values.mean((1, 2)).T, strict=True))
    return traits | {"sharpness": _laplacian(light).std((1, 2))}


def _laplacian(light: Floats) -> Floats:
    inner = light[:, 1:-1, 1:-1]
    around = light[:, :-2, 1:-1] + light[:, 2:, 1:-1] + light[:, 1:-1, :-2] + light[:, 1:-1, 2:]
    return around - 4 * inner
