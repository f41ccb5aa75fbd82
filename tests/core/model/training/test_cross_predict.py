"""Out-of-sample probabilities by real trainings on small made-up images."""

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
    """Bright stripes, across (0) or down (1); of the train images, twelve have the wrong label."""

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

    made_of = Ingredients("normalize", {}, {})
    directory = workspace.root / "tensors" / made_of.digest
    publish.publish(directory, made_of, write)
    path = workspace.relative(directory)
    return TensorCache(
        path, made_of.digest, "stripes", ("across", "down"), (8, 8, 1), IMAGES, IMAGES, IMAGES, 0
    )


@pytest.mark.slow
def test_a_wrong_label_is_improbable_to_models_that_have_not_seen_it(
    workspace: Workspace, striped: TensorCache
) -> None:
    settings = TrainSettings(epochs=6)
    made = cross_predict.cross_predict(striped, settings, 3, workspace)
    probabilities = np.load(made.directory / "train.probabilities.npy")
    assert probabilities.shape == (IMAGES, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    own = probabilities[np.arange(IMAGES), np.load(striped.directory / "train.labels.npy")]
    assert own[::20].max() < 0.5
    assert np.median(own) > 0.8
    assert [path.name for path in (workspace.root / "tensors").glob("[!.]*")] == [striped.digest]
    assert cross_predict.cross_predict(striped, settings, 3, workspace) == made


@pytest.mark.parametrize("folds", [1, 0, 21])
def test_how_many_folds_there_can_be(folds: int) -> None:
    with pytest.raises(UsageError, match="folds must lie in"):
        cross_predict.check_folds(folds)
