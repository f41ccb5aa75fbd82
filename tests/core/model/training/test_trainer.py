"""Training in this process: learning, resuming, and where the images lie."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss

from tasks.core.config import Precision, RecipeName, TrainSettings
from tasks.core.data.tensors.cache import open_split
from tasks.core.model.inference import predict_splits, predictor
from tasks.core.model.training import checkpoint, log, loop, train
from tasks.core.model.training.batches.resident_images import ResidentImages
from tasks.core.progress import ignore_progress
from tasks.core.workspace import Workspace
from tests.core.model.training.trainers import Make, fitted, identical, started

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("recipe", [RecipeName.textbook, RecipeName.flash])
def test_train_with_each_recipe_learns_stripes(
    tensors: Make, workspace: Workspace, recipe: RecipeName
) -> None:
    data = tensors(shape=(16, 16, 3), train=(80, 80, 80, 80))
    settings = TrainSettings(recipe=recipe, epochs=12)
    model = train.train(data, settings, workspace)
    assert model.val_accuracy > 0.9  # chance is 0.25
    probabilities = np.load(
        predict_splits.predict_splits(model, data, workspace).directory / "test.probabilities.npy"
    )
    assert np.mean(probabilities.argmax(axis=1) == open_split(data, "test").labels) > 0.9
    history = pd.read_parquet(model.directory / "history.parquet")
    assert history["epoch"].tolist() == list(range(1, 13))
    assert history["val_accuracy"].iloc[-1] == model.val_accuracy
    assert list((workspace.root / "training").glob("*.checkpoints")) == []


@pytest.mark.parametrize(
    ("precision", "tolerance"), [(Precision.float32, 1e-3), (Precision.bfloat16, 0.1)], ids=str
)
def test_history_validation_matches_published_model(
    tensors: Make, workspace: Workspace, precision: Precision, tolerance: float
) -> None:
    """Compared with scikit-learn, on the probabilities of the model file without its temperature."""
    data = tensors(shape=(16, 16, 3))
    settings = TrainSettings(recipe=RecipeName.flash, epochs=2, precision=precision)
    model = train.train(data, settings, workspace)
    val = open_split(data, "val")
    probabilities = predictor.load(model.directory / "model.keras").probabilities(val.images)
    last = pd.read_parquet(model.directory / "history.parquet").iloc[-1]
    accuracy = np.mean(probabilities.argmax(axis=1) == val.labels)
    assert last["val_accuracy"] == pytest.approx(accuracy, abs=1e-9 if tolerance < 0.01 else 0.02)
    powers = probabilities.astype(np.float64) ** model.temperature
    untempered = powers / powers.sum(axis=1, keepdims=True)
    assert last["val_loss"] == pytest.approx(log_loss(val.labels, untempered), rel=tolerance)
    assert model.temperature != 1


@pytest.mark.parametrize(("patience", "first"), [(0, 1), (3, 6)])  # early stopping compares the epochs
def test_only_the_last_validation_takes_all_six_views(tensors: Make, patience: int, first: int) -> None:
    data = tensors(shape=(16, 16, 3))
    trainer = started(data, fitted(data, RecipeName.flash, tta_views=6, patience=patience))
    images, labels = trainer.val.images, trainer.val.labels
    losses = []
    for views in (first, 6):
        trainer.run(trainer.plan.window(trainer.step, 9))
        logits = trainer.evaluator.logits(images, views)
        losses.append(log_loss(labels, softmax(logits.astype(np.float64), axis=1)))
        assert trainer.close_epoch()["val_loss"] == pytest.approx(losses[-1], rel=1e-6)
    assert np.array_equal(trainer.val_logits(), logits)
    assert not np.allclose(logits, trainer.evaluator.logits(images, 1), rtol=1e-3)


@pytest.mark.parametrize(
    ("name", "changes", "window"),
    [
        (RecipeName.flash, {}, 0),
        (RecipeName.flash, {}, 48),  # batches of 32 cross the borders of windows of 48
        (RecipeName.flash, {"small_image_share": 0.4}, 0),  # 7 of 18 steps
        (RecipeName.fast, {"patience": 1}, 0),
        (RecipeName.flash, {"epochs": 4.0, "easy_left_out": 0.5, "patience": 3}, 0),
        (RecipeName.textbook, {"augment": "rotate"}, 0),
    ],
    ids=str,
)
def test_resume_within_an_epoch_ends_as_uninterrupted(
    tensors: Make, tmp_path: Path, name: RecipeName, changes: dict[str, object], window: int
) -> None:
    side = 32 if "small_image_share" in changes else 16
    data = tensors(shape=(side, side, 3))
    recipe = fitted(data, name, **changes)
    uninterrupted = started(data, recipe, window=window)
    loop.run(uninterrupted, tmp_path / "uninterrupted", ignore_progress)
    trainer = started(data, recipe, window=window)
    # Within the first epoch and within the second; the third is the only one that leaves out easy images.
    for stop in (4, 11, *([20, 25] if "easy_left_out" in changes else [])):
        while trainer.step < stop:
            trainer.run(trainer.plan.window(trainer.step, stop - trainer.step))
            if trainer.plan.ends_epoch(trainer.step):
                trainer.close_epoch()
        checkpoint.save(tmp_path / "resumed", trainer.checkpoint())
        trainer = started(data, recipe, window=window)
        assert "resumed at epoch" in loop.resume(trainer, tmp_path / "resumed")
        assert trainer.step == stop
    loop.run(trainer, tmp_path / "resumed", ignore_progress)
    assert identical(trainer, uninterrupted)


def test_run_with_different_windows_gives_same_bits(tensors: Make) -> None:
    data = tensors(shape=(16, 16, 3))
    recipe = fitted(data, RecipeName.flash, epochs=1.0)
    trainers = [started(data, recipe) for _ in range(2)]
    for trainer, length in zip(trainers, (1, 4), strict=True):
        while not trainer.done:
            trainer.run(trainer.plan.window(trainer.step, length))
        trainer.close_epoch()
    assert identical(*trainers)


@pytest.mark.parametrize(("shape", "changes"), [((32, 32, 3), {"max_shift": 2}), ((16, 20, 1), {})], ids=str)
def test_images_on_the_device_are_those_of_the_host_to_the_byte(
    tensors: Make, shape: tuple[int, int, int], changes: dict[str, object]
) -> None:
    data = tensors(shape=shape)
    recipe = fitted(data, RecipeName.fast, epochs=4.0, easy_left_out=0.9, **changes)
    host, device = (started(data, recipe, resident=resident) for resident in (False, True))
    assert isinstance(device.batches, ResidentImages)
    per_epoch = host.plan.per_epoch
    losses = np.arange(2 * per_epoch * 32, dtype=np.float32).reshape(2 * per_epoch, 32)
    for trainer in (host, device):
        for epoch in (0, 1):
            start, end = epoch * per_epoch, (epoch + 1) * per_epoch
            trainer.order.tell(start, end, losses[start:end])
    for start in (0, per_epoch, 3 * per_epoch - 3):  # the second mirrors other images; the third has passes
        (expected,) = host.batches.window(start, start + 3)
        rows, mirrored, shifts = device.batches.window(start, start + 3)
        for step in range(3):
            found = device.batches.batch(rows[step], mirrored[step], shifts[step])
            assert np.array_equal(found, expected[step])
    if shape[2] == 1:
        for trainer in (host, device):
            trainer.run(trainer.plan.window(0, 9))
        assert identical(host, device)


def test_a_split_that_is_shuffled_in_windows_stays_on_the_host(tensors: Make) -> None:
    data = tensors(shape=(16, 16, 3))
    trainer = started(data, fitted(data, RecipeName.flash), window=48, resident=True)
    assert not isinstance(trainer.batches, ResidentImages)


def test_first_steps_see_smaller_images_only_where_images_are_large_enough(tensors: Make) -> None:
    for side, differs in ((32, True), (16, False)):
        data = tensors(shape=(side, side, 3))
        recipe = fitted(data, RecipeName.flash)
        small, full = started(data, replace(recipe, small_image_share=0.1)), started(data, recipe)
        for trainer in (small, full):
            trainer.run(1)
        assert (small.epoch_totals[0] != full.epoch_totals[0]) is differs


def test_train_with_a_fraction_of_an_epoch_trains_these_steps(tensors: Make, workspace: Workspace) -> None:
    data = tensors()
    model = train.train(data, TrainSettings(recipe=RecipeName.textbook, epochs=0.34), workspace)
    assert model.epochs == pytest.approx(3 / 9)  # 288 images, batches of 32
    assert len(pd.read_parquet(model.directory / "history.parquet")) == 1


def test_training_says_which_epochs_leave_out_easy_images(
    tensors: Make, caplog: pytest.LogCaptureFixture
) -> None:
    data = tensors()
    caplog.set_level("INFO", "plumbline.train")
    expected = {0.0: "", 4.0: "epochs 3 to 3 leave out 50 %", 2.0: "no epoch leaves out easy images"}
    for epochs, text in expected.items():
        caplog.clear()
        recipe = fitted(data, RecipeName.flash, epochs=epochs or 4.0, easy_left_out=0.5 if epochs else 0.0)
        log.TrainingLog(started(data, recipe), ignore_progress)
        assert text in caplog.text
        assert bool(text) is ("easy images" in caplog.text)


def test_training_on_a_gpu_says_that_larger_batches_are_faster(
    tensors: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    data = tensors(shape=(8, 8, 3))
    recipe = fitted(data, RecipeName.flash)
    size = recipe.batch_size
    caplog.set_level("INFO", "plumbline.train")
    monkeypatch.setattr(log, "GPU_BATCH", 2 * size)
    # 40 batches are 20 of twice the size.
    for on_gpu, batches, expected in ((True, 40, True), (False, 40, False), (True, 39, False)):
        caplog.clear()
        trainer = started(data, recipe, resident=on_gpu)
        trainer.train = replace(trainer.train, labels=np.zeros(batches * size, np.int32))
        log.TrainingLog(trainer, ignore_progress)
        assert (f"--batch-size {2 * size}" in caplog.text) is expected
