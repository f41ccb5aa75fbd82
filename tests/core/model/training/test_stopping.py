"""How a training ends: stopped between and within windows, diverged, early, at the best epoch."""

import threading
from pathlib import Path

import numpy as np
import pytest

from tasks.core import recipes
from tasks.core.config import RecipeName, TrainSettings
from tasks.core.errors import DivergedError
from tasks.core.model.export import inference_model
from tasks.core.model.training import checkpoint, loop
from tasks.core.progress import ignore_progress
from tasks.core.workspace import Workspace
from tests.core.model.training.trainers import Make, fitted, started

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, TimeoutError])
def test_run_stopped_between_windows_saves_a_checkpoint_of_that_step(
    tensors: Make, tmp_path: Path, error: type[BaseException]
) -> None:
    data = tensors()
    trainer = started(data, fitted(data, RecipeName.flash))

    def stop(done: float, *_: object) -> None:
        if done > 0.5:
            raise error

    with pytest.raises(error):
        loop.run(trainer, tmp_path, stop)
    saved, _ = checkpoint.latest(tmp_path)
    assert saved is not None
    assert saved.step == trainer.step > 0


def test_run_stopped_within_a_window_saves_no_checkpoint(tensors: Make, tmp_path: Path) -> None:
    """In a thread, an exception may come at any moment; the last intact checkpoint must remain the newest."""
    data = tensors()
    trainer = started(data, fitted(data, RecipeName.flash))
    checkpoint.save(tmp_path, trainer.checkpoint())
    trainer.consistent = False
    errors: list[BaseException] = []

    def work() -> None:
        def stop(*_: object) -> None:
            trainer.consistent = False
            raise TimeoutError

        try:
            loop.run(trainer, tmp_path, stop)
        except TimeoutError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    saved, _ = checkpoint.latest(tmp_path)
    assert saved is not None
    assert (len(errors), saved.step) == (1, 0)


def test_run_with_divergence_names_step_and_learning_rate_and_saves_nothing(
    tensors: Make, workspace: Workspace
) -> None:
    data = tensors()
    settings = TrainSettings(recipe=RecipeName.textbook, epochs=3, learning_rate=1000.0)
    trainer = started(data, recipes.resolve(settings, data.train))
    with pytest.raises(DivergedError, match=r"step \d+ of 27") as raised:
        loop.run(trainer, workspace.root / "training" / "x.checkpoints", ignore_progress)
    assert "learning rate" in str(raised.value)
    assert "--learning-rate 250" in str(raised.value)
    assert "nothing was published" in str(raised.value)
    saved, _ = checkpoint.latest(workspace.root / "training" / "x.checkpoints")
    assert saved is None or all(np.isfinite(array).all() for array in saved.arrays)


def test_run_with_patience_stops_early_and_takes_the_best_epoch(tensors: Make, workspace: Workspace) -> None:
    """Noise images: validation only gets worse once the training images are memorized."""
    data = tensors(shape=(8, 8, 1), train=(30, 30))
    noise = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1), np.uint8)
    np.save(data.directory / "train.images.npy", noise)
    trainer = started(data, fitted(data, RecipeName.textbook, epochs=200.0, patience=3))
    loop.run(trainer, workspace.root / "training" / "x.checkpoints", ignore_progress)
    losses = [entry["val_loss"] for entry in trainer.history]
    best = int(np.argmin(losses))
    assert len(losses) == best + 1 + 3 < 200
    assert trainer.validate()[0] == losses[best]


def test_done_without_patience_ignores_validation_loss(tensors: Make) -> None:
    data = tensors()
    trainer = started(data, fitted(data, RecipeName.flash))
    assert trainer.plan.recipe.patience == 0
    trainer.history = [{"val_loss": loss} for loss in (1.0, 2.0, 3.0)]
    assert not trainer.done


def test_take_best_restores_the_best_model(tensors: Make) -> None:
    data = tensors(shape=(16, 16, 3))
    trainer = started(data, fitted(data, RecipeName.flash, patience=2, epochs=1.0))
    while not trainer.done:
        trainer.run(trainer.plan.window(trainer.step, 9))
    trainer.close_epoch()
    images, recipe = trainer.val.images[:4], trainer.plan.recipe
    expected = inference_model.build_inference_model(recipe, trainer.model)(images)
    for variable in trainer.model.trainable_variables:
        variable.assign(variable * 0)
    trainer.take_best()
    assert np.array_equal(inference_model.build_inference_model(recipe, trainer.model)(images), expected)
