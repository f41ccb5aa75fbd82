"""The rows of predictions: what a model decided about each image, as a table."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.core.data.inference.prediction_table import PredictionRequest
from tasks.core.metrics.thresholds.operating_point import OperatingPoint

SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("row", pa.int64()),  # row of the parquet file; null for an image file
        ("predicted_label", pa.int32()),  # null if the model abstained or the image is unreadable
        ("predicted_class_name", pa.string()),  # null in the same rows
        ("probability", pa.float32()),  # of the predicted class; if the model abstained, of the most probable
        ("probabilities", pa.list_(pa.float32())),  # in the order of the model's classes
        ("abstained", pa.bool_()),
        ("problem", pa.string()),  # why the image is unreadable; otherwise null
        ("model", pa.string()),  # version of the model
        ("decision", pa.string()),  # "operating point" or "most probable class"
    ]
)

Floats = NDArray[np.float32]


def prediction_rows(
    request: PredictionRequest,
    class_names: pa.Array,
    paths: Sequence[str],
    rows: Sequence[int | None],
    problems: Sequence[str | None],
    probabilities: Floats,
) -> pa.Table:
    """Decide about images.

    Args:
        request: The model, its threshold and its operating point.
        class_names: The names of the classes, in the order of their labels.
        paths: N paths or addresses of files.
        rows: N rows of parquet files; None for an image file.
        problems: N reasons why an image is unreadable; None if it is readable.
        probabilities: float32 (N, classes); any values for unreadable images.

    Returns:
        N rows with the columns of `SCHEMA`.
    """
    readable = np.array([problem is None for problem in problems], bool)
    point = request.operating_point
    decided = OperatingPoint.of(point).decide(probabilities) if point else probabilities.argmax(1)
    confidence = probabilities[np.arange(len(decided)), decided]
    abstained = readable & (confidence < (request.threshold or 0))
    predicted = pa.array(decided.astype(np.int32), mask=~readable | abstained)
    columns = {
        "path": pa.array(paths, pa.string()),
        "row": pa.array(rows, pa.int64()),
        "predicted_label": predicted,
        "predicted_class_name": class_names.take(predicted),
        "probability": pa.array(confidence, mask=~readable),
        "probabilities": _lists(probabilities, readable),
        "abstained": pa.array(abstained),
        "problem": pa.array(problems, pa.string()),
        "model": pa.repeat(request.version, len(decided)),
        "decision": pa.repeat("operating point" if point else "most probable class", len(decided)),
    }
    return pa.table(columns, SCHEMA)


def _lists(values: Floats, valid: NDArray[np.bool_]) -> pa.ListArray:
    """Each row of `values`, float32 (N, C), as a list; null where `valid`, bool (N,), is false."""
    ends = np.cumsum(np.append(0, valid * values.shape[1])).astype(np.int32)
    offsets = pa.array(ends, mask=np.append(~valid, False))
    return pa.ListArray.from_arrays(offsets, pa.array(values[valid].ravel()))
