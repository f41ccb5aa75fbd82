"""The evaluation_report stage: one HTML file about a published version on other images."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tasks.core import shares
from tasks.core.evaluation import evaluate, scores
from tasks.core.evaluation.published import against_run
from tasks.core.metrics.comparison import detectable
from tasks.core.metrics.comparison.detectable import Detectable
from tasks.core.metrics.declared import declarations
from tasks.core.operations.command_line import options
from tasks.core.reports.render import render, template_digests
from tasks.core.stage.evaluation_set import EvaluationSet
from tasks.core.stage.handles import Evaluation, ModelVersion, Report
from tasks.core.stage.ingredients import Ingredients
from tasks.core.stage.stages import EVALUATION_REPORT
from tasks.core.workspace import Workspace

PAGE = "report.html"
TEMPLATE = "evaluation.html.j2"
WORST = 3  # classes with the lowest recall that the summary names
NAMED = 10  # classes without images that it names
PARTS = (TEMPLATE, "class_reading.html.j2", "key_findings.html.j2", "macros.html.j2", "report.css")


@dataclass(frozen=True)
class EvaluationInputs:
    """What the report shows.

    Args:
        version: The published version.
        images: The evaluation set.
        evaluation: The scores.
        parameters: The parameters of the command; JSON values.
    """

    version: ModelVersion
    images: EvaluationSet
    evaluation: Evaluation
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tensors(self) -> EvaluationSet:
        """The images, as the sections of a run's report name them."""
        return self.images


def ingredients(inputs: EvaluationInputs) -> Ingredients:
    """What decides the report."""
    return EVALUATION_REPORT.ingredients(
        {"evaluation": inputs.evaluation.digest, "tensors": inputs.images.digest} | template_digests(*PARTS),
        {
            "model": f"{inputs.version.dataset} {inputs.version.version}",
            **{name: str(value) for name, value in inputs.parameters.items()},
        },
    )


def write_report(inputs: EvaluationInputs, workspace: Workspace, *, refresh: bool = False) -> Report:
    """Write `report.html`.

    Args:
        inputs: What it shows.
        workspace: Where it is published.
        refresh: Whether to write an existing report again.
    """

    def build(staging: Path) -> dict[str, Any]:
        (staging / PAGE).write_text(_html(inputs), encoding="utf-8")
        return {"dataset": inputs.version.dataset, "version": inputs.version.version}

    return EVALUATION_REPORT.output(ingredients(inputs), workspace, build, refresh=refresh)


def summary(inputs: EvaluationInputs) -> dict[str, str]:
    """The results in words, by name, for the console and the dashboard."""
    metrics = scores.read_metrics(inputs.evaluation)["test"]
    lines = {
        "accuracy": f"{evaluate.accuracy_of(inputs.evaluation)} of {count_text(metrics)}",
        "against": against_run.difference_sentence(
            metrics["accuracy"], inputs.version, inputs.images.own_test
        ),
        "test size": detectable.sentence(Detectable(**metrics["detectable"])),
        "worst classes": worst_classes(inputs.evaluation),
        "absent": absent_classes(evaluate.read_classes(inputs.evaluation)),
        "promises": "; ".join(against_run.promise_sentences(inputs.evaluation)),
    }
    return {name: text for name, text in lines.items() if text}


def count_text(metrics: Mapping[str, Any]) -> str:
    """How many images of how many groups were scored.

    >>> count_text({"images": 48, "groups": 6}), count_text({"images": 1})
    ('48 images of 6 groups', '1 image')
    """
    images, groups = shares.counted(metrics["images"], "image"), metrics.get("groups")
    return images if groups is None else f"{images} of {shares.counted(groups, 'group')}"


def absent_classes(classes: pd.DataFrame) -> str:
    """The classes of the version that have no image here, and what that does to macro-F1; empty if all have.

    >>> columns = ["class_name", "support", "predicted_count"]
    >>> absent_classes(pd.DataFrame([["ant", 9, 7], ["bee", 0, 2], ["cat", 0, 0]], columns=columns))
    'no image of bee, cat; other images are called so 2 times: macro-F1 has an F1 of 0 for it'
    """
    absent = classes[classes["support"] == 0]
    taken = int(absent["predicted_count"].sum())
    times = shares.said(taken, "time", "times")
    effect = f"; other images are called so {times}: macro-F1 has an F1 of 0 for it" if taken else ""
    shown = [*absent["class_name"].head(NAMED), *(["..."] if len(absent) > NAMED else [])]
    return f"no image of {', '.join(shown)}{effect}" if shown else ""


def worst_classes(evaluation: Evaluation) -> str:
    """The classes with the lowest recall that have a mistake, with their intervals."""
    table = evaluate.read_classes(evaluation)
    table = table[table["recall"] < 1].sort_values("recall", kind="stable").head(WORST)
    return ", ".join(
        f"{row['class_name']} {shares.percent(row['recall'])} "
        f"({shares.interval(row['recall_low'], row['recall_high'])}) of {row['support']:,}"
        for row in table.to_dict("records")
    )


def _html(inputs: EvaluationInputs) -> str:
    # Imported here: matplotlib takes 0.5 s, and a reused report does not need it.
    from tasks.core.reports import content

    return render(TEMPLATE, _values(inputs), content.FILTERS)


def _values(inputs: EvaluationInputs) -> dict[str, Any]:
    from tasks.core.reports import content, evaluation_findings, plots
    from tasks.core.reports.sections import class_reading, mistakes

    scored = evaluate.scored_of(inputs.evaluation, inputs.images, "test")
    metrics = scores.read_metrics(inputs.evaluation)["test"]
    calibration = scores.read_calibration(inputs.evaluation)
    values = {
        "version": inputs.version,
        "own": inputs.version.manifest["facts"].get("metrics") or {},
        "images": inputs.images,
        "evaluation": inputs.evaluation,
        "metrics": metrics,
        "figures": declarations.figures(metrics),
        "count": count_text(metrics),
        "summary": summary(inputs),
        "remarks": inputs.images.remarks(),
        "promises": against_run.promise_sentences(inputs.evaluation),
        "calibration": calibration,
        "plots": [
            plots.reliability(calibration["reliability"]),
            plots.risk_coverage(calibration["risk_coverage"], []),
        ],
        "matrix": content.matrix(inputs),
        "confusions": mistakes.confusions(scored, inputs.images.classes),
        "classes": content.class_rows(inputs),
        "reading": class_reading.class_reading(inputs),
        "mistakes": mistakes.worst_mistakes(scored, inputs.images),
        "mistake_count": int(np.sum(scored.predicted != scored.labels)),
        "command": _command(inputs.parameters),
    }
    found = evaluation_findings.evaluation_findings(inputs, inputs.version, scored, values)
    return values | {"findings_in_words": found}


def _command(parameters: Mapping[str, Any]) -> str:
    """The command line of the same evaluation."""
    others = {name: value for name, value in parameters.items() if name != "data"}
    return shlex.join(["plumbline", "evaluate", str(parameters.get("data", "")), *options(others)])
