"""What the user asks of the decision, for the classes of a dataset, and the point that val gives for it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core.data import cost_file
from tasks.core.data.cost_file import Costs, listed
from tasks.core.decision_settings import DecisionSettings
from tasks.core.errors import UsageError
from tasks.core.metrics.thresholds import operating_point
from tasks.core.metrics.thresholds.operating_point import OperatingPoint, Promise


@dataclass(frozen=True)
class DecisionRequest:
    """What is asked of the decision; every class in it exists.

    Args:
        positive: The class that the curves are about; empty for a default.
        promises: recall or precision, a class, and the least value, 0..1.
        costs: Rows of true, columns of predicted classes, in the order of the classes; () without.
        prevalence: Share of the positive class in use, 0..1; None if not given.
    """

    positive: str = ""
    promises: tuple[tuple[str, str, float], ...] = ()
    costs: Costs = ()
    prevalence: float | None = None

    def record(self) -> dict[str, Any]:
        """The request as parameters of a stage: empty if nothing is asked."""
        values = {
            "positive": self.positive,
            "promises": [f"{measure} of {name} at least {least:g}" for measure, name, least in self.promises],
            "costs": [list(row) for row in self.costs],
            "prevalence": self.prevalence,
        }
        return {name: value for name, value in values.items() if value not in ("", [], None)}

    def positive_label(self, classes: Sequence[str], train_labels: NDArray[np.integer]) -> int | None:
        """The class that the curves are about; None if it is every class.

        Args:
            classes: Names of the C classes.
            train_labels: Integers, 0..C-1: of two classes, the rarer one is meant, of equals the second.
        """
        named = self.positive or next((name for _, name, _ in self.promises), "")
        if named:
            return classes.index(named)
        if len(classes) != 2:
            return None
        first, second = np.bincount(train_labels, minlength=2)
        return 0 if first < second else 1


def resolve(settings: DecisionSettings, classes: Sequence[str]) -> DecisionRequest:
    """What is asked, for these classes.

    Raises:
        UsageError: An option names an unknown class, or needs --positive.
        DataError: The file with the costs cannot be used.
    """
    promises = tuple(settings.promises())
    if settings.positive is not None:
        _check_class("--positive", settings.positive, classes)
    for measure, name, _ in promises:
        _check_class(f"--least-{measure}", name, classes)
    if settings.prevalence is not None and settings.positive is None and not promises and len(classes) != 2:
        raise UsageError(
            "--prevalence is about one class",
            expected=f"--positive CLASS, since there are {len(classes)} classes",
            found="no --positive",
        )
    return DecisionRequest(settings.positive or "", promises, _costs(settings, classes), settings.prevalence)


def check_classes(option: str, names: Sequence[str], classes: Sequence[str]) -> None:
    """Refuse an option that names a class that the images do not have.

    Raises:
        UsageError: There is one.
    """
    for name in names:
        _check_class(option, name, classes)


def check_cost_file(settings: DecisionSettings) -> None:
    """Refuse a file of costs that cannot be read, before there are classes.

    Raises:
        DataError: It is missing, or no CSV file.
    """
    if settings.cost_file is not None:
        cost_file.lines(settings.cost_file)


def _costs(settings: DecisionSettings, classes: Sequence[str]) -> Costs:
    if settings.cost_file is not None:
        return cost_file.read(settings.cost_file, classes)
    pair = settings.pair_of_costs()
    if pair is None:
        return ()
    matrix = np.zeros((len(classes), len(classes)))
    positive = classes.index(str(settings.positive))
    matrix[positive, :], matrix[:, positive] = pair
    matrix[positive, positive] = 0
    return tuple(tuple(map(float, row)) for row in matrix)


def _check_class(option: str, name: str, classes: Sequence[str]) -> None:
    if name not in classes:
        raise UsageError(
            f"{option} names a class that the images do not have",
            expected=f"one of {listed(classes)}",
            found=name,
            done="nothing was trained or evaluated",
        )


@dataclass(frozen=True)
class ChosenPoint:
    """The operating point of a model for a request.

    Args:
        point: None if nothing is asked, or if val has no image to choose a threshold by.
        kept: Whether everything that was promised is proven on val.
        sentences: What is decided and what is proven, in words.
    """

    point: OperatingPoint | None
    kept: bool
    sentences: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """The chosen point as JSON values."""
        rule = self.point.record() if self.point else None
        return {"rule": rule, "kept": self.kept, "sentences": list(self.sentences)}


def choose(
    request: DecisionRequest,
    labels: NDArray[np.integer],
    probabilities: NDArray[np.floating],
    classes: Sequence[str],
) -> ChosenPoint:
    """Choose the operating point on the validation images.

    Args:
        request: What is asked.
        labels: Integers (N,), 0..C-1, of the val images.
        probabilities: Floats (N, C) of the val images, as the published model gives them.
        classes: Names of the C classes.
    """
    if request.costs:
        sentence = "The class with the lowest expected cost is predicted."
        return ChosenPoint(OperatingPoint(costs=request.costs), True, (sentence,))
    thresholds: list[tuple[int, float]] = []
    sentences, kept = [], True
    values = np.array(probabilities, np.float64) if request.promises else np.zeros((0, 0))
    for measure, name, least in request.promises:
        label = classes.index(name)
        if measure == "recall":
            promise = operating_point.recall_threshold(
                values[labels == label, label], least, 1 / len(classes)
            )
        else:
            promise = operating_point.precision_threshold(labels == label, values[:, label], least)
        sentences.append(_sentence(measure, name, promise))
        kept = kept and promise.kept
        if promise.threshold is not None:
            thresholds.append((label, promise.threshold))
            values[values[:, label] >= promise.threshold] = -np.inf
    point = OperatingPoint(tuple(thresholds)) if thresholds else None
    return ChosenPoint(point, kept, tuple(sentences))


def _sentence(measure: str, name: str, promise: Promise) -> str:
    """What a threshold is proven to keep."""
    images = f"{promise.images:,} val image{'' if promise.images == 1 else 's'}"
    images += f" of {name}" if measure == "recall" else ""
    least = f"a {measure} of at least {promise.least * 100:g} %"
    if promise.threshold is None:
        return f"{name} has no threshold for {least}: among the {images} there is none to choose it by."
    rule = f"{name} is predicted from a probability of {promise.threshold:.6g} on"
    if promise.kept:
        return f"{rule}: {least} is proven with 95 % confidence by {images}."
    proven = f"{rule}, which proves {_floored(promise.proven)} %"
    if measure == "recall" and promise.images < promise.needed:
        why = f"{promise.needed:,} would be needed even if none is missed"
    elif promise.images < promise.needed:
        why = f"{promise.needed:,} that are predicted as {name} would be needed even if all are right"
    else:
        why = "no threshold keeps it"
    return f"{name}: {least} is not proven by {images}; {why}. {proven}."


def _floored(share: float) -> str:
    """A share in per cent, rounded down: a proven bound must not grow by rounding."""
    return f"{math.floor(share * 1000) / 10:g}"
