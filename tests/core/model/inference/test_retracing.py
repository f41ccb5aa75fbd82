"""Models that a process loads one after the other are no `tf.function` that is traced again and again."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tasks.core.config import RecipeName
from tasks.core.model.architectures import build
from tasks.core.model.export import inference_model
from tasks.core.model.inference import online_predictor, predictor
from tasks.core.recipes import RECIPES

pytestmark = pytest.mark.slow
LOADED = 5  # TensorFlow warns at the fifth tracing of functions that the same line defines


def test_loading_models_again_warns_of_no_retracing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tf.get_logger(), "propagate", True)
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)
    recipe = RECIPES[RecipeName.flash]
    model = inference_model.build_inference_model(recipe, build.build(recipe, images, 2, seed=0))
    paths = [tmp_path / f"{number}.keras" for number in range(LOADED)]
    for path in paths:
        model.save(path)
    scores = [
        load(path).score(images[:3])[0] for load in (predictor.load, online_predictor.load) for path in paths
    ]
    assert "retracing" not in caplog.text
    for found in scores:
        np.testing.assert_allclose(found, scores[0], atol=1e-6)


def test_model_is_kept_until_its_file_changes(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)
    recipe, path = RECIPES[RecipeName.flash], tmp_path / "model.keras"
    for seed in range(2):
        model = build.build(recipe, images, 2, seed=seed)
        inference_model.build_inference_model(recipe, model).save(path)
        loaded = predictor.load(path)
        assert predictor.load(path) is loaded
        np.testing.assert_allclose(
            loaded.probabilities(images),
            inference_model.build_inference_model(recipe, model)(images),
            0,
            1e-5,
        )
