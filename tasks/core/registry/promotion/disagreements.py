"""The test images on which two models disagree, for the evidence of a decision."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core.evaluation.evaluate import Scored

MAX_LISTED = 48  # images per list in the evidence; the predictions table has all of them


def listed(
    challenger: Scored, champion: Scored, compared: NDArray[np.bool_], *, won: bool
) -> list[dict[str, Any]]:
    """Images that exactly one of the two models predicts correctly, most confident mistakes first.

    Args:
        challenger: The challenger's scored test images.
        champion: The champion's scored test images, in the same order.
        compared: bool (N,), the images that the two models are compared on.
        won: List the images that the challenger predicts correctly; else those that the champion does.

    Returns:
        At most `MAX_LISTED` dictionaries: row in the test tensors, label, and the predicted class of each
        model with its probability.
    """
    new, old = (scored.predicted == scored.labels for scored in (challenger, champion))
    rows = np.flatnonzero(compared & (new & ~old if won else old & ~new))
    confidence = np.maximum(challenger.confidence[rows], champion.confidence[rows])
    order = rows[np.argsort(-confidence, kind="stable")][:MAX_LISTED]
    return [
        {
            "row": int(row),
            "label": int(challenger.labels[row]),
            "challenger": int(challenger.predicted[row]),
            "challenger_probability": float(challenger.confidence[row]),
            "champion": int(champion.predicted[row]),
            "champion_probability": float(champion.confidence[row]),
        }
        for row in order
    ]
