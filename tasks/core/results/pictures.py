"""Single images of the tensors as small PNGs for the report."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tasks.core.results.plots import data_uri

LARGEST = 96  # pixels; a sheet of 48 pictures stays below 1 MB


def picture(image: NDArray[np.uint8]) -> str:
    """An image as a PNG in a data URI, made smaller if need be, never larger.

    Args:
        image: uint8 (H, W, C), C = 1, 3 or 4.
    """
    drawn = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    if max(drawn.size) > LARGEST:
        drawn.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    drawn.save(content, format="png", optimize=True)
    return data_uri(content.getvalue())
