"""Predict: classify a batch of images with a published model, and compare them with its val images."""

import logging
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from tasks.core.config import Precision
from tasks.core.data.inference import inputs, prediction_table
from tasks.core.data.inference.inputs import InputChunk
from tasks.core.data.inference.prediction_table import Batch, PredictionRequest
from tasks.core.data.inference.unused_files import UnusedFiles
from tasks.core.evaluation import abstention, point_of_version
from tasks.core.metrics.drift import Drift
from tasks.core.model.devices import bfloat16_certificate
from tasks.core.model.inference import predict_batch, profile
from tasks.core.registry import final_models, registry
from tasks.core.reports import drift_report, label_next
from tasks.core.stage.handles import ModelVersion
from tasks.core.workspace import Workspace
from tasks.display.progress import task_progress
from tasks.orchestration import policies

log = logging.getLogger("plumbline.predict")


def validate_request(
    paths: list[str],
    dataset: str,
    model: str,
    abstain: float | None,
    threshold: float | None,
    to_label: int = 0,
    *,
    most_probable: bool = False,
    all_images: bool = False,
    precision: Precision = Precision.auto,
) -> tuple[PredictionRequest, ModelVersion]:
    """Resolve the inputs, the model and the threshold, before anything starts.

    Args:
        paths: Image files, parquet files, folders, globs or addresses.
        dataset: The dataset whose models are meant.
        model: A version or an alias.
        abstain: The error rate below which the answers must stay; None for no such limit.
        threshold: The confidence below which no answer is given; None for none.
        to_label: How many images to label are wanted.
        most_probable: Whether the model's operating point is left out.
        all_images: Whether the version's model of all images is used, which has no operating point.
        precision: What to calculate in.

    Raises:
        UsageError: An input that is not there, or a threshold or a number of images that cannot be had.
        RegistryError: No such model.
    """
    label_next.check_count(to_label)
    inputs.check_inputs(paths)
    version = registry.resolve(dataset, model, Workspace.active())
    point = point_of_version.to_apply(
        version, most_probable=most_probable or all_images, abstains=threshold if abstain is None else abstain
    )
    if all_images:
        log.info("model         %s", final_models.sentence(version))
        version = final_models.of_version(version, abstain)
    lowest = abstention.threshold(version, abstain, threshold)
    absolute = tuple(inputs.absolute_path(path) for path in paths)
    proven = lowest is not None or point is not None
    chosen = bfloat16_certificate.choose(version.directory / profile.FOLDER, precision, proven=proven)
    return PredictionRequest(
        version.dataset, version.version, version.model_sha256, absolute, lowest, point, str(chosen)
    ), version


@task(
    task_run_name="predict with {version.dataset} {version.version}",
    # Never cached: the batch on disk knows what is done.
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=2,
    retry_delay_seconds=exponential_backoff(backoff_factor=5),
    retry_condition_fn=policies.is_network_error,
)
def predict(
    batch: Batch, version: ModelVersion, with_candidates: bool = False, embeddings: Path | None = None
) -> None:
    """Write the parts of the batch that are missing: one row per image."""
    with task_progress("predict") as progress:
        predict_batch.predict(
            batch, version, progress, with_candidates=with_candidates, embeddings=embeddings
        )


@task(
    task_run_name="compare with {version.dataset} {version.version}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def compare(batch: Batch, version: ModelVersion) -> Drift:
    """Compare the batch with the profile of the model's images, and write the drift report."""
    return drift_report.write_drift_report(batch, version)


@task(
    task_run_name="label next with {version.dataset} {version.version}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def choose_to_label(batch: Batch, version: ModelVersion, count: int) -> int:
    """Choose images to label next, and write their table and contact sheet; returns their number."""
    return label_next.write_label_next(batch, version, count)


def list_images(request: PredictionRequest) -> tuple[Iterator[InputChunk], UnusedFiles, bool]:
    """List the inputs, and name files among them that are no images.

    The first chunk is read here: inputs of no use are refused before a folder is made.

    Returns:
        The images, the other files, and whether there is an image; a warning says so if not.
    """
    unused = UnusedFiles()
    chunks = inputs.list_inputs(request.inputs, unused.add)
    first = list(islice(chunks, 1))
    if not first:
        log.warning("no image to predict in %s", ", ".join(request.inputs))
    return chain(first, chunks), unused, bool(first)


def pending_batches(
    request: PredictionRequest, out: Path, chunks: Iterator[InputChunk], unused: UnusedFiles
) -> list[Batch]:
    """The batches that have parts to be predicted; see `prediction_table.pending_batches`.

    Files among the inputs that are no images are named in `out/_quarantine.csv`.
    """
    batches = prediction_table.pending_batches(out, request, chunks)
    unused.write(out)
    return batches


def precision_sentence(request: PredictionRequest, version: ModelVersion) -> str:
    """Why a request may be answered in bfloat16; empty in float32."""
    certificate = bfloat16_certificate.read(version.directory / profile.FOLDER)
    if request.precision == Precision.float32 or certificate is None:
        return ""
    return f"{request.precision}; {bfloat16_certificate.sentence(certificate)}"


def decision_sentences(version: ModelVersion) -> tuple[str, ...]:
    """What the operating point of a version decides and what is proven; empty without one."""
    return point_of_version.sentences(version)
