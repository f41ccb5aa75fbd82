"""The columns of the table `slices`, but the run and the evaluation."""

import pyarrow as pa

COLUMNS: list[tuple[str, pa.DataType, str]] = [
    ("split", pa.string(), '"test"'),
    ("attribute", pa.string(), "name of the column in the data"),
    ("value", pa.string(), "its value in the images of the slice, or the range of numbers"),
    ("class_name", pa.string(), "of which class the row is; null for all images of the slice"),
    ("images", pa.int64(), "number of images"),
    ("groups", pa.int64(), "number of groups of images; null without groups"),
    ("accuracy", pa.float64(), "accuracy on them, 0..1; of one class its recall"),
    ("accuracy_low", pa.float64(), "lower end of its 95 % interval (Wilson, of groups if any)"),
    ("accuracy_high", pa.float64(), "upper end"),
    ("rest_accuracy", pa.float64(), "accuracy on the other images, or recall on those of the class, 0..1"),
    ("expected_accuracy", pa.float64(), "accuracy on the other images at the slice's class shares, 0..1"),
    ("p_value", pa.float64(), "one-sided, for no worse than the rest class by class; null of one class"),
    ("p_adjusted", pa.float64(), "the same, corrected for looking at all slices (Holm)"),
]
