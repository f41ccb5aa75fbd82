"""The review page beside the report: doubtful labels to look at, without a server."""

import json

from tasks.core.reports.inputs import ReportInputs
from tasks.core.review.decisions import earlier_rows
from tasks.core.review.items import ReviewInputs
from tasks.core.review.models import label_issues_of, models_of, runs_on
from tasks.core.review.page import offline
from tasks.core.review.pictures import open_source
from tasks.core.workspace import Workspace


def review_page(inputs: ReportInputs) -> str:
    """The page, as HTML with its pictures; the models of earlier runs on the same tensors count, too.

    Args:
        inputs: The outputs of the run.
    """
    workspace, version = Workspace.active(), inputs.decision.version
    this_run = {"stages": json.dumps(inputs.facts.get("stages", {})), "version": version}
    runs = [this_run, *runs_on(inputs.tensors, workspace)]
    models = models_of(runs, inputs.tensors, workspace) | {version: inputs.evaluation}
    found = {issues.digest: issues for issues in label_issues_of(runs, workspace)}
    found |= {inputs.label_issues.digest: inputs.label_issues} if inputs.label_issues else {}
    sources = ReviewInputs(
        inputs.tensors,
        models,
        label_issues=tuple(found.values()),
        audit=inputs.whole_audit,
        reader=open_source(lambda: inputs.raw),
    )
    title = f"{inputs.tensors.dataset} {version}"
    return offline(sources, title, inputs.parameters, earlier_rows(inputs.raw.directory))
