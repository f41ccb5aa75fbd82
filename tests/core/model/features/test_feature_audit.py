"""The feature_audit stage on photos of which the features are invented, and the report of its pairs."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from tasks.core.config import NormalizeSettings, RecipeName, SourceSettings, TrainSettings
from tasks.core.data.audit import audit, duplicate_table
from tasks.core.data.sources import acquire
from tasks.core.data.tensors import normalize
from tasks.core.data.tensors.cache import SPLITS, read_rows
from tasks.core.model.features import feature_audit
from tasks.core.model.training import train
from tasks.core.reports.sections import leaks
from tasks.core.stage.handles import Audit, FeatureAudit, Features, TensorCache
from tasks.core.stage.stages import EMBED
from tasks.core.workspace import Workspace
from tests.core.model.features.test_similar_images import WIDTH
from tests.support.sample_files import encoded, put
from tests.support.synthetic_photos import scenes

pytestmark = pytest.mark.slow

COUNTS = {"train": 70, "val": 15, "test": 20}  # of each class


def photo_tensors(root: Path, workspace: Workspace) -> TensorCache:
    """210 different photos in two classes; train/cat/00 is test/cat/00 to the byte."""
    images = iter(scenes(2 * sum(COUNTS.values())))
    for split, count in COUNTS.items():
        for name in ("cat", "dog"):
            for number in range(count):
                put(root / split / name / f"{number:02}.png", encoded(next(images)))
    put(root / "test/cat/00.png", (root / "train/cat/00.png").read_bytes())
    source = acquire.acquire(SourceSettings(str(root)), workspace)
    return normalize.normalize(source, NormalizeSettings(), workspace)


def row_of(tensors: TensorCache, path: str) -> tuple[str, int]:
    """Split and row of a photo."""
    rows = read_rows(tensors, ["split", "row", "path"]).to_pylist()
    return next((row["split"], row["row"]) for row in rows if row["path"] == path)


def features_with(tensors: TensorCache, same: list[tuple[str, str]], workspace: Workspace) -> Features:
    """Unrelated features, apart from pairs of photos that have the same ones."""
    generator = np.random.default_rng(0)
    values: dict[str, NDArray[np.float16]] = {
        split: generator.normal(size=(getattr(tensors, split), 2, WIDTH)).astype(np.float16)
        for split in SPLITS
    }
    for pair in same:
        (split, row), (other_split, other_row) = (row_of(tensors, path) for path in pair)
        values[other_split][other_row] = values[split][row]

    def build(staging: Path) -> dict[str, object]:
        for split in SPLITS:
            np.save(staging / f"{split}.features.npy", values[split])
        return {"backbone": "invented", "images": tensors.train + tensors.val + tensors.test, "computed": 0}

    return EMBED.output(EMBED.ingredients({"tensors": tensors.digest}, {"same": same}), workspace, build)


PAIRS = [("train/cat/03.png", "test/dog/05.png"), ("train/dog/01.png", "train/dog/02.png")]


@pytest.fixture
def outputs(tmp_path: Path, workspace: Workspace) -> tuple[TensorCache, Audit, FeatureAudit]:
    tensors = photo_tensors(tmp_path / "photos", workspace)
    audited = audit.audit(tensors, workspace)
    features = features_with(tensors, [*PAIRS, ("train/cat/00.png", "test/cat/00.png")], workspace)
    return tensors, audited, feature_audit.feature_audit(tensors, audited, features, workspace)


def test_feature_audit_adds_its_pairs_to_those_of_the_audit(outputs) -> None:
    tensors, audited, by_features = outputs
    exact, *similar = duplicate_table.read(by_features).to_pylist()
    assert [exact] == duplicate_table.read(audited).to_pylist()
    assert exact["kind"] == "exact"
    found = {
        frozenset((pair[f"split_{side}"], pair[f"row_{side}"]) for side in "ab"): pair["kind"]
        for pair in similar
    }
    assert found == {frozenset(row_of(tensors, path) for path in pair): "similar" for pair in PAIRS}


def test_feature_audit_marks_the_leaks_of_both_audits(outputs) -> None:
    tensors, audited, by_features = outputs
    for split, paths in {"train": ["00", "03"], "test": ["00"]}.items():
        leaking = {row_of(tensors, f"{split}/cat/{name}.png")[1] for name in paths}
        leaking |= {row_of(tensors, "test/dog/05.png")[1]} if split == "test" else set()
        assert set(np.flatnonzero(duplicate_table.read_leaks(by_features, split))) == leaking
    assert duplicate_table.read_leaks(audited).sum() == 1


def test_feature_audit_findings_name_leaks_and_conflicts_first(outputs) -> None:
    assert outputs[2].findings[:3] == (
        "1 more of 40 test images shows a scene of train or val",
        "1 pair of one scene with different labels",
        "2 more pairs show one scene, by features",
    )


def test_feature_audit_lists_outliers_least_similar_first(outputs) -> None:
    table = pq.read_table(outputs[2].directory / feature_audit.OUTLIERS)
    assert table.column_names == ["split", "row", "label", "similarity"]
    assert table["similarity"].to_pylist() == sorted(table["similarity"].to_pylist())


def test_feature_audit_is_reused_and_pairs_have_pictures(outputs, workspace: Workspace) -> None:
    tensors, _, by_features = outputs
    kinds = [pair["kind"] for pair in leaks.leak_pairs(by_features, tensors)]
    assert sorted(kinds) == ["exact", "similar", "similar"]
    assert FeatureAudit(**by_features.as_dict()) == by_features


def test_drop_leaks_trains_without_the_leaks_by_features(outputs) -> None:
    tensors, audited, by_features = outputs
    settings = TrainSettings(RecipeName.flash, drop_leaks=True)
    by_pixels = train.ingredients(tensors, settings, audited)
    both = train.ingredients(tensors, settings, by_features)
    assert by_pixels.inputs["train leaks"] != both.inputs["train leaks"]
    assert by_pixels.inputs["val leaks"] == both.inputs["val leaks"]
