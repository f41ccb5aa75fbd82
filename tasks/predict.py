"""Predict: what a published model says of a batch of images, and whether they are like those it knows."""

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from tasks.core.data.inference import inputs, prediction_table
from tasks.core.data.inference.prediction_table import Batch, PredictionRequest
from tasks.core.evaluation import abstention
from tasks.core.metrics.drift import Drift
from tasks.core.model.inference import predict_batch
from tasks.core.registry import registry
from tasks.core.reports import drift_report
from tasks.core.stage.handles import ModelVersion
from tasks.core.workspace import Workspace
from tasks.display.progress import task_progress
from tasks.orchestration import policies


def validate_request(
    places: list[str], dataset: str, model: str, abstain: float | None, threshold: float | None
) -> tuple[PredictionRequest, ModelVersion]:
    """Whether what is asked can be, before anything starts: the places, the model, the threshold."""
    inputs.check_inputs(places)
    version = registry.resolve(dataset, model, Workspace.active())
    least = abstention.threshold(version, abstain, threshold)
    asked = tuple(inputs.absolute_path(place) for place in places)
    return PredictionRequest(version.dataset, version.version, version.model_sha256, asked, least), version


@task(
    task_run_name="predict with {version.dataset} {version.version}",
    # Never cached: the batch on disk knows what is done.
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=2,
    retry_delay_seconds=exponential_backoff(backoff_factor=5),
    retry_condition_fn=policies.is_network_error,
)
def predict(batch: Batch, version: ModelVersion) -> None:
    with task_progress("predict") as progress:
        predict_batch.predict(batch, version, progress)


@task(
    task_run_name="compare with {version.dataset} {version.version}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def compare(batch: Batch, version: ModelVersion) -> Drift:
    return drift_report.write_drift_report(batch, version)


def pending_batches(request: PredictionRequest, out: Path) -> list[Batch]:
    """The batches that are to be done; see `prediction_table.pending_batches`."""
    return prediction_table.pending_batches(out, request, inputs.list_inputs(request.inputs))
