"""Every metric against scikit-learn (an independent implementation) or a number computed by hand."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as reference

from tasks.core.errors import DataError
from tasks.core.metrics import classification
from tasks.core.metrics.declared import declarations


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float32]:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (shifted / shifted.sum(axis=1, keepdims=True)).astype(np.float32)


def draw_predictions(seed: int, images: int, classes: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, images)
    logits = generator.normal(size=(images, classes))
    logits[np.arange(images), labels] += 1.0
    return labels, softmax(logits)


def draw_with_absent_classes(seed: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Class 2 of 7 has no image, class 3 is never predicted, class 4 has neither."""
    labels, probabilities = draw_predictions(seed, 300, 7)
    labels[np.isin(labels, (2, 4))] = 0
    probabilities[:, (3, 4)] = 0
    return labels, probabilities / probabilities.sum(axis=1, keepdims=True)


CASES = {
    "two classes": draw_predictions(0, 200, 2),
    "ten classes": draw_predictions(1, 500, 10),
    "hundred classes, few images": draw_predictions(2, 60, 100),
    "absent classes": draw_with_absent_classes(3),
    "one image": draw_predictions(4, 1, 8),
    "perfect": (np.arange(40) % 8, np.eye(8, dtype=np.float32)[np.arange(40) % 8]),
    "always wrong": (np.arange(40) % 8, np.eye(8, dtype=np.float32)[(np.arange(40) + 1) % 8]),
    "constant predictor": (np.arange(40) % 8, np.tile(np.eye(8, dtype=np.float32)[3], (40, 1))),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning", "ignore:y_pred contains")
def test_score_matches_scikit_learn(name: str) -> None:
    labels, probabilities = CASES[name]
    predicted = probabilities.argmax(axis=1)
    scores = declarations.score(labels, probabilities)
    assert scores["accuracy"].value == pytest.approx(reference.accuracy_score(labels, predicted))
    assert scores["macro_f1"].value == pytest.approx(reference.f1_score(labels, predicted, average="macro"))
    assert scores["balanced_accuracy"].value == pytest.approx(
        reference.balanced_accuracy_score(labels, predicted)
    )
    all_classes = np.arange(probabilities.shape[1])
    assert scores["log_loss"].value == pytest.approx(
        reference.log_loss(labels, probabilities, labels=all_classes), rel=1e-5, abs=2e-7
    )
    for estimate in scores.values():
        assert estimate.low <= estimate.value + 1e-12
        assert estimate.method in ("exact", "classes", "skewness")


@pytest.mark.parametrize("name", ["ten classes", "hundred classes, few images", "absent classes"])
def test_score_top5_matches_scikit_learn(name: str) -> None:
    labels, probabilities = CASES[name]
    all_classes = np.arange(probabilities.shape[1])
    expected = reference.top_k_accuracy_score(labels, probabilities, k=5, labels=all_classes)
    assert declarations.score(labels, probabilities)["top5_accuracy"].value == pytest.approx(expected)


def test_score_top5_is_left_out_with_five_classes() -> None:
    assert "top5_accuracy" not in declarations.score(*draw_predictions(0, 20, 5))
    assert "top5_accuracy" in declarations.score(*draw_predictions(0, 20, 6))


def test_predicted_classes_equal_probabilities_give_the_lower_class() -> None:
    probabilities = np.full((8, 8), 1 / 8, np.float32)
    assert classification.predicted_classes(probabilities).tolist() == [0] * 8
    assert classification.in_top(np.arange(8), probabilities, 5).tolist() == [True] * 5 + [False] * 3


def test_margins_small_example_matches_hand_computation() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.7, 0.2, 0.1], [0.5, 0.5, 0.0]], np.float32)
    assert classification.margins(np.array([0, 2, 0]), probabilities) == pytest.approx(
        [0.5, -0.6, 0.0], abs=1e-6
    )


def test_log_losses_probability_of_zero_gives_a_finite_loss() -> None:
    losses = classification.log_losses(np.array([1]), np.array([[1.0, 0.0]], np.float32))
    assert losses == pytest.approx([15.942], abs=1e-3)


@pytest.mark.parametrize("name", CASES)
def test_per_class_matches_scikit_learn_and_marks_undefined_values(name: str) -> None:
    labels, probabilities = CASES[name]
    predicted, classes = probabilities.argmax(axis=1), probabilities.shape[1]
    table = classification.per_class(labels, predicted, tuple(f"class {i}" for i in range(classes)))
    precision, recall, f1, support = reference.precision_recall_fscore_support(
        labels, predicted, labels=np.arange(classes), zero_division=np.nan
    )
    assert table["precision"].to_numpy() == pytest.approx(precision, nan_ok=True)
    assert table["recall"].to_numpy() == pytest.approx(recall, nan_ok=True)
    assert table["support"].tolist() == support.tolist()
    defined = (table["support"] + table["predicted_count"]) > 0
    assert table["f1"][defined].to_numpy() == pytest.approx(f1[defined])
    assert table["f1"][~defined].isna().all()
    assert (table["recall_low"].isna() == (table["support"] == 0)).all()
    assert (table["precision_high"].isna() == (table["predicted_count"] == 0)).all()


def test_confusion_matches_scikit_learn_for_all_classes() -> None:
    labels, probabilities = CASES["absent classes"]
    matrix = classification.confusion(labels, probabilities.argmax(axis=1), 7)
    expected = reference.confusion_matrix(labels, probabilities.argmax(axis=1), labels=range(7))
    assert np.array_equal(matrix, expected)
    assert matrix.shape == (7, 7)


@pytest.mark.parametrize(
    ("labels", "probabilities", "found"),
    [
        (np.zeros(0, int), np.zeros((0, 3)), "no image"),
        (np.zeros(2, int), np.full((3, 2), 0.5), "labels"),
        (np.array([0, 2]), np.full((2, 2), 0.5), "0..2 for 2 classes"),
        (np.array([0, -1]), np.full((2, 2), 0.5), "-1..0 for 2 classes"),
        (np.array([0]), np.array([[np.nan, 1.0]]), "not probabilities"),
        (np.array([0]), np.array([[2.0, 3.0]]), "not probabilities"),
        (np.array([0]), np.array([[-0.5, 1.5]]), "not probabilities"),
    ],
)
def test_score_invalid_predictions_raise(labels: NDArray, probabilities: NDArray, found: str) -> None:
    with pytest.raises(DataError, match="cannot be scored") as error:
        declarations.score(labels, probabilities)
    assert found in str(error.value)


def test_estimate_record_undefined_value_is_null() -> None:
    estimate = classification.Estimate(float("nan"), float("nan"), float("nan"), "exact")
    assert estimate.record() == {"value": None, "low": None, "high": None, "method": "exact"}
