"""A first layer that decorrelates patches: its weights follow from the images, not from training.

Coates and Ng, "Learning Feature Representations with K-means" (2012), and the first layer of K. Jordan,
"94% on CIFAR-10 in 3.29 Seconds on a Single GPU" (arXiv 2404.00498, 2024).
"""

import numpy as np
from numpy.typing import NDArray

SAMPLE = 5_000  # images, the first ones
PATCHES = 50_000  # the deviations of the leading components are then known to half a percent
EPSILON = 1e-2  # added to the variances, which are of images scaled to unit deviation


def filters(
    images: NDArray[np.uint8], size: int, stride: int, count: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Kernel and bias of a convolution that whitens patches of raw images, scaled to 0..1.

    Half of the filters are the principal components of the patches, each divided by its deviation, the
    other half their negatives, so that a ReLU after them loses nothing.

    Args:
        images: uint8 (N, H, W, C); the first 5,000 are used.
        size: Height and width of a patch.
        stride: Between patches.
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
    both = np.concatenate([half, -half], axis=1)
    kernel = both.reshape(size, size, images.shape[3], -1)
    return kernel.astype(np.float32), (-mean @ both).astype(np.float32)


def _patches(images: NDArray[np.uint8], size: int, stride: int) -> NDArray[np.float64]:
    """Evenly spaced ones of all patches, float64 (at most 50,000, size * size * C), 0..1."""
    views = np.lib.stride_tricks.sliding_window_view(images, (size, size), axis=(1, 2))
    views = views[:, ::stride, ::stride]
    total = int(np.prod(views.shape[:3]))
    chosen = np.linspace(0, total - 1, min(total, PATCHES)).astype(np.int64)
    patches = views[np.unravel_index(chosen, views.shape[:3])].transpose(0, 2, 3, 1)
    return patches.reshape(len(chosen), -1).astype(np.float64) / 255
