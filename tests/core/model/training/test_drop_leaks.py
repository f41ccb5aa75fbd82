"""Training without the images of which a test image is a duplicate."""

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
from tasks.core.model.training.train import ingredients
from tasks.core.stage import publish
from tasks.core.stage.handles import Audit, TensorCache
from tasks.core.stage.ingredients import Ingredients
from tasks.core.workspace import Workspace

SETTINGS = TrainSettings(recipe=RecipeName.flash, epochs=2, batch_size=32, drop_leaks=True)


def cache(workspace: Workspace, numbers: Mapping[str, list[int]]) -> TensorCache:
    """A cache with noise images by number: the same number is the same image, with the same label."""

    def image(number: int) -> NDArray[np.uint8]:
        return np.random.default_rng(number).integers(0, 256, (16, 16, 3), np.uint8)

    def write(staging: Path) -> dict[str, Any]:
        rows = []
        for split in SPLITS:
            np.save(staging / f"{split}.images.npy", np.stack([image(n) for n in numbers[split]]))
            np.save(staging / f"{split}.labels.npy", np.array(numbers[split], np.int32) % 2)
            rows += [
                {"split": split, "row": row, "image_id": str(n), "height": 16, "width": 16}
                for row, n in enumerate(numbers[split])
            ]
        pd.DataFrame(rows).to_parquet(staging / "rows.parquet", index=False)
        return {}

    made_of = Ingredients("normalize", {}, {split: list(numbers[split]) for split in SPLITS})
    directory = workspace.root / "tensors" / made_of.digest
    publish.publish(directory, made_of, write)
    return TensorCache(
        path=workspace.relative(directory),
        digest=made_of.digest,
        dataset="noise",
        classes=("even", "odd"),
        shape=(16, 16, 3),
        quarantined=0,
        **{split: len(numbers[split]) for split in SPLITS},
    )


def looked_at(workspace: Workspace, **numbers: list[int]) -> tuple[TensorCache, Audit]:
    made = cache(workspace, numbers)
    return made, audit.audit(made, workspace)


def test_the_model_is_as_if_the_leaks_had_never_been_there(workspace: Workspace) -> None:
    train, val, test = list(range(200)), list(range(200, 240)), list(range(240, 280))
    clean = looked_at(workspace, train=train, val=val, test=test)
    leaky_train = [240, *train[:100], 241, 242, *train[100:], 243]
    leaky = looked_at(workspace, train=leaky_train, val=[*val[:10], 244, *val[10:]], test=test)
    assert np.flatnonzero(duplicate_table.read_leaks(leaky[1], "train")).tolist() == [0, 101, 102, 203]
    models = [train_stage.train(made, SETTINGS, workspace, audit=found) for made, found in (clean, leaky)]
    assert models[0].model_sha256 == models[1].model_sha256
    assert models[0].digest != models[1].digest
    kept = train_stage.train(leaky[0], TrainSettings(RecipeName.flash, 2, 32), workspace, audit=leaky[1])
    assert kept.model_sha256 != models[0].model_sha256


def test_only_the_leaks_decide_what_is_trained_again(workspace: Workspace) -> None:
    train, val, test = list(range(60)), list(range(60, 80)), [80, 81, 82, 0]
    made, found = looked_at(workspace, train=train, val=val, test=test)
    dropping = ingredients(made, SETTINGS, found)
    assert set(dropping.inputs) == {"tensors", "train leaks", "val leaks"}
    plain = TrainSettings(recipe=RecipeName.flash)
    assert ingredients(made, plain, found) == ingredients(made, plain)


def test_leaks_need_an_audit(workspace: Workspace) -> None:
    made, _ = looked_at(workspace, train=[1, 2, 3], val=[4, 5], test=[6, 7])
    with pytest.raises(UsageError, match="after an audit"):
        train_stage.train(made, SETTINGS, workspace)


@pytest.mark.parametrize("split", ["train", "val"])
def test_nothing_left_is_told(workspace: Workspace, split: str) -> None:
    numbers = {"train": [1, 2, 3], "val": [4, 5], "test": [6, 7]}
    made, found = looked_at(workspace, **numbers | {split: [6, 7]})
    with pytest.raises(DataError, match=f"Every {split} image"):
        train_stage.train(made, SETTINGS, workspace, audit=found)
    assert not (workspace.root / "training" / ingredients(made, SETTINGS, found).digest).exists()
