"""Predict: what a published model says of a batch of images, and whether they are like those it knows."""

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from tasks import live, policy
from tasks.core.data import batches, intake
from tasks.core.data.batches import Asking, Batch
from tasks.core.handles import ModelVersion
from tasks.core.model import images
from tasks.core.results import abstention, registry, sighting
from tasks.core.results.drift import Drift
from tasks.core.workspace import Workspace


def ask(
    places: list[str], dataset: str, model: str, abstain: float | None, threshold: float | None
) -> tuple[Asking, ModelVersion]:
    """Whether what is asked can be, before anything starts: the places, the model, the threshold."""
    intake.check(places)
    version = registry.resolve(dataset, model, Workspace.active())
    least = abstention.threshold(version, abstain, threshold)
    asked = tuple(intake.absolute(place) for place in places)
    return Asking(version.dataset, version.version, version.model_sha256, asked, least), version


@task(
    task_run_name="predict with {version.dataset} {version.version}",
    # Never cached: the batch on disk knows what is done.
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=2,
    retry_delay_seconds=exponential_backoff(backoff_factor=5),
    retry_condition_fn=policy.network_fault,
)
def predict(batch: Batch, version: ModelVersion) -> None:
    with live.live("predict") as progress:
        images.predict(batch, version, progress)


@task(
    task_run_name="compare with {version.dataset} {version.version}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def compare(batch: Batch, version: ModelVersion) -> Drift:
    return sighting.sight(batch, version)


def pending(asking: Asking, out: Path) -> list[Batch]:
    """The batches that are to be done; see `batches.pending`."""
    return batches.pending(out, asking, intake.lines(asking.places))
