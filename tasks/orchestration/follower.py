"""The part of a run that a worker of a TF_CONFIG cluster does: prepare the same data, train its share.

Only the chief, the first process, runs the flow. A worker writes no model, table or report and does not use
Prefect. It may share the chief's workspace on a shared file system, or have its own.
"""

import logging
from collections.abc import Collection
from typing import Any

from tasks.core.data.audit import audit
from tasks.core.data.sources import acquire
from tasks.core.data.tensors import normalize
from tasks.core.model.devices import tf_config
from tasks.core.model.selection import candidates
from tasks.core.model.training import train
from tasks.core.workspace import Workspace
from tasks.orchestration.settings import RunSettings

log = logging.getLogger("plumbline")


def follow(
    settings: RunSettings, workspace: Workspace, refresh: Collection[str] = (), checks_batch: bool = False
) -> dict[str, Any]:
    """Prepare the data as the chief does, and train together with it.

    Args:
        settings: The settings of the run, the same as the chief's.
        workspace: This process's workspace.
        refresh: Stages to run again; only "train" and "all" have an effect here.
        checks_batch: Whether the chief only checks one batch, which it does without the workers.

    Returns:
        `followed`, this process's place in the cluster as text, and `trained`, whether it trained.
    """
    process = f"{tf_config.this_cluster()}"
    if checks_batch:
        log.info("%s: nothing to do, since the first process checks the batch alone", process)
        return {"followed": process, "trained": False}
    log.info("%s: prepares the data and joins the training; the first process publishes", process)
    tensors = normalize.normalize(acquire.acquire(settings.source, workspace), settings.tensors, workspace)
    audited = audit.audit(tensors, workspace) if settings.train.drop_leaks else None
    retrain = bool({"all", "train"} & {str(name) for name in refresh})
    recipe = candidates.settled(settings.train, tensors)
    trained = train.train_as_worker(tensors, recipe, workspace, audit=audited, refresh=retrain)
    log.info("%s: %s", process, "done" if trained else "nothing to train, since the model exists already")
    return {"followed": process, "trained": trained}
