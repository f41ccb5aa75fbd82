"""What a process of a cluster does whose leader runs the flow: the same data, its share of the training.

It writes no model, table or report and needs no Prefect. The workspace may be the leader's, on a shared file
system, or one of its own.
"""

import logging
from collections.abc import Collection
from typing import Any

from tasks.core.data.audit import audit
from tasks.core.data.sources import acquire
from tasks.core.data.tensors import normalize
from tasks.core.model.devices import tf_config
from tasks.core.model.training import train
from tasks.core.workspace import Workspace
from tasks.orchestration.settings import RunSettings

log = logging.getLogger("plumbline")


def follow(
    settings: RunSettings, workspace: Workspace, refresh: Collection[str] = (), checks_batch: bool = False
) -> dict[str, Any]:
    """Prepare the data as the leader does, and train along.

    Args:
        refresh: Stages to run again; of training only.
        checks_batch: Whether the leader only checks one batch, which it does alone.

    Returns:
        What this process did; JSON values.
    """
    place = f"{tf_config.this_cluster()}"
    if checks_batch:
        log.info("%s: the first process checks the batch alone; nothing to do", place)
        return {"followed": place, "trained": False}
    log.info("%s: prepares the data and trains along; the first process publishes", place)
    made = normalize.normalize(acquire.acquire(settings.source, workspace), settings.normalize, workspace)
    audited = audit.audit(made, workspace) if settings.train.drop_leaks else None
    again = bool({"all", "train"} & {str(name) for name in refresh})
    trained = train.follow(made, settings.train, workspace, audit=audited, refresh=again)
    log.info("%s: %s", place, "done" if trained else "nothing to train, the model is there already")
    return {"followed": place, "trained": trained}
