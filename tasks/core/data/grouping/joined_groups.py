"""Groups that share an image are one group: the image would otherwise be in two splits.

The first of their names in alphabetical order is the name of all. An image that is its own group, and whose
copy is in a group, belongs to that group. Files that are no images join nothing.
"""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.core.data.decode import Target
from tasks.core.data.grouping.units import unit_codes, units
from tasks.core.data.readers.base import EMPTY, DecodeFailure, ImageIndex, Reader

CHECKED = Target((8, 8), 3)  # as small as can be: nothing is done with the pixels


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


def without_broken(index: ImageIndex, reader: Reader) -> ImageIndex:
    """The index in which files that cannot be read, and that two groups have, belong to no group.

    Such files are a server's error page under the names of many photos, or zeros of a copy that broke off.
    """
    failed = [
        image.row for image in reader.images(_shared(index), CHECKED) if isinstance(image, DecodeFailure)
    ]
    if not failed:
        return index
    is_broken = pc.is_in(index.image_id, index.image_id.take(failed).unique())
    return replace(index, group=pc.if_else(is_broken, None, index.group))


def _shared(index: ImageIndex) -> list[int]:
    """Numbers of the first images of contents that several groups have, ascending."""
    if index.group is None or not index.duplicated:
        return []
    copies = index.take(np.array(index.duplicated))
    table = pa.table({"id": copies.image_id, "group": copies.group, "number": index.duplicated})
    of_contents = table.group_by("id").aggregate([("group", "count_distinct"), ("number", "min")])
    is_shared = pc.greater(of_contents["group_count_distinct"], 1)
    return sorted(of_contents.filter(is_shared)["number_min"].to_pylist())


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
