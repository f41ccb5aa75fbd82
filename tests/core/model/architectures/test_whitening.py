"""The whitening filters, against patches that NumPy cuts out."""

import numpy as np
import pytest

from tasks.core.model.architectures import whitening
from tests.support import striped_tensors


@pytest.mark.parametrize(("size", "stride", "channels"), [(4, 2, 3), (2, 1, 3), (3, 1, 1)])
def test_filter_responses_are_uncorrelated_with_unit_deviation(size: int, stride: int, channels: int) -> None:
    labels = np.arange(400, dtype=np.int32) % 6
    images = striped_tensors.striped(labels, (20, 20, channels), 0)
    count = min(24, 2 * size * size * channels)
    kernel, bias = whitening.filters(images, size, stride, count)
    assert kernel.shape == (size, size, channels, count)
    # All patches, cut out by NumPy alone. The second half of the filters is the negative of the first.
    views = np.lib.stride_tricks.sliding_window_view(images / 255, (size, size), axis=(1, 2))
    patches = np.moveaxis(views[:, ::stride, ::stride], 3, -1).reshape(-1, size * size * channels)
    responses = patches @ kernel.reshape(-1, count) + bias
    half = responses[:, : count // 2]
    assert np.allclose(half, -responses[:, count // 2 :], atol=1e-4)
    covariance = np.cov(half.T)
    deviations = np.sqrt(np.diag(covariance))
    correlations = covariance / np.outer(deviations, deviations)
    assert np.abs(correlations - np.eye(count // 2)).max() < 0.03
    assert abs(half.mean()) < 0.02
    assert deviations.max() < 1.05  # EPSILON keeps components with little variance below 1
    assert deviations[0] > 0.95


def test_filters_of_uniform_images_are_finite() -> None:
    kernel, bias = whitening.filters(np.full((10, 8, 8, 3), 77, np.uint8), 3, 1, 24)
    assert np.isfinite(kernel).all()
    assert np.isfinite(bias).all()
