"""Channel statistics of an image array that doesn't fit into memory."""

from pathlib import Path

import numpy as np

BLOCK = 1 << 20  # bytes in memory at a time; counting them takes eight times as much


def channels(path: Path) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel of a `.npy` of uint8 (N, H, W, C).

    Sums of integers, so that the order of the images doesn't matter; population deviation.

    Returns:
        mean, std: on the scale 0..255, rounded to 6 decimals
    """
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        shape, _, _ = np.lib.format.read_array_header_1_0(file)
        counts = np.zeros((shape[-1], 256), np.int64)
        step = max(1, BLOCK // shape[-1]) * shape[-1]
        while len(block := np.frombuffer(file.read(step), np.uint8)):
            for channel in range(shape[-1]):
                counts[channel] += np.bincount(block[channel :: shape[-1]], minlength=256)
    values = np.arange(256)
    mean = counts @ values / counts.sum(axis=1)
    square = counts @ values**2 / counts.sum(axis=1)
    std = np.sqrt(np.maximum(square - mean**2, 0))
    return [round(float(m), 6) for m in mean], [round(float(s), 6) for s in std]
