"""Training in this process: learning, resuming, stopping, divergence and the loss."""

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
from tasks.core.model.training import checkpoint, log, loop, train
from tasks.core.model.training.batches.resident_images import ResidentImages
from tasks.core.model.training.loss import class_offsets, smoothed_cross_entropy
from tasks.core.model.training.steps import StepPlan
from tasks.core.model.training.trainer import Trainer
from tasks.core.progress import ignore_progress
from tasks.core.recipes import Recipe
from tasks.core.stage.handles import TensorCache
from tasks.core.workspace import Workspace

pytestmark = pytest.mark.slow

Make = Callable[..., TensorCache]


@pytest.fixture(autouse=True)
def deterministic() -> None:
    """Makes TensorFlow deterministic, as the training loop does."""
    tf.config.experimental.enable_op_determinism()


def started(
    tensors: TensorCache, recipe: Recipe, seed: int = 0, window: int = 0, *, resident: bool = False
) -> Trainer:
    """A trainer at step 0; a `window` above 0 shuffles in windows of so many images, as for a large split."""
    plan = StepPlan.of(recipe, seed, tensors.train)
    if window:
        size = int(np.prod(tensors.shape))
        sizes = {"full_shuffle_bytes": 0, "window_bytes": window * size, "block_bytes": window // 4 * size}
        plan = replace(plan, shuffle=replace(plan.shuffle, row_bytes=size, **sizes))
    train, val = open_split(tensors, "train"), open_split(tensors, "val")
    return Trainer(plan, train, val, len(tensors.classes), on_gpu=resident)


def fitted(tensors: TensorCache, name: RecipeName, **changes: object) -> Recipe:
    """A recipe with batches of 32 images, for two epochs unless changed."""
    recipe = recipes.resolve(TrainSettings(recipe=name), tensors.train)
    return replace(recipe, batch_size=32, **{"epochs": 2.0} | changes)


def values(trainer: Trainer) -> list[np.ndarray]:
    """Values of all variables of the model and the optimizer."""
    return [variable.numpy() for variable in trainer.variables]


def identical(first: Trainer, second: Trainer) -> bool:
    """Whether two trainers have byte-identical variables and equal histories, apart from times."""
    return all(
        a.tobytes() == b.tobytes() for a, b in zip(values(first), values(second), strict=True)
    ) and without_times(first) == without_times(second)


def without_times(trainer: Trainer) -> list[dict[str, float]]:
    """The trainer's history without the measured times."""
    return [
        {name: value for name, value in entry.items() if name not in ("seconds", "images_per_second")}
        for entry in trainer.history
    ]


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


@pytest.mark.parametrize(
    ("name", "changes", "window"),
    [
        (RecipeName.flash, {}, 0),
        (RecipeName.flash, {}, 48),  # batches of 32 cross the borders of windows of 48
        (RecipeName.flash, {"small_image_share": 0.4}, 0),  # 7 of 18 steps
        (RecipeName.fast, {"patience": 1}, 0),
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
    for stop in (4, 11):  # within the first epoch and within the second
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
    recipe = fitted(data, RecipeName.fast, **changes)
    host, device = (started(data, recipe, resident=resident) for resident in (False, True))
    assert isinstance(device.batches, ResidentImages)
    for start in (0, host.plan.per_epoch):  # the second epoch mirrors the other images
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


def test_class_offsets_match_hand_computed_values() -> None:
    """Counts 900, 90, 10 of 1000: half the logarithms of 0.9, 0.09 and 0.01."""
    labels = np.repeat(np.arange(3, dtype=np.int32), (900, 90, 10))
    recipe = recipes.RECIPES[RecipeName.fast]
    offsets = class_offsets(recipe, labels, 3)
    assert offsets.tolist() == pytest.approx([-0.05268, -1.20397, -2.30259], abs=1e-5)
    assert class_offsets(replace(recipe, logit_adjustment=False), labels, 3).tolist() == [0, 0, 0]
    assert class_offsets(recipe, np.arange(3, dtype=np.int32), 3).tolist() == [0, 0, 0]


def test_class_offsets_with_a_missing_class_are_finite() -> None:
    offsets = class_offsets(recipes.RECIPES[RecipeName.fast], np.array([0, 0, 2], np.int32), 3)
    assert np.isfinite(offsets).all()


def test_train_with_rare_class_learns_it(tensors: Make, workspace: Workspace) -> None:
    data = tensors(shape=(16, 16, 3), train=(450, 45, 8), val=20)
    model = train.train(data, TrainSettings(recipe=RecipeName.flash), workspace)
    probabilities = predictor.load(model.directory / "model.keras").probabilities(
        open_split(data, "test").images
    )
    correct = probabilities.argmax(axis=1) == open_split(data, "test").labels
    recalls = [correct[open_split(data, "test").labels == label].mean() for label in range(3)]
    assert min(recalls) > 0.7


def test_loss_matches_hand_computed_value(tensors: Make) -> None:
    """Smoothing 0.1 over 4 classes: targets 0.925 and 0.025; offsets are half the log of a class's share."""
    data = tensors(shape=(16, 16, 3), train=(60, 30, 20, 10))
    trainer = started(data, fitted(data, RecipeName.fast, label_smoothing=0.1))
    logits, labels = (
        np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32),
        np.array([2, 0], np.int32),
    )
    adjusted = logits + 0.5 * np.log(np.array([60, 30, 20, 10]) / 120)
    log_probabilities = adjusted - np.log(np.exp(adjusted).sum(axis=1, keepdims=True))
    targets = np.full((2, 4), 0.025)
    targets[[0, 1], labels] = 0.925
    expected = np.mean(-(targets * log_probabilities).sum(axis=1))
    loss = smoothed_cross_entropy(tf.constant(logits), tf.constant(labels), 0.1, trainer.class_offsets)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_train_with_a_fraction_of_an_epoch_trains_these_steps(tensors: Make, workspace: Workspace) -> None:
    data = tensors()
    model = train.train(data, TrainSettings(recipe=RecipeName.textbook, epochs=0.34), workspace)
    assert model.epochs == pytest.approx(3 / 9)  # 288 images, batches of 32
    assert len(pd.read_parquet(model.directory / "history.parquet")) == 1


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


def test_probabilities_are_for_the_shares_of_the_data(tensors: Make, workspace: Workspace) -> None:
    """A toy world: 2 % of the images with horizontal stripes are rare, and 30 % of those with vertical ones.

    In the mixture of train that is 0.8 * 0.02 + 0.2 * 0.3 = 7.6 %, and 0.9 * 0.076 + 0.05 = 0.118 after label
    smoothing of 0.1. Without the offsets in the published model it is 0.25: each odds times 3.5, the root of
    0.924 / 0.076.
    """
    data = tensors(shape=(8, 8, 1), train=(1600, 400), val=200)
    for number, split in enumerate(("train", "val", "test")):
        stripes = np.load(data.directory / f"{split}.labels.npy")
        drawn = np.random.default_rng(number).random(len(stripes))
        rare = drawn < np.where(stripes == 1, 0.3, 0.02)
        np.save(data.directory / f"{split}.labels.npy", rare.astype(np.int32))
    test_stripes = stripes
    model = train.train(data, TrainSettings(recipe=RecipeName.flash, epochs=2), workspace)
    test, val = open_split(data, "test"), open_split(data, "val")
    predict = predictor.load(model.directory / "model.keras").probabilities
    rare = predict(test.images)[:, 1].astype(np.float64)
    horizontal, vertical = (rare[test_stripes == kind].mean() for kind in (0, 1))
    assert 0.8 * horizontal + 0.2 * vertical == pytest.approx(0.118, abs=0.05)
    assert horizontal < vertical
    history = pd.read_parquet(model.directory / "history.parquet").iloc[-1]
    powers = predict(val.images).astype(np.float64) ** model.temperature
    untempered = powers / powers.sum(axis=1, keepdims=True)
    assert history["val_loss"] == pytest.approx(log_loss(val.labels, untempered), rel=0.02)


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
