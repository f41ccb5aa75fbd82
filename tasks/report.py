"""Report: one HTML file of the run, and its short form for the dashboard."""

from prefect import task

from tasks import policy
from tasks.core.handles import Report
from tasks.core.results import report as reporting
from tasks.core.results.subject import Subject
from tasks.core.workspace import Workspace


@task(
    task_run_name="report {subject.tensors.dataset}",
    cache_policy=policy.ByIngredients(ingredients=reporting.ingredients, names=("subject",)),
    result_serializer="json",
)
def report(subject: Subject, refresh: bool = False) -> Report:
    return reporting.write(subject, Workspace.active(), refresh=refresh)
