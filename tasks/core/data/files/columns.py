"""Further columns of a CSV or of parquet files: the group of an image, and attributes such as its site.

Values are kept as text. A column is kept as an attribute if its values can part the images: two different
values at least, at most `MAX_VALUES`, and at most half as many as there are images with a value. So a column
of numbers of rows, of remarks or of measurements is left out, and a log message names it.
"""

import logging
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from tasks.core.data.split_names import split_of

log = logging.getLogger("plumbline.data")

GROUP = "group"  # a further column of a listing and of the tensors' rows
ATTRIBUTE = "attribute_"  # how the names of all others begin there
MAX_VALUES = 1000  # different values of an attribute
FEW = 6  # different values of a column of splits


def is_text_like(data_type: pa.DataType) -> bool:
    """Whether a column of this type is kept: text, boolean, integer or float."""
    if pa.types.is_dictionary(data_type):
        return is_text_like(data_type.value_type)
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_boolean)
    return (
        pa.types.is_integer(data_type) or pa.types.is_floating(data_type) or any(k(data_type) for k in kinds)
    )


def as_text(values: pa.ChunkedArray, names: Sequence[str] = ()) -> pa.ChunkedArray:
    """A column as trimmed text; null where it is null, empty or not a number.

    Args:
        values: Values of a type that `is_text_like`.
        names: The meaning of integers 0..n-1, such as the names of a ClassLabel; empty for none.
    """
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if names and pa.types.is_integer(values.type):
        known = pc.and_(pc.greater_equal(values, 0), pc.less(values, len(names)))
        return pa.array(list(names), pa.string()).take(pc.if_else(known, values, None))
    if pa.types.is_floating(values.type):  # 3.0 is 3, as in a column of integers with missing values
        values = pc.if_else(pc.is_nan(values), None, values)
        return pa.array(
            [None if value is None else f"{value:.15g}" for value in values.to_pylist()], pa.string()
        )
    text = pc.utf8_trim_whitespace(values.cast(pa.string()))
    return pc.if_else(pc.equal(text, ""), None, text)


def kept(
    source: str, columns: Mapping[str, pa.ChunkedArray], *, has_splits: bool
) -> dict[str, pa.ChunkedArray]:
    """The columns that go on: `group` if it has a value, and each attribute under `attribute_<name>`.

    Args:
        source: Name of the source, for the message.
        columns: By name, strings (N,) with null where there is no value, as `as_text` gives them.
        has_splits: Whether the source has splits of its own; if not, a warning names a column of splits.
    """
    group = columns.get(GROUP)
    result = {GROUP: group} if group is not None and group.null_count < len(group) else {}
    dropped = []
    if not has_splits:
        _warn_of_splits(source, columns)
    for name, values in columns.items():
        different = len(pc.unique(pc.drop_null(values)))
        if name == GROUP or different == 0:
            continue
        if 2 <= different <= min(MAX_VALUES, (len(values) - values.null_count) // 2):
            result[ATTRIBUTE + name] = values
        else:
            dropped.append(f"{name} ({different:,} different value{'s' * (different != 1)})")
    if dropped:
        log.info("%s: columns that cannot part the images are not kept: %s", source, ", ".join(dropped))
    return result


def _warn_of_splits(source: str, columns: Mapping[str, pa.ChunkedArray]) -> None:
    """Name a column whose values are splits, since only a column of the name `split` divides the images."""
    for name, values in columns.items():
        different = pc.unique(pc.drop_null(values))
        splits = {split_of(value) for value in different.to_pylist()} if 2 <= len(different) <= FEW else {""}
        if "" not in splits and len(splits) > 1:
            text = "%s: the column %s has %s, but is not called split: it is not used for the splits"
            log.warning(text, source, name, ", ".join(sorted(different.to_pylist())))
