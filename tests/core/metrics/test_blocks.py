"""Sums and maxima of rows, beside NumPy's own."""

import numpy as np
import pytest

from tasks.core.metrics import blocks


@pytest.mark.parametrize("columns", [1, 10, blocks.LONG - 1, blocks.LONG, 300])
def test_row_sums_and_maxima_are_numpys(columns: int) -> None:
    values = np.random.default_rng(0).normal(size=(70, columns))
    np.testing.assert_allclose(
        blocks.row_sums(values), values.sum(axis=1, keepdims=True), rtol=1e-12, atol=1e-12
    )
    np.testing.assert_array_equal(blocks.row_maxima(values), values.max(axis=1, keepdims=True))
    assert blocks.row_sums(values[:0]).shape == (0, 1)
