"""Train an image classifier: from images to a champion. `flows.pipeline` has the chain of stages.

python flows/train_flow.py --help
"""

import logging
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # a bare clone works too, and no other package called `tasks` gets in the way
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from flows.__main__ import main as plumbline

    plumbline("train")
    sys.exit()

from tasks.core.operations import environment

environment.prepare()

from prefect import flow, runtime
from prefect.client.schemas.objects import State

from flows.declarations import TRAIN
from flows.pipeline import exclusive_run, overfit_check, train_pipeline
from flows.validation import validate
from tasks.core import process_memory
from tasks.core.config import RecipeName
from tasks.core.model.devices import early_import, tf_config
from tasks.core.operations import prefect_server
from tasks.core.storage.workspaces import open_workspace
from tasks.display import console, server_link
from tasks.orchestration import follower
from tasks.orchestration.dry_run import DryRun
from tasks.orchestration.run import Run
from tasks.orchestration.settings import TrainRunSettings, shown_name, unheeded_proofs, unused_options
from tasks.parameters.flow_parameters import with_parameters

log = logging.getLogger("plumbline.train")


def run_name() -> str:
    """The flow run's name in the dashboard."""
    given = runtime.flow_run.parameters
    return f"{shown_name(given)} with {RecipeName(given['recipe'])}, {datetime.now(UTC):%Y-%m-%d %H:%M:%S}"


@flow(name="train-image-classifier", flow_run_name=run_name, validate_parameters=True)
@with_parameters(TrainRunSettings, TRAIN.text)
def train_flow(settings: TrainRunSettings) -> dict[str, Any] | State[None]:
    """Run the training flow; `TRAIN` has its text."""
    validate(settings)
    if settings.control.dry_run:
        return {"dry_run": dry_run_rows(settings)}
    log_unused(settings)
    if tf_config.is_worker():
        return train_as_worker(settings)
    run = Run(open_workspace(settings.control.workspace), settings.parameters())
    body = overfit_check if settings.control.overfit_batch else train_pipeline
    return exclusive_run(run, settings, lambda: body(run, settings))


def log_unused(settings: TrainRunSettings) -> None:
    """Say which options have no effect."""
    if options := unused_options(settings.train):
        log.warning("--recipe %s makes no use of %s", settings.train.recipe, ", ".join(options))
    if text := unheeded_proofs(settings.publish):
        log.warning(text)


def dry_run_rows(settings: TrainRunSettings) -> list[dict[str, str]]:
    """What a run with these settings would do, one row per stage."""
    dry_run = DryRun(open_workspace(settings.control.workspace), settings.parameters())
    return dry_run.preview(train_pipeline, settings)


def train_as_worker(settings: TrainRunSettings) -> dict[str, Any]:
    """Do a worker's part of a training whose chief runs the flow."""
    control = settings.control
    workspace = open_workspace(control.workspace)
    return follower.follow(settings, workspace, control.refresh, control.overfit_batch)


def import_evaluation() -> None:
    """What the later stages need, 0.3 CPU-seconds, while the process would only wait.

    Not the report's matplotlib: its 37 MB would be there when training and evaluation take the most.
    """
    with process_memory.paused_collections():
        import scipy.optimize  # noqa: F401

        import tasks.core.model.training.loop  # noqa: F401


def import_plots() -> None:
    """What the report needs, 0.4 CPU-seconds: only a server that makes its database takes that long."""
    with process_memory.paused_collections():
        import jinja2  # noqa: F401

        import tasks.core.reports.plots  # noqa: F401


def main(**parameters: Any) -> None:
    """Check the parameters before anything starts, then run the flow."""
    with console.command_context():
        settings = TrainRunSettings.of(parameters)
        validate(settings)
        if settings.control.dry_run:
            log_unused(settings)
            console.table(dry_run_rows(settings))
        elif tf_config.is_worker():
            train_as_worker(settings)
        else:
            prefect_server.wait_until_ready(early_import.import_tensorflow, import_evaluation, import_plots)
            with server_link.surviving():
                train_flow(**settings.parameters())
