"""Training in this process: what it learns, what it goes on from, when it stops."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from sklearn.metrics import log_loss

from tasks.core import recipes
from tasks.core.config import Precision, RecipeName, TrainSettings
from tasks.core.data.tensors.cache import open_split
from tasks.core.errors import DivergedError
from tasks.core.model.export import inference_model
from tasks.core.model.inference import predict_splits, predictor
from tasks.core.model.training import checkpoint, loop, train
from tasks.core.model.training.loss import class_offsets
from tasks.core.model.training.steps import StepPlan
from tasks.core.model.training.trainer import Trainer
from tasks.core.progress import ignore_progress
from tasks.core.recipes import Recipe
from tasks.core.stage.handles import TensorCache
from tasks.core.workspace import Workspace

Make = Callable[..., TensorCache]


@pytest.fixture(autouse=True)
def deterministic() -> None:
    tf.config.experimental.enable_op_determinism()


def started(tensors: TensorCache, recipe: Recipe, seed: int = 0, window: int = 0) -> Trainer:
    """A training; its images in windows of `window`, as those of a large split are, if it isn't 0."""
    plan = StepPlan.of(recipe, seed, tensors.train)
    if window:
        size = int(np.prod(tensors.shape))
        sizes = {"full_shuffle_bytes": 0, "window_bytes": window * size, "block_bytes": window // 4 * size}
        plan = replace(plan, shuffle=replace(plan.shuffle, row_bytes=size, **sizes))
    return Trainer(plan, open_split(tensors, "train"), open_split(tensors, "val"), len(tensors.classes))


def fitted(tensors: TensorCache, name: RecipeName, **changes: object) -> Recipe:
    recipe = recipes.resolve(TrainSettings(recipe=name), tensors.train)
    return replace(recipe, batch_size=32, **{"epochs": 2.0} | changes)


def values(one: Trainer) -> list[np.ndarray]:
    return [variable.numpy() for variable in one.variables]


def same(one: Trainer, other: Trainer) -> bool:
    return all(
        a.tobytes() == b.tobytes() for a, b in zip(values(one), values(other), strict=True)
    ) and without_times(one) == without_times(other)


def without_times(one: Trainer) -> list[dict[str, float]]:
    return [
        {name: value for name, value in entry.items() if name not in ("seconds", "images_per_second")}
        for entry in one.history
    ]


@pytest.mark.parametrize("recipe", [RecipeName.textbook, RecipeName.flash])
def test_every_recipe_learns_stripes(tensors: Make, workspace: Workspace, recipe: RecipeName) -> None:
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
    ("precision", "within"), [(Precision.float32, 1e-3), (Precision.bfloat16, 0.1)], ids=str
)
def test_the_recorded_validation_is_that_of_the_published_model(
    tensors: Make, workspace: Workspace, precision: Precision, within: float
) -> None:
    """Against scikit-learn, on the probabilities that the model file gives, without its temperature."""
    data = tensors(shape=(16, 16, 3))
    settings = TrainSettings(recipe=RecipeName.flash, epochs=2, precision=precision)
    model = train.train(data, settings, workspace)
    val = open_split(data, "val")
    probabilities = predictor.load(model.directory / "model.keras").probabilities(val.images)
    last = pd.read_parquet(model.directory / "history.parquet").iloc[-1]
    right = np.mean(probabilities.argmax(axis=1) == val.labels)
    assert last["val_accuracy"] == pytest.approx(right, abs=1e-9 if within < 0.01 else 0.02)
    powers = probabilities.astype(np.float64) ** model.temperature
    untempered = powers / powers.sum(axis=1, keepdims=True)
    assert last["val_loss"] == pytest.approx(log_loss(val.labels, untempered), rel=within)
    assert model.temperature != 1


@pytest.mark.parametrize(
    ("name", "changes", "window"),
    [
        (RecipeName.flash, {}, 0),
        (RecipeName.flash, {}, 48),  # batches of 32 lie across windows of 48
        (RecipeName.fast, {"patience": 1}, 0),
        (RecipeName.textbook, {"augment": "rotate"}, 0),
    ],
    ids=str,
)
def test_going_on_anywhere_ends_as_if_never_stopped(
    tensors: Make, tmp_path: Path, name: RecipeName, changes: dict[str, object], window: int
) -> None:
    data = tensors(shape=(16, 16, 3))
    recipe = fitted(data, name, **changes)
    undisturbed = started(data, recipe, window=window)
    loop.run(undisturbed, tmp_path / "whole", ignore_progress)
    one = started(data, recipe, window=window)
    for stop in (4, 11):  # within the first epoch and within the second
        while one.step < stop:
            one.run(one.plan.window(one.step, stop - one.step))
            if one.plan.ends_epoch(one.step):
                one.close_epoch()
        checkpoint.save(tmp_path / "parts", one.checkpoint())
        one = started(data, recipe, window=window)
        assert "resumed at epoch" in loop.resume(one, tmp_path / "parts")
        assert one.step == stop
    loop.run(one, tmp_path / "parts", ignore_progress)
    assert same(one, undisturbed)


def test_how_steps_are_cut_into_windows_changes_no_bit(tensors: Make) -> None:
    data = tensors(shape=(16, 16, 3))
    recipe = fitted(data, RecipeName.flash, epochs=1.0)
    trainers = [started(data, recipe) for _ in range(2)]
    for one, length in zip(trainers, (1, 4), strict=True):
        while not one.done:
            one.run(one.plan.window(one.step, length))
        one.close_epoch()
    assert same(*trainers)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, TimeoutError])
def test_whatever_stops_it_between_windows_leaves_a_checkpoint_of_that_step(
    tensors: Make, tmp_path: Path, error: type[BaseException]
) -> None:
    data = tensors()
    one = started(data, fitted(data, RecipeName.flash))

    def stop(done: float, *_: object) -> None:
        if done > 0.5:
            raise error

    with pytest.raises(error):
        loop.run(one, tmp_path, stop)
    saved, _ = checkpoint.latest(tmp_path)
    assert saved is not None
    assert saved.step == one.step > 0


def test_a_stop_amid_a_window_is_never_written_down(tensors: Make, tmp_path: Path) -> None:
    """In a thread an exception may come at any moment; then the last whole checkpoint has to serve."""
    data = tensors()
    one = started(data, fitted(data, RecipeName.flash))
    checkpoint.save(tmp_path, one.checkpoint())
    one.consistent = False
    seen: list[BaseException] = []

    def work() -> None:
        def stop(*_: object) -> None:
            one.consistent = False
            raise TimeoutError

        try:
            loop.run(one, tmp_path, stop)
        except TimeoutError as error:
            seen.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    saved, _ = checkpoint.latest(tmp_path)
    assert saved is not None
    assert (len(seen), saved.step) == (1, 0)


def test_divergence_names_step_and_rate_and_publishes_nothing(tensors: Make, workspace: Workspace) -> None:
    data = tensors()
    settings = TrainSettings(recipe=RecipeName.textbook, epochs=3, learning_rate=1000.0)
    one = started(data, recipes.resolve(settings, data.train))
    with pytest.raises(DivergedError, match=r"step \d+ of 27") as raised:
        loop.run(one, workspace.root / "training" / "x.checkpoints", ignore_progress)
    assert "learning rate" in str(raised.value)
    assert "--learning-rate 250" in str(raised.value)
    assert "nothing was published" in str(raised.value)
    saved, _ = checkpoint.latest(workspace.root / "training" / "x.checkpoints")
    assert saved is None or all(np.isfinite(array).all() for array in saved.arrays)


def test_early_stopping_takes_the_best_epoch(tensors: Make, workspace: Workspace) -> None:
    """Images without a pattern: validation only gets worse once the training images are known by heart."""
    data = tensors(shape=(8, 8, 1), train=(30, 30))
    noise = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1), np.uint8)
    np.save(data.directory / "train.images.npy", noise)
    one = started(data, fitted(data, RecipeName.textbook, epochs=200.0, patience=3))
    loop.run(one, workspace.root / "training" / "x.checkpoints", ignore_progress)
    losses = [entry["val_loss"] for entry in one.history]
    best = int(np.argmin(losses))
    assert len(losses) == best + 1 + 3 < 200
    assert one.validate()[0] == losses[best]


def test_without_patience_training_goes_to_its_end(tensors: Make) -> None:
    data = tensors()
    one = started(data, fitted(data, RecipeName.flash))
    assert one.plan.recipe.patience == 0
    one.history = [{"val_loss": loss} for loss in (1.0, 2.0, 3.0)]
    assert not one.done


def test_class_offsets_by_hand() -> None:
    """Counts 900, 90, 10 of 1000: half the logarithms of 0.9, 0.09 and 0.01."""
    labels = np.repeat(np.arange(3, dtype=np.int32), (900, 90, 10))
    recipe = recipes.RECIPES[RecipeName.fast]
    offsets = class_offsets(recipe, labels, 3)
    assert offsets.tolist() == pytest.approx([-0.05268, -1.20397, -2.30259], abs=1e-5)
    assert class_offsets(replace(recipe, logit_adjustment=False), labels, 3).tolist() == [0, 0, 0]
    assert class_offsets(recipe, np.arange(3, dtype=np.int32), 3).tolist() == [0, 0, 0]


def test_a_class_that_training_lacks_is_borne() -> None:
    offsets = class_offsets(recipes.RECIPES[RecipeName.fast], np.array([0, 0, 2], np.int32), 3)
    assert np.isfinite(offsets).all()


def test_a_rare_class_is_learned(tensors: Make, workspace: Workspace) -> None:
    data = tensors(shape=(16, 16, 3), train=(450, 45, 8), val=20)
    model = train.train(data, TrainSettings(recipe=RecipeName.flash), workspace)
    probabilities = predictor.load(model.directory / "model.keras").probabilities(
        open_split(data, "test").images
    )
    right = probabilities.argmax(axis=1) == open_split(data, "test").labels
    recalls = [right[open_split(data, "test").labels == label].mean() for label in range(3)]
    assert min(recalls) > 0.7


def test_the_loss_by_hand(tensors: Make) -> None:
    """Smoothing 0.1 over 4 classes: targets 0.925 and 0.025; logits move by half their class's log share."""
    data = tensors(shape=(16, 16, 3), train=(60, 30, 20, 10))
    one = started(data, fitted(data, RecipeName.fast, label_smoothing=0.1))
    logits, labels = (
        np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32),
        np.array([2, 0], np.int32),
    )
    moved = logits + 0.5 * np.log(np.array([60, 30, 20, 10]) / 120)
    logs = moved - np.log(np.exp(moved).sum(axis=1, keepdims=True))
    targets = np.full((2, 4), 0.025)
    targets[[0, 1], labels] = 0.925
    expected = np.mean(-(targets * logs).sum(axis=1))
    assert float(one._loss(tf.constant(logits), tf.constant(labels))) == pytest.approx(expected, rel=1e-5)


def test_fractions_of_an_epoch_are_epochs_too(tensors: Make, workspace: Workspace) -> None:
    data = tensors()
    model = train.train(data, TrainSettings(recipe=RecipeName.textbook, epochs=0.34), workspace)
    assert model.epochs == pytest.approx(3 / 9)  # 288 images, batches of 32
    assert len(pd.read_parquet(model.directory / "history.parquet")) == 1


def test_the_published_model_is_the_best_one(tensors: Make) -> None:
    data = tensors(shape=(16, 16, 3))
    one = started(data, fitted(data, RecipeName.flash, patience=2, epochs=1.0))
    while not one.done:
        one.run(one.plan.window(one.step, 9))
    one.close_epoch()
    published = inference_model.build_inference_model(one.plan.recipe, one.model)(one.val.images[:4])
    for variable in one.model.trainable_variables:
        variable.assign(variable * 0)
    one.take_best()
    assert np.array_equal(
        inference_model.build_inference_model(one.plan.recipe, one.model)(one.val.images[:4]), published
    )
