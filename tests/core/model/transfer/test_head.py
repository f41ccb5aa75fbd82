"""The linear head against scikit-learn's own cross-validated classifier."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.metrics import log_loss

from tasks.core.model.features import reading
from tasks.core.model.transfer import head


def clusters(classes: int, per_class: int, width: int = 20, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping clusters in random order: float32 (N, width) and int32 (N,)."""
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.repeat(np.arange(classes), per_class)).astype(np.int32)
    centres = generator.normal(size=(classes, width))
    values = 3 + 5 * (centres[labels] + 1.5 * generator.normal(size=(len(labels), width)))
    return values.astype(np.float32), labels


@pytest.mark.parametrize("classes", [2, 4])
def test_head_predicts_as_scikit_learn_at_the_same_strength(classes: int) -> None:
    values, labels = clusters(classes, 60)
    fitted = head.fit(values, labels, classes)
    scaled = (values - values.mean(0)) / (values - values.mean(0)).std()
    expected = LogisticRegression(C=fitted.strength, tol=1e-8, max_iter=5000).fit(scaled, labels)
    logits = fitted.logits(values)
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert np.abs(probabilities - expected.predict_proba(scaled)).max() < 5e-3


@pytest.mark.slow
def test_strength_has_the_loss_of_scikit_learns_choice() -> None:
    values, labels = clusters(4, 60)
    fitted = head.fit(values, labels, 4)
    scaled = (values - values.mean(0)) / (values - values.mean(0)).std()
    chosen = LogisticRegressionCV(
        Cs=list(head.STRENGTHS),
        scoring="neg_log_loss",
        cv=5,
        max_iter=5000,
        l1_ratios=(0.0,),
        use_legacy_attributes=False,
    )
    means = -np.asarray(chosen.fit(scaled, labels).scores_).reshape(5, -1).mean(0)
    exponentials = np.exp(fitted.held_out)
    held_out = log_loss(labels, exponentials / exponentials.sum(1, keepdims=True))
    assert held_out == pytest.approx(float(means.min()), rel=0.02)


def test_held_out_logits_are_of_models_that_have_not_seen_the_image() -> None:
    """Random labels can be learned by heart, but not predicted."""
    generator = np.random.default_rng(3)
    values = generator.normal(size=(200, 300)).astype(np.float32)
    labels = generator.integers(0, 2, 200).astype(np.int32)
    fitted = head.fit(values, labels, 2)
    assert (fitted.logits(values).argmax(1) == labels).mean() > 0.8
    assert 0.35 < (fitted.held_out.argmax(1) == labels).mean() < 0.65


def test_held_out_logits_are_of_models_that_have_not_seen_the_group() -> None:
    """Forty groups of five alike images with a random label each: known from the group, else by chance."""
    generator = np.random.default_rng(4)
    groups = generator.permutation(np.repeat(np.arange(40), 5))
    labels = generator.integers(0, 2, 40)[groups].astype(np.int32)
    values = generator.normal(size=(40, 100))[groups] + 0.05 * generator.normal(size=(200, 100))
    parted = head.fit(values.astype(np.float32), labels, 2)
    whole = head.fit(values.astype(np.float32), labels, 2, groups)
    assert (parted.held_out.argmax(1) == labels).mean() > 0.9
    assert 0.2 < (whole.held_out.argmax(1) == labels).mean() < 0.8


def test_fit_twice_gives_the_same_bytes() -> None:
    values, labels = clusters(3, 40)
    one, other = head.fit(values, labels, 3), head.fit(values, labels, 3)
    assert one.kernel.tobytes() == other.kernel.tobytes()
    assert one.bias.tobytes() == other.bias.tobytes()


@pytest.mark.parametrize(
    "labels",
    [
        pytest.param([0, 1], id="one image a class"),
        pytest.param([0, 0, 1], id="a class of one"),
        pytest.param([0, 0, 0, 0, 0, 0, 2, 2, 2, 2, 2, 2], id="a class without images"),
    ],
)
def test_fit_with_few_images_never_predicts_a_class_without_images(labels: list[int]) -> None:
    array = np.array(labels, np.int32)
    values = np.random.default_rng(0).normal(size=(len(labels), 5)).astype(np.float32) + 4 * array[:, None]
    fitted = head.fit(values, array, 3)
    assert np.isfinite(fitted.kernel).all()
    assert set(fitted.logits(values).argmax(1)) <= set(labels)
    assert (fitted.logits(values).argmax(1) == array).all()


def test_averaged_is_the_mean_of_the_views() -> None:
    features = np.array([[[1, 2], [3, 6]]], np.float16)
    assert reading.averaged(features).tolist() == [[2, 4]]
