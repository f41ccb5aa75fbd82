"""Reads the JSON files of an evaluation, without importing the libraries that computed them."""

import json
from typing import Any

from tasks.core.stage.handles import Evaluation

METRICS = "metrics.json"
CALIBRATION = "calibration.json"


def read_metrics(evaluation: Evaluation) -> dict[str, Any]:
    """`metrics.json`: "test" and "val", each with `images`, and value, low, high, method of each metric."""
    return dict(json.loads((evaluation.directory / METRICS).read_bytes()))


def read_calibration(evaluation: Evaluation) -> dict[str, Any]:
    """`calibration.json`, the result of `calibration.calibrate`."""
    return dict(json.loads((evaluation.directory / CALIBRATION).read_bytes()))
