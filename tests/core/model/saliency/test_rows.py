"""Which test images get a map."""

import numpy as np

from tasks.core.model.saliency import rows
from tasks.core.model.saliency.rows import NO_CLASS, Chosen


def test_mistakes_come_first_then_low_margins_then_right_ones_and_none_twice() -> None:
    labels = np.array([0, 1, 0, 1], np.int32)
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]], np.float32)
    chosen = rows.choose(labels, probabilities)
    assert chosen == [
        Chosen("mistake", 1, 1, 0, 1),
        Chosen("mistake", 2, 0, 1, 0),
        Chosen("margin", 3, 1, 1, 0),
        Chosen("margin", 0, 0, 0, 1),
    ]


def test_each_class_has_a_few_right_ones_in_the_order_of_the_rows() -> None:
    labels = np.tile(np.arange(3, dtype=np.int32), 20)
    probabilities = np.eye(3, dtype=np.float32)[labels] * 0.6 + 0.1
    probabilities[:12, 0] = 0.55  # the lowest margins
    chosen = rows.choose(labels, probabilities)
    assert [(image.kind, image.other_label) for image in chosen].count(("right", NO_CLASS)) == 9
    assert [image.row for image in chosen if image.kind == "right" and image.label == 1] == [13, 16, 19]


def test_of_many_classes_no_more_than_the_most_are_shown() -> None:
    labels = np.repeat(np.arange(100, dtype=np.int32), 3)
    chosen = rows.choose(labels, np.eye(100, dtype=np.float32)[labels])
    assert [image.kind for image in chosen].count("right") == rows.RIGHT
    assert len({image.row for image in chosen}) == len(chosen)
