"""Which dataset's model is meant where nobody says it."""

import logging

from tasks.core.errors import RegistryError
from tasks.core.registry import registry
from tasks.core.workspace import Workspace

log = logging.getLogger("plumbline.registry")


def choose(dataset: str | None, workspace: Workspace) -> str:
    """The dataset that is named; else the only one with a model, or the one whose model was published last.

    A choice that the user did not make is logged.

    Args:
        dataset: The dataset, or None.
        workspace: The workspace with the registry.

    Raises:
        RegistryError: No dataset is named, and the workspace has no model.
    """
    if dataset is not None:
        return dataset
    names = registry.datasets(workspace)
    if not names:
        raise RegistryError(
            f"no model in {workspace.address or workspace.root}",
            expected="a workspace in which a model was trained",
            done="nothing was started",
            todo="train one (`plumbline train`), or name its workspace by --workspace",
        )
    chosen = max(names, key=lambda name: _last_publication(name, workspace))
    others = ", ".join(name for name in names if name != chosen)
    why = f"published last; also there: {others}" if others else "the only one with a model"
    log.info("%-13s %s: %s", "dataset", chosen, why)
    return chosen


def _last_publication(dataset: str, workspace: Workspace) -> str:
    """When a version was published last, in ISO 8601; empty if never."""
    lines = registry.history(dataset, workspace)
    return max((str(line["when"]) for line in lines if line.get("action") == "publish"), default="")
