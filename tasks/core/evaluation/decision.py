"""What the user asks of the decision, for the classes of a dataset, and the point that val gives for it."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core.data import csv_text
from tasks.core.decision_settings import DecisionSettings
from tasks.core.errors import DataError, UsageError
from tasks.core.metrics.thresholds import operating_point
from tasks.core.metrics.thresholds.operating_point import OperatingPoint, Promise

MAX_NAMED = 20  # classes that an error lists
Costs = tuple[tuple[float, ...], ...]


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
        _read_rows(settings.cost_file)


def _costs(settings: DecisionSettings, classes: Sequence[str]) -> Costs:
    if settings.cost_file is not None:
        return read_costs(settings.cost_file, classes)
    pair = settings.pair_of_costs()
    if pair is None:
        return ()
    matrix = np.zeros((len(classes), len(classes)))
    positive = classes.index(str(settings.positive))
    matrix[positive, :], matrix[:, positive] = pair
    matrix[positive, positive] = 0
    return tuple(tuple(map(float, row)) for row in matrix)


def read_costs(path: Path, classes: Sequence[str]) -> Costs:
    """The costs in a CSV file, in the order of the classes.

    Args:
        path: Its header and its first column have the names of the classes, in any order.
        classes: Names of the classes.

    Raises:
        DataError: It cannot be read, lacks a class or has another one, or a cost is not a number of at least
            0, or no mistake costs anything.
    """
    rows = _read_rows(path)
    columns, names = rows[0][1:], [row[0] for row in rows[1:]]
    for place, found in (("header", columns), ("first column", names)):
        _check_cost_classes(path, place, found, classes)
    costs = {
        name: dict(zip(columns, row[1:], strict=False)) for name, row in zip(names, rows[1:], strict=True)
    }
    matrix = tuple(
        tuple(_cost(path, true, predicted, costs[true].get(predicted, "")) for predicted in classes)
        for true in classes
    )
    if not any(value for number, row in enumerate(matrix) for value in (*row[:number], *row[number + 1 :])):
        raise DataError(f"{path} says that no mistake costs anything", expected="a cost above 0")
    return matrix


def _read_rows(path: Path) -> list[list[str]]:
    try:
        with csv_text.opened(path) as (file, separator):
            lines = csv.reader(file, delimiter=separator)
            rows = [[cell.strip() for cell in row] for row in lines if any(map(str.strip, row))]
    except (OSError, csv.Error) as error:
        raise DataError(
            f"the costs in {path} cannot be read", expected="a CSV file in UTF-8 or UTF-16", found=str(error)
        ) from error
    if not rows:
        raise DataError(f"{path} has no costs", expected="class names in the header and the first column")
    return rows


def _check_cost_classes(path: Path, place: str, found: Sequence[str], classes: Sequence[str]) -> None:
    unknown = [name for name in found if name not in classes]
    missing = [name for name in classes if name not in found]
    twice = [name for name in dict.fromkeys(found) if found.count(name) > 1]
    problems = {"unknown": unknown, "missing": missing, "twice": twice}
    if any(problems.values()):
        raise DataError(
            f"the {place} of {path} does not have the classes of the images",
            expected=_listed(classes),
            found="; ".join(f"{kind}: {_listed(names)}" for kind, names in problems.items() if names),
            done="nothing was trained or evaluated",
        )


def _cost(path: Path, true: str, predicted: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise DataError(
            f"{path} has no cost of predicting {predicted} for an image of {true}",
            expected="a number of at least 0",
            found=repr(text),
            done="nothing was trained or evaluated",
        )
    return value


def _check_class(option: str, name: str, classes: Sequence[str]) -> None:
    if name not in classes:
        raise UsageError(
            f"{option} names a class that the images do not have",
            expected=f"one of {_listed(classes)}",
            found=name,
            done="nothing was trained or evaluated",
        )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more


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
