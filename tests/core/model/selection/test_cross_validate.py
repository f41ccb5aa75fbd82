"""Cross-validation over all images: no image is predicted by a model that has seen it or its copy."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tasks.core.config import RecipeName, TrainSettings
from tasks.core.data.audit import duplicate_table
from tasks.core.data.cross_validation import assignment
from tasks.core.model.selection import cross_validate, final_model
from tasks.core.model.selection.leaderboard import read_leaderboard, read_predictions
from tasks.core.stage.handles import Audit, Features, TensorCache
from tasks.core.stage.stages import AUDIT, EMBED
from tasks.core.workspace import Workspace
from tests.support.fake_outputs import FakeOutputs

PROBE = TrainSettings(recipe=RecipeName.probe)
SPLITS = ("train", "val", "test")


def features_of(tensors: TensorCache, values: np.ndarray, workspace: Workspace) -> Features:
    """Given features float32 (N, D) of all images, in the order train, val, test."""

    def write(staging: Path) -> dict[str, Any]:
        starts = np.cumsum([tensors.train, tensors.val])
        for split, part in zip(SPLITS, np.split(values, starts), strict=True):
            np.save(staging / f"{split}.features.npy", part[:, None].astype(np.float16))
        return {"backbone": "none", "images": len(values), "computed": 0}

    return EMBED.output(
        EMBED.ingredients({"tensors": tensors.digest}, {"sum": float(values.sum())}), workspace, write
    )


def audit_of(pairs: list[tuple[int, int]], workspace: Workspace) -> Audit:
    """An audit that has found exact copies among test images."""

    def write(staging: Path) -> dict[str, Any]:
        rows = [
            dict(zip(duplicate_table.SCHEMA.names, ("test", a, "test", b, "exact", 0.0), strict=True))
            for a, b in pairs
        ]
        pa.parquet.write_table(
            pa.Table.from_pylist(rows, schema=duplicate_table.SCHEMA), staging / duplicate_table.NAME
        )
        return {"findings": []}

    return AUDIT.output(AUDIT.ingredients({}, {"pairs": pairs}), workspace, write)


def all_labels(fake: FakeOutputs) -> np.ndarray:
    return np.concatenate([fake.labels(split) for split in SPLITS])


def scored(fake: FakeOutputs, values: np.ndarray, audit: Audit, folds: int = 4) -> Any:
    tensors = fake.tensors()
    features = features_of(tensors, values, fake.workspace)
    return cross_validate.cross_validate(
        *(tensors, PROBE, [RecipeName.probe], folds, audit, features, None, fake.workspace)
    )


@pytest.fixture
def small(fake: FakeOutputs) -> FakeOutputs:
    """100 test, 20 val and 20 train images of three classes."""
    return fake.with_fields(classes=("ant", "bee", "cat"), images=100)


@pytest.mark.slow
def test_all_images_are_scored_once(small: FakeOutputs) -> None:
    labels = all_labels(small)
    generator = np.random.default_rng(0)
    values = np.eye(3)[labels] + generator.normal(0, 0.4, (len(labels), 3))
    validation = scored(small, values, audit_of([], small.workspace))
    table = read_predictions(validation)
    assert len(table) == validation.images == 140
    assert table["split"].value_counts().to_dict() == {"test": 100, "train": 20, "val": 20}
    np.testing.assert_array_equal(table["label"], labels)
    correct = (table["predicted_label"] == table["label"]).mean()
    assert validation.accuracy == pytest.approx(correct)
    assert validation.accuracy > 0.75
    assert validation.low < validation.accuracy < validation.high
    row = read_leaderboard(validation).iloc[0]
    assert (row["recipe"], row["scored"], row["folds"]) == ("probe", True, 4)
    assert validation.final_recipe == "probe"
    assert scored(small, values, audit_of([], small.workspace)) == validation


@pytest.mark.slow
def test_images_that_can_only_be_remembered_are_not_predicted(small: FakeOutputs) -> None:
    """Each image has a feature of its own: a model that has seen it knows its class, others guess."""
    labels = all_labels(small)
    values = 10 * np.eye(len(labels))
    assert scored(small, values, audit_of([], small.workspace)).accuracy < 0.55


@pytest.mark.slow
def test_copies_are_in_one_fold(small: FakeOutputs) -> None:
    """All test images in pairs of one label, each pair with a feature of its own."""
    labels = all_labels(small)
    test = np.flatnonzero(np.arange(140) >= 40)
    pairs = []
    values = 10 * np.eye(140)
    for label in range(3):
        own = test[labels[test] == label]
        pairs += list(zip(own[:-1:2], own[1::2], strict=False))
    for a, b in pairs:
        values[b] = values[a]
    in_test = [(int(a) - 40, int(b) - 40) for a, b in pairs]
    unaware = scored(small, values, audit_of([], small.workspace))
    aware = scored(small, values, audit_of(in_test, small.workspace))
    assert unaware.accuracy > 0.7 > 0.55 > aware.accuracy
    assert aware.groups == 140 - len(pairs)


def test_default_is_five_folds_for_a_probe_with_few_test_images(
    small: FakeOutputs, fake: FakeOutputs
) -> None:
    few, many = small.tensors(), fake.tensors()
    audit = audit_of([], small.workspace)
    assert cross_validate.folds_for(None, RecipeName.probe, few, audit) == 5
    assert cross_validate.folds_for(None, RecipeName.fast, few, audit) is None
    assert cross_validate.folds_for(None, RecipeName.probe, many, audit) is None
    assert cross_validate.folds_for(0, RecipeName.probe, few, audit) is None
    assert cross_validate.folds_for(3, RecipeName.fast, many, audit) == 3
    assert many.test >= assignment.FEW_TEST_IMAGES > few.test


@pytest.mark.slow
def test_recipe_from_scratch_is_trained_for_each_fold_and_once_on_all(small: FakeOutputs) -> None:
    cache, workspace = small.tensors(), small.workspace
    settings = TrainSettings(recipe=RecipeName.fast, epochs=1)
    audit = audit_of([], workspace)
    validation = cross_validate.cross_validate(
        *(cache, settings, [RecipeName.fast], 2, audit, None, None, workspace)
    )
    assert validation.images == 140
    assert len(list(workspace.root.glob("training/[0-9a-f]*/model.keras"))) == 2
    final = final_model.train_on_all(cache, settings, audit, None, None, workspace)
    assert (final.trained, final.held_back) == (120, 20)
    assert final.manifest["facts"]["trained_on"] == "all"
    assert (final.directory / "model.keras").exists()
    assert [path.name for path in workspace.root.glob("tensors/[0-9a-f]*")] == [cache.directory.name]
