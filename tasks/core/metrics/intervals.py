"""Intervals at 95 %: Wilson for rates, the percentile bootstrap for everything else.

Sources: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22
(1927); B. Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7 (1979).
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
RESAMPLES = 10_000
SEED = 2025  # resampling is part of the method: the same images always give the same interval
BLOCK = 4_000_000  # numbers drawn at a time; bounds the memory at some 64 MB

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def wilson(successes: NDArray[np.integer], trials: NDArray[np.integer]) -> tuple[Floats, Floats]:
    """Wilson's score interval of a rate, for any number of rates at once.

    Args:
        successes: Integers of any shape, 0..trials.
        trials: Integers of the same shape; 0 gives NaN, since nothing was observed.

    Returns:
        The lower and upper ends, float64 of the same shape, 0..1.
    """
    from scipy.special import ndtri  # late: scipy takes half a second that a reused stage doesn't need

    hits, n = np.asarray(successes, np.float64), np.asarray(trials, np.float64)
    z = ndtri(0.5 + LEVEL / 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = hits / n
        centre = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
        reach = z / (1 + z**2 / n) * np.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    # At 0 and n successes the ends are 0 and 1 exactly; rounding would leave 1e-17 and 0.9999.
    low = np.where(hits == 0, np.where(n > 0, 0.0, np.nan), centre - reach)
    high = np.where((hits == n) & (n > 0), 1.0, centre + reach)
    return low, high


def percentiles(resampled: Floats) -> tuple[Floats, Floats]:
    """The middle 95 % of resampled statistics.

    Args:
        resampled: float64 (resamples, ...); NaN where a resample leaves a statistic undefined.

    Returns:
        Lower and upper ends, float64 (...); NaN where no resample defines the statistic.
    """
    flat = resampled.reshape(len(resampled), -1)
    ends = np.full((2, flat.shape[1]), np.nan)
    defined = ~np.isnan(flat).all(axis=0)
    tail = (1 - LEVEL) / 2
    ends[:, defined] = np.nanquantile(flat[:, defined], [tail, 1 - tail], axis=0)
    low, high = ends.reshape(2, *resampled.shape[1:])
    return low, high


def bootstrap_means(values: Floats, resamples: int = RESAMPLES, seed: int = SEED) -> Floats:
    """Means of resampled rows.

    Args:
        values: float64 (N, K), one row an image: K per-image figures that are resampled together.

    Returns:
        float64 (resamples, K).
    """
    return np.concatenate(
        [values[rows].mean(axis=1) for rows in resampled_rows(len(values), resamples, seed)]
    )


def resampled_rows(count: int, resamples: int = RESAMPLES, seed: int = SEED) -> Iterator[NDArray[np.int32]]:
    """Row numbers drawn with replacement, in blocks: int32 (some, count), `resamples` rows in all."""
    generator = np.random.default_rng(seed)
    step = max(1, BLOCK // count)
    for start in range(0, resamples, step):
        shape = (min(step, resamples - start), count)
        yield generator.integers(0, count, shape, dtype=np.int32)


def bootstrap_table(
    table: Ints, statistic: Callable[[Ints], Floats], resamples: int = RESAMPLES, seed: int = SEED
) -> Floats:
    """A statistic of resampled contingency tables, such as confusion matrices.

    Drawing N images with replacement and counting them is one multinomial draw of the cells, so the
    images themselves are not needed: 10,000 resamples of 10,000 images in 10 classes take 0.2 s.

    Args:
        table: int64 (...), counts that add up to N > 0.
        statistic: From int64 (some, ...) to float64 (some, K).

    Returns:
        float64 (resamples, K).
    """
    cells = np.flatnonzero(table)
    shares = table.ravel()[cells] / table.sum()
    generator = np.random.default_rng(seed)
    step = max(1, BLOCK // table.size)
    blocks = []
    for start in range(0, resamples, step):
        some = min(step, resamples - start)
        drawn = np.zeros((some, table.size), np.int64)
        drawn[:, cells] = generator.multinomial(table.sum(), shares, size=some)
        blocks.append(statistic(drawn.reshape(some, *table.shape)))
    return np.concatenate(blocks)
