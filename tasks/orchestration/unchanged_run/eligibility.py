"""Which settings of a training command may be those of a run that repeats the last one."""

import os

from tasks.core.data.sources import acquire, resolve
from tasks.core.data.sources.catalog import DatasetSpec
from tasks.core.model.devices import tf_config
from tasks.core.workspace import Workspace
from tasks.orchestration.settings import TrainRunSettings

WITHIN_FLOW = ("PREFECT__FLOW_RUN_ID", "PREFECT__FLOW_ENTRYPOINT")  # set where Prefect starts the process


def may_repeat(settings: TrainRunSettings, workspace: Workspace) -> bool:
    """Whether these settings are ones with which a run may repeat the last one.

    A file of costs and one of weights may have changed; a workspace or images at an address need a network.
    A run with `--mlflow` is sent to the server with its outputs.
    """
    control, source = settings.control, settings.source
    asked = (control.refresh, control.dry_run, control.overfit_batch, control.mlflow)
    files = (settings.decision.cost_file, settings.train.weights)
    if any(asked) or any(files) or workspace.address or tf_config.is_worker():
        return False
    if any(name in os.environ for name in WITHIN_FLOW) or tf_config.this_cluster() is not None:
        return False
    resolved = resolve.resolve(source.dataset)
    if isinstance(resolved, DatasetSpec):
        return not acquire.to_download(source, workspace)
    return not isinstance(resolved, str)
