"""Train an image classifier: from images to a champion, stage by stage (`train_pipeline`).

python flows/train_flow.py --help
"""

import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # a bare clone works too, and no other package called `tasks` gets in the way
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tasks.core.operations import environment
from tasks.core.stage.stages import RefreshName

if __name__ == "__main__":
    environment.open_command("train")
else:
    environment.prepare()

import typer
from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.exceptions import CancelledRun

from flows.pipeline import evaluate_and_promote, exclusive_run, prepare_data, validate
from tasks.core.config import (
    ExportName,
    IfRunning,
    Precision,
    PromotePolicy,
    RecipeName,
    RunnerName,
    RunSettings,
)
from tasks.core.model.devices import tf_config
from tasks.core.operations import prefect_server
from tasks.core.operations.command_line import documented
from tasks.core.storage.mirror import open_workspace
from tasks.display import console
from tasks.download import download
from tasks.normalize import normalize
from tasks.orchestration import finish, follower
from tasks.orchestration.dry_run import DryRun
from tasks.orchestration.policies import with_time_limit
from tasks.orchestration.run import Run
from tasks.overfit import overfit
from tasks.train import train


def run_name() -> str:
    given = runtime.flow_run.parameters
    dataset = Path(str(given["dataset"])).name or "folder"
    return f"{dataset} with {RecipeName(given['recipe'])}, {datetime.now(UTC):%Y-%m-%d %H:%M:%S}"


@flow(name="train-image-classifier", flow_run_name=run_name, validate_parameters=True)
def train_flow(
    dataset: str = "digits",
    archive: Path | None = None,
    archive_sha256: str | None = None,
    recipe: RecipeName = RecipeName.fast,
    epochs: float | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    augment: bool | None = None,
    patience: int | None = None,
    drop_leaks: bool = False,
    precision: Precision = Precision.auto,
    seed: int = 0,
    image_size: int | None = None,
    val_fraction: float = 0.1,
    max_quarantine: float = 0.01,
    promote: PromotePolicy = PromotePolicy.better,
    exports: list[ExportName] | None = None,
    folds: int | None = None,
    corrections: Path | None = None,
    refresh: list[RefreshName] | None = None,
    if_running: IfRunning = IfRunning.wait,
    time_limit: float | None = None,
    dry_run: bool = False,
    overfit_batch: bool = False,
    runner: RunnerName = RunnerName.sequence,
    workers: int | None = None,
    address: str | None = None,
    workspace: Path | None = None,
) -> dict[str, Any] | State[None]:
    """Turn a dataset of images into an evaluated, versioned image classifier.

    Stages whose data, parameters and code are as in an earlier run are not run again. Everything that is
    made lies in the workspace: models, metrics tables in parquet, the report.

    Args:
        dataset: A known dataset (digits, cifar10, cifar100, mnist, fashion_mnist), a folder of images
            (<class>/* or {train,val,test}/<class>/*), a CSV of path,label, or parquet: files or an address.
        archive: A dataset's archive file to use instead of downloading it.
        archive_sha256: The SHA-256 that the archive file must have, if it is not the official one.
        recipe: How to train, from cheap to accurate: flash, fast, good, best; textbook is the CNN of
            tutorials, for comparison.
        epochs: Passes over the training images; fractions welcome. Default: the recipe's.
        batch_size: Images a training step. Default: the recipe's.
        learning_rate: Peak learning rate. Default: the recipe's.
        augment: Whether to vary the training images. Default: the recipe's.
        patience: Epochs without a better validation loss after which training stops and takes the best;
            0 never stops. Default: the recipe's.
        drop_leaks: Leave out the train and val images of which a test image is a duplicate.
        precision: What training calculates in: auto (bfloat16 where the processor or GPU multiplies in it,
            but float32 for the textbook CNN), float32 or bfloat16. Each gives another model of the same seed.
        seed: Everything random follows from it; the same seed gives the same model.
        image_size: Height and width of the tensors in pixels, 8 to 224. Default: the dataset's own.
        val_fraction: Share of the training images held out for validation.
        max_quarantine: Share of unreadable images above which the run fails.
        promote: When the new model becomes champion: better (shown better on the same test images),
            not-worse, always or never.
        exports: Formats in which the model shall go out besides model.keras, each file certified on the
            test images. May be repeated.
        folds: Look for wrong labels among the training images, too: by so many trainings, each predicting
            the images that it has not seen.
        corrections: A CSV of path (or id) and label: labels to use instead of the source's own, which stay
            as they are. The report's list of suspects is made for it.
        refresh: Stages to run again although nothing changed; all for every stage. May be repeated.
        if_running: Whether to wait for another run of this dataset in this workspace, or be dropped.
        time_limit: Minutes after which the training stops, kept as far as it is; the next run goes on from
            there. Default: none.
        dry_run: Only show which stages would run, and why.
        overfit_batch: Only check that the recipe learns one batch of at most 64 training images by heart;
            takes seconds, publishes nothing, and ends with pass (exit code 0) or fail (1).
        runner: Where images are decoded: in this process (sequence), in processes, or on a Dask or Ray
            cluster. The tensors are the same to the byte.
        workers: Processes of this machine, for a runner other than sequence. Default: one a CPU.
        address: Of a Dask or Ray cluster that is there already and shares this workspace.
        workspace: Where everything is kept: a folder, or an address such as s3://bucket/prefix. Default:
            PLUMBLINE_WORKSPACE, else ./workspace.

    Returns:
        The run's summary: accuracy, verdict, paths, what was cached; JSON values.
    """
    parameters = {name: value for name, value in locals().items() if value is not None}
    settings = RunSettings.of(parameters)
    validate(settings)
    if dry_run:
        return {"forecast": dry_run_table(**parameters)}
    if tf_config.is_worker():
        return follower.follow(settings, open_workspace(workspace), refresh or (), overfit_batch)
    run = Run(open_workspace(workspace), parameters)
    tell = overfit_check if overfit_batch else train_pipeline
    return exclusive_run(run, settings, if_running, lambda: tell(run, settings))


def train_pipeline(run: Run, settings: RunSettings) -> dict[str, Any]:
    """The run itself, stage by stage; returns its summary."""
    raw = run.execute(download, settings.source)
    if standing := run.unchanged(raw):
        return finish.finish_unchanged(run, raw, standing)
    tensors, audited = prepare_data(run, raw, settings)
    trained = run.execute(with_time_limit(train, settings.time_limit), tensors, settings.train, audited)
    return evaluate_and_promote(run, settings, raw, tensors, audited, trained)


def overfit_check(run: Run, settings: RunSettings) -> dict[str, Any]:
    """Instead of the story: whether the recipe learns one batch by heart; returns what came of it."""
    raw = run.execute(download, settings.source)
    tensors = run.execute(normalize, raw, settings.normalize, settings.runner)
    return finish.finish_overfit_check(run.execute(overfit, tensors, settings.train))


def dry_run_table(**parameters: Any) -> list[dict[str, str]]:
    """What a run with these parameters would do, a row a stage."""
    given = {name: value for name, value in parameters.items() if value is not None}
    forecast = DryRun(open_workspace(given.get("workspace")), given)
    return forecast.preview(train_pipeline, RunSettings.of(given))


def main(**parameters: Any) -> None:
    """Check the parameters before anything starts, then run the flow."""
    with console.command_context():
        settings = RunSettings.of(parameters)
        validate(settings)
        if parameters["dry_run"]:
            console.table(dry_run_table(**parameters))
            return
        if tf_config.is_worker():
            place = open_workspace(parameters["workspace"])
            follower.follow(settings, place, parameters["refresh"] or (), parameters["overfit_batch"])
            return
        prefect_server.wait_until_ready()
        try:
            train_flow(**parameters)
        except CancelledRun:
            sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    typer.run(documented(train_flow.fn, main))
