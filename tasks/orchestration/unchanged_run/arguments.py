"""The settings of a training command, read by its own command line, before Prefect is imported."""

import os
from collections.abc import Sequence
from typing import Any

import typer

from tasks.core.data.sources import acquire, resolve
from tasks.core.data.sources.catalog import DatasetSpec
from tasks.core.model.devices import tf_config
from tasks.core.operations.command_line import documented
from tasks.core.workspace import Workspace
from tasks.orchestration.settings import TrainRunSettings, with_parameters

WITHIN_FLOW = ("PREFECT__FLOW_RUN_ID", "PREFECT__FLOW_ENTRYPOINT")  # set where Prefect starts the process


@with_parameters(TrainRunSettings)
def _signature(settings: TrainRunSettings) -> None:
    """The parameters of the training flow."""


def settings_of(arguments: Sequence[str]) -> TrainRunSettings | None:
    """The settings of a command; None if they ask for help or are refused, which the flow's command says.

    Args:
        arguments: The arguments behind the command.
    """
    if "--help" in arguments:
        return None
    given: dict[str, Any] = {}
    app = typer.Typer(add_completion=False)
    app.command()(documented(_signature, lambda **parameters: given.update(parameters)))
    try:
        typer.main.get_command(app).main([*arguments], standalone_mode=False)
        return TrainRunSettings.of(given) if given else None
    except Exception:
        return None


def may_repeat(settings: TrainRunSettings, workspace: Workspace) -> bool:
    """Whether these settings are ones with which a run may repeat the last one.

    A file of costs and one of weights may have changed; a workspace or images at an address need a network.
    """
    control, source = settings.control, settings.source
    asked = (control.refresh, control.dry_run, control.overfit_batch)
    files = (settings.decision.cost_file, settings.train.weights)
    if any(asked) or any(files) or workspace.address or tf_config.is_worker():
        return False
    if any(name in os.environ for name in WITHIN_FLOW) or tf_config.this_cluster() is not None:
        return False
    resolved = resolve.resolve(source.dataset)
    if isinstance(resolved, DatasetSpec):
        return not acquire.to_download(source, workspace)
    return not isinstance(resolved, str)
