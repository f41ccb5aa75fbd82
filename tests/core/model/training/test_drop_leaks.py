"""Training without the images that have a duplicate in test."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from tasks.core.config import RecipeName, TrainSettings
from tasks.core.data.audit import audit, duplicate_table
from tasks.core.data.tensors.cache import SPLITS
from tasks.core.errors import DataError, UsageError
from tasks.core.model.training import train as train_stage
from tasks.core.stage import publish
from tasks.core.stage.handles import Audit, TensorCache
from tasks.core.stage.ingredients import Ingredients
from tasks.core.workspace import Workspace

SETTINGS = TrainSettings(recipe=RecipeName.flash, epochs=2, batch_size=32, drop_leaks=True)


def cache(workspace: Workspace, numbers: Mapping[str, list[int]]) -> TensorCache:
    """A cache of noise images; equal numbers give equal images with equal labels."""

    def image(number: int) -> NDArray[np.uint8]:
        return np.random.default_rng(number).integers(0, 256, (16, 16, 3), np.uint8)

    def write(staging: Path) -> dict[str, Any]:
        rows = []
        for split in SPLITS:
            np.save(staging / f"{split}.images.npy", np.stack([image(n) for n in numbers[split]]))
            np.save(staging / f"{split}.labels.npy", np.array(numbers[split], np.int32) % 2)
            rows += [
                {
                    "split": split,
                    "row": row,
                    "image_id": str(n),
                    "path": f"{n}.png",
                    "class_name": str(n % 2),
                    "height": 16,
                    "width": 16,
                }
                for row, n in enumerate(numbers[split])
            ]
        pd.DataFrame(rows).to_parquet(staging / "rows.parquet", index=False)
        return {}

    ingredients = Ingredients("normalize", {}, {split: list(numbers[split]) for split in SPLITS})
    directory = workspace.root / "tensors" / ingredients.digest
    publish.publish(directory, ingredients, write)
    return TensorCache(
        path=workspace.relative(directory),
        digest=ingredients.digest,
        dataset="noise",
        classes=("even", "odd"),
        shape=(16, 16, 3),
        quarantined=0,
        **{split: len(numbers[split]) for split in SPLITS},
    )


def audited_cache(workspace: Workspace, **numbers: list[int]) -> tuple[TensorCache, Audit]:
    """A cache of noise images by split, and its audit."""
    tensors = cache(workspace, numbers)
    return tensors, audit.audit(tensors, workspace)


@pytest.mark.slow
def test_train_with_dropped_leaks_matches_training_on_clean_data(workspace: Workspace) -> None:
    train, val, test = list(range(200)), list(range(200, 240)), list(range(240, 280))
    clean = audited_cache(workspace, train=train, val=val, test=test)
    leaky_train = [240, *train[:100], 241, 242, *train[100:], 243]
    leaky = audited_cache(workspace, train=leaky_train, val=[*val[:10], 244, *val[10:]], test=test)
    assert np.flatnonzero(duplicate_table.read_leaks(leaky[1], "train")).tolist() == [0, 101, 102, 203]
    models = [
        train_stage.train(tensors, SETTINGS, workspace, audit=tensor_audit)
        for tensors, tensor_audit in (clean, leaky)
    ]
    assert models[0].model_sha256 == models[1].model_sha256
    assert models[0].digest != models[1].digest
    leaks_kept = train_stage.train(
        leaky[0], TrainSettings(RecipeName.flash, 2, 32), workspace, audit=leaky[1]
    )
    assert leaks_kept.model_sha256 != models[0].model_sha256


def test_ingredients_include_leaks_only_if_they_are_dropped(workspace: Workspace) -> None:
    train, val, test = list(range(60)), list(range(60, 80)), [80, 81, 82, 0]
    tensors, tensor_audit = audited_cache(workspace, train=train, val=val, test=test)
    dropping = train_stage.ingredients(tensors, SETTINGS, tensor_audit)
    assert set(dropping.inputs) == {"tensors", "train leaks", "val leaks"}
    keeping = TrainSettings(recipe=RecipeName.flash)
    assert train_stage.ingredients(tensors, keeping, tensor_audit) == train_stage.ingredients(
        tensors, keeping
    )


def test_drop_leaks_without_audit_raises(workspace: Workspace) -> None:
    tensors, _ = audited_cache(workspace, train=[1, 2, 3], val=[4, 5], test=[6, 7])
    with pytest.raises(UsageError, match="after an audit"):
        train_stage.train(tensors, SETTINGS, workspace)


@pytest.mark.slow
@pytest.mark.parametrize("split", ["train", "val"])
def test_drop_leaks_with_no_image_left_raises(workspace: Workspace, split: str) -> None:
    numbers = {"train": [1, 2, 3], "val": [4, 5], "test": [6, 7]}
    tensors, tensor_audit = audited_cache(workspace, **numbers | {split: [6, 7]})
    with pytest.raises(DataError, match=f"every {split} image"):
        train_stage.train(tensors, SETTINGS, workspace, audit=tensor_audit)
    digest = train_stage.ingredients(tensors, SETTINGS, tensor_audit).digest
    assert not (workspace.root / "training" / digest).exists()
