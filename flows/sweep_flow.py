"""Try several parameters and seeds, choose on the validation images, evaluate the chosen model once.

python flows/sweep_flow.py --help
"""

import shlex
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # a bare clone works too, and no other package called `tasks` gets in the way
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tasks.core.operations import environment
from tasks.core.stage.stages import RefreshName

if __name__ == "__main__":
    environment.open_command("sweep")
else:
    environment.prepare()

from dataclasses import replace

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
from tasks.core.operations.command_line import documented, options
from tasks.core.runs import record
from tasks.core.storage.mirror import open_workspace
from tasks.core.sweep import ranking, report, space
from tasks.core.sweep.space import Trial
from tasks.display import console
from tasks.download import download
from tasks.orchestration import trials
from tasks.orchestration.run import Run
from tasks.train import train
from tasks.trial import trial

SWEEP_PARAMETERS = ("vary", "random", "seeds")  # parameters that a training's own run doesn't have


def run_name() -> str:
    dataset = Path(str(runtime.flow_run.parameters["dataset"])).name or "folder"
    return f"sweep of {dataset}, {datetime.now(UTC):%Y-%m-%d %H:%M:%S}"


@flow(name="sweep-image-classifier", flow_run_name=run_name, validate_parameters=True)
def sweep_flow(
    dataset: str = "digits",
    archive: Path | None = None,
    archive_sha256: str | None = None,
    recipe: RecipeName = RecipeName.fast,
    vary: list[str] | None = None,
    random: int | None = None,
    seeds: int = 1,
    runner: RunnerName = RunnerName.processes,
    workers: int | None = None,
    address: str | None = None,
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
    corrections: Path | None = None,
    refresh: list[RefreshName] | None = None,
    if_running: IfRunning = IfRunning.wait,
    dry_run: bool = False,
    workspace: Path | None = None,
) -> dict[str, Any] | State[None]:
    """Try several parameters and seeds side by side, and go on with what does best on the validation images.

    The test images see one model, the chosen one; it is published, and promoted by the same gate as that of
    `plumbline train`. A training that an earlier run has made is reused, so a sweep that was stopped goes on
    where it was. A trial that fails is named and stops no other.

    Args:
        dataset: A known dataset (digits, cifar10, cifar100, mnist, fashion_mnist), a folder of images
            (<class>/* or {train,val,test}/<class>/*), a CSV of path,label, or parquet: files or an address.
        archive: A dataset's archive file to use instead of downloading it.
        archive_sha256: The SHA-256 that the archive file must have, if it is not the official one.
        recipe: How to train, from cheap to accurate: flash, fast, good, best; textbook is the CNN of
            tutorials, for comparison.
        vary: A parameter and its values, such as learning_rate=0.1,0.2,0.4; with --random also a range,
            learning_rate=0.05..0.8. May be repeated: every combination is tried. One of recipe, epochs,
            batch_size, learning_rate, augment, patience, drop_leaks.
        random: Try only so many combinations, drawn by chance (from --seed).
        seeds: Trainings of each combination, with the seeds that follow --seed: gives mean and deviation.
        runner: Where the trials run: in this process one after the other (sequence), in processes, or on a
            Dask or Ray cluster. The models are the same to the byte.
        workers: Processes of this machine, for a runner other than sequence. Default: one a CPU.
        address: Of a Dask or Ray cluster that is there already and shares this workspace. Default: one of
            this machine, for the time of the sweep.
        epochs: Passes over the training images; fractions welcome. Default: the recipe's.
        batch_size: Images a training step. Default: the recipe's.
        learning_rate: Peak learning rate. Default: the recipe's.
        augment: Whether to vary the training images. Default: the recipe's.
        patience: Epochs without a better validation loss after which training stops and takes the best;
            0 never stops. Default: the recipe's.
        drop_leaks: Leave out the train and val images of which a test image is a duplicate.
        precision: What training calculates in: auto (bfloat16 where the processor or GPU multiplies in it,
            but float32 for the textbook CNN), float32 or bfloat16. Each gives another model of the same seed.
        seed: The first seed.
        image_size: Height and width of the tensors in pixels, 8 to 224. Default: the dataset's own.
        val_fraction: Share of the training images held out for validation.
        max_quarantine: Share of unreadable images above which the run fails.
        promote: When the chosen model becomes champion: better (shown better on the same test images),
            not-worse, always or never.
        exports: Formats in which the chosen model shall go out besides model.keras. May be repeated.
        corrections: A CSV of path (or id) and label: labels to use instead of the source's own.
        refresh: Stages to run again although nothing changed; train means every trial. May be repeated.
        if_running: Whether to wait for another run of this dataset in this workspace, or be dropped.
        dry_run: Only show the trials.
        workspace: Where everything is kept. Default: PLUMBLINE_WORKSPACE, else ./workspace.

    Returns:
        The summary of the chosen model's run: accuracy, verdict, paths; JSON values.
    """
    parameters = {name: value for name, value in locals().items() if value is not None}
    settings, plan = plan_trials(parameters)
    if dry_run:
        return {"trials": trial_rows(plan)}
    own = {name: value for name, value in parameters.items() if name not in SWEEP_PARAMETERS}
    run = Run(open_workspace(workspace), own)
    command = shlex.join(["plumbline", "sweep", *options(parameters | {"dry_run": None})])
    return exclusive_run(run, settings, if_running, lambda: sweep_pipeline(run, settings, plan, command))


def sweep_pipeline(run: Run, settings: RunSettings, plan: list[Trial], command: str) -> dict[str, Any]:
    """The sweep itself; returns the summary of the chosen model's run."""
    raw = run.execute(download, settings.source)
    tensors, audited = prepare_data(run, raw, settings)
    began = time.perf_counter()
    outcomes = trials.run_trials(run, trial, plan, tensors, audited, settings.runner)
    facts = {"sweep": run.run_id, "command": command, "wall_seconds": time.perf_counter() - began}
    table = ranking.trials_table(outcomes, tensors, audited, settings.runner.runner)
    models = {outcome.trial.number: outcome.trained for outcome in outcomes if outcome.trained}
    record.append_trials(table, models, tensors.dataset, run.run_id, run.workspace)
    told = report.write_sweep_report(table, tensors, facts, run.workspace)
    trials.show(told)
    chosen = plan[ranking.best_trial(table) - 1].settings
    run.adopt_trial(space.parameters(chosen))
    trained = run.execute(train, tensors, chosen, audited)
    summary = evaluate_and_promote(run, replace(settings, train=chosen), raw, tensors, audited, trained)
    return summary | trials.summary_entry(told)


def plan_trials(parameters: dict[str, Any]) -> tuple[RunSettings, list[Trial]]:
    """The settings and the trials, checked before anything starts."""
    settings = RunSettings.of(parameters)
    validate(settings)
    tf_config.refuse_cluster("a sweep")
    vary, seeds, random = (parameters.get(name) for name in ("vary", "seeds", "random"))
    return settings, space.plan(settings.train, vary or [], 1 if seeds is None else seeds, random)


def trial_rows(plan: list[Trial]) -> list[dict[str, str]]:
    """The trials, a row each."""
    return [
        {
            "trial": str(each.number),
            "configuration": each.label or "as given",
            "seed": str(each.settings.seed),
        }
        for each in plan
    ]


def main(**parameters: Any) -> None:
    """Check the parameters before anything starts, then run the flow."""
    with console.command_context():
        _, plan = plan_trials({name: value for name, value in parameters.items() if value is not None})
        if parameters["dry_run"]:
            console.table(trial_rows(plan))
            return
        prefect_server.wait_until_ready()
        try:
            sweep_flow(**parameters)
        except CancelledRun:
            sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    typer.run(documented(sweep_flow.fn, main))
