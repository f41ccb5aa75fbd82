"""The scores of an evaluation as it wrote them: JSON, readable without the libraries that computed it."""

import json
from typing import Any

from tasks.core.stage.handles import Evaluation

METRICS = "metrics.json"
CALIBRATION = "calibration.json"


def read_metrics(evaluation: Evaluation) -> dict[str, Any]:
    """`metrics.json`: "test" and "val", each with `images` and the metrics' value, low, high, method."""
    return dict(json.loads((evaluation.directory / METRICS).read_bytes()))


def read_calibration(evaluation: Evaluation) -> dict[str, Any]:
    """What `calibration.calibrate` gave: fitted on the validation images, measured on the test images."""
    return dict(json.loads((evaluation.directory / CALIBRATION).read_bytes()))
