"""Logs a run to the MLflow server that `--mlflow` names. It never fails the run: a problem is one warning."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.core.addresses import whole, without_secrets
from tasks.core.errors import PlumblineError
from tasks.core.evaluation import scores
from tasks.core.metrics.declared import declarations
from tasks.core.operations import provenance
from tasks.core.reports.inputs import ReportInputs
from tasks.core.runs import mlflow_sink, record
from tasks.core.stage.handles import Report
from tasks.core.workspace import Workspace
from tasks.display.console import log

COLUMNS = ("wall_seconds", "cpu_seconds", "peak_memory_mb")


def log_to_mlflow(
    address: str, row: Mapping[str, Any], inputs: ReportInputs, report: Report, workspace: Workspace
) -> None:
    """Log a finished run if it has the address of a server.

    Args:
        address: The server, as the parameter `mlflow` has it; empty for none.
        row: The run's columns in the table `runs`.
        inputs: The outputs of its stages.
        report: Its report.
        workspace: The workspace with the run.
    """
    if not address:
        return
    try:
        page = mlflow_sink.log_run(whole(address), _logged(row, inputs, report, workspace))
    except PlumblineError as error:
        log.warning("%s: %s", error.summary, without_secrets(str(error.parts.get("found", ""))))
    except Exception as error:
        log.warning("the run was not logged to MLflow: %s", without_secrets(f"{error!r}"))
    else:
        log.info("logged to %s", without_secrets(page))


def _logged(
    row: Mapping[str, Any], inputs: ReportInputs, report: Report, workspace: Workspace
) -> mlflow_sink.LoggedRun:
    model = inputs.trained.directory / "model.keras"
    pages = [path for name in ("report.html", "summary.md") if (path := report.directory / name).is_file()]
    files: list[tuple[Path, str]] = [(model, "model"), *((path, "report") for path in pages)]
    return mlflow_sink.LoggedRun(
        experiment=inputs.tensors.dataset,
        name=str(row["run_id"]),
        started=row["started"].timestamp(),
        params={name: value for name, value in row["parameters"].items() if name != "mlflow"},
        metrics={name: row[name] for name in COLUMNS} | _figures(inputs),
        epochs=record.history(inputs.trained).to_dict("records"),
        tags=_tags(row, workspace),
        files=tuple(files),
    )


def _figures(inputs: ReportInputs) -> dict[str, float | None]:
    """The figures of val and test with their intervals."""
    splits = scores.read_metrics(inputs.evaluation)
    return {
        name: value
        for split in ("val", "test")
        for name, value in declarations.row(splits[split], f"{split}_").items()
    }


def _tags(row: Mapping[str, Any], workspace: Workspace) -> dict[str, str]:
    tags = {
        "mlflow.user": provenance.who(),
        "mlflow.source.git.commit": row["git_commit"],
        "mlflow.note.content": row["verdict"],
        "plumbline.version": row["version"],
        "plumbline.champion": row["champion"],
        "plumbline.promoted": str(row["promoted"]).lower(),
        "plumbline.workspace": workspace.address or str(workspace.root),
    }
    return {name: str(text) for name, text in tags.items() if text}
