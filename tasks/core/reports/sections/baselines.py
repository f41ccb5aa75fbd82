"""The model beside the answers that need no model, and beside the champion."""

from typing import Any

from tasks.core.evaluation import scores
from tasks.core.metrics.comparison import baseline
from tasks.core.reports.inputs import ReportInputs


def status(inputs: ReportInputs, *, promoted: bool, worse: bool) -> str:
    """The colour of the verdict: good, hold or bad.

    Nothing is good that is not proven better than answering without a model.

    Args:
        inputs: The run.
        promoted: Whether the model became champion, and leaks leave no doubt of it.
        worse: Whether it is proven worse than the champion.
    """
    found = baseline.answer(scores.read_metrics(inputs.evaluation)["test"])
    if worse or found == baseline.WORSE:
        return "bad"
    return "good" if promoted and found == baseline.BETTER else "hold"


def section(inputs: ReportInputs) -> dict[str, Any]:
    """The rows name, accuracy and log loss (estimates), a sentence, and the metrics that are too low."""
    test = scores.read_metrics(inputs.evaluation)["test"]
    if "baseline" not in test:
        return {"rows": [], "sentence": "", "below": []}
    evidence = inputs.decision.evidence
    rows = [{"name": inputs.decision.version, "accuracy": test["accuracy"], "log_loss": test["log_loss"]}]
    if champion := evidence.get("champion_scores"):
        rows.append({"name": f"champion {evidence['champion_version']}", **champion})
    majority = f"always {test['baseline']['class_name']}"
    rows.append({"name": majority, "accuracy": test["majority_accuracy"], "log_loss": None})
    rows.append({"name": baseline.OF_TRAIN, "accuracy": None, "log_loss": test["prior_log_loss"]})
    if test["baseline"].get("shares") == baseline.EQUAL:
        loss = baseline.shares_log_loss(test)  # the same of every image, whatever its label
        exact = {"value": loss, "low": loss, "high": loss, "method": "exact"}
        rows.append({"name": baseline.EQUAL, "accuracy": None, "log_loss": exact})
    gains = {"accuracy": "accuracy_gain", "log_loss": "log_loss_gain"}
    below = [name for name, gain in gains.items() if baseline.is_below(test, gain)]
    return {
        "rows": rows,
        "sentence": baseline.sentence(test),
        "answer": baseline.answer(test),
        "below": below,
    }
