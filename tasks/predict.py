"""Predict: classify image files with a published model."""

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks import live
from tasks.core.model import images
from tasks.core.results import registry
from tasks.core.workspace import Workspace


@task(
    task_run_name="predict with {dataset} {model}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def predict(places: list[Path], dataset: str, model: str, out: Path) -> list[dict[str, object]]:
    """Classify files and folders of images; gives the rows that it wrote to `out`."""
    version = registry.resolve(dataset, model, Workspace.active())
    files = images.find(places)
    with live.live("predict") as progress:
        return list(images.classify(version, files, out, progress).to_pylist())
