"""Writes the directory of a new version: model file, labels, model card, exports, profile, manifest."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.core.errors import RegistryError
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


@dataclass(frozen=True)
class CopiedOutputs:
    """Outputs of a model that a version has copies of; None leaves the copy out.

    Args:
        exports: The model in other formats, for the folder `exports`.
        profile: The profile of the validation images, for the folder `profile`.
        final: A model of all images, for the folder `all_images`.
    """

    exports: Exports | None
    profile: Profile | None
    final: FinalModel | None

    def facts(self) -> dict[str, Any]:
        """What the manifest says of them."""
        profile = self.profile
        return {
            "exports": list(self.exports.passed) if self.exports else [],
            "profile": {"split": profile.split, "images": profile.images} if profile else None,
            ALL_IMAGES: self.final and self.final.facts(),
        }

    def folders(self) -> dict[str, Exports | Profile | FinalModel]:
        """Those that exist, by their folder in the version."""
        outputs = {EXPORTS: self.exports, PROFILE: self.profile, ALL_IMAGES: self.final}
        return {name: output for name, output in outputs.items() if output is not None}


def check_same_model(trained: TrainedModel, evaluation: Evaluation, copied: CopiedOutputs) -> None:
    """Raises `RegistryError` if the evaluation, the exports or the profile belong to another model."""
    handles = {"evaluation": evaluation, "exports": copied.exports, "profile": copied.profile}
    for what, handle in handles.items():
        if handle is not None and handle.model_sha256 != trained.model_sha256:
            raise RegistryError(
                f"the {what} would be of another model",
                expected=f"model {trained.model_sha256[:12]}",
                found=f"model {handle.model_sha256[:12]}",
                done="nothing was published",
            )


def write_version(
    final: Path,
    trained: TrainedModel,
    evaluation: Evaluation,
    copied: CopiedOutputs,
    facts: dict[str, Any],
    workspace: Workspace,
) -> None:
    """Build the version in a staging directory, upload it, and rename the directory to `final`.

    Args:
        final: The directory of the version.
        trained: The model.
        evaluation: The model's evaluation.
        copied: Outputs to copy.
        facts: Facts for the manifest and the model card, with dataset and version; JSON values.
        workspace: The workspace with the registry.

    Raises:
        CommitConflict: Another machine has published a version under that number.
    """
    version_facts = {**facts, **copied.facts(), **_facts_of_model(trained, evaluation)}
    notes = final.parent / model_card.NOTES
    if not notes.exists():
        atomic.write_bytes(notes, model_card.notes_template().encode())
    with atomic.staging_directory(final) as staging:
        with Stopwatch() as stopwatch, verification.required():
            _copy_files(staging, trained, copied)
            text = model_card.render(version_facts, model_card.read_notes(notes))
            (staging / CARD).write_text(text, encoding="utf-8")
            labels = labels_text(version_facts["classes"])
            (staging / LABELS).write_text(labels, encoding="utf-8", newline="")
        ingredients = _ingredients(trained, evaluation, copied, version_facts)
        manifests.write(staging, ingredients.record(), version_facts, stopwatch.cost)
        atomic.sync(staging)
        commits.publish(staging, final, mirror.of_workspace(workspace))
        staging.rename(final)
        atomic.sync(final.parent)


def _facts_of_model(trained: TrainedModel, evaluation: Evaluation) -> dict[str, Any]:
    return {
        "model_sha256": trained.model_sha256,
        "training": trained.digest,
        "evaluation": evaluation.digest,
        "tensors": evaluation.tensors,
        "images": evaluation.images,
        "metrics": read_metrics(evaluation)["test"],
        "temperature": trained.temperature,
        "calibration": trained.calibration,
        "abstention": read_calibration(evaluation)["abstention"],
    }


def _ingredients(
    trained: TrainedModel, evaluation: Evaluation, copied: CopiedOutputs, facts: dict[str, Any]
) -> Ingredients:
    return Ingredients(
        stage="publish",
        inputs={"training": trained.digest, "evaluation": evaluation.digest}
        | {name: output.digest for name, output in copied.folders().items()},
        parameters={"dataset": facts["dataset"], "version": facts["version"]},
    )


def _copy_files(staging: Path, trained: TrainedModel, copied: CopiedOutputs) -> None:
    shutil.copyfile(trained.directory / MODEL, staging / MODEL)
    for name in NOTICES:
        if (trained.directory / name).exists():
            shutil.copyfile(trained.directory / name, staging / name)
    for name, output in copied.folders().items():
        without_manifest = shutil.ignore_patterns(manifests.MANIFEST)
        shutil.copytree(output.directory, staging / name, ignore=without_manifest)
