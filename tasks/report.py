"""Report: one HTML file of the run, and its short form for the dashboard."""

from prefect import task

from tasks.core.reports.inputs import ReportInputs
from tasks.core.reports.report import ingredients, write_report
from tasks.core.stage.handles import Report
from tasks.core.workspace import Workspace
from tasks.orchestration import policies


@task(
    task_run_name="report {inputs.tensors.dataset}",
    cache_policy=policies.ByIngredients(ingredients=ingredients, names=("inputs",)),
    result_serializer="json",
)
def report(inputs: ReportInputs, refresh: bool = False) -> Report:
    """Write the run's report: one HTML file, and its short form for the dashboard.

    Args:
        inputs: The run, as its report sees it.
        refresh: Run again even if the output is there.
    """
    return write_report(inputs, Workspace.active(), refresh=refresh)
