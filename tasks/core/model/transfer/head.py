"""A linear classifier of features: multinomial logistic regression with an L2 penalty.

Its strength is chosen by cross-validation within the training images, by log loss. What the folds predict for
the images that they have not seen is kept: it is an unbiased view of all training images for the price of the
choice. On frozen features a linear classifier is the field's standard ("linear probe"): S. Kornblith et al.,
"Do Better ImageNet Models Transfer Better?", CVPR 2019.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from threadpoolctl import threadpool_limits

FOLDS = 5
# Inverse penalties, ascending. A fit starts from the one before it: that, one thread and the tolerance make
# the choice 40 times cheaper than fits from zero with two threads (0.4 instead of 15 CPU-seconds for 1,000
# images of 1,280 features).
STRENGTHS = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
DEFAULT_STRENGTH = 3e-2  # where no class has two images to choose with
CHOICE_TOLERANCE, TOLERANCE = 1e-3, 1e-4  # of the gradient
MAX_ITERATIONS = 1000
MISSING = -30.0  # logit of a class without images
Floats = NDArray[np.float32]
Labels = NDArray[np.int32]


@dataclass(frozen=True)
class Head:
    """A linear classifier.

    Args:
        kernel: float32 (D, classes).
        bias: float32 (classes,).
        strength: The inverse of the penalty that it was fitted with.
        held_out: Logits of each training image by a fold that has not seen it, float32 (N, classes).
    """

    kernel: Floats
    bias: Floats
    strength: float
    held_out: Floats

    def logits(self, features: Floats) -> Floats:
        """Logits of features, float32 (n, D): float32 (n, classes)."""
        return np.asarray(features @ self.kernel + self.bias, np.float32)


@dataclass(frozen=True)
class _Scale:
    """Features are centred and divided by one number, so that a strength means the same for any backbone."""

    mean: Floats
    deviation: float

    @classmethod
    def of(cls, features: Floats) -> "_Scale":
        mean = features.mean(0, dtype=np.float64).astype(np.float32)
        return cls(mean, float(np.std(features - mean)) or 1.0)

    def apply(self, features: Floats) -> Floats:
        return np.asarray((features - self.mean) / np.float32(self.deviation), np.float32)


def fit(features: Floats, labels: Labels, classes: int, groups: NDArray[np.integer] | None = None) -> Head:
    """Fit a linear classifier whose strength is chosen by cross-validation.

    Args:
        features: float32 (N, D).
        labels: int32 (N,), 0..classes-1.
        classes: Number of classes.
        groups: Integers (N,); images of one group are in one fold. None if each image is alone.
    """
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes with fewer images than folds, and of iterations
        strength, held_out = _choose(features, labels, classes, groups)
        scale = _Scale.of(features)
        kernel, bias = _fitted(_model(strength, TOLERANCE), scale.apply(features), labels, classes)
    kernel = kernel / scale.deviation
    bias = bias - scale.mean @ kernel
    return Head(kernel.astype(np.float32), bias.astype(np.float32), strength, held_out)


def _choose(
    features: Floats, labels: Labels, classes: int, groups: NDArray[np.integer] | None
) -> tuple[float, Floats]:
    """The strength with the lowest log loss on held-out images, and the logits of these."""
    folds = min(FOLDS, int(np.bincount(labels).max()), len(labels) if groups is None else len(set(groups)))
    if folds < 2:
        return DEFAULT_STRENGTH, np.zeros((len(labels), classes), np.float32)
    logits = np.zeros((len(STRENGTHS), len(labels), classes), np.float32)
    # Not shuffled: rows are in an order that is random with respect to class, and exact copies are adjacent,
    # so that they are in one fold.
    splitter = StratifiedKFold(folds) if groups is None else StratifiedGroupKFold(folds)
    for train, held_out in splitter.split(features, labels, groups):
        scale = _Scale.of(features[train])
        seen, unseen = scale.apply(features[train]), scale.apply(features[held_out])
        model = _model(STRENGTHS[0], CHOICE_TOLERANCE)
        for number, strength in enumerate(STRENGTHS):
            kernel, bias = _fitted(model.set_params(C=strength), seen, labels[train], classes)
            logits[number, held_out] = unseen @ kernel + bias
    losses = [log_loss(values, labels) for values in logits]
    best = int(np.argmin(losses))
    return STRENGTHS[best], logits[best]


def _model(strength: float, tolerance: float) -> LogisticRegression:
    return LogisticRegression(C=strength, tol=tolerance, max_iter=MAX_ITERATIONS, warm_start=True)


def _fitted(
    model: LogisticRegression, values: Floats, labels: Labels, classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Kernel (D, classes) and bias (classes,) of a model fitted to images that may lack some classes."""
    kernel, bias = np.zeros((values.shape[1], classes)), np.full(classes, MISSING)
    present = np.unique(labels)
    if len(present) == 1:
        bias[present] = 0
        return kernel, bias
    model.fit(values, labels)
    coefficients, intercepts = model.coef_, model.intercept_
    if len(present) == 2:  # scikit-learn keeps the second class's logit alone
        coefficients = np.vstack([-coefficients, coefficients]) / 2
        intercepts = np.array([-1, 1]) * intercepts / 2
    kernel[:, present], bias[present] = coefficients.T, intercepts
    return kernel, bias


def log_loss(logits: Floats, labels: Labels) -> float:
    """Mean cross-entropy of logits, float32 (n, classes), in nats."""
    values = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    log_sums = np.log(np.exp(values).sum(axis=1))
    return float((log_sums - values[np.arange(len(labels)), labels]).mean())
