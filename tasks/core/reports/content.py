"""Computes the content of a run's report; the template only lays it out."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from tasks.core import markup, shares
from tasks.core.data.audit import duplicate_table
from tasks.core.evaluation import evaluate, scores
from tasks.core.evaluation.class_changes import unseen_sentence
from tasks.core.evaluation.label_issues import CORRECTIONS_FORM, read_label_issues
from tasks.core.metrics.calibration import expected_error, figures_at
from tasks.core.metrics.declared import declarations
from tasks.core.operations.command_line import train_command
from tasks.core.progress import duration
from tasks.core.registry.promotion import error_budget
from tasks.core.reports import plots, thumbnails
from tasks.core.reports.inputs import ReportInputs, Scores
from tasks.core.reports.sections import (
    activation_maps,
    all_images,
    baselines,
    class_reading,
    data_pictures,
    key_findings,
    leaks,
    learning,
    mistakes,
    recipes,
)
from tasks.core.reports.sections import slices as slice_section
from tasks.core.stage.handles import Evaluation, Handle
from tasks.core.storage import manifests
from tasks.core.workspace import Workspace

LARGEST_MATRIX = 20  # classes; a larger confusion matrix is a picture instead of a table


def content(inputs: ReportInputs) -> dict[str, Any]:
    """The values for `report.html.j2`, by name."""
    scored = evaluate.scored_of(inputs.evaluation, inputs.tensors, "test")
    metrics, unproven = scores.read_metrics(inputs.evaluation), leaks.unproven(inputs, scored)
    values = {
        "dataset": inputs.tensors.dataset,
        "tensors": inputs.tensors,
        "trained": inputs.trained,
        "evaluation": inputs.evaluation,
        "verdict": verdict(inputs, unproven),
        "metrics": metrics,
        "figures": declarations.figures(metrics["test"]),
        "baselines": baselines.section(inputs),
        "champion_scores": inputs.decision.evidence.get("champion_scores") or {},
        "test_size": all_images.test_size_text(inputs),
        "all_images": all_images.all_images(inputs),
        "cross_validated": recipes.cross_validated(inputs),
        "candidates": recipes.candidates(inputs),
        "backbone": inputs.trained.manifest["facts"].get("backbone"),
        "learning": learning.learning(inputs),
        "calibration": calibration(inputs),
        "matrix": matrix(inputs),
        "confusions": mistakes.confusions(scored, inputs.tensors.classes),
        "classes": class_rows(inputs),
        "reading": class_reading.class_reading(inputs),
        "slices": slice_section.section(inputs),
        "mistakes": mistakes.worst_mistakes(scored, inputs.tensors),
        "mistake_count": int(np.sum(scored.predicted != scored.labels)),
        "maps": activation_maps.section(inputs),
        "findings": inputs.findings,
        "unproven": unproven,
        "leaks": leaks.leak_accuracies(scored, duplicate_table.read_leaks(inputs.whole_audit)),
        "pairs": leaks.leak_pairs(inputs.whole_audit, inputs.tensors),
        "label_issues": label_issues(inputs),
        "exports": certificate(inputs),
        "stages": stages(inputs),
        "parameters": inputs.parameters,
        "lineage": lineage(inputs),
        "command": train_command(inputs.parameters, complete=True),
        "facts": inputs.facts,
    }
    return values | {
        "findings_in_words": key_findings.key_findings(inputs, values),
        "data_pictures": data_pictures.data_pictures(inputs, values["classes"]),
    }


def verdict(inputs: ReportInputs, unproven: str) -> dict[str, Any]:
    """The decision with its figures; for a model that was champion already, the decision that promoted it.

    Args:
        inputs: The run.
        unproven: See `leaks.unproven`.
    """
    decision, evidence = inputs.decision, inputs.decision.evidence
    promoted = evidence.get("promoted", decision.promoted)
    comparison, others = evidence.get("paired"), evidence.get("lost_classes", ())
    return {
        "version": decision.version,
        "promoted": promoted,
        "status": baselines.status(inputs, promoted=promoted and not unproven, worse=_is_worse(evidence)),
        "text": evidence.get("verdict", decision.verdict),
        "champion_version": evidence.get("champion_version", ""),
        "policy": evidence.get("policy", ""),
        "paired": comparison,
        "images": evidence.get("images"),
        "champion_accuracy": evidence.get("champion_accuracy"),
        "plot": comparison
        and "costs" not in evidence
        and plots.difference(comparison["difference"], comparison["low"], comparison["high"]),
        "regressions": thumbnails.thumbnails_of_test_images(
            evidence.get("regressions", [])[: thumbnails.DISAGREEMENTS], "challenger", inputs.tensors, others
        ),
        "improvements": thumbnails.thumbnails_of_test_images(
            evidence.get("improvements", [])[: thumbnails.DISAGREEMENTS], "champion", inputs.tensors, others
        ),
        "class_changes": {row["class_name"]: row for row in evidence.get("classes", [])},
        "test_set_uses": inputs.test_set_uses,
        "looks": error_budget.sentences(evidence),
        "unseen": unseen_sentence(evidence.get("classes", [])),
    }


def _is_worse(evidence: Mapping[str, Any]) -> bool:
    """Whether the challenger is proven worse: by its cost where mistakes have costs."""
    if costs := evidence.get("costs"):
        return bool(costs["low"] > 0)
    return bool(evidence.get("paired") and evidence["paired"]["high"] < 0)


def calibration(inputs: ReportInputs) -> dict[str, Any]:
    """The facts of `calibration.json`, the model's temperature, and two plots as SVG."""
    facts = scores.read_calibration(inputs.evaluation)
    facts |= {
        "model_temperature": inputs.trained.temperature,
        "ece_without_temperature": _ece_without_temperature(inputs),
    }
    plot = plots.risk_coverage(facts["risk_coverage"], facts["abstention"])
    return facts | {"plots": [plots.reliability(facts["reliability"]), plot]}


def _ece_without_temperature(inputs: ReportInputs) -> dict[str, Any]:
    """The calibration error that the model would have without its temperature scaling."""
    scored = evaluate.scored_of(inputs.evaluation, inputs.tensors, "test")
    confidence, _ = figures_at(scored.labels, scored.probabilities, 1 / inputs.trained.temperature)
    correct = scored.most_probable == scored.labels
    return expected_error(correct, confidence, scored.groups).estimate.record()


def matrix(inputs: Scores) -> dict[str, Any]:
    """The confusion matrix: a row of (count, share of the label's images) per class, and a picture.

    A matrix of more than `LARGEST_MATRIX` classes has no rows.
    """
    counts = evaluate.read_confusion(inputs.evaluation)
    shares_of_label = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    classes = inputs.tensors.classes
    large = len(classes) > LARGEST_MATRIX
    rows = [
        (name, [(int(n), float(share)) for n, share in zip(counts[i], shares_of_label[i], strict=True)])
        for i, name in enumerate(() if large else classes)
    ]
    return {
        "rows": rows,
        "picture": plots.confusion_png(counts, classes),
        "legend": markup.legend(classes),
        "large": large,
    }


def class_rows(inputs: Scores) -> list[dict[str, Any]]:
    """The per-class metrics of the test images, lowest recall first; undefined figures are None."""
    table = evaluate.read_classes(inputs.evaluation)
    test = table[table["split"] == "test"].drop(columns="split").sort_values("recall", kind="stable")
    plain: pd.DataFrame = test.astype(object).where(test.notna(), None)
    return [{str(name): value for name, value in row.items()} for row in plain.to_dict("records")]


def label_issues(inputs: ReportInputs) -> dict[str, Any] | None:
    """The label issues with pictures of the first ones; None if the stage did not run."""
    if inputs.label_issues is None:
        return None
    table = read_label_issues(inputs.label_issues)
    form = f"{inputs.label_issues.path}/{CORRECTIONS_FORM}"
    pictures = thumbnails.issue_thumbnails(table, inputs.tensors)
    expected = None if inputs.label_issues.expected_wrong is None else table["wrong_probability"]
    return {"counts": inputs.label_issues.counts, "pictures": pictures, "form": form, "expected": expected}


def certificate(inputs: ReportInputs) -> list[dict[str, Any]]:
    """The verification results of each exported file; empty without exports."""
    if inputs.exported is None:
        return []
    return list(json.loads((inputs.exported.directory / "certificate.json").read_bytes()))


def stages(inputs: ReportInputs) -> list[dict[str, Any]]:
    """For each stage its state in this run, and the cost of its output when it was computed."""
    records = inputs.facts.get("stages", {})
    handles = {stage.name: handle for stage, handle in inputs.handles()}
    return [
        {
            "name": name,
            "state": records.get(name, {}).get("state", ""),
            "seconds": records.get(name, {}).get("seconds"),
            "cost": _cost(handles[name]) if name in handles else {},
            "state_text": state_text(records.get(name, {})),
        }
        for name in [*handles, *(name for name in records if name not in handles)]
    ]


def _cost(handle: Handle) -> dict[str, float]:
    """The cost of an output; that of an evaluation has its predictions, which are an output of their own."""
    cost = dict(handle.manifest["cost"])
    if not isinstance(handle, Evaluation):
        return cost
    predicting = manifests.read(Workspace.active().root / handle.predictions)["cost"]
    return {
        name: max(cost[name], value) if name == "peak_memory_mb" else cost[name] + value
        for name, value in predicting.items()
    }


def state_text(record: Mapping[str, Any]) -> str:
    """The state of a stage in this run, with the time that reuse has saved.

    >>> state_text({"state": "cached", "made_in_seconds": 372.0}), state_text({"state": "ran"})
    ('cached, would have cost 6 m 12 s', 'ran')
    """
    state, saved = str(record.get("state", "")), record.get("made_in_seconds")
    if state in ("", "ran") or saved is None:
        return state
    return f"{state}, would have cost {duration(saved)}"


def lineage(inputs: ReportInputs) -> list[dict[str, str]]:
    """The outputs that the run is based on, in the order of the stages: stage, digest, path, description."""
    return [
        {"stage": stage.name, "digest": handle.digest, "path": handle.path, "description": str(handle)}
        for stage, handle in inputs.handles()
    ]


def percent(share: float | None, digits: int = shares.DIGITS) -> str:
    """A share in per cent, with a no-break space before the sign; a dash where it is undefined.

    >>> percent(0.7) == "70.00\N{NO-BREAK SPACE}%", percent(None)
    (True, '–')
    """
    return "–" if share is None else shares.unbroken_percent(share, digits)


def points(difference: float | None) -> str:
    """A difference of shares in percentage points, with its sign; a dash where it is undefined."""
    return "–" if difference is None else f"{difference * 100:+.1f}"


def figure(metric: Mapping[str, Any], key: str) -> str:
    """A metric's value as text, in its declared unit."""
    return declarations.figure_of(key).text(metric["value"])


def interval(metric: Mapping[str, Any], key: str) -> str:
    """A metric's interval as text, in the format of `figure`."""
    declared = declarations.figure_of(key)
    return f"{declared.text(metric['low'])} to {declared.text(metric['high'])}"


# What the templates call, by name.
FILTERS: dict[str, Callable[..., str]] = {
    "percent": percent,
    "points": points,
    "figure": figure,
    "interval": interval,
}
