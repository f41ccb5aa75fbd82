"""The nearest other image, compared with distances one by one."""

import numpy as np

from tasks.core.data.audit.descriptors import Descriptors
from tasks.core.data.audit.near_duplicates import neighbours


def test_nearest_is_the_image_at_the_least_distance_mirrored_or_not() -> None:
    generator = np.random.default_rng(0)
    even, odd = (generator.normal(size=(1300, side)).astype(np.float32) for side in (4, 3))
    apart = ((even[:, None] - even) ** 2).sum(2)
    apart += np.minimum(((odd[:, None] - odd) ** 2).sum(2), ((odd[:, None] + odd) ** 2).sum(2))
    np.fill_diagonal(apart, np.inf)
    images = np.array([3, *range(640, 1299)])  # more than are compared at once, and with more
    assert np.array_equal(neighbours.nearest(Descriptors(even, odd), images), apart.argmin(1)[images])
    apart[apart <= 1.5**2] = np.inf
    farther = neighbours.nearest(Descriptors(even, odd), images, beyond=1.5)
    assert np.array_equal(farther, apart.argmin(1)[images])
