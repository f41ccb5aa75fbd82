"""The model of all images that lies in a version: its file, and its use for predictions."""

from pathlib import Path

from tasks.core import shares
from tasks.core.errors import UsageError
from tasks.core.registry import layout, registry
from tasks.core.stage.handles import AllImagesVersion, FinalModel, ModelVersion
from tasks.core.storage import manifests
from tasks.core.workspace import Workspace

ADDED = "all-images"  # to the name of the version, in the rows of predictions


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


def of_version(version: ModelVersion, abstain: float | None) -> AllImagesVersion:
    """The model of all images of a published version, as a version that predicts.

    Args:
        version: The version.
        abstain: The error rate that is asked for; None for none.

    Raises:
        UsageError: The version has no such model, or an error rate is asked of it.
    """
    if abstain is not None:
        raise UsageError(
            "--abstain does not go with --all-images",
            expected="a threshold that images have proven which the model has not seen",
            found="a model that has seen all images",
            done="nothing was predicted",
            todo="leave --all-images out, or give a confidence with --threshold",
        )
    final = version.manifest["facts"].get(registry.ALL_IMAGES)
    if not final:
        raise UsageError(
            f"{version.dataset} {version.version} has no model of all images",
            expected="a version that was trained with --cross-validate, or by probe with few test images",
            found="only its own model, of the train images",
            done="nothing was predicted",
            todo="leave --all-images out, or train with --cross-validate 5",
        )
    return AllImagesVersion.unchecked(
        path=version.path,
        digest=version.digest,
        model_sha256=final["model_sha256"],
        dataset=version.dataset,
        version=f"{version.version}-{ADDED}",
    )


def sentence(version: ModelVersion) -> str:
    """What is known of a version's model of all images; no test score is.

    Args:
        version: The version itself.
    """
    facts = version.manifest["facts"]
    final, score = facts[registry.ALL_IMAGES], facts.get("cross_validated")
    seen = f"{version.version}'s model of all images ({final['images']:,}, test images too)"
    text = f"{seen}: it has no test score"
    if not score:
        return text
    low, high = (shares.percent(score[name]) for name in ("low", "high"))
    return (
        f"{text}. Its recipe scores {shares.percent(score['accuracy'])} ({low} to {high}) by cross-validation"
        f" in {score['folds']} folds"
    )
