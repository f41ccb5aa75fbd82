"""Weights of a first layer that decorrelates patches, calculated from the images instead of trained.

Coates and Ng, "Learning Feature Representations with K-means" (2012), and the first layer of K. Jordan,
"94% on CIFAR-10 in 3.29 Seconds on a Single GPU" (arXiv 2404.00498, 2024).
"""

import numpy as np
from numpy.typing import NDArray

SAMPLE = 5_000  # number of images, the first ones
PATCHES = 50_000  # the standard deviations of the leading components then have an error of half a percent
EPSILON = 1e-2  # added to the variances, which are those of patches with unit standard deviation


def filters(
    images: NDArray[np.uint8], size: int, stride: int, count: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Kernel and bias of a convolution that whitens patches of images whose values are scaled to 0..1.

    Half of the filters are the principal components of the patches, each divided by its standard deviation.
    The other half are their negatives, so that a ReLU after them loses no information.

    Args:
        images: uint8 (N, H, W, C); the first 5,000 are used.
        size: Height and width of a patch, in pixels.
        stride: Distance between patches, in pixels.
        count: Number of filters, even, at most 2 * size * size * C.

    Returns:
        Kernel, float32 (size, size, C, count), and bias, float32 (count,).
    """
    patches = _patches(images[:SAMPLE], size, stride)
    mean = patches.mean(axis=0)
    scale = max(float(patches.std()), 1e-3)
    variances, components = np.linalg.eigh(np.cov(patches.T) / scale**2)
    leading = components[:, ::-1][:, : count // 2]
    deviations = np.sqrt(variances[::-1][: count // 2] + EPSILON)
    half = leading * np.sign(leading.sum(axis=0) + 1e-12) / deviations / scale  # the sign is arbitrary
    weights = np.concatenate([half, -half], axis=1)
    kernel = weights.reshape(size, size, images.shape[3], -1)
    return kernel.astype(np.float32), (-mean @ weights).astype(np.float32)


def _patches(images: NDArray[np.uint8], size: int, stride: int) -> NDArray[np.float64]:
    """An evenly spaced selection of all patches, float64 (n, size * size * C), n <= 50,000, 0..1."""
    views = np.lib.stride_tricks.sliding_window_view(images, (size, size), axis=(1, 2))
    views = views[:, ::stride, ::stride]
    total = int(np.prod(views.shape[:3]))
    indices = np.linspace(0, total - 1, min(total, PATCHES)).astype(np.int64)
    patches = views[np.unravel_index(indices, views.shape[:3])].transpose(0, 2, 3, 1)
    values = patches.reshape(len(indices), -1).astype(np.float64)
    values /= 255  # in place: they are 19 MB for patches of 4x4
    return values
