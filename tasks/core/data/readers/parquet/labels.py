"""The labels and splits of the rows of a parquet file, from its columns; what is wrong with a row."""

import pyarrow as pa
import pyarrow.compute as pc

from tasks.core.data import split_names
from tasks.core.data.files import columns

NO_BYTES = "no bytes in this row: store the images in the file, not only their paths"
SHOWN = 5  # values that an error names


class ValuesError(ValueError):
    """Values that cannot be used: what is wrong with the file, what was expected and what was found."""

    def __init__(self, what: str, expected: str, found: str, todo: str) -> None:
        super().__init__(what)
        self.what, self.expected, self.found, self.todo = what, expected, found, todo


def class_names(values: pa.ChunkedArray, column: str) -> list[str | None]:
    """The class name of each row of a column without names of its own; None where a row has no label.

    No label is null, a blank text, NaN, and a number below 0, which the hub uses. 3.0 is 3: pandas makes
    floats of whole numbers where one is missing.

    Raises:
        ValuesError: A number is not whole.
    """
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_floating(values.type):
        values = _whole(values, column)
    if pa.types.is_boolean(values.type) or pa.types.is_integer(values.type):
        texts = columns.as_text(values).to_pylist()
        return [None if text is None or text.startswith("-") else text for text in texts]
    return [text if text and text.strip() else None for text in values.to_pylist()]


def _whole(values: pa.ChunkedArray, column: str) -> pa.ChunkedArray:
    numbers = pc.if_else(pc.is_finite(values), values, None)
    fractions = pc.unique(numbers.filter(pc.not_equal(numbers, pc.floor(numbers)))).to_pylist()
    if fractions:
        raise ValuesError(
            "has labels that are no classes",
            f"text or whole numbers in column {column}",
            ", ".join(f"{value:g}" for value in fractions[:SHOWN]),
            "store a class for each image in a column label",
        )
    return numbers.cast(pa.int64())


def splits(values: pa.ChunkedArray, column: str) -> list[str]:
    """The split of each row; "" where it has none.

    Args:
        values: As `columns.as_text` gives them.
        column: Name of the column.

    Raises:
        ValuesError: A value means no split.
    """
    texts = [text or "" for text in values.to_pylist()]
    split_of = {text: split_names.split_of(text) for text in set(texts)}
    unknown = sorted(text for text, split in split_of.items() if text and not split)
    if unknown:
        expected = f"train, val or test in column {column}"
        todo = "rename the column if it has another meaning"
        raise ValuesError("has an unknown split", expected, ", ".join(unknown[:SHOWN]), todo)
    return [split_of[text] for text in texts]
