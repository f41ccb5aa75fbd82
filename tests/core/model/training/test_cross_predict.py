"""Out-of-sample probabilities, by real trainings on small synthetic images."""

from pathlib import Path

import numpy as np
import pytest

from tasks.core.config import TrainSettings
from tasks.core.errors import UsageError
from tasks.core.model.training import cross_predict
from tasks.core.stage import publish
from tasks.core.stage.handles import TensorCache
from tasks.core.stage.ingredients import Ingredients
from tasks.core.workspace import Workspace

IMAGES = 240


@pytest.fixture
def striped(workspace: Workspace) -> TensorCache:
    """Bright horizontal (0) or vertical (1) stripes; twelve of the train images have the wrong label."""

    def write(staging: Path) -> dict[str, object]:
        for split in ("train", "val", "test"):
            generator = np.random.default_rng(len(split))
            labels = generator.integers(0, 2, IMAGES).astype(np.int32)
            images = generator.integers(0, 100, (IMAGES, 8, 8, 1))
            for number, label in enumerate(labels):
                images[number, ..., 0] += np.indices((8, 8))[label] // 2 % 2 * 120
            np.save(staging / f"{split}.images.npy", images.astype(np.uint8))
            if split == "train":
                labels[::20] = 1 - labels[::20]
            np.save(staging / f"{split}.labels.npy", labels)
        return {}

    ingredients = Ingredients("normalize", {}, {})
    directory = workspace.root / "tensors" / ingredients.digest
    publish.publish(directory, ingredients, write)
    path = workspace.relative(directory)
    return TensorCache(
        path, ingredients.digest, "stripes", ("across", "down"), (8, 8, 1), IMAGES, IMAGES, IMAGES, 0
    )


@pytest.mark.slow
def test_cross_predict_gives_wrong_labels_low_probability(workspace: Workspace, striped: TensorCache) -> None:
    settings = TrainSettings(epochs=6)
    predictions = cross_predict.cross_predict(striped, settings, 3, workspace)
    probabilities = np.load(predictions.directory / "train.probabilities.npy")
    assert probabilities.shape == (IMAGES, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    of_given_label = probabilities[np.arange(IMAGES), np.load(striped.directory / "train.labels.npy")]
    assert of_given_label[::20].max() < 0.5
    assert np.median(of_given_label) > 0.8
    assert [path.name for path in (workspace.root / "tensors").glob("[!.]*")] == [striped.digest]
    assert cross_predict.cross_predict(striped, settings, 3, workspace) == predictions


def test_drop_leaks_leaves_no_train_image_out_of_the_folds(striped: TensorCache) -> None:
    """A run with both options ended after its training: the folds wanted an audit that they do not need."""
    plain, dropping = (
        cross_predict.ingredients(striped, TrainSettings(drop_leaks=drop), 3) for drop in (False, True)
    )
    assert plain.digest == dropping.digest


@pytest.mark.parametrize("folds", [1, 0, 21])
def test_check_folds_out_of_range_raises(folds: int) -> None:
    with pytest.raises(UsageError, match="folds must lie in"):
        cross_predict.check_folds(folds)
