"""Groups that share an image are one group: the image would otherwise be in two splits.

The first of their names in alphabetical order is the name of all. An image that is its own group, and whose
copy is in a group, belongs to that group. Empty files are no images, and join nothing.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.core.data.grouping.units import unit_codes, units
from tasks.core.data.readers.base import EMPTY, ImageIndex


@dataclass(frozen=True)
class JoinedGroups:
    """The groups of all images of a source.

    Args:
        own: Strings (N,), what each image belongs to by itself, see `groups.units`.
        group: Strings (N,), the name of its group after joining; null for an image that is its own group.
        unit: Strings (N,), what each image belongs to after joining.
        names: The names that were joined, some names each.
    """

    own: pa.ChunkedArray
    group: pa.ChunkedArray
    unit: pa.ChunkedArray
    names: tuple[tuple[str, ...], ...] = ()


def join(index: ImageIndex) -> JoinedGroups:
    """Join the groups that share an image.

    Args:
        index: The images of a source that has groups.
    """
    own = units(index.group, index.image_id)
    if not index.duplicated:
        return JoinedGroups(own, index.group, own)
    group = _joined(index.group, index.image_id)
    pairs = pa.table({"own": index.group, "joined": group}).group_by(["own", "joined"]).aggregate([])
    names: dict[str, set[str]] = {}
    for pair in pairs.filter(pc.is_valid(pairs["own"])).to_pylist():
        names.setdefault(pair["joined"], set()).add(pair["own"])
    joined = tuple(tuple(sorted(of_one)) for _, of_one in sorted(names.items()) if len(of_one) > 1)
    return JoinedGroups(own, group, units(group, index.image_id), joined)


def _joined(group_names: pa.ChunkedArray, image_id: pa.ChunkedArray) -> pa.ChunkedArray:
    """The name of each image's group after joining; null for an image that is its own group."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    content = unit_codes(image_id)
    contents = int(content.max()) + 1
    encoded = group_names.combine_chunks().dictionary_encode()
    names = encoded.dictionary.to_pylist()
    group = np.asarray(pc.fill_null(encoded.indices, -1).to_numpy(), np.int64)
    is_link = (group >= 0) & ~np.asarray(pc.equal(image_id, EMPTY))
    edges = content[is_link], contents + group[is_link]
    size = contents + len(names)
    _, component = connected_components(coo_array((np.ones(len(edges[0])), edges), (size, size)), False)
    first: dict[int, str] = {}
    of_groups: NDArray[np.int32] = component[contents:]
    for name, number in zip(names, of_groups.tolist(), strict=True):
        first[number] = min(name, first.get(number, name))
    of_images = np.where(group >= 0, of_groups[group] if names else -1, component[content])
    return pa.chunked_array([pa.array([first.get(n) for n in of_images.tolist()], pa.string())])
