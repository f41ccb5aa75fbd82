"""What is kept together: all images of a group, or the copies of an image that is its own group."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


def units(group: pa.ChunkedArray, image_id: pa.ChunkedArray) -> pa.ChunkedArray:
    """What is kept together, as strings (N,): the name of a group, or the id of an image that is its own.

    Args:
        group: Strings (N,); null for an image that is its own group.
        image_id: Strings (N,), of 64 hexadecimal digits.
    """
    return pc.coalesce(pc.binary_join_element_wise("group", group, " "), image_id)


def unit_codes(unit: pa.ChunkedArray) -> NDArray[np.int64]:
    """A number for each string, 0 and up in the order in which the strings first occur: int64 (N,)."""
    encoded = pa.chunked_array(unit).combine_chunks().dictionary_encode()
    return np.asarray(encoded.indices.to_numpy(), np.int64)
