"""What the training and sweep flows refuse before anything starts; nothing here imports Prefect."""

from pathlib import Path

from tasks.core import recipes
from tasks.core.data.readers import corrections_file
from tasks.core.data.sources import first_images, resolve
from tasks.core.errors import UsageError
from tasks.core.evaluation import decision
from tasks.core.model.backbones import catalog, weights
from tasks.core.model.devices import tf_config
from tasks.core.model.export import export as export_stage
from tasks.core.model.training import cross_predict as cross_predict_stage
from tasks.core.storage.workspaces import refuse_file
from tasks.core.workspace import Workspace
from tasks.orchestration.settings import RunSettings, TrainControl


def validate(settings: RunSettings) -> None:
    """Refuse what cannot be done, before anything starts.

    Raises:
        UsageError: A source, a workspace, corrections, groups, a backbone, an export format, a number of
            folds or a TF_CONFIG that cannot be used.
        QuarantineError: Too many images of a folder cannot be read.
        DataError: The folders are no classes, or `--cost` is a file that cannot be read.
        ChecksumError: `--weights` is not the published file.
    """
    tf_config.this_cluster()
    resolve.check_source(settings.source)
    _check_workspace(settings)
    resolve.check_group_by(settings.source, settings.normalize.group_by)
    if settings.source.corrections:
        corrections_file.read(settings.source.corrections)
    else:  # corrections may leave out the images that cannot be read
        _look_at_images(settings)
    decision.check_cost_file(settings.decision)
    export_stage.check_formats(settings.publish.exports, settings.publish.export_input)
    _check_overfit(settings)
    catalog.check(settings.embed, settings.train.recipe)
    if settings.train.weights:
        weights.keep(settings.train.weights, catalog.find(settings.train.backbone))
    cross_predict_stage.check_folds(settings.folds)
    if settings.cross_validate:
        tf_config.refuse_cluster("--cross-validate")


def _check_overfit(settings: RunSettings) -> None:
    """The check trains a network on the tensors; a pretrained one takes features of the photos themselves."""
    control, recipe = settings.control, settings.train.recipe
    if isinstance(control, TrainControl) and control.overfit_batch and recipes.is_pretrained(recipe):
        raise UsageError(
            "--overfit-batch is for recipes from scratch",
            expected="--recipe with fast, flash, good, better, best or textbook",
            found=f"--recipe {recipe}, which starts from a pretrained network",
            done="nothing was started",
            todo="leave out --overfit-batch: such a recipe takes little time; or name another --recipe",
        )


def _check_workspace(settings: RunSettings) -> None:
    """A file is no workspace, nor is the folder of the images: its folders would become classes."""
    source = resolve.resolve(settings.source.dataset)
    workspace = Workspace.open(settings.control.workspace)
    refuse_file(workspace)
    if isinstance(source, Path) and source.is_dir() and not workspace.address and workspace.root == source:
        raise UsageError(
            "--workspace is the folder of the images",
            expected="a folder of its own; it may lie in the folder of the images",
            found=str(source),
            done="nothing was started",
            todo=f"--workspace {source / 'workspace'}",
        )


def _look_at_images(settings: RunSettings) -> None:
    source = resolve.resolve(settings.source.dataset)
    if isinstance(source, Path) and source.is_dir() and resolve.detect_format(source) == "folder":
        first_images.check(source, settings.normalize.max_quarantine)
