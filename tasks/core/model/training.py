"""The training stage: importable without TensorFlow, which only an actual training loads."""

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.core import recipes, stage
from tasks.core.config import TrainSettings
from tasks.core.handles import TensorCache, TrainedModel
from tasks.core.model import quiet
from tasks.core.progress import Progress, silent
from tasks.core.stage import Ingredients
from tasks.core.workspace import Workspace

log = logging.getLogger("plumbline.train")


def ingredients(tensors: TensorCache, settings: TrainSettings) -> Ingredients:
    recipe = recipes.resolve(settings, tensors.train)
    return Ingredients(
        stage="train",
        inputs={"tensors": tensors.digest},
        parameters=recipe.parameters() | {"seed": settings.seed},
        modules=("tasks.core.model.loop",),
        libraries=("tensorflow", "keras", "numpy"),
    )


def train(
    tensors: TensorCache,
    settings: TrainSettings,
    workspace: Workspace,
    *,
    refresh: bool = False,
    progress: Progress = silent,
) -> TrainedModel:
    """Train a recipe, going on from the last checkpoint of the same training if there is one.

    Writes `model.keras`, `weights.npz` and `history.parquet`. The checkpoints lie beside the result, in
    a folder of the same digest that is removed once the result is published.

    Raises:
        DivergedError: The loss is not a number any more, or beyond hope.
    """
    made_of = ingredients(tensors, settings)
    directory = workspace.training / made_of.digest
    checkpoints = workspace.training / f"{made_of.digest}.checkpoints"
    if refresh:
        shutil.rmtree(checkpoints, ignore_errors=True)

    def build(staging: Path) -> Mapping[str, Any]:
        with quiet.start_up():
            from tasks.core.model import loop

        return loop.train(tensors, settings, staging, checkpoints, progress)

    manifest = stage.publish(directory, made_of, build, refresh=refresh)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return TrainedModel(path=workspace.relative(directory), digest=made_of.digest, **manifest["facts"])
