"""Reading class activation maps.

Computing them is in `saliency`, apart from this module: a change of that code is then no ingredient of
the report.
"""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.core.stage.saliency import Saliency

# The fewest rows and columns of cells. The best quarter of a map of 3x3 or 4x4 cells found no more than the
# middle of the picture did (docs/experiments.md).
MIN_SIDE = 7
MAPS, PICTURES, TABLE = "maps.npy", "pictures.npy", "maps.parquet"
SCHEMA = pa.schema(
    {
        "picture": pa.int32(),  # row of `pictures.npy`
        "kind": pa.string(),  # "mistake", "margin" or "right"
        "row": pa.int64(),  # among the test images
        "path": pa.string(),
        "label": pa.int32(),
        "predicted_label": pa.int32(),
        "map_label": pa.int32(),  # the class that the map is of
        "probability": pa.float32(),  # of that class
        "logit": pa.float32(),  # of that class
        "constant": pa.float32(),  # of that class: the logit of an empty map
    }
)


def read_table(maps: Saliency) -> pa.Table:
    """One row per map, in the order of `read_maps`; columns as in `SCHEMA`."""
    return pq.read_table(maps.directory / TABLE)


def read_maps(maps: Saliency) -> NDArray[np.float32]:
    """The maps, float32 (M, h, w): each cell's part of the class's logit."""
    return np.asarray(np.load(maps.directory / MAPS, allow_pickle=False))


def read_pictures(maps: Saliency) -> NDArray[np.uint8]:
    """The images as the model takes them, reduced, uint8 (N, h, w, C)."""
    return np.asarray(np.load(maps.directory / PICTURES, allow_pickle=False))
