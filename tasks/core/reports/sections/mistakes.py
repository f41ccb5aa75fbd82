"""The mistakes on the test images: the most frequent and the most confident ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from tasks.core.evaluation.evaluate import Scored
from tasks.core.reports import thumbnails
from tasks.core.stage.handles import TensorCache

CONFUSIONS, MISTAKES = 8, 36  # the most that are shown


def confusions(scored: Scored, classes: Sequence[str]) -> list[dict[str, Any]]:
    """The most frequent mistakes, most frequent first.

    Args:
        scored: The scored test images.
        classes: Names of the classes.

    Returns:
        At most `CONFUSIONS` dictionaries: label and predicted (class names), images, share (of the
        label's images).
    """
    table = pd.DataFrame({"label": scored.labels, "predicted": scored.predicted})
    support = table["label"].value_counts()
    wrong = table[table["label"] != table["predicted"]].value_counts().head(CONFUSIONS)
    return [
        {
            "label": classes[label],
            "predicted": classes[predicted],
            "images": int(images),
            "share": float(images / support[label]),
        }
        for (label, predicted), images in wrong.items()
    ]


def worst_mistakes(scored: Scored, tensors: TensorCache) -> list[dict[str, Any]]:
    """The most confident mistakes on the test images, most confident first.

    Args:
        scored: The scored test images.
        tensors: The tensors with the images.

    Returns:
        At most `MISTAKES` dictionaries: picture (data URI), path, label and predicted (class names),
        probability.
    """
    predicted = scored.predicted
    rows = np.flatnonzero(predicted != scored.labels)
    confidence = scored.confidence[rows]
    mistakes = [
        {
            "row": int(row),
            "label": int(scored.labels[row]),
            "challenger": int(predicted[row]),
            "challenger_probability": float(scored.confidence[row]),
        }
        for row in rows[np.argsort(-confidence, kind="stable")][:MISTAKES]
    ]
    return thumbnails.thumbnails_of_test_images(mistakes, "challenger", tensors)
