"""Folders of synthetic photos that a pretrained backbone can tell apart."""

from pathlib import Path

import numpy as np
from PIL import Image

from tests.support.synthetic_photos import scenes


def write_scenery(folder: Path, per_class: int = 20, side: int = 96, seed: int = 0) -> Path:
    """Write JPEGs of clouds with a red, a green or a striped cast: {red,green,striped}/NNN.jpg."""
    pictures = scenes(3 * per_class, seed=seed, side=side).reshape(3, per_class, side, side, 3)
    stripes = (np.arange(side) // 4 % 2 * 90)[:, None, None]
    for name, group in zip(("red", "green", "striped"), pictures.astype(int), strict=True):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number, picture in enumerate(group):
            cast = {"red": (25, 0, 0), "green": (0, 25, 0)}.get(name, stripes)
            image = Image.fromarray(np.clip(picture + cast, 0, 255).astype(np.uint8))
            image.save(folder / name / f"{number:03}.jpg", quality=92)
    return folder
