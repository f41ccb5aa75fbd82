"""Where the model of all images lies that belongs to a run."""

from pathlib import Path

from tasks.core.registry import layout, registry
from tasks.core.stage.handles import FinalModel
from tasks.core.storage import manifests
from tasks.core.workspace import Workspace


def file_of(final: FinalModel, dataset: str, version: str, workspace: Workspace) -> Path:
    """The model's file: beside the version, or the stage's if the version was published before without it.

    Args:
        final: The model.
        dataset: Name of the dataset.
        version: The version of the run.
        workspace: The workspace with the registry.
    """
    directory = layout.synced_folder(dataset, workspace) / version
    published = manifests.read(directory)["facts"].get(registry.ALL_IMAGES) or {}
    if published.get("model_sha256") == final.model_sha256:
        return directory / registry.ALL_IMAGES / registry.MODEL
    return final.directory / registry.MODEL
