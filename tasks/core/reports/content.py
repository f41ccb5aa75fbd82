"""What stands on the report's page, computed before the template lays it out."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from tasks.core.data.audit import duplicate_table
from tasks.core.evaluation import evaluate, scores
from tasks.core.evaluation.label_issues import CORRECTIONS_FORM, read_label_issues
from tasks.core.metrics.calibration import confidences, expected_error, tempered
from tasks.core.operations.command_line import options
from tasks.core.progress import duration
from tasks.core.reports import leaks, plots, thumbnails
from tasks.core.reports.inputs import ReportInputs
from tasks.core.runs import record

LARGEST_MATRIX = 20  # classes; a larger confusion matrix is a picture instead of a table
FIRM = "\N{NO-BREAK SPACE}"
NAMES = {
    "accuracy": "accuracy",
    "top5_accuracy": "top-5 accuracy",
    "macro_f1": "macro-F1",
    "balanced_accuracy": "balanced accuracy",
    "log_loss": "log loss",
}


def content(inputs: ReportInputs) -> dict[str, Any]:
    """Everything that `report.html.j2` shows."""
    scored = evaluate.scored_of(inputs.evaluation, inputs.tensors, "test")
    metrics = scores.read_metrics(inputs.evaluation)
    return {
        "dataset": inputs.tensors.dataset,
        "tensors": inputs.tensors,
        "trained": inputs.trained,
        "evaluation": inputs.evaluation,
        "verdict": verdict(inputs),
        "metrics": metrics,
        "metric_names": {key: name for key, name in NAMES.items() if key in metrics["test"]},
        "curves": curves(inputs),
        "calibration": calibration(inputs),
        "matrix": matrix(inputs),
        "confusions": thumbnails.confusions(scored, inputs.tensors.classes),
        "classes": class_rows(inputs),
        "mistakes": thumbnails.worst_mistakes(scored, inputs.tensors),
        "wrong": int(np.sum(scored.predicted != scored.labels)),
        "findings": inputs.audit.findings,
        "leaks": leaks.leak_accuracies(scored, duplicate_table.read_leaks(inputs.audit)),
        "pairs": leaks.leak_pairs(inputs.audit, inputs.tensors),
        "suspects": label_issues(inputs),
        "exports": certificate(inputs),
        "stages": stages(inputs),
        "parameters": inputs.parameters,
        "lineage": lineage(inputs),
        "command": command(inputs.parameters),
        "facts": inputs.facts,
    }


def verdict(inputs: ReportInputs) -> dict[str, Any]:
    """The decision with its figures; that which made it champion, if the model is champion already."""
    decision, evidence = inputs.decision, inputs.decision.evidence
    promoted = evidence.get("promoted", decision.promoted)
    compared = evidence.get("paired")
    return {
        "version": decision.version,
        "promoted": promoted,
        "mood": "good" if promoted else "bad" if compared and compared["high"] < 0 else "hold",
        "words": evidence.get("verdict", decision.verdict),
        "before": evidence.get("champion_version", ""),
        "policy": evidence.get("policy", ""),
        "paired": compared,
        "champion_accuracy": evidence.get("champion_accuracy"),
        "plot": compared and plots.difference(compared["difference"], compared["low"], compared["high"]),
        "regressions": thumbnails.test_thumbnails(
            evidence.get("regressions", [])[: thumbnails.DISAGREEMENTS], "challenger", inputs.tensors
        ),
        "improvements": thumbnails.test_thumbnails(
            evidence.get("improvements", [])[: thumbnails.DISAGREEMENTS], "champion", inputs.tensors
        ),
        "changes": {row["class_name"]: row for row in evidence.get("classes", [])},
        "looks": inputs.test_set_uses,
    }


def curves(inputs: ReportInputs) -> list[str]:
    """Learning curves; only of metrics that the history has."""
    history = record.history(inputs.trained)
    known = [name for name in ("accuracy", "loss") if {f"train_{name}", f"val_{name}"} & set(history.columns)]
    return [plots.learning_curve(history, name) for name in known]


def calibration(inputs: ReportInputs) -> dict[str, Any]:
    """Calibration and abstention, with their figures drawn."""
    known = scores.read_calibration(inputs.evaluation)
    known |= {"inside": inputs.trained.temperature, "without": _without_temperature(inputs)}
    plot = plots.risk_coverage(known["risk_coverage"], known["abstention"])
    return known | {"plots": [plots.reliability(known["reliability"]), plot]}


def _without_temperature(inputs: ReportInputs) -> dict[str, Any]:
    """The calibration error that the model would have without the temperature inside it."""
    scored = evaluate.scored_of(inputs.evaluation, inputs.tensors, "test")
    raw = tempered(scored.probabilities, 1 / inputs.trained.temperature)
    right = scored.predicted == scored.labels
    return expected_error(right, confidences(raw)).record()


def matrix(inputs: ReportInputs) -> dict[str, Any]:
    """The confusion matrix: rows of (count, share of the label's images), or a picture of a large one."""
    counts = evaluate.read_confusion(inputs.evaluation)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    classes = inputs.tensors.classes
    large = len(classes) > LARGEST_MATRIX
    rows = [
        (name, [(int(n), float(share)) for n, share in zip(counts[i], shares[i], strict=True)])
        for i, name in enumerate(classes)
    ]
    return {
        "rows": [] if large else rows,
        "picture": plots.confusion_png(counts, classes),
        "large": large,
    }


def class_rows(inputs: ReportInputs) -> list[dict[str, Any]]:
    """The per-class table of the test images, the lowest recall first; undefined figures are None."""
    table = evaluate.read_classes(inputs.evaluation)
    test = table[table["split"] == "test"].drop(columns="split").sort_values("recall", kind="stable")
    plain: pd.DataFrame = test.astype(object).where(test.notna(), None)
    return [{str(name): value for name, value in row.items()} for row in plain.to_dict("records")]


def label_issues(inputs: ReportInputs) -> dict[str, Any] | None:
    """The label suspects with pictures of the first; None if nobody looked for them."""
    if inputs.label_issues is None:
        return None
    table = read_label_issues(inputs.label_issues)
    form = f"{inputs.label_issues.path}/{CORRECTIONS_FORM}"
    pictures = thumbnails.issue_thumbnails(table, inputs.tensors)
    return {"counts": inputs.label_issues.counts, "sheet": pictures, "form": form}


def certificate(inputs: ReportInputs) -> list[dict[str, Any]]:
    """What each exported file was seen to do; empty without exports."""
    if inputs.exported is None:
        return []
    return list(json.loads((inputs.exported.directory / "certificate.json").read_bytes()))


def stages(inputs: ReportInputs) -> list[dict[str, Any]]:
    """For each stage what it did in this run and what its output cost when it was made."""
    told = inputs.facts.get("stages", {})
    handles = {stage.name: handle for stage, handle in inputs.handles()}
    return [
        {
            "name": name,
            "state": told.get(name, {}).get("state", ""),
            "seconds": told.get(name, {}).get("seconds"),
            "cost": handles[name].manifest["cost"] if name in handles else {},
            "words": state_text(told.get(name, {})),
        }
        for name in [*handles, *(name for name in told if name not in handles)]
    ]


def state_text(told: Mapping[str, Any]) -> str:
    """What a stage did in this run, with the time that reuse has saved.

    >>> in_words({"state": "cached", "made_in_seconds": 372.0}), in_words({"state": "ran"})
    ('cached, would have cost 6 m 12 s', 'ran')
    """
    state, saved = str(told.get("state", "")), told.get("made_in_seconds")
    if state in ("", "ran") or saved is None:
        return state
    return f"{state}, would have cost {duration(saved)}"


def lineage(inputs: ReportInputs) -> list[dict[str, str]]:
    """What was made from what: stage, digest, path, each handle's own words."""
    return [
        {"stage": stage.name, "digest": handle.digest, "path": handle.path, "words": str(handle)}
        for stage, handle in inputs.handles()
    ]


def command(parameters: Mapping[str, Any]) -> str:
    """The command line that asks for the same run.

    >>> command({"dataset": "my photos", "epochs": 3, "augment": False, "archive": None})
    "python flows/train_flow.py --dataset 'my photos' --epochs 3 --no-augment"
    """
    return shlex.join(["python", "flows/train_flow.py", *options(parameters)])


def summary(content: Mapping[str, Any]) -> str:
    """The report in short, as markdown with the confusion matrix as a picture."""
    test = content["metrics"]["test"]
    rows = [
        f"| {name} | {figure(test[key], key)} | {interval(test[key], key)} |"
        for key, name in content["metric_names"].items()
    ]
    table = "\n".join([f"| on {test['images']:,} test images | | 95 % interval |", "|---|---|---|", *rows])
    confusions = "\n".join(
        f"- {row['images']} of **{row['label']}** were called **{row['said']}** ({percent(row['share'])})"
        for row in content["confusions"][:5]
    )
    return "\n\n".join(
        [
            f"## {content['dataset']} {content['verdict']['version']}",
            f"**{content['verdict']['words']}**",
            table,
            confusions,
            f"![confusion matrix]({content['matrix']['picture']})",
        ]
    )


def class_table(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The per-class table as people read it: every figure is text."""
    return [
        {
            "class": row["class_name"],
            "images": row["support"],
            "recall": percent(row["recall"]),
            "recall, 95 % interval": f"{percent(row['recall_low'])} to {percent(row['recall_high'])}",
            "precision": percent(row["precision"]),
            "F1": percent(row["f1"]),
        }
        for row in content["classes"]
    ]


def percent(share: float | None, digits: int = 1) -> str:
    """A share in per cent, number and sign on one line; a dash where it is undefined.

    >>> percent(0.7), percent(None)
    ('70.0\\xa0%', '–')
    """
    return "–" if share is None else f"{share * 100:.{digits}f}{FIRM}%"


def points(difference: float | None) -> str:
    """A difference of shares in percentage points, with its sign."""
    return "–" if difference is None else f"{difference * 100:+.1f}"


def figure(metric: Mapping[str, Any], key: str) -> str:
    """A metric's value: rates in per cent, others as they are."""
    return _written(metric["value"], key)


def interval(metric: Mapping[str, Any], key: str) -> str:
    """A metric's interval in the same form."""
    return f"{_written(metric['low'], key)} to {_written(metric['high'], key)}"


def _written(value: float | None, key: str) -> str:
    if value is None:
        return "–"
    return f"{value * 100:.2f}{FIRM}%" if key.endswith("accuracy") else f"{value:.4f}"
