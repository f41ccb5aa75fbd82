"""The model beside the two answers that need no model, on the same images.

One always answers with the commonest class of the train images: the accuracy to beat. One always gives the
classes' shares among them as probabilities: the log loss to beat. Where equal probabilities of all classes
fit the images better, as in a balanced test after an uneven train, these are to beat. A model is better than
these if it is below neither, and if one of the two differences is proven, that is, its 95 % interval excludes
0. Accuracy alone would not do: where one class has 93 % of the images, a good model's accuracy can be equal
to the commonest class's share while its probabilities tell a lot. Decisions at an operating point buy recall
with accuracy on purpose, so the model is judged by its most probable classes.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core import shares
from tasks.core.metrics import classification, cluster, intervals
from tasks.core.metrics.classification import Estimate
from tasks.core.metrics.comparison import equivalence, paired
from tasks.core.metrics.intervals import Floats, Ints

OF_TRAIN, EQUAL = "the classes' shares", "equal shares of the classes"  # the probabilities of every image
MOST_LOSS = -float(np.log(classification.FLOOR))  # nats of one image
BETTER, OPEN, BELOW, WORSE = "better", "open", "below", "worse"  # the answers


def baselines(
    labels: NDArray[np.integer], train_counts: Ints, groups: Ints | None = None
) -> dict[str, Estimate]:
    """The scores of the two answers: majority_accuracy and prior_log_loss.

    Args:
        labels: Integers (N,), 0..C-1.
        train_counts: int64 (C,), images of each class among the train images; the lowest class number wins a
            tie. If a class has none, each class counts as if it had one more (Laplace).
        groups: int64 (N,), which images belong together; None if each is by itself.
    """
    correct = labels == train_counts.argmax()
    if groups is None:
        low, high = intervals.wilson(np.asarray(correct.sum()), np.asarray(len(labels)))
        ends, method = (float(low), float(high)), "wilson"
    else:
        ends, method = cluster.rate(correct, groups), "cluster"
    losses = constant_losses(labels, train_counts)
    return {
        "majority_accuracy": Estimate(float(correct.mean()), *ends, method),
        "prior_log_loss": classification.mean(losses, MOST_LOSS, groups),
    }


def _mean_gain(saved: Floats, groups: Ints | None) -> Estimate:
    """The mean of differences of losses with its interval."""
    if groups is not None:
        return Estimate(float(saved.mean()), *cluster.mean(saved, groups), "cluster")
    return Estimate(float(saved.mean()), *intervals.of_mean(saved, -MOST_LOSS, MOST_LOSS), "skewness")


def _accuracy_gain(
    correct: NDArray[np.bool_], by_majority: NDArray[np.bool_], groups: Ints | None
) -> Estimate:
    """The difference of two accuracies on the same images with its interval.

    Without groups it is the wider of Tango's interval and the one of the exact test, so that it excludes 0
    only if McNemar's exact test agrees: 3 images won and none lost prove nothing (p = 0.25).
    """
    if groups is not None:
        outcome = paired.compare_outcomes(correct, by_majority, groups)
        return Estimate(outcome.difference, outcome.low, outcome.high, "paired")
    won, lost, images = int((correct & ~by_majority).sum()), int((by_majority & ~correct).sum()), len(correct)
    tango = equivalence.compare(won, lost, images, margin=1.0)
    ends = intervals.clopper_pearson(np.asarray(won), np.asarray(won + lost)) if won + lost else (0.5, 0.5)
    low, high = ((2 * float(end) - 1) * (won + lost) / images for end in ends)
    return Estimate(tango.difference, min(low, tango.low), max(high, tango.high), "paired")


def compare(
    labels: NDArray[np.integer],
    probabilities: NDArray[np.floating],
    train_counts: Ints,
    classes: tuple[str, ...],
    groups: Ints | None = None,
    *,
    most_probable: Ints | None = None,
) -> dict[str, Any]:
    """The model's gains over both answers, with 95 % intervals, as JSON values.

    Args:
        labels: Integers (N,), 0..C-1.
        probabilities: Floats (N, C), 0..1.
        train_counts: int64 (C,), see `baselines`.
        classes: Names of the C classes.
        groups: int64 (N,), which images belong together; None if each is by itself.
        most_probable: int64 (N,), the most probable classes, if they are known already.

    Returns:
        class_name, the commonest class; accuracy, that of the most probable classes; shares, which of the two
        fit better; accuracy_gain and log_loss_gain, estimates; answer: "better", "open" (not proven), "below"
        (one of the two gains is) or "worse" (that is proven); only_class, the class of all images, else
        empty. Images of one class prove nothing: on them, more confidence in it is better.
    """
    if most_probable is None:
        most_probable = classification.predicted_classes(probabilities)
    losses = classification.log_losses(labels, probabilities)
    return compare_answers(labels, most_probable, losses, train_counts, classes, groups)


def compare_answers(
    labels: NDArray[np.integer],
    most_probable: NDArray[np.integer],
    losses: Floats,
    train_counts: Ints,
    classes: tuple[str, ...],
    groups: Ints | None = None,
) -> dict[str, Any]:
    """As `compare`, without the probabilities.

    Args:
        labels, train_counts, classes, groups: As in `compare`.
        most_probable: Integers (N,), the most probable classes.
        losses: float64 (N,), `classification.log_losses` of the model.
    """
    majority = int(train_counts.argmax())
    correct = most_probable == labels
    accuracy_gain = _accuracy_gain(correct, labels == majority, groups)
    shares_name, of_shares = _better_shares(labels, train_counts)
    gains = accuracy_gain, _mean_gain(of_shares - losses, groups)
    only_class = classes[labels[0]] if (labels == labels[0]).all() else ""
    return {
        "class_name": classes[majority],
        "accuracy": float(correct.mean()),
        "shares": shares_name,
        "accuracy_gain": gains[0].record(),
        "log_loss_gain": gains[1].record(),
        "answer": OPEN if only_class else _answer(gains),
        "only_class": only_class,
    }


def _answer(gains: tuple[Estimate, ...]) -> str:
    if any(gain.high < 0 for gain in gains):
        return WORSE
    if any(gain.value < 0 for gain in gains):
        return BELOW
    return BETTER if any(gain.low > 0 for gain in gains) else OPEN


def answer(test: Mapping[str, Any]) -> str:
    """The answer in the metrics of a split; "better" for an evaluation of an earlier version."""
    return str(test.get("baseline", {}).get("answer", BETTER))


def is_below(test: Mapping[str, Any], gain: str) -> bool:
    """Whether "accuracy_gain" or "log_loss_gain" is below 0 in the metrics of a split."""
    return bool(test.get("baseline") and test["baseline"][gain]["value"] < 0)


def remark(test: Mapping[str, Any]) -> str:
    """What a verdict adds on a model that is not proven better than both answers; empty if it is.

    Args:
        test: The metrics of the test images.
    """
    if answer(test) == BETTER:
        return ""
    found, majority = test["baseline"], test["majority_accuracy"]["value"]
    if found.get("only_class"):
        return (
            f"not proven better than no model, since all test images are of the class {found['only_class']}"
        )
    always = f"always answering {found['class_name']}: {shares.percent(majority)}"
    if is_below(test, "accuracy_gain"):
        return f"worse than {always}" if found["accuracy_gain"]["high"] < 0 else f"below {always}"
    if is_below(test, "log_loss_gain"):
        return f"its probabilities are no better than {found.get('shares', OF_TRAIN)}"
    return f"not proven better than {always}"


def sentence(test: Mapping[str, Any]) -> str:
    """The model beside both answers; empty for an evaluation of an earlier version.

    Args:
        test: The metrics of the test images.
    """
    if "baseline" not in test:
        return ""
    found = test["baseline"]
    if only := found.get("only_class"):
        return f"not proven better than no model: all images are of the class {only}, which proves nothing"
    words = {BETTER: "better than", OPEN: "not proven better than", BELOW: "below", WORSE: "worse than"}
    accuracy, loss = found["accuracy_gain"], found["log_loss_gain"]
    of_shares = shares_log_loss(test)
    interval = f"{accuracy['low'] * 100:+.1f} to {accuracy['high'] * 100:+.1f}"
    return (
        f"{words[found['answer']]} no model: always answering {found['class_name']} scores "
        f"{shares.percent(test['majority_accuracy']['value'])}, the most probable class "
        f"{shares.percent(found['accuracy'])} ({accuracy['value'] * 100:+.1f} points, 95 % interval "
        f"{interval}); {found.get('shares', OF_TRAIN)} have a log loss of {of_shares:.3f}, the model "
        f"{test['log_loss']['value']:.3f} ({-loss['value']:+.3f}, "
        f"95 % interval {-loss['high']:+.3f} to {-loss['low']:+.3f})"
    )


def shares_log_loss(test: Mapping[str, Any]) -> float:
    """The log loss of the shares that the model is compared with, on the same images."""
    return float(test["log_loss"]["value"] + test["baseline"]["log_loss_gain"]["value"])


def constant_losses(labels: NDArray[np.integer], train_counts: Ints) -> Floats:
    """Log loss of each image if the classes' shares are its probabilities, float64 (N,)."""
    counts = train_counts if train_counts.all() else train_counts + 1
    return classification.losses_of((counts / counts.sum())[labels])


def _better_shares(labels: NDArray[np.integer], train_counts: Ints) -> tuple[str, Floats]:
    """The shares that fit the images better, and the loss of each image, float64 (N,)."""
    of_train, equal = (
        constant_losses(labels, counts) for counts in (train_counts, np.ones_like(train_counts))
    )
    return (EQUAL, equal) if equal.mean() < of_train.mean() else (OF_TRAIN, of_train)
