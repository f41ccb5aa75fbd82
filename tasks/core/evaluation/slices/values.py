"""The values of the data's other columns, by which images are sliced."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.core.data.tensors.groups import read_attributes
from tasks.core.errors import UsageError
from tasks.core.stage.handles import TensorCache

MANY = 12  # different numbers; with more, of few images each, a column is cut into ranges
FEW = 20  # images of a number, mean
RANGES = 5
NONE = -1  # code of an image without a value


@dataclass(frozen=True)
class Attribute:
    """A column of the data.

    Args:
        name: Its name in the source, such as "site".
        values: Its V different values, or ranges of numbers, in order.
        codes: int64 (N,), 0..V-1 for each image, or -1 for one without a value.
    """

    name: str
    values: tuple[str, ...]
    codes: NDArray[np.int64]


def attributes(tensors: TensorCache, split: str = "test") -> dict[str, Attribute]:
    """The columns of the data by which a split can be sliced, by name; empty where there is none."""
    return {name: attribute(name, column) for name, column in read_attributes(tensors, split).items()}


def attribute(name: str, column: Sequence[str | None]) -> Attribute:
    """A column from the text of each image.

    More than `MANY` different numbers with fewer than `FEW` images each are cut into ranges that have about
    equally many images.

    >>> attribute("site", ["B", "A", None, "B"])
    Attribute(name='site', values=('A', 'B'), codes=array([ 1,  0, -1,  1]))
    """
    given = np.array([value is not None for value in column], bool)
    texts = [value for value in column if value is not None]
    codes = np.full(len(column), NONE, np.int64)
    numbers = _numbers(texts)
    if numbers is not None and len(numbers) < FEW * len(set(texts)) and len(set(texts)) > MANY:
        names, codes[given] = _ranges(numbers)
        return Attribute(name, names, codes)
    order = (
        sorted(set(texts)) if numbers is None else sorted(set(texts), key=lambda text: (float(text), text))
    )
    number = {value: code for code, value in enumerate(order)}
    codes[given] = [number[value] for value in texts]
    return Attribute(name, tuple(order), codes)


def chosen(names: Sequence[str], tensors: TensorCache) -> dict[str, Attribute]:
    """Some columns of the test images, by name."""
    return {name: each for name, each in attributes(tensors).items() if name in names}


def check_columns(names: Sequence[str], tensors: TensorCache) -> None:
    """Refuse columns that the data do not have.

    Raises:
        UsageError: One of them is not there.
    """
    if not names:
        return
    columns = list(read_attributes(tensors, "test"))
    if unknown := [name for name in names if name not in columns]:
        raise UsageError(
            "--no-worse-in names a column that the images do not have",
            expected=f"one of {', '.join(columns)}"
            if columns
            else "a further column of a CSV or of parquet files; these data have none",
            found=", ".join(unknown),
            done="nothing was trained or evaluated",
            todo="name one of these; columns with one value, or almost as many as images, are not kept",
        )


def _numbers(texts: Sequence[str]) -> NDArray[np.float64] | None:
    """The values as numbers; None if one is none, or looks like a code (007)."""
    if any(text.lstrip("-").startswith("0") and text.lstrip("-")[1:2].isdigit() for text in texts):
        return None
    try:
        numbers = np.array([float(text) for text in texts], np.float64)
    except ValueError:
        return None
    return numbers if np.isfinite(numbers).all() else None


def _ranges(numbers: NDArray[np.float64]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """At most `RANGES` ranges of about equally many images: their names, and the range of each image."""
    ends = np.unique(np.quantile(numbers, np.arange(1, RANGES) / RANGES, method="inverted_cdf"))
    codes = np.unique(np.searchsorted(ends, numbers, side="left"), return_inverse=True)[1]
    members = [numbers[codes == code] for code in range(int(codes.max()) + 1)]
    return tuple(_range_name(each.min(), each.max()) for each in members), codes.astype(np.int64)


def _range_name(low: float, high: float) -> str:
    return f"{low:.15g}" if low == high else f"{low:.15g} to {high:.15g}"
