"""The correlation of pixels at the best alignment, compared with NumPy's `corrcoef` of the overlap."""

import numpy as np
import pytest

from tasks.core.data.audit.near_duplicates import alignment


@pytest.mark.parametrize(("down", "across"), [(0, 0), (3, 0), (-2, 1), (1, -3)])
@pytest.mark.parametrize("mirrored", [False, True])
def test_correlation_is_that_of_the_overlap_at_the_best_offset(
    down: int, across: int, mirrored: bool
) -> None:
    """A copy with other brightness and some noise, shifted; what came in at its borders is unlike."""
    generator = np.random.default_rng(0)
    one = generator.uniform(0, 255, (1, 16, 20, 1)).astype(np.float32)
    other = generator.uniform(0, 255, one.shape).astype(np.float32)
    ours, theirs = (
        (slice(max(0, down), 16 + min(0, down)), slice(max(0, across), 20 + min(0, across))),
        (slice(max(0, -down), 16 + min(0, -down)), slice(max(0, -across), 20 + min(0, -across))),
    )
    copy = 0.7 * one[0][ours] + 20 + generator.normal(0, 5, one[0][ours].shape)
    other[0][theirs] = copy
    expected = np.corrcoef(one[0][ours].ravel(), copy.ravel())[0, 1]
    turned = other[:, :, ::-1] if mirrored else other
    assert alignment.pixel_correlation(one, turned) == pytest.approx(expected, abs=1e-5)
