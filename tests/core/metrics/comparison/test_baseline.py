"""The model beside the answers that need no model, by hand and by scikit-learn's DummyClassifier."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.dummy import DummyClassifier
from sklearn.metrics import log_loss

from tasks.core.metrics.comparison import baseline

CLASSES = ("cat", "dog")
COUNTS = np.array([900, 100])
LABELS = np.repeat([0, 1], [186, 14])  # 93 % cats


def metrics(probabilities: np.ndarray) -> dict:
    record = {name: found.record() for name, found in baseline.baselines(LABELS, COUNTS).items()}
    losses = -np.log(probabilities[np.arange(200), LABELS])
    found = baseline.compare(LABELS, probabilities, COUNTS, CLASSES)
    return record | {"log_loss": {"value": losses.mean()}, "baseline": found}


def of_dogs(called: int, wrongly: int, sure: float = 0.9) -> np.ndarray:
    """Probabilities with which so many of the dogs and so many of the cats are called dogs."""
    is_dog = np.zeros(200, bool)
    is_dog[:wrongly], is_dog[186 : 186 + called] = True, True
    dog = np.where(is_dog, sure, 1 - sure)
    return np.stack([1 - dog, dog], axis=1)


def test_baselines_are_those_of_scikit_learn() -> None:
    train = np.repeat([0, 1], COUNTS)
    found = baseline.baselines(LABELS, COUNTS)
    dummy = DummyClassifier(strategy="most_frequent").fit(train[:, None], train)
    assert found["majority_accuracy"].value == pytest.approx(dummy.score(LABELS[:, None], LABELS))
    prior = DummyClassifier(strategy="prior").fit(train[:, None], train)
    expected = log_loss(LABELS, prior.predict_proba(LABELS[:, None]))
    assert found["prior_log_loss"].value == pytest.approx(expected)
    assert found["majority_accuracy"].low < 0.93 < found["majority_accuracy"].high


def test_class_without_train_images_has_the_share_of_one_image() -> None:
    """Shares 4/7, 2/7 and 1/7."""
    found = baseline.baselines(np.array([0, 1, 2]), np.array([3, 1, 0]))
    assert found["prior_log_loss"].value == pytest.approx(-np.log(np.array([4, 2, 1]) / 7).mean())


def test_model_that_is_always_wrong_is_not_better_since_a_class_has_no_train_images() -> None:
    labels = np.arange(60).repeat(2)
    counts = np.where(np.arange(60) < 3, 0, 3)
    wrong = np.full((120, 60), 0.5 / 59)
    wrong[np.arange(120), (labels + 1) % 60] = 0.5
    assert baseline.compare(labels, wrong, counts, tuple(map(str, range(60))))["answer"] == "worse"


def test_images_of_one_class_prove_nothing() -> None:
    sure = np.tile([0.99, 0.01], (50, 1))
    found = baseline.compare(np.zeros(50, int), sure, COUNTS, CLASSES)
    assert found["log_loss_gain"]["low"] > 0
    assert found["answer"] == "open"
    test = {"baseline": found, "majority_accuracy": {"value": 1.0}}
    class_name = CLASSES[0]
    assert (
        baseline.remark(test)
        == f"not proven better than no model, since all test images are of the class {class_name}"
    )
    assert f"all images are of the class {class_name}" in baseline.sentence(test)


def test_images_of_one_class_do_not_prove_that_a_model_is_worse() -> None:
    """A model that is less sure than the classes' shares of the only class that is there."""
    unsure = np.tile([0.8, 0.2], (50, 1))
    found = baseline.compare(np.zeros(50, int), unsure, COUNTS, CLASSES)
    assert found["log_loss_gain"]["high"] < 0
    assert found["answer"] == "open"


def test_accuracy_below_the_commonest_class_is_said() -> None:
    """2 of 14 dogs found, 2 or 14 cats called dogs: 93 and 87 %, where 93 % are cats."""
    assert baseline.remark(metrics(of_dogs(2, 3))) == "below always answering cat: 93.00 %"
    test = metrics(of_dogs(2, 14))
    assert baseline.answer(test) == "worse"
    assert baseline.is_below(test, "accuracy_gain")
    assert baseline.remark(test) == "worse than always answering cat: 93.00 %"
    assert baseline.sentence(test).startswith(
        "worse than no model: always answering cat scores 93.00 %, the most probable class 87.00 % (-6.0 "
    )


def test_equal_accuracy_with_better_probabilities_is_better() -> None:
    """No dog is called one, so the accuracy is the commonest class's, but dogs have a higher probability."""
    dog = np.where(LABELS == 1, 0.45, 0.02)
    test = metrics(np.stack([1 - dog, dog], axis=1))
    assert test["baseline"]["accuracy_gain"]["value"] == 0
    assert baseline.answer(test) == "better"
    assert baseline.remark(test) == ""


def test_worse_probabilities_are_worse_though_accuracy_is_equal() -> None:
    dog = np.full(200, 0.4)
    test = metrics(np.stack([1 - dog, dog], axis=1))
    assert baseline.answer(test) == "worse"
    assert baseline.remark(test) == "its probabilities are no better than the classes' shares"


def test_one_answer_for_all_images_is_not_better_where_test_has_other_shares_than_train() -> None:
    """Half of the test images are dogs, a tenth of the train images: 80 to 20 % fits better than 90 to 10."""
    labels = np.repeat([0, 1], 100)
    found = baseline.compare(labels, np.tile([0.8, 0.2], (200, 1)), COUNTS, CLASSES)
    assert (found["shares"], found["answer"]) == ("equal shares of the classes", "worse")
    test = {"baseline": found, "log_loss": {"value": -np.log([0.8, 0.2]).mean()}}
    assert baseline.shares_log_loss(test) == pytest.approx(np.log(2))
    assert baseline.compare(LABELS, of_dogs(2, 3), COUNTS, CLASSES)["shares"] == "the classes' shares"


def test_shares_themselves_are_not_better() -> None:
    test = metrics(np.tile([0.9, 0.1], (200, 1)))
    assert baseline.answer(test) == "open"
    assert baseline.remark(test) == "not proven better than always answering cat: 93.00 %"


def test_groups_widen_the_intervals() -> None:
    alone = baseline.compare(LABELS, of_dogs(12, 1), COUNTS, CLASSES)
    grouped = baseline.compare(LABELS, of_dogs(12, 1), COUNTS, CLASSES, np.arange(200) // 20)
    assert alone["answer"] == "better"
    assert grouped["accuracy_gain"]["low"] < alone["accuracy_gain"]["low"]


def test_evaluation_of_an_earlier_version_is_judged_by_nothing() -> None:
    assert (baseline.answer({}), baseline.sentence({}), baseline.remark({})) == ("better", "", "")


@pytest.mark.parametrize(("won", "lost"), [(3, 0), (5, 0), (6, 0), (9, 2), (10, 1), (1, 10), (0, 0)])
def test_gain_of_accuracy_is_proven_only_if_the_exact_test_proves_it(won: int, lost: int) -> None:
    """By SciPy's binomial test of the images that one of the two answers gets right."""
    labels = np.repeat([0, 1, 0], [lost, won, 5])
    answers = np.repeat([1, 1, 0], [lost, won, 5])
    probabilities = np.where(np.arange(2) == answers[:, None], 0.6, 0.4)
    gain = baseline.compare(labels, probabilities, COUNTS, CLASSES)["accuracy_gain"]
    p_value = binomtest(won, won + lost).pvalue if won + lost else 1.0
    assert (gain["low"] > 0 or gain["high"] < 0) == (p_value < 0.05)
    assert gain["low"] <= gain["value"] == (won - lost) / len(labels) <= gain["high"]
