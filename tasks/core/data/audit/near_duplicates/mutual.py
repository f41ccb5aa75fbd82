"""Which close pairs are worth the comparison of their edges.

Most close pairs are of images that have hundreds of such neighbours, such as ships under grey skies. A copy
and its original are among each other's nearest.
"""

import numpy as np
from numpy.typing import NDArray

# 10,000 images of CIFAR-10, 1,120 copies, 100,000 close pairs: 3 leave 3,400 pairs and lose 3 of the 1,082
# copies that all would find, 5 leave 5,100 and lose 2, 8 leave 7,500 and lose 2.
NEAREST = 5
Numbers = NDArray[np.int64]


def nearest(a: Numbers, b: Numbers) -> NDArray[np.bool_]:
    """Which pairs are among the `NEAREST` closest ones of both of their images: bool (P,).

    Args:
        a, b: int64 (P,), the closest pair first.
    """
    sides = np.stack([a, b], axis=1).ravel()
    order = np.argsort(sides, kind="stable")
    in_order = sides[order]
    ranks = np.empty(len(sides), np.int64)
    ranks[order] = np.arange(len(sides)) - np.searchsorted(in_order, in_order)
    first, second = ranks.reshape(-1, 2).T
    return np.asarray(np.maximum(first, second) < NEAREST)


def connected(a: Numbers, b: Numbers, matches: NDArray[np.bool_], images: int) -> NDArray[np.bool_]:
    """Which pairs are of images that a chain of matches connects: bool (P,).

    Args:
        a, b: int64 (P,), below `images`.
        matches: bool (P,).
        images: Number of images.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    links = coo_matrix((np.ones(matches.sum(), bool), (a[matches], b[matches])), (images, images))
    _, component = connected_components(links, directed=False)
    return component[a] == component[b]
