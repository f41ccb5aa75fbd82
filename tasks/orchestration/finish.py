"""Finishes a run: a row in the runs table, artifacts in the dashboard, a summary in the console."""

from dataclasses import asdict
from typing import Any
from uuid import UUID

from prefect import runtime
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas import filters
from prefect.client.schemas.objects import State, StateType
from prefect.context import FlowRunContext
from prefect.exceptions import Abort
from prefect.states import Cancelled, Completed

from tasks.core import shares
from tasks.core.errors import InterruptedTraining, OverfitCheckError
from tasks.core.evaluation import class_curves, evaluate, scores, test_size
from tasks.core.evaluation.slices import slice_table
from tasks.core.metrics.comparison import baseline, detectable
from tasks.core.model.selection.candidate_table import read_candidates
from tasks.core.model.selection.leaderboard import read_leaderboard
from tasks.core.model.training.overfit_check import MAX_LOSS_SHARE, OverfitResult
from tasks.core.operations import provenance
from tasks.core.operations.run_lock import DatasetBusy
from tasks.core.registry import final_models
from tasks.core.reports.inputs import ReportInputs
from tasks.core.reports.sections import leaks
from tasks.core.runs import record, unchanged
from tasks.core.runs.unchanged import UnchangedRun
from tasks.core.stage.handles import RawDataset, Report
from tasks.display import dashboard
from tasks.display.console import log
from tasks.display.mlflow_log import log_to_mlflow
from tasks.display.summary import log_summary, unchanged_summary
from tasks.orchestration.run import Run

ENDED = (StateType.COMPLETED, StateType.CANCELLED, StateType.FAILED)  # of tasks that a stop does not change
JUDGING = ("accuracy", "no model", "leaks", "verdict")  # lines of the summary that judge the model


def finish(run: Run, inputs: ReportInputs, report: Report) -> dict[str, Any]:
    """Record the run, show it in the dashboard and print its summary.

    Args:
        run: The run, after its last stage.
        inputs: The outputs of its stages.
        report: Its report.

    Returns:
        The summary: JSON values by name.
    """
    row = _row(run, inputs, report)
    candidates = read_candidates(inputs.selected) if inputs.selected else None
    leaderboard = read_leaderboard(inputs.cross_validation) if inputs.cross_validation else None
    record.append_run(
        *(row, inputs.tensors, inputs.trained, inputs.evaluation, run.workspace, candidates, leaderboard)
    )
    dashboard.publish_run(run.stages(), inputs, report, run.workspace)
    log_to_mlflow(run.parameters.get("mlflow", ""), row, inputs, report, run.workspace)
    return _summarize(run, inputs, report)


def finish_unchanged(run: Run, raw: RawDataset, last: UnchangedRun) -> dict[str, Any]:
    """Finish a run in which nothing changed: repeat the last row and log the champion.

    Args:
        run: This run.
        raw: Its dataset.
        last: The last run, which had the same data, parameters and code.

    Returns:
        The summary: JSON values by name.
    """
    run.copy_from(last.stages)
    unchanged.append(run, raw, last, runtime.flow_run.id)
    report = run.workspace.root / str(last.row["report"])
    dashboard.publish_unchanged(run.stages(), raw.dataset, last.verdict, run.workspace, report)
    return unchanged_summary(run, last)


def finish_overfit_check(result: OverfitResult) -> dict[str, Any]:
    """Finish a check that the recipe overfits one batch; it writes no row, no model and no report.

    Returns:
        The fields of `result`: JSON values by name.

    Raises:
        OverfitCheckError: The recipe did not overfit the batch.
    """
    if not result.passed:
        raise OverfitCheckError(
            "the recipe did not overfit one batch",
            expected=(
                f"all of {result.images} images classified correctly, and a loss below {MAX_LOSS_SHARE:g} of"
                " the loss of guessing"
            ),
            found=str(result),
            done="only this batch was trained; nothing was published",
            todo="fix the data or the settings, and check again with --overfit-batch",
        )
    return asdict(result)


def skipped(busy: DatasetBusy) -> State[None]:
    """Return the final state of a run that was dropped because another run of the dataset holds the lock."""
    log.info("%s; this run was dropped", busy)
    return Completed(name="Skipped", message=str(busy))


def stopped(limit: InterruptedTraining) -> State[None]:
    """Return the final state of a run that reached its planned time limit; the exit code is 0."""
    log.info("%s; %s", limit.summary, limit.parts["to do"])
    return Completed(name="TimeLimit", message=str(limit))


def cancelled(by: str) -> State[None]:
    """Return the final state of a run that the user stopped.

    Finished outputs and the checkpoint of an unfinished training stay.

    Args:
        by: How, such as "Ctrl-C".
    """
    log.info("stopped; the next run resumes from the finished stages")
    return Cancelled(message=f"Stopped by {by}; the next run resumes from the finished stages.")


def end_cancelled() -> None:
    """End this run as Cancelled if a worker stops it with SIGTERM because it was cancelled.

    While a training defers SIGTERM, the worker cannot tell Prefect's engine in this process that the run is
    cancelled. The engine would call it Crashed, until the worker looks again (3.9.1: 7 to 15 s).

    Raises:
        Abort: It was cancelled; Prefect's engine ends without a state of its own.
    """
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(context.flow_run.id).state
        if state is None or not state.is_cancelling():
            return
        context.flow_run.state = client.set_flow_run_state(context.flow_run.id, cancelled("Cancel")).state
        _cancel_tasks(client, context.flow_run.id)
    raise Abort("the run was cancelled")


def cancel_tasks() -> None:
    """Set this run's tasks that a stop has ended to Cancelled: Prefect's engine calls them Crashed.

    It sends its state in the background, maybe later; the server keeps the state with the later time.
    """
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return
    with get_client(sync_client=True) as client:
        _cancel_tasks(client, context.flow_run.id)


def _cancel_tasks(client: SyncPrefectClient, flow_run: UUID) -> None:
    this_run = filters.FlowRunFilter(id=filters.FlowRunFilterId(any_=[flow_run]))
    # An answer has 200 tasks at most, and a sweep may have ended more: only the others are asked for.
    ended = filters.TaskRunFilterStateType(any_=[kind for kind in StateType if kind not in ENDED])
    not_ended = filters.TaskRunFilter(state=filters.TaskRunFilterState(type=ended))
    for task_run in client.read_task_runs(flow_run_filter=this_run, task_run_filter=not_ended):
        stopped: State[None] = Cancelled(message="Its run was stopped.")
        client.set_task_run_state(task_run.id, stopped, force=True)


def _row(run: Run, inputs: ReportInputs, report: Report) -> dict[str, Any]:
    facts, decision = run.facts(), inputs.decision
    return run.columns(runtime.flow_run.id) | {
        "recipe": inputs.trained.recipe,
        "parameters": run.parameters,
        "seed": run.parameters["seed"],
        "sweep": run.sweep or None,
        "version": decision.version,
        "champion": decision.champion,
        "promoted": decision.promoted,
        "verdict": decision.verdict,
        "report": f"{report.path}/report.html",
        "source": facts["source"],
        "git_commit": facts["git_commit"] or None,
        "packages": facts["packages"],
        "python": facts["python"],
        "distributions": provenance.distributions(),
        "device": facts["machine"],
        **_size_columns(inputs),
    }


def _size_columns(inputs: ReportInputs) -> dict[str, Any]:
    """What the test images can tell, and the score over all images."""
    columns = {"detectable_difference": test_size.read(inputs.evaluation, inputs.decision.evidence).most}
    if (validated := inputs.cross_validation) is None:
        return columns
    names = ("recipe", "accuracy", "low", "high", "images")
    return columns | {f"cross_validated_{name}": getattr(validated, name) for name in names}


def _summarize(run: Run, inputs: ReportInputs, report: Report) -> dict[str, Any]:
    evaluation, decision = inputs.evaluation, inputs.decision
    test = scores.read_metrics(evaluation)["test"]
    is_better, unproven = baseline.answer(test) == baseline.BETTER, leaks.unproven(inputs)
    model = run.workspace.models / inputs.tensors.dataset / decision.version / "model.keras"
    images = shares.counted(evaluation.images, "test image")
    summary = {
        "accuracy": f"{evaluate.accuracy_of(evaluation)} of {images}",
        **({} if is_better else {"no model": baseline.sentence(test)}),
        **({"leaks": unproven} if unproven else {}),
        "test size": detectable.sentence(test_size.read(evaluation, decision.evidence)),
        **_all_images(run, inputs),
        "verdict": f"{decision.version}: {decision.verdict}",
        "model": str(model),
        "report": str(report.directory / "report.html"),
        "reused": run.reused(),
    }
    if lines := list(class_curves.decision_lines(evaluation)):
        summary["decision"] = " ".join(lines)
    summary |= _slices(inputs)
    if inputs.exported is not None:
        summary["exports"] = f"{inputs.exported}, in {inputs.exported.directory}"
    bad_slices = slice_table.worse(slice_table.read_slices(inputs.evaluation))
    warnings = (JUDGING if unproven or not is_better else ()) + (("slices",) if len(bad_slices) else ())
    log_summary(summary, warnings)
    return summary


def _slices(inputs: ReportInputs) -> dict[str, str]:
    """Which slices are worse than the rest, for the summary; empty without slices."""
    sentence = slice_table.sentence(slice_table.read_slices(inputs.evaluation))
    return {"slices": sentence} if sentence else {}


def _all_images(run: Run, inputs: ReportInputs) -> dict[str, str]:
    """The score over all images and the model of all images, for the summary."""
    validated, final = inputs.cross_validation, inputs.final_model
    if validated is None or final is None:
        return {}
    path = final_models.file_of(final, inputs.tensors.dataset, inputs.decision.version, run.workspace)
    images = shares.counted(validated.images, "image")
    interval = f"95 % interval {shares.interval(validated.low, validated.high)}"
    return {
        "all images": f"{shares.percent(validated.accuracy)} ({interval}) of {images}, cross-validated"
        f" ({validated.recipe}, {validated.folds} folds)",
        "final model": f"{path}: {final}",
    }
