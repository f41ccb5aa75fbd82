"""The first paragraph of a report, in words: is the model good, what is wrong, what to do next."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tasks.core.evaluation import evaluate, scores, test_size
from tasks.core.metrics.comparison import baseline
from tasks.core.reports.inputs import ReportInputs, Scores
from tasks.core.reports.sections import next_steps
from tasks.core.shares import unbroken_percent

WORDS = {
    baseline.BETTER: "proven better than no model",
    baseline.OPEN: "not proven better than no model",
    baseline.BELOW: "below what needs no model",
    baseline.WORSE: "proven worse than no model",
}


def key_findings(inputs: ReportInputs, values: Mapping[str, Any]) -> dict[str, Any]:
    """The sentences, and the steps that are most worth doing.

    Args:
        inputs: The run.
        values: What the report shows already: classes, leaks, unproven.
    """
    test = scores.read_metrics(inputs.evaluation)["test"]
    found = test_size.read(inputs.evaluation, inputs.decision.evidence)
    sentences = [
        accuracy(inputs.decision.version, test, "test image"),
        against_no_model(test),
        values["unproven"] and f"{values['unproven']}.",
        _against_champion(inputs.decision.evidence),
        mixed_up(inputs, inputs.decision.evidence.get("lost_classes", ())),
    ]
    return {
        "sentences": [sentence for sentence in sentences if sentence],
        "steps": next_steps.next_steps(inputs, values["classes"], values["leaks"], found),
    }


def accuracy(version: str, test: Mapping[str, Any], noun: str) -> str:
    """How many images are predicted correctly, with the interval.

    Args:
        version: The model's name.
        test: The metrics of the images.
        noun: What one of them is called.
    """
    found, count = test["accuracy"], test["images"]
    value, low, high = (unbroken_percent(found[name]) for name in ("value", "low", "high"))
    return (
        f"{version} predicts {value} of {count:,} {noun}{'' if count == 1 else 's'} "
        f"correctly (95 % interval {low} to {high})."
    )


def against_no_model(test: Mapping[str, Any]) -> str:
    """The most probable classes against the commonest class, which needs no model; empty if unknown."""
    if "baseline" not in test:
        return ""
    found = test["baseline"]
    if only := found.get("only_class"):
        return f"It is {WORDS[baseline.OPEN]}: all images are of the class {only}, which proves nothing."
    words = WORDS[found["answer"]]
    if found["answer"] == baseline.BETTER and found["accuracy_gain"]["low"] <= 0:
        words += " by its probabilities (log loss), but not by its accuracy"
    return (
        f"It is {words}: always answering {found['class_name']} is correct for "
        f"{unbroken_percent(test['majority_accuracy']['value'])}, a difference of "
        f"{_points(found['accuracy_gain'])}."
    )


def _against_champion(evidence: Mapping[str, Any]) -> str:
    compared, champion = evidence.get("paired"), evidence.get("champion_version")
    if not compared or not champion:
        return "There was no champion to compare it with."
    gain = {"value": compared["difference"], "low": compared["low"], "high": compared["high"]}
    word = "more accurate than" if gain["low"] > 0 else "less accurate than" if gain["high"] < 0 else ""
    words = f"proven {word}" if word else "neither proven more accurate nor less accurate than"
    return f"It is {words} champion {champion}: a difference of {_points(gain)} on the same images."


def mixed_up(inputs: Scores, more_classes: Sequence[str] = ()) -> str:
    """The two classes that are mixed up most, in both directions.

    Args:
        inputs: The evaluation and its images.
        more_classes: Classes of the confusion matrix behind those of the images.
    """
    counts = evaluate.read_confusion(inputs.evaluation)
    wrong = np.triu(counts + counts.T, 1)
    mistakes = int(wrong.sum())
    if not mistakes:
        return "It makes no mistake on these images."
    first, second = (int(place) for place in np.unravel_index(int(wrong.argmax()), wrong.shape))
    names = (*inputs.tensors.classes, *more_classes)
    if counts[second, first] > counts[first, second]:
        first, second = second, first
    there, back = int(counts[first, second]), int(counts[second, first])
    return (
        f"Mixed up most are {names[first]} and {names[second]}: {int(wrong.max()):,} of "
        f"{mistakes:,} mistake{'' if mistakes == 1 else 's'}. "
        f"{_predicted(there, names[first], names[second])}, and "
        + (f"{back:,} of class {names[second]} as {names[first]}." if back else "none the other way round.")
    )


def _predicted(count: int, label: str, predicted: str) -> str:
    """Mistakes of one kind.

    >>> _predicted(1, "3", "7"), _predicted(12, "rose", "tulip")
    ('1 image of class 3 is predicted as 7', '12 images of class rose are predicted as tulip')
    """
    images = f"{count:,} image{'' if count == 1 else 's'}"
    return f"{images} of class {label} {'is' if count == 1 else 'are'} predicted as {predicted}"


def _points(gain: Mapping[str, float]) -> str:
    ends = f"{gain['low'] * 100:+.1f} to {gain['high'] * 100:+.1f}"
    return f"{gain['value'] * 100:+.1f} points (95 % interval {ends})"
