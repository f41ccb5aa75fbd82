"""The first paragraph of a report, in words: is the model good, what is wrong, what to do next."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tasks.core.evaluation import evaluate, scores, test_size
from tasks.core.metrics.comparison import baseline
from tasks.core.reports.inputs import ReportInputs
from tasks.core.reports.sections import next_steps

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
        values: What the report shows already: classes, leaks.
    """
    test = scores.read_metrics(inputs.evaluation)["test"]
    found = test_size.read(inputs.evaluation, inputs.decision.evidence)
    sentences = [
        _accuracy(inputs, test),
        _against_no_model(test),
        _against_champion(inputs.decision.evidence),
        _mixed_up(inputs),
    ]
    return {
        "sentences": [sentence for sentence in sentences if sentence],
        "steps": next_steps.next_steps(inputs, values["classes"], values["leaks"], found),
    }


def _accuracy(inputs: ReportInputs, test: Mapping[str, Any]) -> str:
    accuracy = test["accuracy"]
    return (
        f"{inputs.decision.version} predicts {_percent(accuracy['value'])} of {test['images']:,} test images "
        f"correctly (95 % interval {_percent(accuracy['low'])} to {_percent(accuracy['high'])})."
    )


def _against_no_model(test: Mapping[str, Any]) -> str:
    """The most probable classes against the commonest class, which needs no model."""
    if "baseline" not in test:
        return ""
    found = test["baseline"]
    return (
        f"It is {WORDS[found['answer']]}: always answering {found['class_name']} is correct for "
        f"{_percent(test['majority_accuracy']['value'])}, a difference of {_points(found['accuracy_gain'])}."
    )


def _against_champion(evidence: Mapping[str, Any]) -> str:
    compared, champion = evidence.get("paired"), evidence.get("champion_version")
    if not compared or not champion:
        return "There was no champion to compare it with."
    gain = {"value": compared["difference"], "low": compared["low"], "high": compared["high"]}
    word = "more accurate than" if gain["low"] > 0 else "less accurate than" if gain["high"] < 0 else ""
    words = f"proven {word}" if word else "neither proven more accurate nor less accurate than"
    return f"It is {words} champion {champion}: a difference of {_points(gain)} on the same images."


def _mixed_up(inputs: ReportInputs) -> str:
    """The two classes that are mixed up most, in both directions."""
    counts = evaluate.read_confusion(inputs.evaluation)
    wrong = np.triu(counts + counts.T, 1)
    mistakes = int(wrong.sum())
    if not mistakes:
        return "It makes no mistake on these images."
    first, second = (int(place) for place in np.unravel_index(int(wrong.argmax()), wrong.shape))
    names = (*inputs.tensors.classes, *inputs.decision.evidence.get("lost_classes", ()))
    if counts[second, first] > counts[first, second]:
        first, second = second, first
    return (
        f"Mixed up most are {names[first]} and {names[second]}: {int(wrong.max()):,} of "
        f"{mistakes:,} mistake{'' if mistakes == 1 else 's'}, of which {int(counts[first, second]):,} "
        f"{names[first]} predicted as {names[second]}."
    )


def _points(gain: Mapping[str, float]) -> str:
    ends = f"{gain['low'] * 100:+.1f} to {gain['high'] * 100:+.1f}"
    return f"{gain['value'] * 100:+.1f} points (95 % interval {ends})"


def _percent(share: float) -> str:
    return f"{share * 100:.1f}\N{NO-BREAK SPACE}%"
