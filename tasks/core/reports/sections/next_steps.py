"""What is most worth doing next: each step with what it may change of the test accuracy, and its command.

The steps are ordered by the share of the test images that is at stake, largest first:

- labels in doubt: the share of images whose label is estimated to be wrong;
- leaks: the accuracy of all test images minus that of those without a leak;
- images of a class: the mistakes that it would not make with the recall of the middle class, if its interval
  is below that recall;
- test images: the difference that the test misses as often as it finds it, if a comparison was left open.

The first is always shown, another one only if its share is not below `LEAST`. Without any of these, a model
that makes mistakes needs images of all classes.
"""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.core.metrics.comparison import detectable
from tasks.core.metrics.comparison.detectable import Detectable
from tasks.core.operations.command_line import train_command
from tasks.core.reports.inputs import ReportInputs
from tasks.core.reports.sections.leaks import are_dropped
from tasks.core.shares import unbroken_percent

LEAST = 0.002  # share of the test images
SHOWN = 2
TO_LABEL = 100  # images that are named at once
SMALLEST = 0.005  # difference of accuracies that test images are counted for
NAMES_IMAGES = f"The command names the {TO_LABEL} images of a folder that are most worth a label."


@dataclass(frozen=True)
class Step:
    """A step.

    Args:
        stake: Share of the test images that it is about, 0..1.
        text: What to do and why.
        command: The command line for it.
    """

    stake: float
    text: str
    command: str


def next_steps(
    inputs: ReportInputs,
    classes: Sequence[Mapping[str, Any]],
    leaks: Sequence[Mapping[str, Any]],
    found: Detectable,
) -> list[Step]:
    """The steps that are most worth doing, at most `SHOWN`.

    Args:
        inputs: The run.
        classes: The per-class metrics of the test images: class_name, support, recall.
        leaks: As `leaks.leak_accuracies` returns them.
        found: What the test images can tell.
    """
    dataset, images = inputs.tensors.dataset, inputs.evaluation.images
    steps = [
        *_labels(inputs),
        *_without_leaks(inputs, leaks),
        *of_a_class(dataset, images, classes),
        *_test_images(inputs, found),
    ]
    return first(steps) or of_all_classes(dataset, 1 - inputs.evaluation.accuracy)


def first(steps: Iterable[Step]) -> list[Step]:
    """The steps with the most at stake, at most `SHOWN`."""
    ordered = sorted((step for step in steps if step.stake > 0), key=lambda step: -step.stake)
    return ordered[:1] + [step for step in ordered[1:SHOWN] if step.stake >= LEAST]


def _labels(inputs: ReportInputs) -> Iterator[Step]:
    """Look at the labels in doubt, if some are estimated to be wrong."""
    doubtful = inputs.label_issues
    if doubtful is None or doubtful.expected_wrong is None:
        return
    listed, total = (
        sum(doubtful.counts.values()),
        inputs.tensors.train + inputs.tensors.val + inputs.tensors.test,
    )
    wrong = doubtful.expected_wrong
    if round(wrong) < 1:  # the model's own mistakes explain them
        return
    text = (
        f"Look at {_count(listed, 'label')} in doubt: about {wrong:,.0f} of them {_are(round(wrong))} wrong, "
        f"{unbroken_percent(wrong / total)} of all images."
    )
    yield Step(wrong / total, text, shlex.join(["plumbline", "review", "--dataset", inputs.tensors.dataset]))


def _without_leaks(inputs: ReportInputs, leaks: Sequence[Mapping[str, Any]]) -> Iterator[Step]:
    """Train without the duplicates of test images, if they raise the accuracy."""
    if not leaks or are_dropped(inputs.trained):
        return
    everything, without, only = leaks
    stake = everything["accuracy"] - without["accuracy"]
    text = (
        f"Train without duplicates of test images: {_count(only['images'], 'test image')} "
        f"{'has' if only['images'] == 1 else 'have'} one in train or val. Without these test images the "
        f"accuracy is {unbroken_percent(without['accuracy'])} "
        f"({unbroken_percent(without['accuracy_low'])} to "
        f"{unbroken_percent(without['accuracy_high'])}) instead of "
        f"{unbroken_percent(everything['accuracy'])}."
    )
    yield Step(stake, text, _train(inputs, drop_leaks=True))


def of_a_class(dataset: str, images: int, classes: Sequence[Mapping[str, Any]]) -> Iterator[Step]:
    """Add images of the class that costs most against the middle class, of those proven below it.

    Args:
        dataset: The dataset of the model.
        images: Number of test images.
        classes: See `next_steps`.
    """
    known = [row for row in classes if row["recall"] is not None]
    if len(known) < 2:
        return
    middle = float(np.median([row["recall"] for row in known]))
    weaker = [row for row in known if row["recall_high"] < middle]
    if not weaker:
        return
    lost = [(middle - row["recall"]) * row["support"] for row in weaker]
    worst = weaker[int(np.argmax(lost))]
    text = (
        f"Add images of {worst['class_name']}: its recall is {unbroken_percent(worst['recall'])} "
        f"({unbroken_percent(worst['recall_low'])} to {unbroken_percent(worst['recall_high'])}), that of the "
        f"middle class {unbroken_percent(middle)}. {NAMES_IMAGES}"
    )
    yield Step(max(lost) / images, text, _label_next(dataset))


def of_all_classes(dataset: str, wrong: float) -> list[Step]:
    """Add images of any class, if the model makes mistakes; no step if it makes none.

    Args:
        dataset: The dataset of the model.
        wrong: Share of the test images that are predicted wrongly, 0..1.
    """
    text = f"Add images of all classes: none is proven weaker than the middle class. {NAMES_IMAGES}"
    return [Step(wrong, text, _label_next(dataset))] if wrong > 0 else []


def _label_next(dataset: str) -> str:
    words = ["plumbline", "predict", "NEW_IMAGES", "--dataset", dataset]
    return shlex.join([*words, "--label-next", str(TO_LABEL)])


def _test_images(inputs: ReportInputs, found: Detectable) -> Iterator[Step]:
    """Add test images, if the comparison with the champion was left open or nothing can be proven."""
    compared = inputs.decision.evidence.get("paired")
    is_open = compared is not None and compared["low"] <= 0 <= compared["high"]
    if found.most is not None and not is_open:
        return
    difference = max(abs(compared["difference"]) if compared else 0.0, SMALLEST)
    yield more_test_images(found, difference, _train(inputs))


def more_test_images(found: Detectable, difference: float, command: str) -> Step:
    """Add test images.

    Args:
        found: What the test images can tell.
        difference: Of two accuracies, that more images would find, 0..1.
        command: What to run with them.
    """
    needed = detectable.images_for(difference, found.discordant)
    text = (
        f"Add test images: these {found.images:,} are too few to tell two models apart that differ by "
        f"{difference * 100:.1f} points. About {needed:,} would find it in 80 % of cases."
    )
    return Step(1.0 if found.half is None else found.half, text, command)


def _train(inputs: ReportInputs, **changed: Any) -> str:
    return train_command(inputs.parameters | changed)


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
