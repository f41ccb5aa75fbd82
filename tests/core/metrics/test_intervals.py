import numpy as np
import pytest
from scipy import stats

from tasks.core.metrics import classification, intervals


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (10, 10), (1, 1), (7, 10), (9412, 10000), (5000, 10000)])
def test_wilson_matches_scipy(hits: int, n: int) -> None:
    low, high = intervals.wilson(np.array(hits), np.array(n))
    reference = stats.binomtest(hits, n).proportion_ci(0.95, method="wilson")
    assert float(low) == pytest.approx(reference.low, abs=1e-12)
    assert float(high) == pytest.approx(reference.high, abs=1e-12)


def test_wilson_without_trials_is_nan() -> None:
    low, high = intervals.wilson(np.array([0, 3]), np.array([0, 4]))
    assert np.isnan(low).tolist() == [True, False]
    assert np.isnan(high).tolist() == [True, False]


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (10, 10), (1, 1), (7, 10), (9412, 10000)])
def test_clopper_pearson_matches_scipy(hits: int, n: int) -> None:
    low, high = intervals.clopper_pearson(np.array(hits), np.array(n))
    reference = stats.binomtest(hits, n).proportion_ci(0.95, method="exact")
    assert (float(low), float(high)) == pytest.approx((reference.low, reference.high), abs=1e-12)


def test_clopper_pearson_without_trials_is_nan() -> None:
    assert np.isnan(intervals.clopper_pearson(np.array([0]), np.array([0]))).all()


def test_of_mean_without_skewness_is_students() -> None:
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    reference = stats.t.interval(0.95, 4, loc=3, scale=stats.sem(values))
    assert intervals.of_mean(values, 0, 9) == pytest.approx(reference)


def test_of_mean_of_skewed_figures_lies_higher_than_students() -> None:
    values = np.random.default_rng(0).exponential(size=50)
    low, high = intervals.of_mean(values, 0, 99)
    reference = stats.t.interval(0.95, 49, loc=values.mean(), scale=stats.sem(values))
    assert low > reference[0]
    assert high > reference[1]


def test_of_mean_of_one_image_says_nothing() -> None:
    assert intervals.of_mean(np.array([0.3]), 0.0, 2.0) == (0.0, 2.0)


def test_bootstrap_means_large_sample_matches_the_normal_interval() -> None:
    values = np.random.default_rng(0).exponential(size=(4000, 1))
    low, high = intervals.percentiles(intervals.bootstrap_means(values))
    half_width = 1.96 * values.std() / np.sqrt(len(values))
    assert float(low[0]) == pytest.approx(values.mean() - half_width, abs=half_width * 0.05)
    assert float(high[0]) == pytest.approx(values.mean() + half_width, abs=half_width * 0.05)


def test_bootstrap_means_matches_scipy_percentile_bootstrap() -> None:
    values = np.random.default_rng(1).gamma(2.0, size=300)
    low, high = intervals.percentiles(intervals.bootstrap_means(values[:, None])[:, 0])
    reference = stats.bootstrap(
        (values,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    width = reference.high - reference.low
    assert float(low) == pytest.approx(reference.low, abs=width * 0.05)
    assert float(high) == pytest.approx(reference.high, abs=width * 0.05)


def test_bootstrap_table_matches_resampling_of_images() -> None:
    generator = np.random.default_rng(3)
    labels, predicted = generator.integers(0, 4, (2, 500))
    table = classification.confusion(labels, predicted, 4)
    by_table = intervals.bootstrap_table(table, classification.f1_of)
    by_images = np.stack(
        [
            classification.f1_of(classification.confusion(labels[rows], predicted[rows], 4))
            for block in intervals.resampled_rows(500, 1000)
            for rows in block
        ]
    )
    assert by_table.mean(axis=0) == pytest.approx(by_images.mean(axis=0), abs=0.005)
    assert by_table.std(axis=0) == pytest.approx(by_images.std(axis=0), rel=0.1)


def test_bootstrap_means_same_data_give_the_same_interval() -> None:
    values = np.random.default_rng(4).normal(size=(50, 2))
    assert np.array_equal(intervals.bootstrap_means(values, 100), intervals.bootstrap_means(values, 100))


def test_percentiles_undefined_statistic_is_nan() -> None:
    resampled = np.array([[np.nan, 1.0], [np.nan, 1.0]])
    low, high = intervals.percentiles(resampled)
    assert np.isnan(low[0])
    assert low[1] == high[1] == 1.0
