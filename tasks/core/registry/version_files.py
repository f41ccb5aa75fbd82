"""Writes the directory of a new version: model file, labels, model card, exports, profile, manifest."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.core.evaluation.scores import read_calibration, read_metrics
from tasks.core.model.export.description import LABELS, labels_text
from tasks.core.registry import commits, model_card
from tasks.core.stage.handles import Evaluation, Exports, FinalModel, Profile, TrainedModel
from tasks.core.stage.ingredients import Ingredients
from tasks.core.stage.publish import Stopwatch
from tasks.core.storage import atomic, manifests, mirror, verification
from tasks.core.workspace import Workspace

MODEL = "model.keras"
CARD = "model_card.md"
NOTICES = ("NOTICE.txt", "LICENSE-backbone.txt")  # of a backbone's weights
EXPORTS = "exports"
PROFILE = "profile"
ALL_IMAGES = "all_images"


def write_version(
    final: Path,
    trained: TrainedModel,
    evaluation: Evaluation,
    folders: Mapping[str, Exports | Profile | FinalModel | None],
    facts: dict[str, Any],
    workspace: Workspace,
) -> None:
    """Build the version in a staging directory, upload it, and rename the directory to `final`.

    Args:
        final: The directory of the version.
        trained: The model.
        evaluation: The model's evaluation.
        folders: Outputs to copy, by the name of the folder in the version; None leaves the folder out.
        facts: Facts for the manifest and the model card, with dataset and version; JSON values.
        workspace: The workspace with the registry.

    Raises:
        CommitConflict: Another machine has published a version under that number.
    """
    calibration = read_calibration(evaluation)
    version_facts = {
        **facts,
        "model_sha256": trained.model_sha256,
        "training": trained.digest,
        "evaluation": evaluation.digest,
        "tensors": evaluation.tensors,
        "images": evaluation.images,
        "metrics": read_metrics(evaluation)["test"],
        "temperature": trained.temperature,
        "calibration": trained.calibration,
        "abstention": calibration["abstention"],
    }
    notes = final.parent / model_card.NOTES
    if not notes.exists():
        atomic.write_bytes(notes, model_card.notes_template().encode())
    with atomic.staging_directory(final) as staging:
        with Stopwatch() as stopwatch, verification.required():
            _copy_files(staging, trained, folders)
            text = model_card.render(version_facts, model_card.read_notes(notes))
            (staging / CARD).write_text(text, encoding="utf-8")
            labels = labels_text(version_facts["classes"])
            (staging / LABELS).write_text(labels, encoding="utf-8", newline="")
        ingredients = Ingredients(
            stage="publish",
            inputs={"training": trained.digest, "evaluation": evaluation.digest}
            | {name: folder.digest for name, folder in folders.items() if folder is not None},
            parameters={"dataset": version_facts["dataset"], "version": final.name},
        )
        manifests.write(staging, ingredients.record(), version_facts, stopwatch.cost)
        atomic.sync(staging)
        commits.publish(staging, final, mirror.of_workspace(workspace))
        staging.rename(final)
        atomic.sync(final.parent)


def _copy_files(
    staging: Path, trained: TrainedModel, folders: Mapping[str, Exports | Profile | FinalModel | None]
) -> None:
    shutil.copyfile(trained.directory / MODEL, staging / MODEL)
    for name in NOTICES:
        if (trained.directory / name).exists():
            shutil.copyfile(trained.directory / name, staging / name)
    for name, folder in folders.items():
        if folder is not None:
            without_manifest = shutil.ignore_patterns(manifests.MANIFEST)
            shutil.copytree(folder.directory, staging / name, ignore=without_manifest)
