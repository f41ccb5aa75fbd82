"""The loss: class offsets, label smoothing, and probabilities for the shares of the data."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from sklearn.metrics import log_loss

from tasks.core import recipes
from tasks.core.config import RecipeName, TrainSettings
from tasks.core.data.tensors.cache import open_split
from tasks.core.model.inference import predictor
from tasks.core.model.training import train
from tasks.core.model.training.loss import class_offsets, smoothed_cross_entropies
from tasks.core.workspace import Workspace
from tests.core.model.training.trainers import Make, fitted, started

pytestmark = pytest.mark.slow


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
    losses = smoothed_cross_entropies(tf.constant(logits), tf.constant(labels), 0.1, trainer.class_offsets)
    assert float(np.mean(losses)) == pytest.approx(expected, rel=1e-5)


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
